package driver

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio/internal/bus"
)

// FrameOverhead is what a frame has beside the MTU on the wire, bytes: header,
// one tag, check sequence.
const FrameOverhead = 14 + 4 + 4

// DrainWait bounds how long frames on the transmit rings may take to leave: 512
// full frames take 6 ms at 1 Gbit/s, and 10 Mbit/s half-way.
const DrainWait = 200 * time.Millisecond

const (
	// pollPause is between two looks at a register that takes its time.
	pollPause = 100 * time.Microsecond
	// resetWait bounds the reset: the NIC's memory is read anew in some ms (82574
	// 4.6.1, 82576 4.3).
	resetWait = 100 * time.Millisecond
	// SettleWait is how long nothing is asked of the NIC after a reset, and how
	// long the DMA of an 8254x takes to end, which has no register for it (SDM 14.1).
	SettleWait = 5 * time.Millisecond
)

// Base is what the drivers of all of Intel's NICs have in common: what is known of
// the NIC, what is kept for a restart, and what is done the same way. A driver's
// device embeds it, if not Gigabit, which does.
type Base struct {
	Bus    bus.Bus
	Regs   *bus.Registers
	Config Config
	About  Info // what Info returns
	Region Region
	Filter Filter
	Unread Counters // from before a restart, for the next Count
	Tables Tables   // set before the first filter
}

// Info implements Device.
func (b *Base) Info() Info { return b.About }

// Fail names driver and NIC in an error.
func (b *Base) Fail(err error) error {
	return fmt.Errorf("%s: %s: %w", b.About.Driver, b.Bus.Name(), err)
}

// CheckAsked refuses what Open was asked for and the NIC cannot do. It has most
// queues, with the interrupts that were asked for.
func (b *Base) CheckAsked(most int) error {
	if err := b.About.SettleRings(); err != nil {
		return err
	}
	queues := max(b.Config.Queues, b.About.Queues)
	switch {
	case queues > most:
		return fmt.Errorf("%d queues: the %s has %d with %v: %w", queues, b.About.Model, most, b.Config.Interrupts, link.ErrNotSupported)
	case b.Config.MTU > b.About.MaxMTU:
		return fmt.Errorf("MTU %d: the %s carries at most %d", b.Config.MTU, b.About.Model, b.About.MaxMTU)
	}
	return b.CheckFeatures(b.Config.Features)
}

// CheckFeatures refuses features that the NIC has not, and those that it is too
// late to switch.
func (b *Base) CheckFeatures(f Features) error {
	if (f^b.About.On)&AtOpen&b.About.Supported != 0 && b.Started() {
		return fmt.Errorf("VLAN tags, times and the loopback are switched before frames flow: open the device with them, or without: %w", link.ErrNotSupported)
	}
	return b.About.CheckFeatures(f)
}

// Started says whether Start has programmed the NIC: before, settings are kept
// for it.
func (b *Base) Started() bool { return b.Region.Memory != nil }

// Settle waits until the device has what was written before: writes are posted
// on the bus, a read is not.
func (b *Base) Settle() { b.Regs.Read32(RegSTATUS) }

// Until polls a condition, for at most limit, and says whether it came true. It
// ends early if the device is gone. The last look begins when the time is over: a
// thread that lost its processor for all of it blames no device.
func (b *Base) Until(limit time.Duration, came func() bool) bool {
	for end := time.Now().Add(limit); ; time.Sleep(pollPause) {
		over := time.Now().After(end)
		switch {
		case came():
			return true
		case over, b.Regs.Read32(RegSTATUS) == bus.AllOnes:
			return false
		}
	}
}

// CheckPresent is the error of a device that does not answer.
func (b *Base) CheckPresent() error {
	if b.Regs.Read32(RegSTATUS) == bus.AllOnes {
		return fmt.Errorf("its registers read as all ones: the device is gone or powered off: %w", syscall.ENODEV)
	}
	return nil
}

// EndDMA has the NIC end what DMA is under way, and then begin none (82574
// 3.1.3.10, 82576 5.2.3.3). An 8254x has no register for it, and is given time.
// It says whether the NIC has ended it.
func (b *Base) EndDMA(register bool) (ended bool, err error) {
	if register {
		b.Regs.Write32(RegCTRL, b.Regs.Read32(RegCTRL)|CtrlMasterOff)
		ended = b.Until(resetWait, func() bool { return b.Regs.Read32(RegSTATUS)&StatusMasterOn == 0 })
	} else {
		time.Sleep(SettleWait)
		ended = true
	}
	return ended, b.Bus.BusMaster(false)
}

// BeginReset writes the bits that reset the NIC.
func (b *Base) BeginReset(bits uint32) { b.Regs.Write32(RegCTRL, b.Regs.Read32(RegCTRL)|bits) }

// AwaitReset asks nothing of a NIC that is being reset for a while, and waits for
// the end of the reset, when bits are clear again. Then it waits until the register memory says that what the
// NIC remembers is loaded, if there is such a bit; that it never does is not
// fatal: a NIC without memory does not.
func (b *Base) AwaitReset(bits uint32, while time.Duration, memory, loaded uint32) error {
	r := b.Regs
	time.Sleep(while)
	if !b.Until(resetWait, func() bool { return r.Read32(RegCTRL)&bits == 0 }) {
		if err := b.CheckPresent(); err != nil {
			return err
		}
		return fmt.Errorf("the reset did not end in %v: %w", resetWait, syscall.EIO)
	}
	if loaded != 0 {
		b.Until(resetWait, func() bool { return r.Read32(memory)&loaded != 0 })
	}
	return nil
}

// ComparedMAC reads the address that the NIC compares: after a reset, the one of
// its memory (82576 8.10.2).
func (b *Base) ComparedMAC() (mac link.MAC, err error) {
	low, high := b.Regs.Read32(b.Tables.Addresses), b.Regs.Read32(b.Tables.Addresses+4)
	binary.LittleEndian.PutUint32(mac[:], low)
	binary.LittleEndian.PutUint16(mac[4:], uint16(high))
	if mac == (link.MAC{}) || mac[0]&1 != 0 || high&RahAV == 0 {
		return mac, errors.New("it has no address of its own: give its memory one")
	}
	return mac, nil
}

// TakeUnread is the beginning of Count: what was read before a restart. c may be
// Unread itself.
func (b *Base) TakeUnread(c *Counters) {
	former := b.Unread
	b.Unread = Counters{}
	c.Add(&former)
}

// Sum reads counters of 32 bits, of one kind.
func (b *Base) Sum(registers ...uint32) (n uint64) {
	for _, r := range registers {
		n += uint64(b.Regs.Read32(r))
	}
	return n
}

// Pair reads a counter in two registers. The low half is read first: reading the
// high one clears both.
func (b *Base) Pair(low, high uint32) uint64 {
	v := uint64(b.Regs.Read32(low))
	return v | uint64(b.Regs.Read32(high))<<32
}
