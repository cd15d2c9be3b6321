package main

import (
	"encoding/binary"
	"sync/atomic"
	"syscall"

	"github.com/oobnet/oobnet/internal/vfiouser"
	"github.com/oobnet/oobnet/link/vfio/internal/ixgbemodel"
)

// Where capabilities stand: Linux's driver reads them at these offsets, without
// looking for them (82599 datasheet, 9.3).
const (
	atPM   = 0x40
	atMSI  = 0x50
	atMSIX = 0x70
	atPCIe = 0xa0

	pmStatus   = atPM + 4   // PMCSR
	msiControl = atMSI + 2  // bit 0: enabled
	msixFlags  = atMSIX + 2 // bit 15: enabled
	pcieFlags  = atPCIe + 8 // device control; bit 15: function-level reset

	// Two words behind all capabilities, which no card has: what a guest's tests
	// ask of the rig.
	atCable = 0xf8 // 1: the cable is in
	atMark  = 0xfc // the number of a task, which then stands in the trace
)

const (
	configSize = 256
	vectors    = 64       // MSI-X: 82599 datasheet, 7.3.1.3
	msixBAR    = 4        // table and pending bits
	msixSize   = 16 << 10 // table at 0, pending bits at 8 KiB
	msixPBA    = 8 << 10
)

// barSize is BAR 0's. The X540's is larger; its registers end where those of
// the 82599 do.
func barSize(chip ixgbemodel.Chip) uint64 {
	if chip == ixgbemodel.ChipX540 {
		return 2 << 20
	}
	return ixgbemodel.Size
}

// card is the model behind vfio-user. The server calls its methods, one at a
// time.
type card struct {
	chip   ixgbemodel.Chip
	model  *ixgbemodel.Device
	config *vfiouser.ConfigSpace
	msix   [msixSize]byte
	trace  *trace
	server *vfiouser.Server
	// kind is the type of interrupts that the guest has switched on. It is
	// written by the server, and read by whoever raises one.
	kind atomic.Int32
}

// interrupt sends a message, if the guest has switched messages on: with MSI
// there is one.
func (c *card) interrupt(vector int) {
	kind := vfiouser.IRQ(c.kind.Load())
	if kind == vfiouser.INTx {
		return // line's
	}
	if kind == vfiouser.MSI {
		vector = 0
	}
	// No such vector, or a client that has gone: nobody listens.
	_ = c.server.Interrupt(kind, vector)
}

// line is the level of INTx. While messages are on, nobody listens to it.
func (c *card) line(up bool) {
	if up {
		_ = c.server.Interrupt(vfiouser.INTx, 0)
		return
	}
	c.server.Lower(vfiouser.INTx, 0)
}

// Info says what the card has.
func (c *card) Info() vfiouser.Info {
	return vfiouser.Info{
		Regions: []vfiouser.Region{
			0:                     {Size: barSize(c.chip), Readable: true, Writable: true},
			msixBAR:               {Size: msixSize, Readable: true, Writable: true},
			vfiouser.ConfigRegion: {Size: configSize, Readable: true, Writable: true},
		},
		Vectors: map[vfiouser.IRQ]int{vfiouser.INTx: 1, vfiouser.MSI: 1, vfiouser.MSIX: vectors},
	}
}

// configSpace is the card's configuration space (82599 datasheet, 9.3).
func configSpace(chip ixgbemodel.Chip) *vfiouser.ConfigSpace {
	const ethernet = 0x020000
	c := vfiouser.NewConfigSpace(0x8086, uint16(chip), ethernet, 1)
	prefetchable64 := []byte{0x0c, 0, 0, 0}
	c.Set(0x10, prefetchable64, nil)
	c.Set(0x20, prefetchable64, nil)
	subsystem := []byte{0x86, 0x80, 0x03, 0x00} // X520-2
	if chip == ixgbemodel.ChipX540 {
		subsystem[2] = 0x01 // X540-T2
	}
	c.Set(0x2c, subsystem, nil)
	c.Set(0x3d, []byte{1}, nil) // INTA
	// A body as long as the way to the next capability puts that in its place.
	pm := make([]byte, atMSI-atPM-2)
	pm[0] = 0x23 // version 3, device-specific initialization
	c.AddCapability(vfiouser.CapPM, pm, []byte{2: 0x03})
	msi := make([]byte, atMSIX-atMSI-2)
	msi[0], msi[1] = 0x80, 0x01 // one message of 64 bits, maskable
	c.AddCapability(vfiouser.CapMSI, msi, []byte{0: 0x01, 2: 0xfc, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 14: 0x01})
	msix := make([]byte, atPCIe-atMSIX-2)
	binary.LittleEndian.PutUint16(msix[0:], vectors-1)
	binary.LittleEndian.PutUint32(msix[2:], msixBAR)
	binary.LittleEndian.PutUint32(msix[6:], msixPBA|msixBAR)
	c.AddCapability(vfiouser.CapMSIX, msix, []byte{1: 0xc0})
	c.AddCapability(vfiouser.CapPCIe, express(), []byte{6: 0xff, 0x7f, 14: 0xc3, 0x01, 38: 0x1f})
	return c
}

