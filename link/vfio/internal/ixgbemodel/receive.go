package ixgbemodel

import "encoding/binary"

// Extended status and errors of a receive descriptor's write-back (7.1.6.2).
const (
	rxDD   = 1 << 0
	rxEOP  = 1 << 1
	rxVP   = 1 << 3
	rxL4I  = 1 << 5
	rxIPCS = 1 << 6
	rxL4E  = 1 << 30
	rxIPE  = 1 << 31
	fcs    = 4 // bytes of checksum that a frame has on the wire
)

// receive takes a frame from the wire: filters, queue, write-back.
func (d *Device) receive(frame []byte) bool {
	if !d.link || *d.reg(regRXCTRL)&rxctrlRXEN == 0 || len(frame) < 14 {
		return false
	}
	d.count(regTPR, 1)
	limit := 1518 + vlanRoom(frame)
	if *d.reg(regHLREG0)&hlreg0Jumbo != 0 {
		limit = int(*d.reg(regMAXFRS)>>16) + vlanRoom(frame)
	}
	if len(frame)+fcs > limit {
		d.count(regROC, 1)
		return false
	}
	if !d.accepts(frame) || !d.acceptsVLAN(frame) {
		return false
	}
	hash, kind, n := d.steer(frame)
	if !d.store(n, frame, hash, kind) {
		return false
	}
	d.count(regGPRC, 1)
	d.countOctets(regGORCL, len(frame)+fcs)
	if frame[0]&1 != 0 {
		if broadcast(frame) {
			d.count(regBPRC, 1)
		} else {
			d.count(regMPRC, 1)
		}
	}
	d.queueEvent(int(n), false)
	return true
}

// store writes a frame into buffers of a queue, and their descriptors back.
func (d *Device) store(n uint32, frame []byte, hash, kind uint32) bool {
	base := block(n, true)
	if !d.rx[n].ready {
		d.count(regMPC, 1)
		return false
	}
	var tag uint16
	status := d.checked(frame)
	if *d.reg(base + qDCTL)&dctlVME != 0 && tagged(frame) {
		tag, status = binary.BigEndian.Uint16(frame[14:]), status|rxVP
		frame = append(append([]byte{}, frame[:12]...), frame[16:]...)
	}
	size := int(*d.reg(base + qSRRCTL)&0x1f) << 10
	if size == 0 {
		d.violate(base+qSRRCTL, "8.2.3.8.7", "SRRCTL.BSIZEPACKET is 0")
		return false
	}
	if free := d.free(base); (len(frame)+size-1)/size > free {
		d.count(regMPC, 1)
		return false
	}
	for rest := frame; len(rest) > 0; {
		e, ok := d.next(base)
		part := rest[:min(size, len(rest))]
		if !ok || !d.put(base+qTail, e.low, part) {
			return false
		}
		rest = rest[len(part):]
		state := uint32(rxDD)
		if len(rest) == 0 {
			state |= status | rxEOP
		}
		e.low = uint64(kind) | uint64(hash)<<32
		e.high = uint64(state) | uint64(len(part))<<32 | uint64(tag)<<48
		d.writeBack(base+qTail, e)
	}
	return true
}

// free is how many descriptors a ring holds for the device.
func (d *Device) free(base uint32) int {
	size := *d.reg(base + qLEN) / descriptorSize
	if size == 0 {
		return 0
	}
	return int((*d.reg(base + qTail) + size - *d.reg(base + qHead)) % size)
}

func broadcast(f []byte) bool { return [6]byte(f) == [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff} }

func tagged(f []byte) bool { return len(f) >= 18 && f[12] == 0x81 && f[13] == 0 }

func vlanRoom(f []byte) int {
	if tagged(f) {
		return 4
	}
	return 0
}

// accepts is the filter of destination addresses (7.1.1.1).
func (d *Device) accepts(f []byte) bool {
	control := *d.reg(regFCTRL)
	low, high := binary.LittleEndian.Uint32(f), uint32(binary.LittleEndian.Uint16(f[4:]))
	for i := range uint32(128) {
		if *d.reg(regRAL + 8*i) == low && *d.reg(regRAL + 8*i + 4)&(rahAV|0xffff) == rahAV|high {
			return true
		}
	}
	switch {
	case broadcast(f):
		return control&fctrlBAM != 0
	case f[0]&1 == 0:
		return control&fctrlUPE != 0
	case control&fctrlMPE != 0:
		return true
	}
	filter := *d.reg(regMCSTCTRL)
	// MO chooses 12 of the last 16 bits: 47:36, 46:35, 45:34 or 43:32.
	shift := [4]uint32{4, 3, 2, 0}[filter&3]
	v := high >> shift & 0xfff
	return filter&mcstctrlMFE != 0 && *d.reg(regMTA + v>>5*4)>>(v&31)&1 != 0
}

// acceptsVLAN is the filter of VLAN identifiers (7.1.1.2).
func (d *Device) acceptsVLAN(f []byte) bool {
	if *d.reg(regVLNCTRL)&vlnctrlVFE == 0 || !tagged(f) {
		return true
	}
	id := uint32(binary.BigEndian.Uint16(f[14:]) & 0xfff)
	return *d.reg(regVFTA + id>>5*4)>>(id&31)&1 != 0
}
