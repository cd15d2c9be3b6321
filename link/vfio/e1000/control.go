package e1000

import (
	"github.com/oobnet/oobnet/link/vfio/internal/bus"
	"github.com/oobnet/oobnet/link/vfio/internal/driver"
)

// Arm implements driver.Device (SDM 13.4.20).
func (d *device) Arm(int) { d.Regs.Write32(driver.RegIMS, d.causes) }

// Disarm implements driver.Device.
func (d *device) Disarm(int) { d.Regs.Write32(driver.RegIMC, d.causes) }

// Cause implements driver.Device. Reading acknowledges. With MSI-X the message
// has acknowledged what it told of (82574 7.4.5, EIAC), and only the change of
// the wire is left; that is written, and nothing else: the write arrives later,
// and would take a cause that has come meanwhile for the old one.
func (d *device) Cause() (c driver.Cause) {
	v := d.Regs.Read32(driver.RegICR)
	if v == bus.AllOnes {
		return driver.DeviceGone
	}
	if v&driver.CauseLSC != 0 {
		c |= driver.LinkChanged
		if d.Config.Interrupts == bus.MSIX {
			d.Regs.Write32(driver.RegICR, driver.CauseLSC)
		}
	}
	return c
}

// SetFilter implements driver.Device.
func (d *device) SetFilter(f *driver.Filter) error {
	if err := d.KeepFilter(f); err != nil || !d.Started() {
		return err // Start will write it
	}
	d.WriteFilter()
	if v := d.receiveControl(); v != d.rctl.Load() {
		d.rctl.Store(v)
		if d.receiving.Load() {
			d.Regs.Write32(driver.RegRCTL, v|driver.RctlEN)
		}
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
	if d.Started() {
		d.programFeatures()
		d.Settle()
	}
	return nil
}

// Count implements driver.Device.
func (d *device) Count(c *driver.Counters) {
	d.TakeUnread(c)
	read := d.ReadCounters()
	read.RXErrors += uint64(d.Regs.Read32(regCEXTERR))
	read.RXMissed = d.readMissed()
	if d.Status().Gone {
		return // what was read says nothing
	}
	d.missed += read.RXMissed
	c.Add(&read)
}

// readMissed returns what MPC has counted since the last time. Hardware clears it
// by the read; QEMU's 82540EM does not, and shows the same at a second look.
func (d *device) readMissed() uint64 {
	v := d.Regs.Read32(driver.RegMPC)
	if v == 0 {
		return 0
	}
	again := d.Regs.Read32(driver.RegMPC)
	if again < v {
		return uint64(v) + uint64(again)
	}
	n := again - d.sticky
	d.sticky = again
	return uint64(n)
}

// Lost implements driver.Queue: what the NIC has missed it has missed for its
// only queue.
func (q *queue) Lost() (noBuffer, invalid uint64) { return q.dev.missed, q.invalid.Load() }
