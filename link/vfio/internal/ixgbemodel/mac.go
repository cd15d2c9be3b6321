package ixgbemodel

// AUTOC and its kin: which link there is (8.2.3.22.19 to 8.2.3.22.23).
const (
	autocFLU       = 1 << 0 // force the link up
	autocRestart   = 1 << 12
	autocMode      = 7 << 13
	autoc1G        = 0 << 13
	autoc1GAN      = 2 << 13
	autocSerial    = 3 << 13 // 10 GbE over one lane, no negotiation
	autocNegotiate = 4 << 13 // the modes that negotiate have this bit
	autocDefault   = 0xc09c6004
	autoc2Default  = 0x000a0000
	autoc2Off      = 7 << 28
	autoc2Serial   = 3 << 16
	autoc2SFI      = 2 << 16
	anlpState      = 1 << 16
	maccFLU        = 1 << 0
	linksUp        = 1<<30 | 1<<7
	links100M      = 1 << 28
	links1G        = 2 << 28
	links10G       = 3 << 28
)

// speed is what LINKS says of the link: 0 without one. It takes a cable and, on
// the 82599, a MAC that is set for the module and a laser that is on; the
// X540's PHY does all by itself.
func (d *Device) speed() uint32 {
	const off = esdpLaserOff | esdpLaserOut
	autoc, autoc2 := *d.reg(regAUTOC), *d.reg(regAUTOC2)
	switch {
	case d.forced():
		return links10G
	case !d.cable:
		return 0
	case d.config.Chip == ChipX540:
		return d.negotiated()
	case autoc2&autoc2Off != 0, *d.reg(regESDP)&off == off:
		return 0
	}
	switch mode := autoc & autocMode; {
	case mode == autocSerial && autoc2&autoc2Serial == autoc2SFI:
		return links10G
	case mode == autoc1G, mode == autoc1GAN:
		return links1G
	}
	return 0
}

// forced says whether the link is up by force, which loopback needs (14.1).
func (d *Device) forced() bool {
	if d.config.Chip == ChipX540 {
		return *d.reg(regMACC)&maccFLU != 0
	}
	return *d.reg(regAUTOC)&autocFLU != 0
}

func (d *Device) linkUp() bool { return d.speed() != 0 }

// loops says whether what is sent comes back: the MAC's loopback (14.1).
func (d *Device) loops() bool { return *d.reg(regHLREG0)&hlreg0Loopback != 0 }

// changeLink does what may change the link, and raises LSC if it did.
func (d *Device) changeLink(change func()) {
	was := d.speed()
	change()
	if d.speed() != was {
		d.other(causeLSC)
	}
}

// readMAC reads the registers that tell of the link.
func (d *Device) readMAC(offset uint32) (uint32, bool) {
	v := *d.reg(offset)
	switch offset {
	case regCTRL:
		if d.resetting {
			d.resetting = false
			return v | ctrlRST, true
		}
	case regSTATUS:
		if d.linkUp() {
			v |= statusLinkUp
		}
		if *d.reg(regCTRL)&ctrlMaster == 0 {
			v |= statusMaster
		}
	case regLINKS:
		if speed := d.speed(); speed != 0 {
			v |= linksUp | speed
		}
	case regANLP1:
		if *d.reg(regAUTOC)&autocNegotiate != 0 {
			v |= anlpState
		}
	case regI2CCTL:
		v = d.readI2C()
	case regSECRXSTAT:
		v = *d.reg(regSECRXCTRL) >> 1 & 1
	case regSECTXSTAT:
		v = *d.reg(regSECTXCTRL) >> 1 & 1
	default:
		return 0, false
	}
	return v, true
}

// writeMAC writes those that steer it, and says whether the register is one.
func (d *Device) writeMAC(offset, value uint32) bool {
	switch offset {
	case regCTRL:
		if value&(ctrlRST|ctrlLRST) != 0 {
			d.softReset()
		} else {
			*d.reg(offset) = value
		}
	case regAUTOC, regAUTOC2, regESDP, regMACC:
		d.changeLink(func() { *d.reg(offset) = value &^ d.restarts(offset) })
	case regI2CCTL:
		d.writeI2C(value)
	case regMSCA:
		d.changeLink(func() { d.writeMDIO(value) })
	case regMSRWD:
		*d.reg(offset) = *d.reg(offset)&^0xffff | value&0xffff
	case regWUS:
		*d.reg(offset) &^= value
	case regFDIRCTRL:
		*d.reg(offset) = value | fdirDone
	case regFDIRCMD:
		d.steerFlow(value)
	case regEERD:
		d.readWord(value)
	default:
		return false
	}
	return true
}

// restarts is the bit of a register that clears itself.
func (d *Device) restarts(offset uint32) uint32 {
	if offset == regAUTOC {
		return autocRestart
	}
	return 0
}
