package vfiouser

import "encoding/binary"

// Capabilities of PCI that AddCapability takes: PCI 3.0, appendix H.
const (
	CapPM   = 0x01
	CapMSI  = 0x05
	CapPCIe = 0x10
	CapMSIX = 0x11
)

// ConfigSpace is a PCI function's configuration space, little-endian, with the
// header of type 0: PCI 3.0, 6.1. It is not for several goroutines.
type ConfigSpace struct {
	data, writable [256]byte
	end, last      int // where the next capability goes; where its pointer stands
}

// NewConfigSpace makes one without BARs and capabilities. The class has base
// class, subclass and interface, 24 bits. The guest may write the command
// register, the cache line size and the interrupt line.
func NewConfigSpace(vendor, device uint16, class uint32, revision uint8) *ConfigSpace {
	c := &ConfigSpace{end: 0x40, last: 0x34}
	binary.LittleEndian.PutUint16(c.data[0:], vendor)
	binary.LittleEndian.PutUint16(c.data[2:], device)
	binary.LittleEndian.PutUint32(c.data[8:], class<<8|uint32(revision))
	// Decoding of I/O and memory, bus master, parity, SERR, INTx disable.
	binary.LittleEndian.PutUint16(c.writable[4:], 0x0547)
	c.writable[0x0c], c.writable[0x3c] = 0xff, 0xff
	return c
}

// Set puts bytes at an offset, and says which of their bits the guest may write;
// a mask that is shorter leaves the rest read-only. What lies outside is cut.
func (c *ConfigSpace) Set(offset int, b, writable []byte) {
	if offset < 0 || offset >= len(c.data) {
		return
	}
	n := copy(c.data[offset:], b)
	clear(c.writable[offset : offset+n])
	copy(c.writable[offset:offset+n], writable)
}

// AddCapability appends a capability: its body stands behind the two bytes of id
// and pointer. It returns its offset, or 0 where there is no room.
func (c *ConfigSpace) AddCapability(id uint8, body, writable []byte) int {
	at := c.end
	if at+2+len(body) > len(c.data) {
		return 0
	}
	c.data[at] = id
	c.Set(at+2, body, writable)
	c.data[c.last], c.last = byte(at), at+1
	c.data[6] |= 0x10 // status: there is a list
	c.end = (at + 2 + len(body) + 3) &^ 3
	return at
}

// Skip lets the next capability begin at an offset, which must lie behind those
// that there are, in words of 4 bytes: a card's capabilities stand where its
// datasheet says, and some drivers do not search.
func (c *ConfigSpace) Skip(offset int) {
	c.end = max(c.end, (offset+3)&^3)
}

// Read fills b from an offset; bytes outside read as 0.
func (c *ConfigSpace) Read(offset uint64, b []byte) {
	clear(b)
	if offset < uint64(len(c.data)) {
		copy(b, c.data[offset:])
	}
}

// Write changes the bits that the guest may write.
func (c *ConfigSpace) Write(offset uint64, b []byte) {
	for i := 0; i < len(b) && offset < uint64(len(c.data)); i++ {
		mask := c.writable[offset]
		c.data[offset] = c.data[offset]&^mask | b[i]&mask
		offset++
	}
}
