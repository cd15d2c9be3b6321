package driver

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio/internal/bus"
)

// FrameOverhead is what a frame has beside the MTU on the wire, bytes: header,
// one tag, check sequence.
const FrameOverhead = 14 + 4 + 4

// MaxUnicast is how many addresses beside its own a NIC is given: firmware may
// use the last of the 16 that all compare.
const MaxUnicast = 14

// DrainWait bounds how long frames on the transmit rings may take to leave: 512
// full frames take 6 ms at 1 Gbit/s, and 10 Mbit/s half-way.
const DrainWait = 200 * time.Millisecond

const (
	// pollPause is between two looks at a register that takes its time.
	pollPause = 100 * time.Microsecond
	// resetWait bounds the reset: the NIC's memory is read anew in some ms (82574
	// 4.6.1, 82576 4.3).
	resetWait = 100 * time.Millisecond
	// settleWait is how long nothing is asked of the NIC after a reset, and how
	// long the DMA of an 8254x takes to end, which has no register for it (SDM 14.1).
	settleWait = 5 * time.Millisecond
	// phyWait bounds one access to the PHY.
	phyWait = 20 * time.Millisecond
)

// Gigabit is what the drivers of Intel's gigabit NICs have in common: what is
// known of the NIC, what is kept for a restart, and what is done the same way. A
// driver's device embeds it.
type Gigabit struct {
	Bus     bus.Bus
	Regs    *bus.Registers
	Config  Config
	About   Info // what Info returns
	Region  Region
	Control uint32 // CTRL without its one-shot bits
	Filter  Filter
	Unread  Counters // from before a restart, for the next Count
	// VLANWrites is how often each word of the VLAN table is written.
	VLANWrites int
}

// Info implements Device.
func (g *Gigabit) Info() Info { return g.About }

// Fail names driver and NIC in an error.
func (g *Gigabit) Fail(err error) error {
	return fmt.Errorf("%s: %s: %w", g.About.Driver, g.Bus.Name(), err)
}

// Started says whether Start has programmed the NIC: before, settings are kept
// for it.
func (g *Gigabit) Started() bool { return g.Region.Memory != nil }

// Status implements Device (SDM 13.4.2, 82576 8.2.2).
func (g *Gigabit) Status() Status {
	v := g.Regs.Read32(RegSTATUS)
	if v == bus.AllOnes {
		return Status{Gone: true}
	}
	speeds := [4]int{10, 100, 1000, 1000}
	return Status{Up: v&StatusLU != 0, FullDuplex: v&StatusFD != 0, Speed: speeds[v>>StatusSpeed&3]}
}

// Settle waits until the device has what was written before: writes are posted
// on the bus, a read is not.
func (g *Gigabit) Settle() { g.Regs.Read32(RegSTATUS) }

// Until polls a condition, for at most limit, and says whether it came true. It
// ends early if the device is gone.
func (g *Gigabit) Until(limit time.Duration, came func() bool) bool {
	for end := time.Now().Add(limit); ; time.Sleep(pollPause) {
		switch {
		case came():
			return true
		case time.Now().After(end), g.Regs.Read32(RegSTATUS) == bus.AllOnes:
			return false
		}
	}
}

// CheckPresent is the error of a device that does not answer.
func (g *Gigabit) CheckPresent() error {
	if g.Regs.Read32(RegSTATUS) == bus.AllOnes {
		return fmt.Errorf("its registers read as all ones: the device is gone or powered off: %w", syscall.ENODEV)
	}
	return nil
}

// EndDMA has the NIC end what DMA is under way, and then begin none (82574
// 3.1.3.10, 82576 5.2.3.3). An 8254x has no register for it, and is given time.
func (g *Gigabit) EndDMA(register bool) error {
	if register {
		g.Regs.Write32(RegCTRL, g.Regs.Read32(RegCTRL)|CtrlMasterOff)
		g.Until(resetWait, func() bool { return g.Regs.Read32(RegSTATUS)&StatusMasterOn == 0 })
	} else {
		time.Sleep(settleWait)
	}
	return g.Bus.BusMaster(false)
}

// Reset resets the NIC. Then it waits until the register memory says that what
// the NIC remembers is loaded, if there is such a bit; that it never does is not
// fatal: a NIC without memory does not.
func (g *Gigabit) Reset(memory, loaded uint32) error {
	r := g.Regs
	r.Write32(RegCTRL, r.Read32(RegCTRL)|CtrlRST)
	time.Sleep(settleWait)
	if !g.Until(resetWait, func() bool { return r.Read32(RegCTRL)&CtrlRST == 0 }) {
		if err := g.CheckPresent(); err != nil {
			return err
		}
		return fmt.Errorf("the reset did not end in %v: %w", resetWait, syscall.EIO)
	}
	if loaded != 0 {
		g.Until(resetWait, func() bool { return r.Read32(memory)&loaded != 0 })
	}
	return nil
}

// ComparedMAC reads the address that the NIC compares: after a reset, the one of
// its memory (82576 8.10.2).
func (g *Gigabit) ComparedMAC() (mac link.MAC, err error) {
	low, high := g.Regs.Read32(RegRAL), g.Regs.Read32(RegRAH)
	binary.LittleEndian.PutUint32(mac[:], low)
	binary.LittleEndian.PutUint16(mac[4:], uint16(high))
	if mac == (link.MAC{}) || mac[0]&1 != 0 || high&RahAV == 0 {
		return mac, errors.New("it has no address of its own: give its memory one")
	}
	return mac, nil
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
// RXMissed. Of a device that is gone after it it says nothing. The low half of a
// pair is read first: reading the high one clears both (SDM 13.7, 82576 8.19).
func (g *Gigabit) ReadCounters() Counters {
	sum := func(registers ...uint32) (n uint64) {
		for _, r := range registers {
			n += uint64(g.Regs.Read32(r))
		}
		return n
	}
	pair := func(low, high uint32) uint64 {
		v := uint64(g.Regs.Read32(low))
		return v | uint64(g.Regs.Read32(high))<<32
	}
	return Counters{
		RXPackets: sum(RegGPRC), RXBytes: pair(RegGORCL, RegGORCH), RXMulticast: sum(RegMPRC), RXBroadcast: sum(RegBPRC),
		TXPackets: sum(RegGPTC), TXBytes: pair(RegGOTCL, RegGOTCH),
		RXErrors: sum(RegCRCERRS, RegALGNERRC, RegRXERRC, RegRUC, RegRFC, RegROC, RegRJC),
		TXErrors: sum(RegECOL, RegLATECOL),
	}
}

// TakeUnread is the beginning of Count: what was read before a restart. c may be
// Unread itself.
func (g *Gigabit) TakeUnread(c *Counters) {
	former := g.Unread
	g.Unread = Counters{}
	c.Add(&former)
}
