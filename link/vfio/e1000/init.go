package e1000

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio/internal/bus"
	"github.com/oobnet/oobnet/link/vfio/internal/driver"
)

const (
	// resetWait bounds the reset. The memory is read anew in some ms (82574 4.6.1).
	resetWait = 100 * time.Millisecond
	// settleWait is how long nothing is asked of the NIC after a reset, and how
	// long the DMA of an 8254x takes to end, which has no register for it (SDM 14.1).
	settleWait = 5 * time.Millisecond
	// wordWait bounds the reading of one word of memory, and one access to the PHY.
	wordWait = 20 * time.Millisecond
)

// reset brings the device to rest from any state: interrupts masked (82574
// 4.6.1: before and after), rings off, DMA ended, bus master off, reset. What the
// reset may leave (some models of the NIC in software leave all) is written.
func (d *device) reset() error {
	if d.regs.Read32(regSTATUS) == bus.AllOnes {
		return fmt.Errorf("its registers read as all ones: the device is gone or powered off: %w", syscall.ENODEV)
	}
	d.regs.Write32(regIMC, bus.AllOnes)
	d.regs.Write32(regRCTL, 0)
	d.regs.Write32(regTCTL, 0)
	if d.express {
		// 82574 3.1.3.10: no new requests, and those under way come to an end.
		d.regs.Write32(regCTRL, d.regs.Read32(regCTRL)|ctrlMasterOff)
		d.until(resetWait, func() bool { return d.regs.Read32(regSTATUS)&statusMasterOn == 0 })
		d.ownPHY(true)
	} else {
		time.Sleep(settleWait)
	}
	if err := d.bus.BusMaster(false); err != nil {
		return err
	}
	d.regs.Write32(regCTRL, d.regs.Read32(regCTRL)|ctrlRST)
	time.Sleep(settleWait)
	if !d.until(resetWait, func() bool { return d.regs.Read32(regCTRL)&ctrlRST == 0 }) {
		return fmt.Errorf("the reset did not end in %v: %w", resetWait, syscall.EIO)
	}
	if d.express {
		// Not fatal: a NIC without memory never says so.
		d.until(resetWait, func() bool { return d.regs.Read32(regEECD)&eecdAutoRead != 0 })
	}
	d.regs.Write32(regIMC, bus.AllOnes)
	d.regs.Read32(regICR)
	if d.express {
		d.ownPHY(false)
	}
	for _, r := range []uint32{regRCTL, regTCTL, regRDH, regRDT, regRDLEN, regTDH, regTDT, regTDLEN} {
		d.regs.Write32(r, 0)
	}
	return nil
}

// readMAC reads the address from the NIC's memory (SDM 5.6, words 0 to 2): the
// registers may hold what the last process has put there.
func (d *device) readMAC() (mac link.MAC, err error) {
	for i := range 3 {
		word, ok := d.readWord(uint32(i))
		if !ok {
			return d.currentMAC()
		}
		binary.LittleEndian.PutUint16(mac[2*i:], word)
	}
	if mac == (link.MAC{}) || mac[0]&1 != 0 {
		return d.currentMAC()
	}
	return mac, nil
}

func (d *device) readWord(at uint32) (uint16, bool) {
	done, shift := uint32(eerdDone8254x), eerdShift8254x
	if d.express {
		done, shift = eerdDone82574, eerdShift82574
	}
	d.regs.Write32(regEERD, eerdStart|at<<shift)
	ok := d.until(wordWait, func() bool { return d.regs.Read32(regEERD)&done != 0 })
	return uint16(d.regs.Read32(regEERD) >> 16), ok
}

// currentMAC is what the NIC's own comparison uses, for a NIC without memory.
func (d *device) currentMAC() (mac link.MAC, err error) {
	low, high := d.regs.Read32(regRAL), d.regs.Read32(regRAH)
	binary.LittleEndian.PutUint32(mac[:], low)
	binary.LittleEndian.PutUint16(mac[4:], uint16(high))
	if mac == (link.MAC{}) || mac[0]&1 != 0 || high&rahAV == 0 {
		return mac, errors.New("it has no address of its own: give one with Config.MAC")
	}
	return mac, nil
}

// program writes everything but the rings: SDM 14.3 to 14.5, 82574 4.6.3 to 4.6.5.
func (d *device) program() {
	d.programLink()
	if d.express {
		d.program82574()
	} else {
		d.regs.Write32(regTIPG, tipgCopper)
		if d.cfg.MTU > 8192 {
			d.regs.Write32(regPBA, pbaJumbo)
		}
	}
	d.programInterrupts()
	d.regs.Write32(regVET, 0x8100)
	d.programFeatures()
	d.rctl.Store(d.receiveControl())
	d.writeFilter()
}

