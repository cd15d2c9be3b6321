package ixgbemodel

// reset puts all registers to what they are after a reset (4.2).
func (d *Device) reset() {
	d.regs = [Size / 4]uint32{}
	d.rx, d.tx = [Queues]queue{}, [Queues]queue{}
	d.contexts = [Queues][2]context{}
	d.causes, d.misc, d.mask, d.miscMask = 0, 0, 0, 0
	*d.reg(regEEC) = eecPresent | eecARD
	*d.reg(regRDRXCTL) = rdrxDMADone
	*d.reg(regHLREG0) = 1 | hlreg0CRC | hlreg0Pad
	*d.reg(regMAXFRS) = 1518 << 16
	*d.reg(regVLNCTRL) = 0x8100 // the EtherType of tags
	m := d.config.MAC
	*d.reg(regRAL) = uint32(m[0]) | uint32(m[1])<<8 | uint32(m[2])<<16 | uint32(m[3])<<24
	*d.reg(regRAL + 4) = rahAV | uint32(m[4]) | uint32(m[5])<<8
}

func (d *Device) read(offset uint32) uint32 {
	if q, r, _ := queueOf(offset); q != nil && r == qDCTL {
		return q(d).control(d.reg(offset))
	}
	if v, ok := d.readInterrupt(offset); ok {
		return v
	}
	r := d.reg(offset)
	v := *r
	switch {
	case offset == regCTRL:
		if d.resetting {
			d.resetting = false
			return v | ctrlRST
		}
	case offset == regSTATUS:
		if d.link {
			v |= statusLinkUp
		}
		if *d.reg(regCTRL)&ctrlMaster == 0 {
			v |= statusMaster
		}
	case offset == regLINKS:
		if d.link {
			v |= linksUp | links10G
		}
	case offset == regSWSM:
		*r |= swsmSMBI // a read takes it, if it was free
	case offset == regSWFW && d.config.Chip == ChipX540:
		*r |= swfwREGSMP
	case counter(offset):
		*r = 0
	}
	return v
}

func (d *Device) write(offset, value uint32) {
	r := d.reg(offset)
	if w := writable(offset); w != nil {
		if (value^*r)&^w.writable != 0 {
			d.violate(offset, w.section, w.name+": reserved or read-only bits changed")
		}
		value = value&w.writable | *r&^w.writable
	}
	if counter(offset) {
		d.violate(offset, "8.2.3.23", "counters are read-only")
		return
	}
	if d.writeInterrupt(offset, value) || d.writeQueue(offset, value) || d.writeEEPROM(offset, value) {
		return
	}
	switch offset {
	case regCTRL:
		if value&(ctrlRST|ctrlLRST) != 0 {
			d.softReset()
			return
		}
	case regFCTRL:
		if *d.reg(regRXCTRL)&rxctrlRXEN != 0 && value != *r {
			d.violate(offset, "8.2.3.7.1", "FCTRL changed while RXCTRL.RXEN is set")
		}
	case regRDRXCTL:
		value = value&^rdrxDMADone | *r&rdrxDMADone
	case regRXCTRL:
		d.checkStrip(value)
	default:
		if !d.alive(offset) {
			d.unmodelled[offset] = true
		}
	}
	*r = value
}

// softReset is a reset by CTRL: it must come with interrupts masked, and its
// bit reads as one until it is done. It leaves the semaphores to their holders:
// on the X540 a driver holds one across it.
func (d *Device) softReset() {
	if d.mask != 0 || d.miscMask != 0 {
		d.violate(regCTRL, "4.6.3.1", "reset while interrupts are enabled")
	}
	swsm, swfw := *d.reg(regSWSM), *d.reg(regSWFW)
	d.reset()
	*d.reg(regSWSM), *d.reg(regSWFW) = swsm, swfw
	d.resetting = true
}

// checkStrip wants both places that say whether checksums are stripped to agree.
func (d *Device) checkStrip(value uint32) {
	on := value&rxctrlRXEN != 0
	if on && (*d.reg(regRDRXCTL)&rdrxCRC != 0) != (*d.reg(regHLREG0)&hlreg0CRC != 0) {
		d.violate(regRXCTRL, "8.2.3.8.8", "RDRXCTL.CRCStrip and HLREG0.RXCRCSTRP differ")
	}
}

// alive says whether a register without special treatment when written is
// looked at by the model.
func (d *Device) alive(offset uint32) bool {
	in := func(first, words uint32) bool { return offset >= first && offset < first+4*words }
	switch offset {
	case regVLNCTRL, regMCSTCTRL, regRXCSUM, regMRQC, regHLREG0, regMAXFRS, regDMATXCTL:
		return true
	}
	return in(regMTA, 128) || in(regVFTA, 128) || in(regRAL, 256) || in(regRETA, 32) || in(regRSSRK, 10)
}

// count adds to a counter, which saturates.
func (d *Device) count(offset, n uint32) {
	r := d.reg(offset)
	if *r += n; *r < n {
		*r = 0xffffffff
	}
}

// countOctets adds to a counter of 36 bits in two words.
func (d *Device) countOctets(low uint32, n int) {
	sum := uint64(*d.reg(low)) | uint64(*d.reg(low + 4))<<32
	sum = min(sum+uint64(n), 1<<36-1)
	*d.reg(low), *d.reg(low + 4) = uint32(sum), uint32(sum>>32)
}
