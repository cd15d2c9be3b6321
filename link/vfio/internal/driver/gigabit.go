package driver

import (
	"time"

	"github.com/oobnet/oobnet/link/vfio/internal/bus"
)

// phyWait bounds one access to the PHY.
const phyWait = 20 * time.Millisecond

// Gigabit is what the drivers of Intel's gigabit NICs have in common beside Base. A
// driver's device embeds it.
type Gigabit struct {
	Base
	Control uint32 // CTRL without its one-shot bits
}

// GigabitTables are where these NICs have their filters. Firmware may use the last
// of the 16 addresses that all compare.
var GigabitTables = Tables{Addresses: RegRAL, VLANs: RegVFTA, Count: 16, MaxUnicast: 14, VLANWrites: 1}

// Status implements Device (SDM 13.4.2, 82576 8.2.2).
func (g *Gigabit) Status() Status {
	v := g.Regs.Read32(RegSTATUS)
	if v == bus.AllOnes {
		return Status{Gone: true}
	}
	speeds := [4]int{10, 100, 1000, 1000}
	return Status{Up: v&StatusLU != 0, FullDuplex: v&StatusFD != 0, Speed: speeds[v>>StatusSpeed&3]}
}

// ProgramControl has the NIC take speed and duplex from the PHY, with set and
// without cleared. Pause frames are off: another station's full queue is no
// reason for ours to wait.
func (g *Gigabit) ProgramControl(set, cleared uint32) {
	const forced = CtrlForceSpeed | CtrlForceDuplex | CtrlReceivePause | CtrlSendPause | CtrlMasterOff | CtrlRST | CtrlVME
	g.Control = g.Regs.Read32(RegCTRL)&^(forced|cleared) | CtrlSLU | set
	g.Regs.Write32(RegCTRL, g.Control)
}

// Negotiate lets the PHY negotiate, if it does not: the kernel's driver switches
// it off when it lets go of the NIC. With down it does so also where the wire is
// down. The caller owns the PHY.
func (g *Gigabit) Negotiate(down bool) {
	v, ok := g.phy(MdicRead, PhyControl, 0)
	if ok && (v&(PhyPowerOff|PhyIsolate) != 0 || v&PhyAutoneg == 0 || down && !g.Status().Up) {
		g.phy(MdicWrite, PhyControl, v&^(PhyPowerOff|PhyIsolate)|PhyAutoneg|PhyRestart)
	}
}

// phy reads or writes a register of the PHY (SDM 13.4.8, 82576 8.2.4).
func (g *Gigabit) phy(op, register, value uint32) (uint32, bool) {
	g.Regs.Write32(RegMDIC, op|MdicPHY|register<<MdicReg|value)
	ok := g.Until(phyWait, func() bool { return g.Regs.Read32(RegMDIC)&MdicReady != 0 })
	v := g.Regs.Read32(RegMDIC)
	return v & 0xffff, ok && v&MdicError == 0
}

// SwitchFeatures writes what checksums and tags have registers for in all NICs,
// with csum of the NIC's own beside it, and says whether tags are taken out.
func (g *Gigabit) SwitchFeatures(csum uint32) (strip bool) {
	if g.About.On&RXChecksum != 0 {
		csum |= RxcsumIPOFL | RxcsumTUOFL
	}
	g.Regs.Write32(RegRXCSUM, csum)
	g.Control &^= CtrlVME
	if strip = g.About.On&VLANStrip != 0; strip {
		g.Control |= CtrlVME
	}
	g.Regs.Write32(RegCTRL, g.Control)
	return strip
}

// ReadCounters reads, and so clears, the counters that all NICs have, but for
// RXMissed. Of a device that is gone after it it says nothing. A frame sent without
// a carrier (TNCRS) is no error: it counts as sent (SDM 13.7.12; SDM 13.7, 82576
// 8.19).
func (g *Gigabit) ReadCounters() Counters {
	return Counters{
		RXPackets: g.Sum(RegGPRC), RXBytes: g.Pair(RegGORCL, RegGORCH), RXMulticast: g.Sum(RegMPRC), RXBroadcast: g.Sum(RegBPRC),
		TXPackets: g.Sum(RegGPTC), TXBytes: g.Pair(RegGOTCL, RegGOTCH),
		RXErrors: g.Sum(RegCRCERRS, RegALGNERRC, RegRXERRC, RegRUC, RegRFC, RegROC, RegRJC),
		TXErrors: g.Sum(RegECOL, RegLATECOL),
	}
}
