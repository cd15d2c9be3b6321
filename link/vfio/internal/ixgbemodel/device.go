// Package ixgbemodel is a model of Intel's 82599 and X540 at the level of
// registers, for drivers to be tested against. It is made of what the datasheets
// say and of what others' drivers rely on, and of nothing in our own. It is
// strict where silicon is lenient: what a datasheet forbids is recorded as a
// [Violation], with its section, and the device goes on.
//
// A Device is passive. It is reached by [Device.Read32] and [Device.Write32] on
// BAR 0, reaches memory through a [Memory], and calls back for interrupts and
// for the frames that it sends. As a bus for a driver it takes three lines:
// package bus/model has OnRead and OnWrite of the same shapes, and [Flat] makes a
// Memory of it.
//
// Modelled: resets; the EEPROM whole, by EERD and by its wires; semaphores; the
// SFP+ module behind I2C and the X540's PHY behind MDIO; the link and its speed,
// by force too; loopback of the MAC; receive and transmit queues with advanced
// descriptors, transmit with legacy ones, too; several buffers a frame; the
// packet buffer, where frames wait for descriptors; filters of addresses,
// multicast groups, VLANs and EtherTypes; RSS; checksums of both directions and
// segmentation, IPv4 and IPv6; VLAN tags; head write-back; interrupts by MSI-X,
// MSI and INTx, with automatic masks and the intervals of EITR; all counters of the data path; SYSTIM and
// the times of PTP frames; the handshakes of the flow director.
//
// Not modelled: RSC, filters of the flow director and of five fields (they take
// what is written, and match nothing), pools and virtual functions, traffic
// classes and rates, flow control on the wire, header split, legacy receive
// descriptors, LinkSec and IPsec, checksums of SCTP, management and wake-up. Nothing
// here takes time but an interrupt that EITR holds back: what a driver waits for is
// done when it looks, or looks again. A register that has no life here keeps what is written,
// and [Device.Unmodelled] names it where that matters.
//
// Violations fail a test. What the datasheet forbids, but drivers in wide use do, is
// kept apart, for the sake of those: [Device.Tolerated]. Linux's ixgbe and DPDK's PMD
// run on this model without a violation. A driver of ours runs on one that is
// [Config.Strict], which tolerates one thing.
//
// Sections are those of the 82599 10 GbE Controller Datasheet (331520), for the
// X540 too. Their numbers have not been compared with an edition: below 8.2.3
// take them for the group of registers that is meant. No silicon has been
// compared either.
package ixgbemodel

import (
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"
)

// Size is the size of BAR 0 in bytes.
const Size = 128 << 10

// Queues is how many receive, and as many transmit, queues there are.
const Queues = 128

// Chip is what is modelled: its PCI device ID (vendor 8086).
type Chip uint16

// The chips.
const (
	Chip82599 Chip = 0x10fb
	ChipX540  Chip = 0x1528
)

// Config is what a device is made of.
type Config struct {
	Chip   Chip
	MAC    [6]byte
	Memory Memory
	// Interrupt and Transmit, if set, are called by the goroutine whose call
	// caused them, before that returns, and may call the device; an interrupt that
	// EITR has held back, by After's. The frame, without its checksum, is the callee's.
	Interrupt func(vector int)
	Transmit  func(frame []byte)
	// Line, if set, is told of each change of the interrupt line, INTx, which is
	// up while a cause that is not masked waits, and EITR does not hold it back, unless
	// GPIE is set for MSI-X. It must not call the device.
	Line func(up bool)
	// Trace, if set, is called for each access to a register, in their order,
	// with the offset as the driver gave it. It must not call the device.
	Trace func(write bool, offset, value uint32)
	// Strict makes a violation of what is tolerated for the sake of others' drivers,
	// but for [LateTail].
	Strict bool
	// Now is the clock behind SYSTIM and EITR; nil: that of the process.
	Now func() time.Duration
	// After has f called when so much time is over by that clock, by any goroutine but
	// the caller's. nil: with Now nil a timer does; else what EITR holds back is looked
	// at with each call of a method.
	After func(wait time.Duration, f func())
}

