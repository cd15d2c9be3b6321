// Package e1000 drives Intel's first gigabit NICs: 82540EM and 82545EM on PCI,
// 82574 on PCI Express. One queue.
//
// Reading order: this file (which NICs, life), registers.go, init.go,
// receive.go, transmit.go, control.go (filters, counters, interrupts); what all
// gigabit NICs have in common is in internal/driver, gigabit.go first. Each step
// names the section that it follows: "SDM" is Intel's PCI/PCI-X Family of
// Gigabit Ethernet Controllers Software Developer's Manual (317453), "82574" is
// the 82574 datasheet (317694).
//
// Descriptors are the legacy ones on receive, which carry all that these NICs
// find out about a frame, and on transmit the legacy ones, or extended ones where
// the NIC is to complete a checksum.
package e1000

import (
	"sync/atomic"

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

// supported is what all models can do.
const supported = driver.RXChecksum | driver.TXChecksum | driver.VLANStrip | driver.VLANInsert

type device struct {
	driver.Gigabit
	express bool // an 82574: PCI Express, MSI-X
	queue   queue

	// rctl is RCTL without EN: written by the control path, read by the receive
	// side when it restarts. receiving is written by the receive side: EN is set.
	rctl      atomic.Uint32
	receiving atomic.Bool
	causes    uint32 // what Arm enables
	missed    uint64 // frames for which there was no buffer
	sticky    uint32 // MPC when last read, of a NIC that does not clear it
}

var _ driver.Device = (*device)(nil)

func open(b bus.Bus, m driver.Model, cfg driver.Config) (driver.Device, error) {
	d := &device{Gigabit: driver.Gigabit{Base: driver.Base{Bus: b, Config: cfg, Tables: driver.GigabitTables}}, express: m.Device == id82574 || m.Device == 0x10f6}
	maxFrame := maxFrame8254x
	if d.express {
		maxFrame = maxFrame82574
	}
	d.About = driver.Info{
		Driver: "e1000", Model: m.Name, Queues: 1, MaxMTU: maxFrame - driver.FrameOverhead, MaxUnicast: d.Tables.MaxUnicast,
		RXDescriptors: cfg.RXDescriptors, TXDescriptors: cfg.TXDescriptors, Supported: supported, On: cfg.Features,
	}
	if err := d.CheckAsked(1); err != nil {
		return nil, d.Fail(err)
	}
	var err error
	if d.Regs, err = b.Registers(0, registersSize); err != nil {
		return nil, d.Fail(err)
	}
	if err := d.reset(); err != nil {
		return nil, d.Fail(err)
	}
	if d.About.MAC, err = d.readMAC(); err != nil {
		return nil, d.Fail(err)
	}
	var former driver.Counters
	d.Count(&former) // what the last process has left is not ours
	d.missed = 0
	return d, nil
}

// Start implements driver.Device: SDM 14, 82574 4.6.
func (d *device) Start(region driver.Region) ([]driver.Queue, error) {
	d.Region = region
	if err := d.queue.init(d); err != nil {
		return nil, d.Fail(err)
	}
	d.program()
	d.queue.startReceive()
	d.queue.startSend()
	if err := d.Bus.BusMaster(true); err != nil {
		return nil, d.Fail(err)
	}
	d.enableReceive()
	return []driver.Queue{&d.queue}, nil
}

// Restart implements driver.Device.
func (d *device) Restart() error {
	d.Count(&d.Unread) // the reset may clear the registers
	d.receiving.Store(false)
	if err := d.reset(); err != nil {
		return d.Fail(err)
	}
	d.program()
	if err := d.Bus.BusMaster(true); err != nil {
		return d.Fail(err)
	}
	return nil
}

// Stop implements driver.Device: interrupts, receiver, what is to be sent,
// transmitter, DMA, bus master, reset (SDM 14.1, 82574 4.6.1).
func (d *device) Stop() error {
	d.Regs.Write32(driver.RegIMC, bus.AllOnes)
	d.Regs.Write32(driver.RegRCTL, 0)
	if d.Status().Up {
		d.Until(driver.DrainWait, func() bool { return d.Regs.Read32(regTX+driver.RingHead) == d.Regs.Read32(regTX+driver.RingTail) })
	}
	if err := d.reset(); err != nil {
		return d.Fail(err)
	}
	return nil
}
