package ixgbemodel

// The flow director (7.1.2.7): its tables take filters, and no frame matches
// one, so that frames go on to RSS.
const (
	fdirDone     = 1 << 3
	fdirCommand  = 3
	fdirAdd      = 1
	fdirRemove   = 2
	fdirClear    = 1 << 8
	fdirAlloc    = 3
	fdirCapacity = 0x2000 // filters, of the smallest allocation
)

// openFlow sets the flow director up: done at once, its tables empty.
func (d *Device) openFlow(value uint32) {
	*d.reg(regFDIRCTRL) = value | fdirDone
	*d.reg(regFDIRFREE) = 0
	if value&fdirAlloc != 0 {
		*d.reg(regFDIRFREE) = fdirCapacity
	}
}

// steerFlow does a command: done at once. CLEARHT empties the tables.
func (d *Device) steerFlow(value uint32) {
	command := value & fdirCommand
	if command != 0 && *d.reg(regFDIRCTRL)&fdirAlloc == 0 {
		d.violate(regFDIRCMD, "7.1.2.7.2", "a filter, while the flow director has no memory")
	}
	*d.reg(regFDIRCMD) = value &^ fdirCommand
	free := d.reg(regFDIRFREE)
	switch {
	case value&fdirClear != 0:
		*free = fdirCapacity
	case command == fdirAdd && *free > 0:
		*free--
		*d.reg(regFDIRUSTAT)++
	case command == fdirAdd:
		*d.reg(regFDIRFSTAT)++
	case command == fdirRemove && *free < fdirCapacity:
		*free++
		*d.reg(regFDIRUSTAT) += 1 << 16
	}
}
