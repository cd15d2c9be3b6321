// Package e1000 drives Intel's first gigabit NICs: 82540EM and 82545EM on PCI,
// 82574 on PCI Express. One queue.
//
// Reading order: this file (which NICs, life), registers.go, init.go,
// receive.go, transmit.go, control.go (filters, counters, interrupts). Each step
// names the section that it follows: "SDM" is Intel's PCI/PCI-X Family of
// Gigabit Ethernet Controllers Software Developer's Manual (317453), "82574" is
// the 82574 datasheet (317694).
//
// Descriptors are the legacy ones on receive, which carry all that these NICs
// find out about a frame, and on transmit the legacy ones, or extended ones where
// the NIC is to complete a checksum.
package e1000

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio/internal/bus"
	"github.com/oobnet/oobnet/link/vfio/internal/driver"
)

// Driver is the family's entry in the link's table.
var Driver = driver.Driver{
	Name: "e1000",
	Models: []driver.Model{
		{Vendor: 0x8086, Device: 0x100e, Name: "82540EM"},
		{Vendor: 0x8086, Device: 0x100f, Name: "82545EM"},
		{Vendor: 0x8086, Device: id82574, Name: "82574L"},
		{Vendor: 0x8086, Device: 0x10f6, Name: "82574LA"},
	},
	Open: open,
	Free: newFree,
}

const id82574 = 0x10d3

// frameOverhead is what a frame has beside the MTU on the wire, bytes: header,
// one tag, check sequence.
const frameOverhead = 14 + 4 + 4

// maxUnicast is how many addresses beside its own the NIC is given: it compares
// 16 (SDM 13.5.3), and firmware may use the last of them on an 82574.
const maxUnicast = 14

// supported is what all models can do.
const supported = driver.RXChecksum | driver.TXChecksum | driver.VLANStrip | driver.VLANInsert

type device struct {
	bus     bus.Bus
	regs    *bus.Registers
	express bool // an 82574: PCI Express, MSI-X
	cfg     driver.Config
	info    driver.Info
	region  driver.Region
	queue   queue

	ctrl uint32 // CTRL without its one-shot bits
	// rctl is RCTL without EN: written by the control path, read by the receive
	// side when it restarts. receiving is written by the receive side: EN is set.
	rctl      atomic.Uint32
	receiving atomic.Bool
	causes    uint32          // what Arm enables
	filter    driver.Filter   // for Restart
	unread    driver.Counters // from before a restart, for the next Count
	missed    uint64          // frames for which there was no buffer
	sticky    uint32          // MPC when last read, of a NIC that does not clear it
}

var _ driver.Device = (*device)(nil)

func open(b bus.Bus, m driver.Model, cfg driver.Config) (driver.Device, error) {
	d := &device{bus: b, express: m.Device == id82574 || m.Device == 0x10f6, cfg: cfg}
	maxFrame := maxFrame8254x
	if d.express {
		maxFrame = maxFrame82574
	}
	d.info = driver.Info{
		Driver: "e1000", Model: m.Name, Queues: 1, MaxMTU: maxFrame - frameOverhead, MaxUnicast: maxUnicast,
		RXDescriptors: cfg.RXDescriptors, TXDescriptors: cfg.TXDescriptors, Supported: supported, On: cfg.Features,
	}
	if err := d.check(); err != nil {
		return nil, d.fail(err)
	}
	var err error
	if d.regs, err = b.Registers(0, registersSize); err != nil {
		return nil, d.fail(err)
	}
	if err := d.reset(); err != nil {
		return nil, d.fail(err)
	}
	if d.info.MAC, err = d.readMAC(); err != nil {
		return nil, d.fail(err)
	}
	var former driver.Counters
	d.Count(&former) // what the last process has left is not ours
	d.missed = 0
	return d, nil
}

func (d *device) fail(err error) error { return fmt.Errorf("e1000: %s: %w", d.bus.Name(), err) }

// check refuses what the NIC cannot do.
func (d *device) check() error {
	if err := d.info.SettleRings(); err != nil {
		return err
	}
	switch {
	case d.cfg.Queues > 1:
		return fmt.Errorf("%d queues: the %s has 1: %w", d.cfg.Queues, d.info.Model, link.ErrNotSupported)
	case d.cfg.MTU > d.info.MaxMTU:
		return fmt.Errorf("MTU %d: the %s carries at most %d", d.cfg.MTU, d.info.Model, d.info.MaxMTU)
	}
	return d.info.CheckFeatures(d.cfg.Features)
}

// Info implements driver.Device.
func (d *device) Info() driver.Info { return d.info }

// Start implements driver.Device: SDM 14, 82574 4.6.
func (d *device) Start(region driver.Region) ([]driver.Queue, error) {
	d.region = region
	if err := d.queue.init(d); err != nil {
		return nil, d.fail(err)
	}
	d.program()
	d.queue.startReceive()
	d.queue.startSend()
	if err := d.bus.BusMaster(true); err != nil {
		return nil, d.fail(err)
	}
	d.enableReceive()
	return []driver.Queue{&d.queue}, nil
}

// Restart implements driver.Device.
func (d *device) Restart() error {
	d.Count(&d.unread) // the reset may clear the registers
	d.receiving.Store(false)
	if err := d.reset(); err != nil {
		return d.fail(err)
	}
	d.program()
	if err := d.bus.BusMaster(true); err != nil {
		return d.fail(err)
	}
	return nil
}

// drainWait bounds how long frames on the transmit ring may take to leave:
// 512 full frames take 6 ms at 1 Gbit/s, and 10 Mbit/s half-way.
const drainWait = 200 * time.Millisecond

// Stop implements driver.Device: interrupts, what is to be sent, receiver,
// transmitter, DMA, reset.
func (d *device) Stop() error {
	d.regs.Write32(regIMC, bus.AllOnes)
	d.regs.Write32(regRCTL, 0)
	if d.Status().Up {
		d.until(drainWait, func() bool { return d.regs.Read32(regTDH) == d.regs.Read32(regTDT) })
	}
	err := d.reset()
	if err != nil {
		return d.fail(err)
	}
	return nil
}

// until is driver.Until.
func (d *device) until(limit time.Duration, came func() bool) bool {
	return driver.Until(d.regs, regSTATUS, limit, came)
}
