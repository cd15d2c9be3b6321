package ixgbe

import "github.com/oobnet/oobnet/link/vfio/internal/driver"

// shown are the registers that say what is wrong when something is: the port first,
// then the paths, then queue 0. SWSM and SW_FW_SYNC are not among them, which a read
// may take, nor counters and causes, which a read clears.
var shown = []driver.Register{
	{Name: "CTRL", Offset: driver.RegCTRL}, {Name: "STATUS", Offset: driver.RegSTATUS}, {Name: "CTRL_EXT", Offset: regCTRLEXT},
	{Name: "ESDP", Offset: regESDP}, {Name: "EEC", Offset: regEEC}, {Name: "FWSM", Offset: 0x10148},
	{Name: "AUTOC", Offset: regAUTOC}, {Name: "AUTOC2", Offset: regAUTOC2}, {Name: "LINKS", Offset: regLINKS}, {Name: "LINKS2", Offset: 0x04324},
	{Name: "PCS1GLSTA", Offset: 0x0420c}, {Name: "PCSS1", Offset: 0x04288}, {Name: "PCSS2", Offset: 0x0428c}, {Name: "ANLP1", Offset: 0x042b0}, {Name: "MACC", Offset: regMACC},
	{Name: "HLREG0", Offset: regHLREG0}, {Name: "MAXFRS", Offset: regMAXFRS}, {Name: "FCTRL", Offset: regFCTRL}, {Name: "VLNCTRL", Offset: regVLNCTRL},
	{Name: "RXCSUM", Offset: regRXCSUM}, {Name: "MRQC", Offset: driver.RegMRQC}, {Name: "RXCTRL", Offset: regRXCTRL}, {Name: "RDRXCTL", Offset: regRDRXCTL},
	{Name: "SECRXSTAT", Offset: regSECRXSTAT}, {Name: "RXPBSIZE0", Offset: regRXPBSIZE}, {Name: "DMATXCTL", Offset: regDMATXCTL}, {Name: "TXPBSIZE0", Offset: regTXPBSIZE},
	{Name: "MTQC", Offset: regMTQC}, {Name: "RTTDCS", Offset: regRTTDCS}, {Name: "GPIE", Offset: regGPIE}, {Name: "EIMS", Offset: regEIMS}, {Name: "EIAC", Offset: regEIAC},
	{Name: "IVAR0", Offset: regIVAR}, {Name: "IVAR_MISC", Offset: regIVARMISC},
	{Name: "RDLEN0", Offset: regQueueRX + 0x08}, {Name: "RDH0", Offset: regQueueRX + 0x10}, {Name: "SRRCTL0", Offset: regQueueRX + 0x14},
	{Name: "RDT0", Offset: regQueueRX + 0x18}, {Name: "RXDCTL0", Offset: regQueueRX + driver.RingControl},
	{Name: "TDLEN0", Offset: regQueueTX + 0x08}, {Name: "TDH0", Offset: regQueueTX + 0x10}, {Name: "TDT0", Offset: regQueueTX + 0x18}, {Name: "TXDCTL0", Offset: regQueueTX + driver.RingControl},
}

var _ driver.Dumper = (*device)(nil)

// Dump implements driver.Dumper.
func (d *device) Dump() []driver.Register { return driver.ReadAll(d.Regs, shown) }
