// Package igb drives Intel's gigabit NICs of several queues: 82576, I350 and
// I210.
//
// Reading order: this file (which NICs, life), registers.go, init.go, control.go
// (filters, counters, interrupts), time.go. What the drivers share is in
// internal/driver: receive, transmit and RSS of all NICs with advanced descriptors
// (advanced.go first), and what all gigabit NICs have (gigabit.go). Each step names the
// section that it follows: "82576", "I350" and "I210" are the datasheets (320961,
// 334027, 333016); sections without a name are the 82576's.
//
// Descriptors are the advanced ones, and a receive descriptor has one buffer. A
// queue has a receive ring, a transmit ring and, with MSI-X, a vector.
package igb

import (
	"fmt"
	"runtime"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio/internal/bus"
	"github.com/oobnet/oobnet/link/vfio/internal/driver"
)

// chip is what the NICs of the family differ in.
type chip struct {
	queues int
	// columns: the words of IVAR hold queues q and q+8 (7.3.3.3); else queues
	// 2q and 2q+1 (I350 7.3.3.3, I210 7.3.3).
	columns bool
	// vlanWrites is how often each word of the VLAN table is written: of an I350
	// a write may get lost.
	vlanWrites int
	// strips: DVMOLR, a queue, says what is stripped (I350 8.20.3).
	strips bool
	// eec is where the state of the non-volatile memory is read.
	eec uint32
	// dropsStay: RQDPC is cleared by writing it.
	dropsStay bool
	// clock is how the NIC counts time, and where it leaves a frame's.
	clock *driver.Clock
}

var (
	chip82576 = chip{queues: 16, columns: true, vlanWrites: 1, eec: regEEC, clock: &clock82576}
	chipI350  = chip{queues: 8, vlanWrites: 10, strips: true, eec: regEEC, clock: &clockI350}
	chipI210  = chip{queues: 4, vlanWrites: 1, eec: regEECI210, dropsStay: true, clock: &clockI210}
)

// layout is what the NIC's queues differ in from others'.
func (c *chip) layout() *driver.AdvancedLayout {
	return &driver.AdvancedLayout{
		RX: regQueueRX, TX: regQueueTX, Split: rxSplit, SplitBits: rxSplitOne, SplitDrop: rxSplitDrop,
		RXControl: rxThresholds, TXControl: txThresholds,
		BadIP: rxBadIP, BadL4: rxBadL4, Damaged: rxDamaged, Clock: c.clock,
	}
}

// models are those with copper ports.
var models = []struct {
	device uint16
	name   string
	chip   *chip
}{
	{0x10c9, "82576", &chip82576},
	{0x10e8, "82576 quad", &chip82576},
	{0x1526, "82576 quad ET2", &chip82576},
	{0x1521, "I350", &chipI350},
	{0x1533, "I210", &chipI210},
	{0x157b, "I210 flashless", &chipI210},
}

// Driver is the family's entry in the link's table.
var Driver = driver.Driver{Name: "igb", Models: list(), Open: open, Free: newFree}

func list() (l []driver.Model) {
	for _, m := range models {
		l = append(l, driver.Model{Vendor: 0x8086, Device: m.device, Name: m.name})
	}
	return l
}

type device struct {
	driver.Gigabit
	driver.Advanced
	chip *chip
}

var (
	_ driver.Device   = (*device)(nil)
	_ driver.Spreader = (*device)(nil)
	_ driver.TXTimer  = (*device)(nil)
)

func open(b bus.Bus, m driver.Model, cfg driver.Config) (driver.Device, error) {
	d := &device{Gigabit: driver.Gigabit{Base: driver.Base{Bus: b, Config: cfg, Tables: driver.GigabitTables}}}
	for _, known := range models {
		if known.device == m.Device {
			d.chip, d.Tables.VLANWrites = known.chip, known.chip.vlanWrites
		}
	}
	d.About = driver.Info{
		Driver: "igb", Model: m.Name, Queues: d.countQueues(), MaxMTU: maxFrame - driver.FrameOverhead, MaxUnicast: d.Tables.MaxUnicast,
		MostSpread:    d.chip.queues,
		RXDescriptors: cfg.RXDescriptors, TXDescriptors: cfg.TXDescriptors, On: cfg.Features,
		Supported: driver.RXChecksum | driver.TXChecksum | driver.VLANStrip | driver.VLANInsert | driver.RXTime | driver.TXTime | driver.Loopback,
	}
	if d.About.Queues > 1 {
		d.About.Supported |= driver.RSS
	}
	if err := d.CheckAsked(d.mostQueues()); err != nil {
		return nil, d.Fail(err)
	}
	d.SetUp(&d.Base, d.chip.layout())
	d.SetHeadroom()
	var err error
	if d.Regs, err = b.Registers(0, registersSize); err != nil {
		return nil, d.Fail(err)
	}
	if err := d.reset(); err != nil {
		return nil, d.Fail(err)
	}
	if mode := d.Regs.Read32(regCTRLEXT) & ctrlextMode; mode != ctrlextCopper {
		return nil, d.Fail(fmt.Errorf("its port is not a copper one (mode %d): %w", mode>>22, link.ErrNotSupported))
	}
	if d.About.MAC, err = d.ComparedMAC(); err != nil {
		return nil, d.Fail(err)
	}
	var former driver.Counters
	d.Count(&former) // what the last process has left is not ours
	d.ForgetMissed()
	return d, nil
}

// countQueues says how many queues there are to be. By default it is one a
// processor: a queue that shares its processor with another spreads nothing.
func (d *device) countQueues() int {
	if d.Config.Queues != 0 {
		return d.Config.Queues
	}
	return max(1, min(d.mostQueues(), runtime.GOMAXPROCS(0)))
}

// mostQueues is what NIC and interrupts allow.
func (d *device) mostQueues() int {
	switch d.Config.Interrupts {
	case bus.MSIX:
		return min(d.chip.queues, d.Bus.Vectors(bus.MSIX))
	case bus.None:
		return d.chip.queues
	}
	return 1
}

// Start implements driver.Device: 4.5.9, 4.5.10.
func (d *device) Start(region driver.Region) ([]driver.Queue, error) {
	d.Region = region
	if err := d.MakeRings(); err != nil {
		return nil, d.Fail(err)
	}
	d.program()
	d.Point()
	if err := d.Bus.BusMaster(true); err != nil {
		return nil, d.Fail(err)
	}
	queues, err := d.Go()
	if err != nil {
		return nil, d.Fail(err)
	}
	d.Regs.Write32(driver.RegRCTL, d.receiveControl())
	return queues, nil
}

// Restart implements driver.Device. Frames that come for a queue that has not
// restarted its ring yet are dropped.
func (d *device) Restart() error {
	d.Count(&d.Unread) // the reset clears the registers
	if err := d.reset(); err != nil {
		return d.Fail(err)
	}
	d.program()
	if err := d.Bus.BusMaster(true); err != nil {
		return d.Fail(err)
	}
	d.Regs.Write32(driver.RegRCTL, d.receiveControl())
	return nil
}

// Stop implements driver.Device: interrupts, receiver, what is to be sent,
// queues, transmitter, DMA, bus master, reset (4.5.9.2, 4.5.10.2).
func (d *device) Stop() error {
	d.maskAll()
	d.Regs.Write32(driver.RegRCTL, 0)
	if d.Status().Up {
		d.Drain()
	}
	if err := d.reset(); err != nil {
		return d.Fail(err)
	}
	return nil
}