// express is the body of the capability of PCI Express 2.0.
func express() []byte {
	b := make([]byte, 0x3c-2)
	put := binary.LittleEndian.PutUint32
	b[0] = 2                  // version; an endpoint
	put(b[2:], 1<<28|2)       // function-level reset; payloads of 512 bytes
	b[6] = 0x10               // relaxed ordering
	put(b[10:], 0x482)        // 5 GT/s, 8 lanes, L0s
	b[16], b[17] = 0x82, 0x10 // as they came up
	put(b[34:], 0x1f)         // timeouts of completions in four ranges, and off
	b[46] = 2                 // 5 GT/s is the target
	return b
}

// Read reads registers, the MSI-X table or configuration space.
func (c *card) Read(region int, offset uint64, b []byte) error {
	switch region {
	case 0:
		return c.readRegisters(offset, b)
	case msixBAR:
		copy(b, c.msix[offset:])
	case vfiouser.ConfigRegion:
		c.config.Read(offset, b)
	}
	return nil
}

// Write is the other direction.
func (c *card) Write(region int, offset uint64, b []byte) error {
	switch region {
	case 0:
		return c.writeRegisters(offset, b)
	case msixBAR:
		copy(c.msix[offset:], b)
	case vfiouser.ConfigRegion:
		c.writeConfig(offset, b)
	}
	return nil
}

// Registers are words: other accesses the chip does not complete in a way that
// the datasheet defines (8.1), so the guest is told.
func (c *card) readRegisters(offset uint64, b []byte) error {
	if offset%4 != 0 || len(b)%4 != 0 {
		return syscall.EINVAL
	}
	for i := 0; i < len(b); i += 4 {
		binary.LittleEndian.PutUint32(b[i:], c.model.Read32(uint32(offset)+uint32(i)))
	}
	return nil
}

func (c *card) writeRegisters(offset uint64, b []byte) error {
	if offset%4 != 0 || len(b)%4 != 0 {
		return syscall.EINVAL
	}
	for i := 0; i < len(b); i += 4 {
		c.model.Write32(uint32(offset)+uint32(i), binary.LittleEndian.Uint32(b[i:]))
	}
	return nil
}

// writeConfig does what some bits ask for at once.
func (c *card) writeConfig(offset uint64, b []byte) {
	if len(b) == 4 && offset == atCable {
		c.model.SetLink(b[0] != 0)
		return
	}
	if len(b) == 4 && offset == atMark {
		c.trace.mark(binary.LittleEndian.Uint32(b))
		return
	}
	slept := c.configWord(pmStatus)&3 == 3
	c.config.Write(offset, b)
	if slept && c.configWord(pmStatus)&3 == 0 {
		c.model.Reset() // D3 to D0 is a reset of the function (5.2.1)
	}
	for i, v := range b {
		if offset+uint64(i) == pcieFlags+1 && v&0x80 != 0 {
			c.model.Reset()
		}
	}
	kind := vfiouser.INTx
	switch {
	case c.configWord(msixFlags)&0x8000 != 0:
		kind = vfiouser.MSIX
	case c.configWord(msiControl)&1 != 0:
		kind = vfiouser.MSI
	}
	c.kind.Store(int32(kind))
}

func (c *card) configWord(offset uint64) uint16 {
	var b [2]byte
	c.config.Read(offset, b[:])
	return binary.LittleEndian.Uint16(b[:])
}

// Reset is that of the bus, after which capabilities are off too.
func (c *card) Reset() error {
	c.config = configSpace(c.chip)
	c.kind.Store(int32(vfiouser.INTx))
	c.model.Reset()
	return nil
}
