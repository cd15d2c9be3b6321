package e1000

import (
	"encoding/binary"
	"time"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio/internal/bus"
	"github.com/oobnet/oobnet/link/vfio/internal/driver"
)

// wordWait bounds the reading of one word of memory, and the firmware's holding the PHY.
const wordWait = 20 * time.Millisecond

// reset brings the device to rest from any state: interrupts masked (82574
// 4.6.1: before and after), rings off, DMA ended, bus master off, reset. What the
// reset may leave (some models of the NIC in software leave all) is written.
func (d *device) reset() error {
	if err := d.CheckPresent(); err != nil {
		return err
	}
	d.Regs.Write32(driver.RegIMC, bus.AllOnes)
	d.Regs.Write32(driver.RegRCTL, 0)
	d.Regs.Write32(driver.RegTCTL, 0)
	if _, err := d.EndDMA(d.express); err != nil {
		return err
	}
	loaded := uint32(0)
	if d.express {
		d.ownPHY(true)
		loaded = eecdAutoRead
	}
	d.BeginReset(driver.CtrlRST)
	if err := d.AwaitReset(driver.CtrlRST, driver.SettleWait, regEECD, loaded); err != nil {
		return err
	}
	d.Regs.Write32(driver.RegIMC, bus.AllOnes)
	d.Regs.Read32(driver.RegICR)
	if d.express {
		d.ownPHY(false)
	}
	for _, r := range []uint32{
		driver.RegRCTL, driver.RegTCTL, regRX + driver.RingHead, regRX + driver.RingTail, regRX + driver.RingLength,
		regTX + driver.RingHead, regTX + driver.RingTail, regTX + driver.RingLength,
	} {
		d.Regs.Write32(r, 0)
	}
	return nil
}

// readMAC reads the address from the NIC's memory (SDM 5.6, words 0 to 2): the
// registers may hold what the last process has put there.
func (d *device) readMAC() (mac link.MAC, err error) {
	for i := range 3 {
		word, ok := d.readWord(uint32(i))
		if !ok {
			return d.ComparedMAC()
		}
		binary.LittleEndian.PutUint16(mac[2*i:], word)
	}
	if mac == (link.MAC{}) || mac[0]&1 != 0 {
		return d.ComparedMAC()
	}
	return mac, nil
}

func (d *device) readWord(at uint32) (uint16, bool) {
	done, shift := uint32(eerdDone8254x), eerdShift8254x
	if d.express {
		done, shift = eerdDone82574, eerdShift82574
	}
	d.Regs.Write32(regEERD, eerdStart|at<<shift)
	ok := d.Until(wordWait, func() bool { return d.Regs.Read32(regEERD)&done != 0 })
	return uint16(d.Regs.Read32(regEERD) >> 16), ok
}

// program writes everything but the rings: SDM 14.3 to 14.5, 82574 4.6.3 to 4.6.5.
func (d *device) program() {
	d.programLink()
	if d.express {
		d.program82574()
	} else {
		d.Regs.Write32(regTIPG, tipgCopper)
		if d.Config.MTU > 8192 {
			d.Regs.Write32(regPBA, pbaJumbo)
		}
	}
	d.programInterrupts()
	d.Regs.Write32(driver.RegVET, 0x8100)
	d.programFeatures()
	d.rctl.Store(d.receiveControl())
	d.WriteFilter()
}

// programLink lets the PHY negotiate (SDM 8.6).
func (d *device) programLink() {
	set, cleared := uint32(ctrlASDE), uint32(0)
	if d.express {
		set, cleared = 0, ctrlASDE|ctrlBit29
	}
	d.ProgramControl(set, cleared)
	for _, r := range []uint32{regFCAL, regFCAH, regFCT, driver.RegFCTTV} {
		d.Regs.Write32(r, 0)
	}
	if d.express {
		d.ownPHY(true)
		defer d.ownPHY(false)
	}
	d.Negotiate(false)
}

// ownPHY takes the PHY from the firmware, or gives it back (82574 4.6.2). A
// firmware that does not answer is none.
func (d *device) ownPHY(own bool) {
	if !own {
		d.Regs.Write32(regEXTCNF, d.Regs.Read32(regEXTCNF)&^extcnfOwner)
		return
	}
	d.Until(wordWait, func() bool {
		d.Regs.Write32(regEXTCNF, d.Regs.Read32(regEXTCNF)|extcnfOwner)
		return d.Regs.Read32(regEXTCNF)&extcnfOwner != 0
	})
}

// program82574 sets what the 82574 wants set beyond its manual's defaults;
// without GCR and GCR2 transmission stops under load.
func (d *device) program82574() {
	r := d.Regs
	r.Write32(regGCR, r.Read32(regGCR)|gcrBit22)
	r.Write32(regGCR2, r.Read32(regGCR2)|gcr2Bit0)
	r.Write32(regTARC0, r.Read32(regTARC0)&^tarcClear|tarcBit26)
	r.Write32(regCTRLEXT, r.Read32(regCTRLEXT)&^ctrlextBit23|ctrlextBit22)
	r.Write32(regRFCTL, rfctlNFSOff|rfctlACKOff) // and legacy descriptors
}

// programInterrupts decides which causes Arm enables, and routes them.
func (d *device) programInterrupts() {
	d.Regs.Write32(regITR, 0) // the queue is masked while it is polled: that is moderation enough
	d.Regs.Write32(regRDTR, 0)
	d.Regs.Write32(regRADV, 0)
	d.causes = causeRXT0 | driver.CauseRXDMT0 | driver.CauseRXO | driver.CauseLSC
	if d.express {
		d.Regs.Write32(regEIAC, 0)
		if d.Config.Interrupts == bus.MSIX {
			d.Regs.Write32(regEIAC, causeRXQ0|causeOther)
			d.causes = causeRXQ0 | causeOther | driver.CauseLSC
			d.Regs.Write32(regIVAR, ivarAllOnZero)
			d.Regs.Write32(regCTRLEXT, d.Regs.Read32(regCTRLEXT)|ctrlextPBAClear)
		}
	}
}

func (d *device) programFeatures() { d.queue.strip.Store(d.SwitchFeatures(0)) }

// receiveControl is RCTL without EN.
func (d *device) receiveControl() uint32 {
	v := d.ReceiveControl()
	switch d.Region.Layout().BufferSize {
	case 4096:
		v |= rctlSize4K
	case 8192:
		v |= rctlSize8K
	case 16384:
		v |= rctlSize16K
	}
	if d.Config.MTU > 1500 {
		v |= driver.RctlLPE
	}
	return v
}
