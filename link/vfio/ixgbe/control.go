package ixgbe

import (
	"github.com/oobnet/oobnet/link/vfio/internal/bus"
	"github.com/oobnet/oobnet/link/vfio/internal/driver"
)

// Arm implements driver.Device (7.3.1.4). Vector 0 has the wire's changes, too.
func (d *device) Arm(queue int) { d.mask(queue, regEIMS, regEIMSEX) }

// Disarm implements driver.Device.
func (d *device) Disarm(queue int) { d.mask(queue, regEIMC, regEIMCEX) }

// mask writes the bits of a vector. The lowest 16 are in the register that has the
// wire's, which may not come between.
func (d *device) mask(queue int, low, wide uint32) {
	switch {
	case queue == 0:
		d.Regs.Write32(low, 1|eicrLSC)
	default:
		d.Regs.Write32(wide+uint32(queue/vectorsAWord)*4, 1<<(queue%vectorsAWord))
	}
}

// Cause implements driver.Device. Reading acknowledges; with MSI-X the message
// itself has acknowledged its vector (EIAC).
func (d *device) Cause() (c driver.Cause) {
	v := d.Regs.Read32(regEICR)
	switch {
	case v == bus.AllOnes:
		return driver.DeviceGone
	case v&eicrLSC != 0:
		return driver.LinkChanged
	}
	return 0
}

// filterControl is FCTRL for the filter. All multicast is a table that is full: so
// the register, which may be written only while nothing is received, changes with
// Promiscuous alone.
func (d *device) filterControl() uint32 {
	if d.Filter.Promiscuous {
		return fctrlBAM | fctrlUPE
	}
	return fctrlBAM
}

// SetFilter implements driver.Device. To go promiscuous, or back, the receiver is
// off for some us.
func (d *device) SetFilter(f *driver.Filter) error {
	if err := d.KeepFilter(f); err != nil || !d.Started() {
		return err // Start will write it
	}
	d.WriteFilter()
	if v := d.filterControl(); v != d.fctrl {
		d.fctrl = v
		d.receive(false)
		d.Regs.Write32(regFCTRL, v)
		d.receive(true)
	}
	d.Settle()
	return nil
}

// SetFeatures implements driver.Device.
func (d *device) SetFeatures(on driver.Features) error {
	if err := d.CheckFeatures(on); err != nil {
		return d.Fail(err)
	}
	d.About.On = on
	d.SetHeadroom()
	if d.Started() {
		d.programFeatures()
		d.ProgramSpread(mrqcRSS)
		d.Settle()
	}
	return nil
}

// Count implements driver.Device (8.2.3.23). Octets have 36 bits, which the wire
// fills in 55 s, and frames 32, for 288 s: by then it must be called again. What the
// packet buffer has no room for is counted as good, too, and taken off.
func (d *device) Count(c *driver.Counters) {
	d.TakeUnread(c)
	read := driver.Counters{
		RXPackets: d.Sum(regGPRC), RXBytes: d.octets(regGORCL, regGORCH), RXMulticast: d.Sum(regMPRC), RXBroadcast: d.Sum(regBPRC),
		TXPackets: d.Sum(regGPTC), TXBytes: d.octets(regGOTCL, regGOTCH),
		RXErrors: d.Sum(regCRCERRS, regRLEC, regRUC, regRFC, regROC, regRJC),
	}
	var full uint64
	for i := range uint32(buffers) {
		full += d.Sum(regMPC + 4*i)
	}
	var drops [statCounters]uint64
	for i := range uint32(min(len(d.Queues), statCounters)) {
		drops[i] = d.Sum(regQPRDC + driver.AdvancedStep*i)
	}
	if d.Status().Gone {
		return // what was read says nothing
	}
	d.rxLoss += full
	taken := min(d.rxLoss, read.RXPackets)
	read.RXPackets -= taken
	d.rxLoss -= taken
	d.missed(&read, full, &drops)
	c.Add(&read)
}

// octets reads a counter of 36 bits.
func (d *device) octets(low, high uint32) uint64 { return d.Pair(low, high) & (1<<36 - 1) }

// missed accounts for frames that were not received. What the NIC as a whole has
// missed is a single queue's; of several nobody knows. RSS reaches as many queues as
// there are counters.
func (d *device) missed(read *driver.Counters, full uint64, drops *[statCounters]uint64) {
	read.RXMissed = full
	if len(d.Queues) == 1 {
		d.Missed(0, full)
	}
	for i, n := range drops {
		if n != 0 {
			d.Missed(i, n)
			read.RXMissed += n
		}
	}
}
