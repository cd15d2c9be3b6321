package igb

import (
	"encoding/binary"
	"time"

	"github.com/oobnet/oobnet/link/vfio/internal/bus"
	"github.com/oobnet/oobnet/link/vfio/internal/driver"
)

const (
	// queueWait bounds how long a queue takes to start, and to stop.
	queueWait = 20 * time.Millisecond
	// ownerWait bounds the firmware's holding the PHY.
	ownerWait = 20 * time.Millisecond
)

// reset brings the device to rest from any state (4.3, 4.5.3): interrupts masked
// before and after, queues off, DMA ended, bus master off, reset.
func (d *device) reset() error {
	r := d.Regs
	if err := d.CheckPresent(); err != nil {
		return err
	}
	d.maskAll()
	r.Write32(driver.RegRCTL, 0)
	d.stopQueues()
	r.Write32(driver.RegTCTL, 0)
	if err := d.EndDMA(true); err != nil {
		return err
	}
	r.Write32(regCTRLEXT, r.Read32(regCTRLEXT)&^ctrlextDriver)
	if err := d.Reset(d.chip.eec, eecAutoRead); err != nil {
		return err
	}
	d.maskAll()
	return nil
}

// stopQueues stops the queues of whoever used the NIC, which may have been more
// than ours.
func (d *device) stopQueues() {
	var on []uint32
	for i := range uint32(d.chip.queues) {
		for _, control := range []uint32{regQueueRX + queueStep*i + driver.RingControl, regQueueTX + queueStep*i + driver.RingControl} {
			if v := d.Regs.Read32(control); v&ringEnable != 0 {
				d.Regs.Write32(control, v&^ringEnable)
				on = append(on, control)
			}
		}
	}
	d.Until(queueWait, func() bool {
		for len(on) > 0 && d.Regs.Read32(on[0])&ringEnable == 0 {
			on = on[1:]
		}
		return len(on) == 0
	})
}

// program writes everything but the rings: 4.5.7 to 4.5.10.
func (d *device) program() {
	r := d.Regs
	d.programLink()
	d.programInterrupts()
	r.Write32(driver.RegVET, 0x8100)
	r.Write32(regRLPML, uint32(d.Config.MTU+driver.FrameOverhead))
	d.programSpread()
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

// ownPHY takes the PHY from the firmware, or gives it back (4.7). A firmware
// that does not answer is none.
func (d *device) ownPHY(own bool) {
	bit := [4]uint32{1 << 1, 1 << 2, 1 << 5, 1 << 6}[d.Regs.Read32(driver.RegSTATUS)>>statusPort&3]
	if !own {
		d.withSemaphore(func(owners uint32) uint32 { return owners &^ bit })
		return
	}
	d.Until(ownerWait, func() (free bool) {
		d.withSemaphore(func(owners uint32) uint32 {
			if free = owners&(bit|bit<<syncFirmware) == 0; free {
				return owners | bit
			}
			return owners
		})
		return free
	})
}

// withSemaphore changes who owns what while nobody else does. A semaphore that
// was never given back, by a process that was killed, is taken after a while.
func (d *device) withSemaphore(change func(owners uint32) uint32) {
	r := d.Regs
	d.Until(ownerWait, func() bool { return r.Read32(regSWSM)&swsmDrivers == 0 })
	d.Until(ownerWait, func() bool {
		r.Write32(regSWSM, r.Read32(regSWSM)|swsmFirmware)
		return r.Read32(regSWSM)&swsmFirmware != 0
	})
	r.Write32(regSWFWSYNC, change(r.Read32(regSWFWSYNC)))
	r.Write32(regSWSM, r.Read32(regSWSM)&^(swsmDrivers|swsmFirmware))
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
	for q := range uint32(len(d.queues)) {
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
	r.Write32(regEIAC, 1<<len(d.queues)-1)
	r.Write32(driver.RegIMS, driver.CauseLSC)
}

// programSpread writes key and table of the hash (7.1.1.7). RSS is on for good
// where there are several queues, since it may not be switched while frames
// come; with the feature off all flows lead to queue 0.
func (d *device) programSpread() {
	r := d.Regs
	if len(d.queues) == 1 {
		r.Write32(regMRQC, 0)
		return
	}
	for i := range uint32(len(d.spread.Key) / 4) {
		r.Write32(regRSSRK+4*i, binary.LittleEndian.Uint32(d.spread.Key[4*i:]))
	}
	var table [len(d.spread.Table)]uint8
	if d.About.On&driver.RSS != 0 {
		table = d.spread.Table
	}
	for i := range uint32(len(table) / 4) {
		r.Write32(regRETA+4*i, binary.LittleEndian.Uint32(table[4*i:]))
	}
	r.Write32(regMRQC, mrqcRSS|mrqcIPv4|mrqcIPv4TCP|mrqcIPv4UDP|mrqcIPv6|mrqcIPv6TCP|mrqcIPv6UDP)
}

func (d *device) programFeatures() {
	strips := d.SwitchFeatures(rxcsumPCSD)
	control := uint32(rxStripCRC)
	if strips {
		control |= rxStripTag
	}
	for i := range d.queues {
		d.queues[i].strip.Store(strips)
		if d.chip.strips {
			d.Regs.Write32(d.queues[i].rxAt+rxStrip, control)
		}
	}
}

// receiveControl is RCTL of a receiver at work.
func (d *device) receiveControl() uint32 { return d.ReceiveControl() | driver.RctlEN | driver.RctlLPE }
