package igb

import (
	"time"

	"github.com/oobnet/oobnet/link/vfio/internal/bus"
	"github.com/oobnet/oobnet/link/vfio/internal/driver"
)

// semaphore is how the firmware and we agree on the PHY.
var semaphore = driver.Semaphore{SWSM: regSWSM, Owners: regSWFWSYNC, Firmware: syncFirmware, Wait: 20 * time.Millisecond}

// reset brings the device to rest from any state (4.3, 4.5.3): interrupts masked
// before and after, queues off, DMA ended, bus master off, reset.
func (d *device) reset() error {
	r := d.Regs
	if err := d.CheckPresent(); err != nil {
		return err
	}
	d.maskAll()
	r.Write32(driver.RegRCTL, 0)
	d.Quiet(d.chip.queues)
	r.Write32(driver.RegTCTL, 0)
	if _, err := d.EndDMA(true); err != nil {
		return err
	}
	r.Write32(regCTRLEXT, r.Read32(regCTRLEXT)&^ctrlextDriver)
	d.BeginReset(driver.CtrlRST)
	if err := d.AwaitReset(driver.CtrlRST, driver.SettleWait, d.chip.eec, eecAutoRead); err != nil {
		return err
	}
	d.maskAll()
	return nil
}

// program writes everything but the rings: 4.5.7 to 4.5.10.
func (d *device) program() {
	r := d.Regs
	d.programLink()
	d.programInterrupts()
	r.Write32(driver.RegVET, 0x8100)
	r.Write32(regRLPML, uint32(d.Config.MTU+driver.FrameOverhead))
	d.ProgramSpread(mrqcRSS)
	d.programFeatures()
	d.programTime()
	d.WriteFilter()
	r.Write32(driver.RegTCTL, driver.TctlEN|driver.TctlPSP|driver.TctlCT|tctlBackOff)
}

// programLink lets the PHY negotiate (4.5.7). QEMU's does when it is told to.
func (d *device) programLink() {
	r := d.Regs
	d.ProgramControl(0, 0)
	r.Write32(regCTRLEXT, r.Read32(regCTRLEXT)|ctrlextDriver)
	r.Write32(driver.RegFCTTV, 0)
	d.ownPHY(true)
	d.Negotiate(true)
	d.ownPHY(false)
}

// ownPHY takes the PHY from the firmware, or gives it back (4.7).
func (d *device) ownPHY(own bool) {
	bit := [4]uint32{1 << 1, 1 << 2, 1 << 5, 1 << 6}[d.Regs.Read32(driver.RegSTATUS)>>statusPort&3]
	if !own {
		d.Disown(&semaphore, bit)
		return
	}
	d.Own(&semaphore, bit)
}

// maskAll masks all interrupts and takes back those that are pending.
func (d *device) maskAll() {
	d.Regs.Write32(driver.RegIMC, bus.AllOnes)
	d.Regs.Write32(regEIMC, 1<<vectorsMax-1)
	d.Regs.Read32(driver.RegICR)
	d.Regs.Write32(regEICR, 1<<vectorsMax-1)
}

// programInterrupts routes queue i to vector i, and the wire's changes to vector
// 0 (7.3.2, 7.3.3): they are always on, and the vector's mask holds them back.
// Without MSI-X there is one vector, and ICR says what came.
func (d *device) programInterrupts() {
	r := d.Regs
	if d.Config.Interrupts != bus.MSIX {
		r.Write32(regGPIE, gpieNSICR)
		return
	}
	r.Write32(regGPIE, gpieNSICR|gpieMSIX|gpiePBA)
	var words [8]uint32
	for q := range uint32(len(d.Queues)) {
		word, entry := q/2, q%2*2 // receive; the entry after it is for transmit
		if d.chip.columns {
			word, entry = q%8, q/8*2
		}
		words[word] |= (q | ivarValid) << (entry * ivarBits)
		r.Write32(regEITR+4*q, 0) // the queue is masked while it is polled: that is moderation enough
	}
	for i, w := range words {
		if d.chip.columns || i < d.chip.queues/2 {
			r.Write32(regIVAR+4*uint32(i), w)
		}
	}
	r.Write32(regIVARMISC, ivarValid<<ivarBits)
	r.Write32(regEIAC, 1<<len(d.Queues)-1)
	r.Write32(driver.RegIMS, driver.CauseLSC)
}

func (d *device) programFeatures() {
	strips := d.SwitchFeatures(driver.RxcsumPCSD)
	control := uint32(rxStripCRC)
	if strips {
		control |= rxStripTag
	}
	d.SetModes(strips, true)
	for i := range d.Queues {
		if d.chip.strips {
			d.Regs.Write32(regQueueRX+driver.AdvancedStep*uint32(i)+rxStrip, control)
		}
	}
}

// receiveControl is RCTL of a receiver at work.
func (d *device) receiveControl() uint32 {
	v := d.ReceiveControl() | driver.RctlEN | driver.RctlLPE
	if d.About.On&driver.Loopback != 0 {
		v |= rctlLoop
	}
	return v
}
