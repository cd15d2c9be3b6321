package ixgbemodel

import (
	"encoding/binary"
	"math/bits"
	"time"
)

// Times of frames (7.9), as the registers have them (8.2.3.26).
const (
	stampValid   = 1 << 0
	stampOn      = 1 << 4
	stampTypes   = 7 << 1
	stampL2V2    = 0 << 1
	stampL4V1    = 1 << 1
	stampBothV2  = 2 << 1
	stampEventV2 = 5 << 1

	etherTypePTP = 0x88f7
	portPTP      = 319 // of event messages
)

// systemTime is SYSTIM, as it was when it was last looked at.
type systemTime struct {
	value uint64
	read  time.Duration
}

// maxAdvance bounds a step, so that its product fits 128 bits by far.
const maxAdvance = time.Second

// systime brings SYSTIM up to date: TIMINCA.IV is added once in IP ticks of
// 6.4 ns, the clock of a 10 GbE link; the X540 has no IP, it is 1.
func (d *Device) systime() uint64 {
	increment, period := uint64(*d.reg(regTIMINCA)), uint64(1)
	if d.config.Chip == Chip82599 {
		increment, period = increment&0xffffff, increment>>24
	} else {
		increment &= 0x7fffffff
	}
	now := d.config.Now()
	if period == 0 {
		d.clock.read = now
	}
	for d.clock.read < now {
		step := min(now-d.clock.read, maxAdvance)
		high, low := bits.Mul64(uint64(step)*10, increment)
		quotient, _ := bits.Div64(high%(64*period), low, 64*period)
		d.clock.value += quotient
		d.clock.read += step
	}
	return d.clock.value
}

// readTime reads time registers: the low word of SYSTIM takes the high one
// along, and the high word of a stamp gives its register free.
func (d *Device) readTime(offset uint32) (uint32, bool) {
	switch offset {
	case regSYSTIML:
		t := d.systime()
		*d.reg(regSYSTIMH) = uint32(t >> 32)
		return uint32(t), true
	case regRXSTMPH:
		*d.reg(regTSYNCRXCTL) &^= stampValid
	case regTXSTMPH:
		*d.reg(regTSYNCTXCTL) &^= stampValid
	case regFRTIMER:
		return uint32(d.config.Now() / time.Microsecond), true
	default:
		return 0, false
	}
	return *d.reg(offset), true
}

// writeTime sets the clock, and says whether the register is one of its own.
func (d *Device) writeTime(offset, value uint32) bool {
	t := d.systime()
	switch offset {
	case regSYSTIML:
		d.clock.value = t&^0xffffffff | uint64(value)
	case regSYSTIMH:
		d.clock.value = t&0xffffffff | uint64(value)<<32
	case regTIMADJH: // with the low word, written before; bit 31 is the sign
		by := uint64(value&0x7fffffff)<<32 | uint64(*d.reg(regTIMADJL))
		if value>>31 != 0 {
			by = -by
		}
		d.clock.value = t + by
		*d.reg(offset) = value
	case regTXSTMPL, regTXSTMPH:
		d.violate(offset, "8.2.3.26", "time stamps are read-only")
	default:
		return false
	}
	return true
}

// stamp takes the time into a pair of registers, unless they still hold one.
func (d *Device) stamp(control, low, high uint32) bool {
	r := d.reg(control)
	if *r&stampOn == 0 || *r&stampValid != 0 {
		return false
	}
	t := d.systime()
	*d.reg(low), *d.reg(high) = uint32(t), uint32(t>>32)
	*r |= stampValid
	return true
}

// stampReceive takes the time of a PTP frame of the kind that is wanted.
func (d *Device) stampReceive(f []byte) bool {
	if *d.reg(regTSYNCRXCTL)&stampOn == 0 {
		return false
	}
	message, l2 := d.message(f)
	if !d.wanted(message, l2) || !d.stamp(regTSYNCRXCTL, regRXSTMPL, regRXSTMPH) {
		return false
	}
	*d.reg(regRXSATRL) = binary.BigEndian.Uint32(message[22:])
	*d.reg(regRXSATRH) = uint32(binary.BigEndian.Uint16(message[26:]))<<16 | uint32(binary.BigEndian.Uint16(message[30:]))
	return true
}

// minMessage is the header of a PTP message, in bytes.
const minMessage = 34

// message returns the PTP message of a frame, nil if it is none. One that is
// right behind Ethernet needs a filter of its EtherType with ETQF.1588.
func (d *Device) message(f []byte) (message []byte, l2 bool) {
	at := 14 + vlanRoom(f)
	if binary.BigEndian.Uint16(f[at-2:]) == etherTypePTP {
		for i := range uint32(8) {
			if q := *d.reg(regETQF + 4*i); q&(etqfOn|etqf1588) == etqfOn|etqf1588 && q&0xffff == etherTypePTP {
				message = f[at:]
			}
		}
	} else if p := parse(f); p.protocol == udp && binary.BigEndian.Uint16(p.payload[2:]) == portPTP {
		return long(p.payload[udpHeader:]), false
	}
	return long(message), true
}

func long(message []byte) []byte {
	if len(message) < minMessage {
		return nil
	}
	return message
}

// wanted says whether TSYNCRXCTL.TYPE and RXMTRL ask for a message's time.
func (d *Device) wanted(message []byte, l2 bool) bool {
	if message == nil {
		return false
	}
	kind, match := *d.reg(regTSYNCRXCTL)&stampTypes, *d.reg(regRXMTRL)
	v2 := message[1]&15 == 2
	same := message[0]&15 == byte(match>>8&15)
	switch kind {
	case stampL2V2:
		return l2 && v2 && same
	case stampBothV2:
		return v2 && same
	case stampEventV2:
		return v2 && message[0]&15 < 8
	case stampL4V1:
		return !l2 && message[1]&15 == 1 && message[32] == byte(match)
	}
	return false
}
