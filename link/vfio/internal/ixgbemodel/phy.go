package ixgbemodel

// MDIO: MSCA asks, MSRWD carries the data (8.2.3.22.11, 8.2.3.22.12).
const (
	mscaCommand = 1 << 30
	mscaRegular = 0x000001f<<16 | 0xffff // the device type and the address
)

// Operations of MSCA.
const (
	mdioAddress = iota
	mdioWrite
	mdioReadNext
	mdioRead
)

// Registers of the X540's PHY: device type, then register (clause 45; X540
// datasheet, 9.6).
const (
	phyID1        = 1<<16 | 2
	phyID2        = 1<<16 | 3
	phySpeeds     = 1<<16 | 4
	phyDevices1   = 1<<16 | 5 // which device types there are,
	phyDevices2   = 1<<16 | 6 // and which of the vendor's
	phyStatus2    = 1<<16 | 8 // a device type says here that it is there
	pcsStatus2    = 3<<16 | 8
	xsStatus2     = 4<<16 | 8
	phyAbilities  = 1<<16 | 11
	phyControl    = 4 << 16
	anControl     = 7 << 16
	anStatus      = 7<<16 | 1
	anAdvertise   = 7<<16 | 0x10
	an10G         = 7<<16 | 0x20
	an1G          = 7<<16 | 0xc400
	anVendor      = 7<<16 | 0xc800
	globalControl = 30 << 16
	globalStatus  = 30<<16 | 1

	phyReset    = 1 << 15
	anRestart   = 1 << 9
	anEnable    = 1 << 12
	anComplete  = 1 << 5
	anLinkUp    = 1 << 2
	anFull      = 1
	globalLink  = 1 << 3
	globalSlow  = 1 << 4  // 1 GbE
	globalSleep = 1 << 11 // low power: no link
	offer10G    = 1 << 12
	offer1G     = 1 << 15
	offer100M   = 1 << 8
	phyModel    = 0x01540200
	isThere     = 2 << 14
	noPHY       = 0xffff // what the wire reads where nothing answers
	abilityBits = 1<<2 | 1<<5 | 1<<7
)

// phyDefaults are those of a PHY of 10GBASE-T, 1000BASE-T and 100BASE-TX.
var phyDefaults = map[uint32]uint16{
	phyID1: phyModel >> 16, phyID2: phyModel & 0xffff, phySpeeds: 0x31, phyAbilities: abilityBits,
	phyDevices1: 1<<1 | 1<<3 | 1<<4 | 1<<7, phyDevices2: 1 << 14,
	phyStatus2: isThere, pcsStatus2: isThere, xsStatus2: isThere,
	anControl: anEnable, anAdvertise: offer100M | 1, an10G: offer10G, an1G: offer1G | 1<<14,
}

// writeMDIO does an operation: done at once, MDICMD never reads as set.
func (d *Device) writeMDIO(value uint32) {
	*d.reg(regMSCA) = value &^ mscaCommand
	if value&mscaCommand == 0 {
		return
	}
	if d.config.Chip == ChipX540 && *d.reg(regSWFW)&swfwPHY0 == 0 {
		d.violate(regMSCA, "10.5.4", "MDIO without the semaphore of the PHY")
	}
	at, data := value&mscaRegular, d.reg(regMSRWD)
	switch value >> 26 & 3 {
	case mdioWrite:
		d.writePHY(value, at, uint16(*data))
	case mdioRead, mdioReadNext:
		*data = *data&0xffff | uint32(d.readPHY(value, at))<<16
	}
}

// present says whether a PHY answers: the X540's has address 0.
func (d *Device) present(command uint32) bool {
	return d.config.Chip == ChipX540 && command>>21&0x1f == 0
}

func (d *Device) readPHY(command, at uint32) uint16 {
	if !d.present(command) {
		return noPHY
	}
	v := d.phy[at]
	speed := d.speed()
	if speed == 0 {
		return v
	}
	switch at {
	case anStatus:
		v |= anComplete | anLinkUp
	case anVendor:
		v |= anFull | uint16(speed>>27)
	case globalStatus:
		v |= globalLink
		if speed == links1G {
			v |= globalSlow
		}
	}
	return v
}

// negotiated is the best of the speeds that the PHY offers, for LINKS; the
// other end offers all.
func (d *Device) negotiated() uint32 {
	switch {
	case d.phy[globalControl]&globalSleep != 0:
		return 0
	case d.phy[an10G]&offer10G != 0:
		return links10G
	case d.phy[an1G]&offer1G != 0:
		return links1G
	case d.phy[anAdvertise]&offer100M != 0:
		return links100M
	}
	return 0
}

func (d *Device) writePHY(command, at uint32, value uint16) {
	if !d.present(command) {
		return
	}
	switch at {
	case phyID1, phyID2, phySpeeds, phyAbilities, phyDevices1, phyDevices2, phyStatus2, pcsStatus2, xsStatus2:
		return
	case anControl:
		value &^= anRestart // done
	case phyControl:
		value &^= phyReset
	}
	d.phy[at] = value
}
