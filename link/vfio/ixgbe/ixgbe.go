// Package ixgbe drives Intel's 10-gigabit NICs 82599 (X520 and others) and X540.
//
// Reading order: this file (which NICs, life), registers.go, init.go, wire.go (the
// port and its speed), control.go (filters, counters, interrupts), time.go. Receive,
// transmit and RSS are those of all NICs with advanced descriptors, in
// internal/driver, advanced.go first. Each step names the section that it follows:
// of the 82599's datasheet (331520), or the X540's (515554) where it says "X540".
//
// A queue has a receive ring, a transmit ring and, with MSI-X, a vector. There are
// up to 64; the hash of RSS chooses among the first 16.
//
// It is tested against internal/ixgbemodel, a model that the drivers of Linux and
// DPDK accept, and has not met silicon yet: NOTES.md says what that means, how to
// change it (`oobnet check`), and where this driver differs from Linux's.
package ixgbe

import (
	"runtime"
	"time"

	"github.com/oobnet/oobnet/link/vfio/internal/bus"
	"github.com/oobnet/oobnet/link/vfio/internal/driver"
)

// port is what a NIC's port ends in.
type port int

const (
	// backplane: KX, KX4, KR, CX4 or XAUI, as the NIC's memory has set it up.
	backplane port = iota
	// fiber: a cage for modules, of which the laser may have to be switched on.
	fiber
	// copper: the PHY of the X540, which owns the wire.
	copper
)

// chip is what the NICs of the family differ in.
type chip struct {
	port port
	// rxBuffer is the receive packet buffer, KiB (8.2.3.8.9, X540 8.2.3.8.9).
	rxBuffer uint32
	// settle is how long nothing is asked of it after a reset.
	settle time.Duration
	// semaphore is how firmware and drivers agree on the PHY and on AUTOC.
	semaphore driver.Semaphore
	// pace is what the clock's register holds beside the increment.
	pace uint32
}

var (
	chip82599Fiber     = chip82599(fiber)
	chip82599Backplane = chip82599(backplane)
	chipX540           = chip{
		port: copper, rxBuffer: 384, settle: 100 * time.Millisecond,
		semaphore: driver.Semaphore{SWSM: regSWSM, Owners: regSWFWSYNC, Firmware: syncFirmware, Read: true, Wait: ownerWait},
	}
)

func chip82599(p port) chip {
	return chip{
		port: p, rxBuffer: 512, settle: 50 * time.Millisecond, pace: timincaEach,
		semaphore: driver.Semaphore{SWSM: regSWSM, Owners: regSWFWSYNC, Firmware: syncFirmware, Wait: ownerWait},
	}
}

// models are those whose wire needs no PHY beside the NIC: 82599 with a 10GBASE-T
// PHY of its own (8086:151c) is not among them.
var models = []struct {
	device uint16
	name   string
	chip   *chip
}{
	{0x10fb, "82599", &chip82599Fiber},
	{0x1507, "82599 SFP mezzanine", &chip82599Fiber},
	{0x1529, "82599 SFP FCoE", &chip82599Fiber},
	{0x154a, "82599 quad SFP", &chip82599Fiber},
	{0x154d, "82599 dual SFP", &chip82599Fiber},
	{0x1557, "82599EN", &chip82599Fiber},
	{0x1558, "82599 QSFP", &chip82599Fiber},
	{0x10f7, "82599 KX4", &chip82599Backplane},
	{0x1514, "82599 KX4 mezzanine", &chip82599Backplane},
	{0x1517, "82599 KR", &chip82599Backplane},
	{0x10f8, "82599 backplane", &chip82599Backplane},
	{0x152a, "82599 backplane FCoE", &chip82599Backplane},
	{0x10f9, "82599 CX4", &chip82599Backplane},
	{0x10fc, "82599 XAUI", &chip82599Backplane},
	{0x1528, "X540", &chipX540},
	{0x1560, "X540 single", &chipX540},
}

// Driver is the family's entry in the link's table.
var Driver = driver.Driver{Name: "ixgbe", Models: list(), Open: open, Free: newFree}

func list() (l []driver.Model) {
	for _, m := range models {
		l = append(l, driver.Model{Vendor: 0x8086, Device: m.device, Name: m.name})
	}
	return l
}

