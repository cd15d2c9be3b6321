package ixgbemodel

// wide returns the bits of an extended register's word, 0 or 1.
func wide(all uint64, word uint32) uint32 { return uint32(all >> (32 * word)) }

// extended finds the register and the word of an extended register.
func extended(offset uint32) (base, word uint32) {
	switch base = offset &^ 7; {
	case offset < regEICSEX || offset >= regEIAMEX+8:
		return 0, 0
	case base == regEICSEX || base == regEIMSEX || base == regEIMCEX || base == regEIAMEX:
		return base, offset >> 2 & 1
	}
	return 0, 0
}

// readInterrupt reads interrupt registers (8.2.3.5).
func (d *Device) readInterrupt(offset uint32) (uint32, bool) {
	if base, word := extended(offset); base == regEIMSEX {
		return wide(d.mask, word), true
	}
	switch offset {
	case regEICR:
		v := d.misc | uint32(d.causes&queueCauses)
		if *d.reg(regGPIE)&gpieOCD == 0 {
			d.misc, d.causes = 0, d.causes&^queueCauses
		}
		d.autoMask(v)
		return v, true
	case regEIMS:
		return d.miscMask | uint32(d.mask&queueCauses), true
	}
	return 0, false
}

// autoMask masks causes that EIAM names: when EICR is read, or a message left.
func (d *Device) autoMask(causes uint32) {
	if *d.reg(regGPIE)&gpieEIAME == 0 {
		return
	}
	auto := causes & *d.reg(regEIAM)
	d.mask &^= uint64(auto & queueCauses)
	d.miscMask &^= auto &^ queueCauses
}

// writeInterrupt writes interrupt registers, and says whether it was one.
func (d *Device) writeInterrupt(offset, value uint32) bool {
	if base, word := extended(offset); base != 0 {
		d.writeWide(base, uint64(value)<<(32*word))
		*d.reg(offset) = value
		return true
	}
	queues, misc := uint64(value&queueCauses), value&^queueCauses
	switch offset {
	case regEICS, regEIMS, regEIMC:
		if value&maskReserved != 0 {
			d.violate(offset, "8.2.3.5", "bit 31 is reserved")
			misc &^= maskReserved
		}
	}
	switch offset {
	case regEICR:
		d.causes &^= queues
		d.misc &^= misc
	case regEICS:
		d.raise(queues, misc)
	case regEIMS:
		d.mask |= queues
		d.miscMask |= misc
		d.raise(d.causes&queues, d.misc&misc)
	case regEIMC:
		d.mask &^= queues
		d.miscMask &^= misc
	default:
		return d.keepsInterrupt(offset, value)
	}
	return true
}

// keepsInterrupt stores the registers that only steer.
func (d *Device) keepsInterrupt(offset, value uint32) bool {
	ivar := offset >= regIVAR && offset < regIVAR+64*4
	eitr := offset >= regEITR && offset < regEITR+24*4
	if !ivar && !eitr && offset != regGPIE && offset != regEIAC && offset != regEIAM && offset != regIVARMisc {
		return false
	}
	*d.reg(offset) = value
	return true
}

func (d *Device) writeWide(base uint32, bits uint64) {
	switch base {
	case regEICSEX:
		d.raise(bits, 0)
	case regEIMSEX:
		d.mask |= bits
		d.raise(d.causes&bits, 0)
	case regEIMCEX:
		d.mask &^= bits
	}
}

// other raises causes that are no queue's.
func (d *Device) other(causes uint32) { d.raise(0, causes) }

// queueEvent raises the interrupt that IVAR gives a queue.
func (d *Device) queueEvent(queue int, transmit bool) {
	shift := 16 * uint(queue&1)
	if transmit {
		shift += 8
	}
	entry := *d.reg(regIVAR + uint32(queue/2)*4) >> shift
	if entry&ivarValid != 0 {
		d.raise(1<<(entry&ivarVector), 0)
	}
}

// raise sets causes and sends what is not masked: to a vector each with MSI-X,
// else to vector 0 (7.3).
func (d *Device) raise(queues uint64, misc uint32) {
	d.causes |= queues
	d.misc |= misc
	queues &= d.mask
	misc &= d.miscMask
	if queues == 0 && misc == 0 {
		return
	}
	if *d.reg(regGPIE)&gpieMSIX == 0 {
		d.fired = append(d.fired, 0)
		return
	}
	for v := range 64 {
		if queues>>v&1 != 0 {
			d.fired = append(d.fired, v)
		}
	}
	if entry := *d.reg(regIVARMisc) >> 8; misc != 0 && entry&ivarValid != 0 {
		d.fired = append(d.fired, int(entry&ivarVector))
	}
	clear := *d.reg(regEIAC)
	d.causes &^= queues & uint64(clear&queueCauses)
	d.misc &^= misc & clear &^ queueCauses
	d.autoMask(misc | uint32(queues&queueCauses))
}
