package ixgbemodel

// show reads the registers that tell of the device's state, and says whether the
// register is one.
func (d *Device) show(offset uint32) (uint32, bool) {
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

// act does what a write of some registers sets off, and says whether the
// register is one.
func (d *Device) act(offset, value uint32) bool {
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
		d.openFlow(value)
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
