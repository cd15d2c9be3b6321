package ixgbe

import (
	"fmt"
	"syscall"
	"time"

	"github.com/oobnet/oobnet/link/vfio/internal/bus"
	"github.com/oobnet/oobnet/link/vfio/internal/driver"
)

const (
	// readyWait bounds the receive unit's coming up after a reset.
	readyWait = 100 * time.Millisecond
	// firmwareWait bounds the firmware's setting up of its part.
	firmwareWait = 20 * time.Millisecond
	// emptyWait bounds the emptying of the receive path.
	emptyWait = 5 * time.Millisecond
	// flushPause is how long the transmit path is flushed.
	flushPause = 20 * time.Microsecond
)

// reset brings the device to rest from any state (4.2.1.6, 4.6.3): interrupts masked
// before and after, queues off, DMA ended, bus master off, reset. DMA that does not
// end, because flow control or a wire that is down holds it, takes a flush of the
// transmit path and two resets (5.2.5.3.2).
func (d *device) reset() error {
	r := d.Regs
	if err := d.CheckPresent(); err != nil {
		return err
	}
	d.maskAll()
	d.receive(false)
	d.Quiet(maxQueues)
	ended, err := d.EndDMA(true)
	if err != nil {
		return err
	}
	r.Write32(regCTRLEXT, r.Read32(regCTRLEXT)&^ctrlextDriver)
	if !ended {
		d.flush()
		if err := d.resetOnce(); err != nil {
			return err
		}
		d.maskAll()
	}
	if err := d.resetOnce(); err != nil {
		return err
	}
	d.maskAll()
	return nil
}

// resetOnce resets the NIC; if its wire is down the link, too, of which whoever had
// the NIC before may have changed the settings (4.2.1.6.2). The X540's PHY must be
// ours meanwhile.
func (d *device) resetOnce() error {
	bits := uint32(driver.CtrlRST)
	if d.chip.port != copper && !d.Status().Up {
		bits |= ctrlLinkReset
	}
	if d.chip.port == copper {
		d.Own(&d.chip.semaphore, d.phyOwner())
	}
	d.BeginReset(bits)
	if d.chip.port == copper {
		d.Disown(&d.chip.semaphore, d.phyOwner())
	}
	return d.AwaitReset(bits, d.chip.settle, regEEC, eecAutoRead)
}

// flush empties the transmit path of a NIC whose DMA is stuck, whose receiver is
// off: nothing is sent meanwhile, even if the wire comes up (specification update
// 324510, Master Disable Flow).
func (d *device) flush() {
	r := d.Regs
	control, extended := r.Read32(regHLREG0), r.Read32(regGCREXT)
	r.Write32(regHLREG0, control|hlreg0Loop)
	r.Write32(regGCREXT, extended|gcrextFlush)
	d.Settle()
	time.Sleep(flushPause)
	r.Write32(regGCREXT, extended)
	r.Write32(regHLREG0, control)
}

// receive switches the receiver on or off (4.6.7), with the path before it empty.
func (d *device) receive(on bool) {
	r := d.Regs
	was := r.Read32(regRXCTRL)
	now := was &^ rxctrlRXEN
	if on {
		now |= rxctrlRXEN
	}
	if now == was || was == bus.AllOnes {
		return
	}
	path := r.Read32(regSECRXCTRL)
	r.Write32(regSECRXCTRL, path|secrxOff)
	d.Until(emptyWait, func() bool { return r.Read32(regSECRXSTAT)&secrxEmpty != 0 })
	r.Write32(regRXCTRL, now)
	r.Write32(regSECRXCTRL, path&^secrxOff)
}

// maskAll masks all interrupts and takes back those that are pending. Bit 31 of
// EIMC is reserved.
func (d *device) maskAll() {
	r := d.Regs
	r.Write32(regEIMC, eimcAll)
	for i := range uint32(2) {
		r.Write32(regEIMCEX+4*i, bus.AllOnes)
	}
	r.Read32(regEICR)
}

// program writes everything but the rings (4.6.3), in the datasheet's order: what
// has to be waited for, wire, interrupts, receive, transmit.
func (d *device) program() error {
	r := d.Regs
	done := uint32(1) << (eemngDone + d.lan())
	d.Until(firmwareWait, func() bool { return r.Read32(regEEMNGCTL)&done != 0 }) // firmware that does not is none
	if !d.Until(readyWait, func() bool { return r.Read32(regRDRXCTL)&rdrxReady != 0 }) {
		return fmt.Errorf("its receive unit was not ready in %v: %w", readyWait, syscall.EIO)
	}
	r.Write32(driver.RegCTRL, r.Read32(driver.RegCTRL)&^(driver.CtrlMasterOff|driver.CtrlRST|ctrlLinkReset))
	r.Write32(regCTRLEXT, r.Read32(regCTRLEXT)|ctrlextDriver|ctrlextNoSnoop)
	d.programWire()
	d.programInterrupts()
	d.programReceive()
	d.programTime()
	d.programTransmit()
	return nil
}

