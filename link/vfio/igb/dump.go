package igb

import "github.com/oobnet/oobnet/link/vfio/internal/driver"

// shown are the registers that say what is wrong when something is; what a read
// changes is not among them.
var shown = []driver.Register{
	{Name: "CTRL", Offset: driver.RegCTRL}, {Name: "STATUS", Offset: driver.RegSTATUS}, {Name: "CTRL_EXT", Offset: regCTRLEXT},
	{Name: "RCTL", Offset: driver.RegRCTL}, {Name: "TCTL", Offset: driver.RegTCTL}, {Name: "MRQC", Offset: driver.RegMRQC},
	{Name: "GPIE", Offset: regGPIE}, {Name: "IVAR0", Offset: regIVAR}, {Name: "IVAR_MISC", Offset: regIVARMISC},
	{Name: "RDLEN0", Offset: regQueueRX + 0x08}, {Name: "RDH0", Offset: regQueueRX + 0x10}, {Name: "RDT0", Offset: regQueueRX + 0x18}, {Name: "RXDCTL0", Offset: regQueueRX + driver.RingControl},
	{Name: "TDLEN0", Offset: regQueueTX + 0x08}, {Name: "TDH0", Offset: regQueueTX + 0x10}, {Name: "TDT0", Offset: regQueueTX + 0x18}, {Name: "TXDCTL0", Offset: regQueueTX + driver.RingControl},
}

var _ driver.Dumper = (*device)(nil)

// Dump implements driver.Dumper.
func (d *device) Dump() []driver.Register { return driver.ReadAll(d.Regs, shown) }
