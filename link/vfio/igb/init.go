package igb

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
	// resetWait bounds the reset. The memory is read anew in some ms (4.3).
	resetWait = 100 * time.Millisecond
	// settleWait is how long nothing is asked of the NIC after a reset.
	settleWait = 5 * time.Millisecond
	// queueWait bounds how long a queue takes to start, and to stop.
	queueWait = 20 * time.Millisecond
	// phyWait bounds one access to the PHY, and the firmware's holding it.
	phyWait = 20 * time.Millisecond
)

// reset brings the device to rest from any state (4.3, 4.5.3): interrupts masked
// before and after, queues off, DMA ended, bus master off, reset.
func (d *device) reset() error {
	r := d.regs
	if r.Read32(regSTATUS) == bus.AllOnes {
		return fmt.Errorf("%w: %w", errGone, syscall.ENODEV)
	}
	d.maskAll()
	r.Write32(regRCTL, 0)
	d.stopQueues()
	r.Write32(regTCTL, 0)
	// 5.2.3.3: no new requests, and those under way come to an end.
	r.Write32(regCTRL, r.Read32(regCTRL)|ctrlMasterOff)
	d.until(resetWait, func() bool { return r.Read32(regSTATUS)&statusMasterOn == 0 })
	if err := d.bus.BusMaster(false); err != nil {
		return err
	}
	r.Write32(regCTRLEXT, r.Read32(regCTRLEXT)&^ctrlextDriver)
	r.Write32(regCTRL, r.Read32(regCTRL)|ctrlRST)
	time.Sleep(settleWait)
	if !d.until(resetWait, func() bool { return r.Read32(regCTRL)&ctrlRST == 0 }) {
		if r.Read32(regSTATUS) == bus.AllOnes {
			return fmt.Errorf("%w: %w", errGone, syscall.ENODEV)
		}
		return fmt.Errorf("the reset did not end in %v: %w", resetWait, syscall.EIO)
	}
	// Not fatal: a NIC without memory never says so.
	d.until(resetWait, func() bool { return r.Read32(d.chip.eec)&eecAutoRead != 0 })
	d.maskAll()
	return nil
}

// stopQueues stops the queues of whoever used the NIC, which may have been more
// than ours.
func (d *device) stopQueues() {
	var on []uint32
	for i := range uint32(d.chip.queues) {
		for _, control := range []uint32{regQueueRX + queueStep*i + ringControl, regQueueTX + queueStep*i + ringControl} {
			if v := d.regs.Read32(control); v&ringEnable != 0 {
				d.regs.Write32(control, v&^ringEnable)
				on = append(on, control)
			}
		}
	}
	d.until(queueWait, func() bool {
		for len(on) > 0 && d.regs.Read32(on[0])&ringEnable == 0 {
			on = on[1:]
		}
		return len(on) == 0
	})
}

// readMAC reads the address that the reset has loaded from the NIC's memory
// (8.10.2), before ours is written over it.
func (d *device) readMAC() (mac link.MAC, err error) {
	low, high := d.regs.Read32(regRAL), d.regs.Read32(regRAH)
	binary.LittleEndian.PutUint32(mac[:], low)
	binary.LittleEndian.PutUint16(mac[4:], uint16(high))
	if mac == (link.MAC{}) || mac[0]&1 != 0 || high&rahAV == 0 {
		return mac, errors.New("it has no address of its own: give its memory one")
	}
	return mac, nil
}

// program writes everything but the rings: 4.5.7 to 4.5.10.
func (d *device) program() {
	r := d.regs
	d.programLink()
	d.programInterrupts()
	r.Write32(regVET, 0x8100)
	r.Write32(regRLPML, uint32(d.cfg.MTU+frameOverhead))
	d.programSpread()
	d.programFeatures()
	d.programTime()
	d.writeFilter()
	r.Write32(regTCTL, tctlEN|tctlPSP|tctlCT|tctlBackOff)
}

// programLink lets the PHY negotiate (4.5.7). Pause frames are off: another
// station's full queue is no reason for ours to wait.
func (d *device) programLink() {
	r := d.regs
	d.ctrl = r.Read32(regCTRL) &^ (ctrlForceSpeed | ctrlForceDuplex | ctrlReceivePause | ctrlSendPause | ctrlMasterOff | ctrlRST | ctrlVME)
	d.ctrl |= ctrlSLU
	r.Write32(regCTRL, d.ctrl)
	r.Write32(regCTRLEXT, r.Read32(regCTRLEXT)|ctrlextDriver)
	r.Write32(regFCTTV, 0)
	d.ownPHY(true)
	// The kernel's driver switches the PHY off when it lets go of the NIC, and
	// QEMU's negotiates when it is told to.
	v, ok := d.phy(mdicRead, phyControl, 0)
	if ok && (v&(phyPowerOff|phyIsolate) != 0 || v&phyAutoneg == 0 || !d.Status().Up) {
		d.phy(mdicWrite, phyControl, v&^(phyPowerOff|phyIsolate)|phyAutoneg|phyRestart)
	}
	d.ownPHY(false)
}

