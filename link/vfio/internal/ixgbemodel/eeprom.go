package ixgbemodel

// The EEPROM (6.1): a map of words, of pointers to sections that begin with
// their length, and of a sum over all of them (6.3.1.3).
const (
	eepromWords = 1024 // EEC.EE_SIZE 4
	eepromSize  = 4
	eepromSum   = 0xbaba

	wordAnalog     = 0x03 // the first of the pointers that the sum follows
	wordPHY        = 0x04 // which the X540's leaves out,
	wordROM        = 0x05 // and this one
	wordGeneral    = 0x06
	wordCore0      = 0x09
	wordMAC0       = 0x0b
	wordFirmware   = 0x0f // the sum stops before it
	wordPBAGuard   = 0x15
	wordPBA        = 0x16
	wordSANMAC     = 0x28
	wordPHYInit    = 0x2b
	wordCaps       = 0x2c
	wordVersionLow = 0x2d
	wordVersion    = 0x2e
	wordChecksum   = 0x3f

	pbaGuard     = 0xfafa // word 0x16 is a pointer, not a number
	pba          = "OOBNET-001"
	none         = 0xffff // what erased words hold: no section
	versionValid = 0x8000
)

// Where the sections of this EEPROM are.
const (
	sectionGeneral  = 0x80
	sectionCore0    = 0x100
	sectionMAC0     = 0x120
	sectionFirmware = 0x200
	sectionPatch    = 0x220
	sectionPBA      = 0x240
	sectionSANMAC   = 0x260
	sectionPHYInit  = 0x280
	sectionSFP      = 0x2a0
)

// Parts of the firmware's section, and of what it points to: no LESM, and a
// version that drivers take for that of a product (more than 5).
const (
	firmwareLESM  = 2
	firmwarePatch = 4
	patchVersion  = 7
)

// SFP+ modules as the list of initial sequences numbers them, for port 0.
const (
	sfpDirectAttach = 3
	sfpOptical      = 5
)

// burn fills the EEPROM.
func (d *Device) burn() {
	e := &d.eeprom
	for i := range e {
		e[i] = none
	}
	e[0], e[1] = 0, 0
	d.section(wordGeneral, sectionGeneral, 0x0094, 0x0400, 0, 0x1000)
	d.section(wordCore0, sectionCore0, append(macWords(d.config.MAC), 0x0a0b, 0x0e0d, 0, 0)...)
	d.section(wordMAC0, sectionMAC0, uint16(autocDefault>>16), uint16(autocDefault&0xffff), uint16(autoc2Default>>16), 0)
	e[wordFirmware] = sectionFirmware
	e[sectionFirmware+firmwarePatch] = sectionPatch
	e[sectionPatch+patchVersion] = 0x10
	e[wordPBAGuard], e[wordPBA] = pbaGuard, sectionPBA
	e[sectionPBA] = 1 + uint16(len(pba))/2
	for i := range len(pba) / 2 {
		e[sectionPBA+1+i] = uint16(pba[2*i])<<8 | uint16(pba[2*i+1])
	}
	san := d.config.MAC
	san[5] ^= 1
	e[wordSANMAC] = sectionSANMAC
	copy(e[sectionSANMAC:], macWords(san))
	e[wordPHYInit] = sectionPHYInit
	copy(e[sectionPHYInit:], []uint16{5, sfpDirectAttach, sectionSFP, sfpOptical, sectionSFP, none})
	copy(e[sectionSFP:], []uint16{2, 0x1a2b, 0x1c2d, none})
	e[wordCaps] = 0 // modules of the maker alone, no FCoE, no wake-up
	e[wordVersionLow], e[wordVersion] = 1, versionValid
	e[wordChecksum] = eepromSum - d.sumEEPROM()
}

// section puts words, behind their number, where a pointer then points.
func (d *Device) section(pointer, at int, words ...uint16) {
	d.eeprom[pointer], d.eeprom[at] = uint16(at), uint16(len(words))
	copy(d.eeprom[at+1:], words)
}

// sumEEPROM adds up the map and the sections that it points to (6.3.1.3).
func (d *Device) sumEEPROM() uint16 {
	e := &d.eeprom
	var sum uint16
	for _, w := range e[:wordChecksum] {
		sum += w
	}
	for p := wordAnalog; p < wordFirmware; p++ {
		at := int(e[p])
		if p == wordPHY || p == wordROM || at == 0 || at == none {
			continue
		}
		for _, w := range e[at+1:][:e[at]] {
			sum += w
		}
	}
	return sum
}

// macWords are an address as the EEPROM holds it.
func macWords(m [6]byte) []uint16 {
	return []uint16{uint16(m[0]) | uint16(m[1])<<8, uint16(m[2]) | uint16(m[3])<<8, uint16(m[4]) | uint16(m[5])<<8}
}

// readWord does EERD: done at once, which the datasheet allows (8.2.3.2.2).
func (d *Device) readWord(value uint32) {
	r := d.reg(regEERD)
	if value&eerdStart == 0 {
		*r = value &^ eerdDone
		return
	}
	address := value >> 2 & 0x3fff
	word := uint16(none)
	if address < eepromWords {
		word = d.eeprom[address]
	} else {
		d.violate(regEERD, "8.2.3.2.2", "EERD: address beyond the EEPROM")
	}
	*r = eerdDone | address<<2 | uint32(word)<<16
}
