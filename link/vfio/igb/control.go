package igb

import (
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

// Status implements driver.Device, as of all gigabit NICs. The 82576 keeps no time that
// nobody takes.
func (d *device) Status() driver.Status {
	s := d.Gigabit.Status()
	if !s.Gone {
		d.FreeTime()
	}
	return s
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
	for i := range d.Queues {
		at := regQueueRX + driver.AdvancedStep*uint32(i) + rxDropped
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
	if len(d.Queues) == 1 {
		d.Missed(0, read.RXMissed)
	}
	for i := range d.Queues {
		d.Missed(i, uint64(drops[i]))
		read.RXMissed += uint64(drops[i])
	}
}
