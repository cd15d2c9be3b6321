package ixgbemodel

import "math/bits"

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

// readInterrupt reads interrupt registers (8.2.3.5). EICS reads as EICR does,
// and clears nothing.
func (d *Device) readInterrupt(offset uint32) (uint32, bool) {
	switch base, word := extended(offset); base {
	case regEIMSEX:
		return wide(d.mask, word), true
	case regEIAMEX:
		return wide(d.auto, word), true
	case regEICSEX:
		return wide(d.causes, word), true
	}
	v := d.misc | uint32(d.causes&queueCauses)
	switch offset {
	case regEICR:
		d.clearOnRead()
		d.autoMask(uint64(v&queueCauses), v&^queueCauses)
	case regEICS:
	case regEIMS:
		v = d.miscMask | uint32(d.mask&queueCauses)
	case regEIAM:
		v = *d.reg(offset)&^queueCauses | uint32(d.auto&queueCauses)
	default:
		return 0, false
	}
	return v, true
}

// otherCauses are those that a read of EICR clears with GPIE.OCD set.
const otherCauses = 0x3fff << 16

func (d *Device) clearOnRead() {
	if *d.reg(regGPIE)&gpieOCD != 0 {
		d.misc &^= otherCauses
		return
	}
	d.misc, d.causes = 0, d.causes&^queueCauses
}

// autoMask masks those causes that EIAM names.
func (d *Device) autoMask(queues uint64, misc uint32) {
	d.mask &^= queues & d.auto
	d.miscMask &^= misc & *d.reg(regEIAM)
}

// writeInterrupt writes interrupt registers, and says whether it was one.
func (d *Device) writeInterrupt(offset, value uint32) bool {
	if base, word := extended(offset); base != 0 {
		d.writeWide(base, word, value)
		return true
	}
	queues, misc := uint64(value&queueCauses), value&^queueCauses
	switch offset {
	case regEICR:
		d.autoMask(d.causes&queues, d.misc&misc)
		d.causes &^= queues
		d.misc &^= misc
	case regEICS:
		d.raise(queues, misc)
	case regEIMS:
		d.unmask(queues, misc)
	case regEIMC:
		d.mask &^= queues
		d.miscMask &^= misc
	case regEIAM:
		*d.reg(offset) = misc
		d.auto = d.auto&^queueCauses | queues
	default:
		return false
	}
	return true
}

func (d *Device) writeWide(base, word, value uint32) {
	bits := uint64(value) << (32 * word)
	switch base {
	case regEICSEX:
		d.raise(bits, 0)
	case regEIMSEX:
		d.unmask(bits, 0)
	case regEIMCEX:
		d.mask &^= bits
	case regEIAMEX:
		d.auto = d.auto&^(0xffffffff<<(32*word)) | bits
	}
}

// unmask lets causes through that have waited.
func (d *Device) unmask(queues uint64, misc uint32) {
	d.mask |= queues
	d.miscMask |= misc
	if d.causes&queues != 0 || d.misc&misc != 0 {
		d.raise(d.causes&queues, d.misc&misc)
	}
}

// other raises causes that are no queue's.
func (d *Device) other(causes uint32) { d.raise(0, causes) }

// queueEvent raises the interrupt that IVAR gives a queue: with MSI-X a vector,
// else a bit of EICR.
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
		d.notify(0)
		return
	}
	if entry := *d.reg(regIVARMisc) >> 8; misc != 0 && entry&ivarValid != 0 {
		queues |= 1 << (entry & ivarVector)
	}
	for ; queues != 0; queues &= queues - 1 {
		d.notify(bits.TrailingZeros64(queues))
	}
}

// notify sends a message, if the vector's interval is over.
func (d *Device) notify(vector int) {
	if !d.may(vector) {
		return
	}
	d.fired = append(d.fired, vector)
	if *d.reg(regGPIE)&gpieMSIX != 0 {
		d.left(d.pending(vector))
	}
}

// pending are the causes that a vector would tell of now.
func (d *Device) pending(vector int) (queues uint64, misc uint32) {
	if *d.reg(regGPIE)&gpieMSIX == 0 {
		if vector == 0 {
			return d.causes & d.mask & queueCauses, d.misc & d.miscMask
		}
		return 0, 0
	}
	if entry := *d.reg(regIVARMisc) >> 8; entry&ivarValid != 0 && int(entry&ivarVector) == vector {
		misc = d.misc & d.miscMask
	}
	return d.causes & d.mask & (1 << vector), misc
}

// left clears and masks what a message has been sent for: EIAC and, with
// GPIE.EIAME, EIAM. Vectors above 15 are always cleared (7.3.4.2).
func (d *Device) left(queues uint64, misc uint32) {
	clear := *d.reg(regEIAC)
	d.causes &^= queues & (uint64(clear&queueCauses) | ^uint64(queueCauses))
	d.misc &^= misc & clear &^ queueCauses
	if *d.reg(regGPIE)&gpieEIAME != 0 {
		d.autoMask(queues, misc)
	}
}

// moveLine brings INTx up to date. It goes up again when its interval is over.
func (d *Device) moveLine() {
	queues, misc := d.pending(0)
	up := *d.reg(regGPIE)&gpieMSIX == 0 && (queues != 0 || misc != 0)
	if d.early(lineVector) == 0 {
		d.moderated[lineVector].held = false
	}
	if up && !d.line {
		up = d.may(lineVector)
	}
	if up != d.line && d.config.Line != nil {
		d.config.Line(up)
	}
	d.line = up
}