// Device is one port. Its methods are safe for concurrent use.
type Device struct {
	config Config

	mu         sync.Mutex
	regs       [Size / 4]uint32
	eeprom     [eepromWords]uint16
	phy        map[uint32]uint16 // MDIO registers
	wire       i2c               // to the module
	serial     spi               // to the EEPROM
	rx, tx     [Queues]queue
	held       packetBuffer // frames that wait for descriptors
	clock      systemTime
	causes     uint64 // of queues, by bit or vector
	misc       uint32 // other causes, as in EICR
	mask       uint64 // EIMS of queues
	miscMask   uint32
	auto       uint64 // EIAM of queues
	line       bool   // INTx is up
	moderated  [messages + 1]moderation
	resetting  bool // until CTRL has been read once
	accesses   int  // to registers so far
	cable      bool
	violations []Violation
	tolerated  []Violation
	unmodelled map[uint32]bool
	fired      []int    // interrupts to call back for
	sent       [][]byte // frames to call back for
}

// New makes a device as it is after power-on, its link down.
func New(c Config) (*Device, error) {
	if c.Chip != Chip82599 && c.Chip != ChipX540 {
		return nil, fmt.Errorf("ixgbemodel: chip %#04x: no such model: want Chip82599 or ChipX540", uint16(c.Chip))
	}
	if c.Memory == nil {
		return nil, errors.New("ixgbemodel: no memory: set Config.Memory")
	}
	if c.Now == nil {
		began := time.Now()
		c.Now = func() time.Duration { return time.Since(began) }
		if c.After == nil {
			c.After = func(wait time.Duration, f func()) { time.AfterFunc(wait, f) }
		}
	}
	d := &Device{config: c, phy: maps.Clone(phyDefaults), unmodelled: map[uint32]bool{}}
	d.burn()
	d.reset()
	return d, nil
}

// Read32 reads a register. Offsets beyond the BAR read as all ones.
func (d *Device) Read32(offset uint32) uint32 {
	d.mu.Lock()
	if offset >= Size || offset%4 != 0 {
		d.violate(offset, "8.1", "read beyond the registers, or unaligned")
		d.mu.Unlock()
		return 0xffffffff
	}
	d.accesses++
	v := d.read(canonical(offset))
	if d.config.Trace != nil {
		d.config.Trace(false, offset, v)
	}
	d.release()
	return v
}

// Write32 writes a register.
func (d *Device) Write32(offset, value uint32) {
	d.mu.Lock()
	if offset >= Size || offset%4 != 0 {
		d.violate(offset, "8.1", "write beyond the registers, or unaligned")
		d.mu.Unlock()
		return
	}
	if d.config.Trace != nil {
		d.config.Trace(true, offset, value)
	}
	d.accesses++
	d.write(canonical(offset), value)
	d.release()
}

// Receive hands the device a frame from the wire, without its checksum and, if
// it is short, without its padding. It says whether the frame was taken: into a
// queue, or into the packet buffer until its queue has descriptors.
func (d *Device) Receive(frame []byte) bool {
	d.mu.Lock()
	ok := d.linkUp() && !d.loops() && d.receive(frame)
	d.release()
	return ok
}

// SetLink plugs the cable in or out.
func (d *Device) SetLink(up bool) {
	d.mu.Lock()
	d.changeLink(func() { d.cable = up })
	d.release()
}

// Reset is a reset from the bus. What the X540's PHY was told it keeps: a driver cannot
// rely on a reset of the function to reach it.
func (d *Device) Reset() {
	d.mu.Lock()
	d.reset()
	d.release()
}

// release unlocks, and then calls back: a callback may call the device.
func (d *Device) release() {
	d.sendHeld()
	d.moveLine()
	fired, sent := d.fired, d.sent
	d.fired, d.sent = nil, nil
	d.mu.Unlock()
	if d.config.Transmit != nil {
		for _, f := range sent {
			d.config.Transmit(f)
		}
	}
	if d.config.Interrupt != nil {
		for _, v := range fired {
			d.config.Interrupt(v)
		}
	}
}

func (d *Device) reg(offset uint32) *uint32 { return &d.regs[offset/4] }

// canonical maps the old offsets of a register to its one place.
func canonical(offset uint32) uint32 {
	switch {
	case offset >= regRALOld && offset < regRALOld+16*8:
		return offset - regRALOld + regRAL
	case offset >= regSRRCTLOld && offset < regSRRCTLOld+16*4:
		return rxBlock + (offset-regSRRCTLOld)/4*blockSize + qSRRCTL
	case offset >= regDCARXOld && offset < regDCARXOld+16*4:
		return rxBlock + (offset-regDCARXOld)/4*blockSize + qDCA
	case offset >= regPSRTYPE0 && offset < regPSRTYPE0+16*4:
		return offset - regPSRTYPE0 + regPSRTYPE
	}
	return offset
}