// programInterrupts routes queue i to vector i, and the wire's changes to vector 0
// (7.3.1, 7.3.4). Without MSI-X there is one vector, and EICR says what came. All
// entries are written: a reset leaves them undefined.
func (d *device) programInterrupts() {
	r := d.Regs
	queues := uint32(1)
	if d.Config.Interrupts == bus.MSIX {
		queues = uint32(len(d.Queues))
		r.Write32(regGPIE, gpieMSIX|gpieOCD|gpiePBA)
		r.Write32(regIVARMISC, ivarValid<<ivarBits)
		r.Write32(regEIAC, 1<<min(queues, 16)-1)
	} else {
		r.Write32(regGPIE, 0)
		r.Write32(regIVARMISC, 0)
		r.Write32(regEIAC, 0)
	}
	var words [ivarWords]uint32
	for q := range queues {
		words[q/2] |= (q | ivarValid) << (q % 2 * 2 * ivarBits) // receive; the entry after it is for transmit
		r.Write32(eitr(q), 0)                                   // the queue is masked while it is polled: that is moderation enough
	}
	for i, w := range words {
		r.Write32(regIVAR+4*uint32(i), w)
	}
}

// eitr is where a vector's register is.
func eitr(vector uint32) uint32 {
	if vector < eitrFirst {
		return regEITR + 4*vector
	}
	return regEITRMore + 4*(vector-eitrFirst)
}

// programReceive writes filters, buffers and spread (4.6.7). The receiver is off.
func (d *device) programReceive() {
	r := d.Regs
	d.WriteFilter()
	d.fctrl = d.filterControl()
	r.Write32(regFCTRL, d.fctrl)
	r.Write32(regVLNCTRL, vlnctrlVFE|vlnctrlType)
	r.Write32(regMCSTCTRL, mcstctrlMFE)
	r.Write32(regRXPBSIZE, d.chip.rxBuffer<<bufferKiB)
	for i := range uint32(buffers - 1) {
		r.Write32(regRXPBSIZE+4*(i+1), 0)
	}
	// Pause frames are off: another station's full queue is no reason for ours to
	// wait.
	r.Write32(regFCCFG, 0)
	r.Write32(regMFLCN, r.Read32(regMFLCN)&^mflcnPause)
	control := r.Read32(regHLREG0)&^hlreg0Loop | hlreg0TxCRC | hlreg0RxCRC | hlreg0Jumbo | hlreg0Pad
	if d.About.On&driver.Loopback != 0 {
		control |= hlreg0Loop
	}
	r.Write32(regHLREG0, control)
	const tag = 4 // the NIC adds it itself
	r.Write32(regMAXFRS, r.Read32(regMAXFRS)&(1<<maxfrsSize-1)|uint32(d.Config.MTU+driver.FrameOverhead-tag)<<maxfrsSize)
	r.Write32(regRDRXCTL, r.Read32(regRDRXCTL)&^rdrxFirstSize|rdrxCRC|rdrxAckC|rdrxWriteFix)
	d.ProgramSpread(mrqcRSS)
	d.programFeatures()
	for i := range uint32(rqsmrWords) {
		first := 4 * i % statCounters
		r.Write32(regRQSMR+4*i, first|(first+1)<<8|(first+2)<<16|(first+3)<<24)
	}
	for i := range uint32(len(d.Queues)) {
		at := regQueueRX + driver.AdvancedStep*i + rxOrder
		r.Write32(at, r.Read32(at)&^rxOrderLoose) // a descriptor is written after its frame
	}
}

// programFeatures writes what is switched by features while frames flow, too.
func (d *device) programFeatures() {
	d.Regs.Write32(regRXCSUM, driver.RxcsumPCSD)
	d.SetModes(d.About.On&driver.VLANStrip != 0, d.About.On&driver.RXChecksum != 0)
}

// programTransmit writes buffers and the transmit unit (4.6.8). It has to be on
// before a queue is.
func (d *device) programTransmit() {
	r := d.Regs
	r.Write32(regRTTDCS, r.Read32(regRTTDCS)|rttdcsOff)
	r.Write32(regMTQC, 0)
	r.Write32(regTXPBSIZE, txBuffer<<bufferKiB)
	// Another frame is fetched while the buffer holds no more than this: then there has
	// to be room for the longest.
	longest := (uint32(d.Config.MTU+driver.FrameOverhead) + 1<<bufferKiB - 1) >> bufferKiB
	r.Write32(regTXPBTHRESH, txBuffer-max(txSpare, longest))
	for i := range uint32(buffers - 1) {
		r.Write32(regTXPBSIZE+4*(i+1), 0)
		r.Write32(regTXPBTHRESH+4*(i+1), 0)
	}
	r.Write32(regDTXMXSZ, dtxmxszAll)
	r.Write32(regRTTDCS, r.Read32(regRTTDCS)&^rttdcsOff)
	for i := range uint32(len(d.Queues)) {
		at := regQueueTX + driver.AdvancedStep*i + txOrder
		r.Write32(at, r.Read32(at)&^txOrderLoose) // a write-back passes no other
	}
	r.Write32(regDMATXCTL, r.Read32(regDMATXCTL)|dmatxTE)
}
