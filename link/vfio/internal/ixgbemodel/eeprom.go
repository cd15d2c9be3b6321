package ixgbemodel

// What drivers read of the EEPROM (6.1): words, and the sum over all of them up
// to the checksum's, pointers followed only where they are set (6.3).
const (
	eepromWords    = 1024
	eepromMAC      = 0x100 // where the words of the port's address are
	eepromChecksum = 0x3f
	eepromSum      = 0xbaba
)

// burn fills the EEPROM: nothing but the address and a checksum that is right.
func (d *Device) burn() {
	m := d.config.MAC
	for i := range 3 {
		d.eeprom[eepromMAC+i] = uint16(m[2*i]) | uint16(m[2*i+1])<<8
	}
	var sum uint16
	for _, w := range d.eeprom[:eepromChecksum] {
		sum += w
	}
	d.eeprom[eepromChecksum] = eepromSum - sum
}

// writeEEPROM does EERD and the semaphores, and says whether the register is one of them.
func (d *Device) writeEEPROM(offset, value uint32) bool {
	r := d.reg(offset)
	switch offset {
	case regEERD:
		d.readWord(r, value)
	case regSWSM:
		if value&swsmSWESMBI != 0 && *r&swsmSMBI == 0 {
			d.violate(offset, "8.2.3.4.8", "SWSM.SWESMBI requested without SMBI")
		}
		*r = value & (swsmSMBI | swsmSWESMBI)
	case regSWFW:
		held := *d.reg(regSWSM)&swsmSWESMBI != 0
		if d.config.Chip == ChipX540 {
			held = *d.reg(regSWSM)&swsmSMBI != 0 && *r&swfwREGSMP != 0
		}
		if !held {
			d.violate(offset, "8.2.3.4.9", "SW_FW_SYNC written without the semaphore")
		}
		*r = value
	default:
		return false
	}
	return true
}

// readWord reads a word: done at once, which the datasheet allows (8.2.3.2.2).
func (d *Device) readWord(r *uint32, value uint32) {
	if value&eerdStart == 0 {
		*r = value &^ eerdDone
		return
	}
	address := value >> 2 & 0x3fff
	word := uint16(0xffff)
	if address < eepromWords {
		word = d.eeprom[address]
	} else {
		d.violate(regEERD, "8.2.3.2.2", "EERD: address beyond the EEPROM")
	}
	*r = eerdDone | address<<2 | uint32(word)<<16
}
