package ixgbemodel

// Semaphores between drivers and firmware (10.5.4; X540: 10.5.4 too). The bits
// of SW_FW_SYNC say who holds what; a first semaphore guards the register.
const (
	swsmSMBI    = 1 << 0 // between drivers: a read takes it
	swsmSWESMBI = 1 << 1 // 82599: between software and firmware
	swfwREGSMP  = 1 << 31
	swfwPHY0    = 1 << 1
)

// readSemaphore reads SWSM or SW_FW_SYNC: a read takes what is free.
func (d *Device) readSemaphore(offset uint32) (uint32, bool) {
	r := d.reg(offset)
	v := *r
	switch {
	case offset == regSWSM:
		*r |= swsmSMBI
	case offset == regSWFW && d.config.Chip == ChipX540:
		*r |= swfwREGSMP // the X540's second half is taken by reading, too
	default:
		return 0, false
	}
	return v, true
}

// writeSemaphore writes one of them, and says whether the register is one.
func (d *Device) writeSemaphore(offset, value uint32) bool {
	r := d.reg(offset)
	switch offset {
	case regSWSM:
		if value&swsmSWESMBI != 0 && *r&swsmSMBI == 0 {
			d.violate(offset, "8.2.3.4", "SWSM.SWESMBI requested without SMBI")
		}
		*r = value & (swsmSMBI | swsmSWESMBI)
	case regSWFW:
		held := *d.reg(regSWSM)&swsmSWESMBI != 0
		if d.config.Chip == ChipX540 {
			held = *d.reg(regSWSM)&swsmSMBI != 0 && *r&swfwREGSMP != 0
		}
		if !held {
			d.violate(offset, "8.2.3.4", "SW_FW_SYNC written without the semaphore")
		}
		*r = value
	default:
		return false
	}
	return true
}
