package igb

import (
	"fmt"
	"syscall"

	"github.com/oobnet/oobnet/link/vfio/internal/bus"
	"github.com/oobnet/oobnet/link/vfio/internal/driver"
)

// causes are those that matter where there is one vector.
const causes = causeRXDW | driver.CauseRXDMT0 | driver.CauseRXO | driver.CauseLSC

// Arm implements driver.Device (7.3.2).
func (d *device) Arm(queue int) {
	if d.Config.Interrupts == bus.MSIX {
		d.Regs.Write32(regEIMS, 1<<queue)
	} else {
		d.Regs.Write32(driver.RegIMS, causes)
	}
}

// Disarm implements driver.Device.
func (d *device) Disarm(queue int) {
	if d.Config.Interrupts == bus.MSIX {
		d.Regs.Write32(regEIMC, 1<<queue)
	} else {
		d.Regs.Write32(driver.RegIMC, causes)
	}
}

// Cause implements driver.Device. Reading acknowledges; with MSI-X the message
// itself has acknowledged its vector (EIAC).
func (d *device) Cause() (c driver.Cause) {
	v := d.Regs.Read32(driver.RegICR)
	switch {
	case v == bus.AllOnes:
		return driver.DeviceGone
	case v&driver.CauseLSC != 0:
		return driver.LinkChanged
	}
	return 0
}

// SetFilter implements driver.Device.
func (d *device) SetFilter(f *driver.Filter) error {
	if err := d.KeepFilter(f); err != nil || !d.Started() {
		return err // Start will write it
	}
	d.WriteFilter()
	d.Regs.Write32(driver.RegRCTL, d.receiveControl())
	d.Settle()
	return nil
}

// SetFeatures implements driver.Device.
func (d *device) SetFeatures(on driver.Features) error {
	if err := d.checkFeatures(on); err != nil {
		return d.Fail(err)
	}
	d.About.On = on
	d.About.RXHeadroom = d.headroom()
	if d.Started() {
		d.programFeatures()
		d.programSpread()
		d.Settle()
	}
	return nil
}

// defaultKey is the hash's to begin with: the one of the examples in the
// specification of RSS, so that anybody can check where a flow goes.
var defaultKey = [40]byte{
	0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb,
	0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
}

// Spread implements driver.Spreader.
func (d *device) Spread() driver.Spread { return d.spread }

// SetSpread implements driver.Spreader.
func (d *device) SetSpread(s *driver.Spread) error {
	for i, q := range s.Table {
		if int(q) >= len(d.queues) {
			return d.Fail(fmt.Errorf("entry %d of the RSS table is queue %d: there are %d, from 0: %w", i, q, len(d.queues), syscall.EINVAL))
		}
	}
	d.spread = *s
	if d.Started() {
		d.programSpread()
		d.Settle()
	}
	return nil
}

// Count implements driver.Device.
func (d *device) Count(c *driver.Counters) {
	d.TakeUnread(c)
	read, drops := d.ReadCounters(), d.readDrops()
	read.RXMissed = uint64(d.Regs.Read32(driver.RegMPC))
	if d.Status().Gone {
		return // what was read says nothing
	}
	d.missed(&read, drops)
	c.Add(&read)
}

// readDrops returns what found no descriptor, by queue (RQDPC).
func (d *device) readDrops() (drops [16]uint32) {
	for i := range d.queues {
		at := regQueueRX + queueStep*uint32(i) + rxDropped
		drops[i] = d.Regs.Read32(at)
		if d.chip.dropsStay {
			d.Regs.Write32(at, 0)
		}
	}
	return drops
}

// missed accounts for frames that were not received. What the NIC as a whole has
// missed is a single queue's; of several nobody knows.
func (d *device) missed(read *driver.Counters, drops [16]uint32) {
	if len(d.queues) == 1 {
		d.queues[0].missed += read.RXMissed
	}
	for i := range d.queues {
		d.queues[i].missed += uint64(drops[i])
		read.RXMissed += uint64(drops[i])
	}
}
