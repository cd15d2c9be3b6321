package ixgbemodel

import "encoding/binary"

func broadcast(f []byte) bool { return [6]byte(f) == [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff} }

func tagged(f []byte) bool { return len(f) >= 18 && f[12] == 0x81 && f[13] == 0 }

func vlanRoom(f []byte) int {
	if tagged(f) {
		return 4
	}
	return 0
}

// fits counts and refuses frames that are over 1518 bytes or MAXFRS, tags not
// counted. n is the size on the wire.
func (d *Device) fits(f []byte, n int) bool {
	limit := 1518
	if *d.reg(regHLREG0)&hlreg0Jumbo != 0 {
		limit = int(*d.reg(regMAXFRS) >> 16)
	}
	if n > limit+vlanRoom(f) {
		d.count(regROC, 1)
		return false
	}
	return true
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