// ownPHY takes the PHY from the firmware, or gives it back (4.7). A firmware
// that does not answer is none.
func (d *device) ownPHY(own bool) {
	bit := [4]uint32{1 << 1, 1 << 2, 1 << 5, 1 << 6}[d.regs.Read32(regSTATUS)>>statusPort&3]
	if !own {
		d.withSemaphore(func(owners uint32) uint32 { return owners &^ bit })
		return
	}
	d.until(phyWait, func() (free bool) {
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
	r := d.regs
	d.until(phyWait, func() bool { return r.Read32(regSWSM)&swsmDrivers == 0 })
	d.until(phyWait, func() bool {
		r.Write32(regSWSM, r.Read32(regSWSM)|swsmFirmware)
		return r.Read32(regSWSM)&swsmFirmware != 0
	})
	r.Write32(regSWFWSYNC, change(r.Read32(regSWFWSYNC)))
	r.Write32(regSWSM, r.Read32(regSWSM)&^(swsmDrivers|swsmFirmware))
}

// phy reads or writes a register of the PHY (8.2.4).
func (d *device) phy(op, register, value uint32) (uint32, bool) {
	d.regs.Write32(regMDIC, op|mdicPHY|register<<mdicReg|value)
	ok := d.until(phyWait, func() bool { return d.regs.Read32(regMDIC)&mdicReady != 0 })
	v := d.regs.Read32(regMDIC)
	return v & 0xffff, ok && v&mdicError == 0
}

// maskAll masks all interrupts and takes back those that are pending.
func (d *device) maskAll() {
	d.regs.Write32(regIMC, bus.AllOnes)
	d.regs.Write32(regEIMC, 1<<vectorsMax-1)
	d.regs.Read32(regICR)
	d.regs.Write32(regEICR, 1<<vectorsMax-1)
}

// programInterrupts routes queue i to vector i, and the wire's changes to vector
// 0 (7.3.2, 7.3.3): they are always on, and the vector's mask holds them back.
// Without MSI-X there is one vector, and ICR says what came.
func (d *device) programInterrupts() {
	r := d.regs
	if d.cfg.Interrupts != bus.MSIX {
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
	r.Write32(regIMS, causeLSC)
}

// programSpread writes key and table of the hash (7.1.1.7). RSS is on for good
// where there are several queues, since it may not be switched while frames
// come; with the feature off all flows lead to queue 0.
func (d *device) programSpread() {
	r := d.regs
	if len(d.queues) == 1 {
		r.Write32(regMRQC, 0)
		return
	}
	for i := range uint32(len(d.spread.Key) / 4) {
		r.Write32(regRSSRK+4*i, binary.LittleEndian.Uint32(d.spread.Key[4*i:]))
	}
	var table [len(d.spread.Table)]uint8
	if d.info.On&driver.RSS != 0 {
		table = d.spread.Table
	}
	for i := range uint32(len(table) / 4) {
		r.Write32(regRETA+4*i, binary.LittleEndian.Uint32(table[4*i:]))
	}
	r.Write32(regMRQC, mrqcRSS|mrqcIPv4|mrqcIPv4TCP|mrqcIPv4UDP|mrqcIPv6|mrqcIPv6TCP|mrqcIPv6UDP)
}

func (d *device) programFeatures() {
	csum := uint32(rxcsumPCSD)
	if d.info.On&driver.RXChecksum != 0 {
		csum |= rxcsumIPOFL | rxcsumTUOFL
	}
	d.regs.Write32(regRXCSUM, csum)
	d.ctrl &^= ctrlVME
	strip := uint32(rxStripCRC)
	if d.info.On&driver.VLANStrip != 0 {
		d.ctrl |= ctrlVME
		strip |= rxStripTag
	}
	for i := range d.queues {
		d.queues[i].strip.Store(d.ctrl&ctrlVME != 0)
		if d.chip.strips {
			d.regs.Write32(d.queues[i].rxAt+rxStrip, strip)
		}
	}
	d.regs.Write32(regCTRL, d.ctrl)
}

// receiveControl is RCTL of a receiver at work (8.10.1). The VLAN filter is
// always on, and its table says how much of one it is.
func (d *device) receiveControl() uint32 {
	v := uint32(rctlEN | rctlBAM | rctlSECRC | rctlVFE | rctlLPE)
	if d.filter.Promiscuous {
		v |= rctlUPE
	}
	if d.filter.Promiscuous || d.filter.AllMulticast {
		v |= rctlMPE
	}
	return v
}
