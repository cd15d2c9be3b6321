package ixgbemodel

// The wires of the EEPROM, which software moves by EEC once it was granted them
// (3.3.1.7, 8.2.3.2.1): a serial memory with addresses of two bytes, which EEC
// says. DPDK's driver reads the first word so.
const (
	eecClock    = 1 << 0
	eecDeselect = 1 << 1 // the memory's chip select, which is active when low
	eecIn       = 1 << 2 // to the memory
	eecOut      = 1 << 3 // from it
	eecRequest  = 1 << 6
	eecGrant    = 1 << 7
	eecLongAddr = 1 << 10
)

// Commands of the memory.
const (
	spiRead   = 0x03 // and an address: bytes from there on, until it is deselected
	spiStatus = 0x05 // and a byte, of which bit 0 says that it is busy

	spiCommandBits = 8
	spiAddressBits = 16
)

// spi is the memory's side of the wires.
type spi struct {
	bits int    // clocks since it was selected
	in   uint32 // what it has been told by then
}

// clock is the rising edge of a clock: it takes a bit, and returns the one that it
// puts on its own wire.
func (s *spi) clock(in bool, eeprom *[eepromWords]uint16) (out bool) {
	at := s.bits
	s.bits++
	if at < spiCommandBits+spiAddressBits {
		s.in <<= 1
		if in {
			s.in |= 1
		}
	}
	if at < spiCommandBits+spiAddressBits || s.in>>spiAddressBits != spiRead {
		return false // its status is 0, too: it is never busy
	}
	at -= spiCommandBits + spiAddressBits
	// It sends the high bit of a byte first, and the low byte of a word.
	address := int(s.in&0xffff) + at/8
	if address/2 >= eepromWords {
		return true
	}
	b := eeprom[address/2] >> (8 * (address % 2))
	return b>>(7-at%8)&1 != 0
}

// writeSPI writes EEC, and says whether the register is it.
func (d *Device) writeSPI(offset, value uint32) bool {
	if offset != regEEC {
		return false
	}
	r := d.reg(regEEC)
	was := *r
	const wires = eecClock | eecDeselect | eecIn
	if *r&eecGrant == 0 && value&wires != was&wires {
		d.violate(regEEC, "8.2.3.2.1", "EEC: the memory's wires are moved without a grant")
		value = value&^wires | was&wires
	}
	const own = eecOut | eecGrant | eecPresent | eecARD | eecLongAddr | eecSize
	*r = was&own | value&^own
	if value&eecRequest != 0 {
		*r |= eecGrant
	} else {
		*r &^= eecGrant
	}
	switch {
	case value&eecDeselect != 0:
		d.serial = spi{}
		*r &^= eecOut
	case value&eecClock != 0 && was&eecClock == 0:
		*r &^= eecOut
		if d.serial.clock(value&eecIn != 0, &d.eeprom) {
			*r |= eecOut
		}
	}
	return true
}