// layout is what the NIC's queues differ in from others'.
func (c *chip) layout() *driver.AdvancedLayout {
	return &driver.AdvancedLayout{
		RX: regQueueRX, TX: regQueueTX, Split: rxSplit, SplitBits: rxSplitOne | rxSplitHeader, SplitDrop: rxSplitDrop,
		TXControl: txThresholds, RXStrip: rxStripTag, Settle: 100 * time.Microsecond,
		BadIP: rxBadIP, BadL4: rxBadL4, Damaged: rxDamaged, ZeroIsBad: true, Clock: &systemTime,
	}
}

type device struct {
	driver.Base
	driver.Advanced
	chip   *chip
	fctrl  uint32 // what FCTRL holds
	speed  int    // asked for, Mbit/s; 0: any
	paced  int    // the speed that the clock is set for, Mbit/s
	autoc  uint32 // as the NIC's memory has it
	rxLoss uint64 // missed frames that RXPackets has yet to be lessened by
}

var (
	_ driver.Device   = (*device)(nil)
	_ driver.Spreader = (*device)(nil)
	_ driver.TXTimer  = (*device)(nil)
	_ driver.Speeder  = (*device)(nil)
)

func open(b bus.Bus, m driver.Model, cfg driver.Config) (driver.Device, error) {
	d := &device{Base: driver.Base{Bus: b, Config: cfg, Tables: tables}}
	for _, known := range models {
		if known.device == m.Device {
			d.chip = known.chip
		}
	}
	d.About = driver.Info{
		Driver: "ixgbe", Model: m.Name, Queues: d.countQueues(), MaxMTU: maxFrame - driver.FrameOverhead, MaxUnicast: tables.MaxUnicast,
		MostSpread:    spreadQueues,
		RXDescriptors: cfg.RXDescriptors, TXDescriptors: cfg.TXDescriptors, On: cfg.Features, TagsApart: true,
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
	d.autoc = d.Regs.Read32(regAUTOC)
	if d.About.MAC, err = d.ComparedMAC(); err != nil {
		return nil, d.Fail(err)
	}
	var former driver.Counters
	d.Count(&former) // what the last process has left is not ours
	d.ForgetMissed()
	return d, nil
}

// countQueues says how many queues there are to be. By default it is one a
// processor that RSS can reach: a queue that shares its processor with another
// spreads nothing.
func (d *device) countQueues() int {
	if d.Config.Queues != 0 {
		return d.Config.Queues
	}
	return max(1, min(d.mostQueues(), runtime.GOMAXPROCS(0), spreadQueues))
}

// mostQueues is what NIC and interrupts allow.
func (d *device) mostQueues() int {
	switch d.Config.Interrupts {
	case bus.MSIX:
		return min(maxQueues, d.Bus.Vectors(bus.MSIX))
	case bus.None:
		return maxQueues
	}
	return 1
}

// Start implements driver.Device: 4.6.3, and what it names.
func (d *device) Start(region driver.Region) ([]driver.Queue, error) {
	d.Region = region
	if err := d.MakeRings(); err != nil {
		return nil, d.Fail(err)
	}
	if err := d.program(); err != nil {
		return nil, d.Fail(err)
	}
	d.Point()
	if err := d.Bus.BusMaster(true); err != nil {
		return nil, d.Fail(err)
	}
	queues, err := d.Go()
	if err != nil {
		return nil, d.Fail(err)
	}
	d.receive(true)
	return queues, nil
}

// Restart implements driver.Device. Frames that come for a queue that has not
// restarted its ring yet are dropped.
func (d *device) Restart() error {
	d.Count(&d.Unread) // the reset clears the registers
	if err := d.reset(); err != nil {
		return d.Fail(err)
	}
	if err := d.program(); err != nil {
		return d.Fail(err)
	}
	if err := d.Bus.BusMaster(true); err != nil {
		return d.Fail(err)
	}
	d.receive(true)
	return nil
}

// Stop implements driver.Device: interrupts, receiver, what is to be sent,
// queues, DMA, bus master, reset (4.6.7.1.2, 4.6.8.1.1, 5.2.5.3.2).
func (d *device) Stop() error {
	d.maskAll()
	d.receive(false)
	if d.Status().Up {
		d.Drain()
	}
	if err := d.reset(); err != nil {
		return d.Fail(err)
	}
	return nil
}