// programLink lets the PHY negotiate (SDM 8.6). Pause frames are off: another
// station's full queue is no reason for ours to wait.
func (d *device) programLink() {
	d.ctrl = d.regs.Read32(regCTRL) &^ (ctrlForceSpeed | ctrlForceDuplex | ctrlReceivePause | ctrlSendPause | ctrlMasterOff | ctrlRST | ctrlVME)
	d.ctrl |= ctrlSLU | ctrlASDE
	if d.express {
		d.ctrl &^= ctrlASDE | ctrlBit29
	}
	d.regs.Write32(regCTRL, d.ctrl)
	for _, r := range []uint32{regFCAL, regFCAH, regFCT, regFCTTV} {
		d.regs.Write32(r, 0)
	}
	if d.express {
		d.ownPHY(true)
	}
	// The kernel's driver switches the PHY off when it lets go of the NIC.
	if v, ok := d.phy(mdicRead, phyControl, 0); ok && (v&(phyPowerOff|phyIsolate) != 0 || v&phyAutoneg == 0) {
		d.phy(mdicWrite, phyControl, v&^(phyPowerOff|phyIsolate)|phyAutoneg|phyRestart)
	}
	if d.express {
		d.ownPHY(false)
	}
}

// ownPHY takes the PHY from the firmware, or gives it back (82574 4.6.2). A
// firmware that does not answer is none.
func (d *device) ownPHY(own bool) {
	if !own {
		d.regs.Write32(regEXTCNF, d.regs.Read32(regEXTCNF)&^extcnfOwner)
		return
	}
	d.until(wordWait, func() bool {
		d.regs.Write32(regEXTCNF, d.regs.Read32(regEXTCNF)|extcnfOwner)
		return d.regs.Read32(regEXTCNF)&extcnfOwner != 0
	})
}

// phy reads or writes a register of the PHY (SDM 13.4.8).
func (d *device) phy(op, register, value uint32) (uint32, bool) {
	d.regs.Write32(regMDIC, op|mdicPHY|register<<mdicReg|value)
	ok := d.until(wordWait, func() bool { return d.regs.Read32(regMDIC)&mdicReady != 0 })
	v := d.regs.Read32(regMDIC)
	return v & 0xffff, ok && v&mdicError == 0
}

// program82574 sets what the 82574 wants set beyond its manual's defaults;
// without GCR and GCR2 transmission stops under load.
func (d *device) program82574() {
	r := d.regs
	r.Write32(regGCR, r.Read32(regGCR)|gcrBit22)
	r.Write32(regGCR2, r.Read32(regGCR2)|gcr2Bit0)
	r.Write32(regTARC0, r.Read32(regTARC0)&^tarcClear|tarcBit26)
	r.Write32(regCTRLEXT, r.Read32(regCTRLEXT)&^ctrlextBit23|ctrlextBit22)
	r.Write32(regRFCTL, rfctlNFSOff|rfctlACKOff) // and legacy descriptors
}

// programInterrupts decides which causes Arm enables, and routes them.
func (d *device) programInterrupts() {
	d.regs.Write32(regITR, 0) // the queue is masked while it is polled: that is moderation enough
	d.regs.Write32(regRDTR, 0)
	d.regs.Write32(regRADV, 0)
	d.causes = causeRXT0 | causeRXDMT0 | causeRXO | causeLSC
	if d.express {
		d.regs.Write32(regEIAC, 0)
		if d.cfg.Interrupts == bus.MSIX {
			d.regs.Write32(regEIAC, causeRXQ0|causeOther)
			d.causes = causeRXQ0 | causeOther | causeLSC
			d.regs.Write32(regIVAR, ivarAllOnZero)
			d.regs.Write32(regCTRLEXT, d.regs.Read32(regCTRLEXT)|ctrlextPBAClear)
		}
	}
}

func (d *device) programFeatures() {
	var csum uint32
	if d.info.On&driver.RXChecksum != 0 {
		csum = rxcsumIPOFL | rxcsumTUOFL
	}
	d.regs.Write32(regRXCSUM, csum)
	d.ctrl &^= ctrlVME
	if d.info.On&driver.VLANStrip != 0 {
		d.ctrl |= ctrlVME
	}
	d.queue.strip.Store(d.ctrl&ctrlVME != 0)
	d.regs.Write32(regCTRL, d.ctrl)
}

// receiveControl is RCTL without EN (SDM 13.4.22). The VLAN filter is always on,
// and its table says how much of one it is: each write of RCTL disturbs a
// receiver at work, of the table none.
func (d *device) receiveControl() uint32 {
	v := uint32(rctlBAM | rctlSECRC | rctlVFE)
	switch d.region.Layout().BufferSize {
	case 4096:
		v |= rctlSize4K
	case 8192:
		v |= rctlSize8K
	case 16384:
		v |= rctlSize16K
	}
	if d.cfg.MTU > 1500 {
		v |= rctlLPE
	}
	if d.filter.Promiscuous {
		v |= rctlUPE
	}
	if d.filter.Promiscuous || d.filter.AllMulticast {
		v |= rctlMPE
	}
	return v
}
