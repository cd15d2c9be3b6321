package link

import (
	"errors"
	"time"

	"github.com/oobnet/oobnet/filter"
)

// ErrNotSupported says that this platform or device cannot do what was asked.
// It wraps [errors.ErrUnsupported].
var ErrNotSupported = notSupported{}

type notSupported struct{}

func (notSupported) Error() string { return "link: not supported" }
func (notSupported) Unwrap() error { return errors.ErrUnsupported }

// MAC is an Ethernet address.
type MAC = [6]byte

// Link moves Ethernet frames between buffers and a wire. See the package
// documentation for its life and for who may call what when.
type Link interface {
	// Name is how the device is called in errors, statistics and thread
	// names: an interface name, a PCI address, "loop0".
	Name() string
	// Capabilities says what this link and its device can do. It does not
	// change after Open.
	Capabilities() Capabilities
	// MAC is the device's own unicast address.
	MAC() MAC
	// MTU is the largest payload of an Ethernet frame, in bytes, VLAN tag not
	// counted.
	MTU() int
	// Queues is the number of queues, at least 1. It does not change after Open.
	Queues() int
	// Attach makes the region after the layout and starts the queues. On
	// success every buffer is owned by the caller. A link is attached once.
	Attach(Layout) (*Memory, error)
	// Queue returns queue i, 0 <= i < Queues. Valid from Attach to Close.
	Queue(i int) Queue
	// State says whether the wire is there. Cheap enough for a call each
	// 100 ms, not for one a packet.
	State() State
	// Stop makes the device quiet, in bounded time: after it no buffer
	// changes and every blocked wait returns net.ErrClosed. Idempotent.
	Stop() error
	// Close stops the link if need be, unmaps the region and gives back what
	// the device took from the machine. No method of a queue may run while
	// Close does or after. Idempotent.
	Close() error
}

// Selector is implemented by links that share their device with another
// receiver, as AF_XDP shares an interface with the kernel, or whose hardware
// can filter. The stack tells what it wants after each change; frames outside
// the claims may be, and on a shared device are, left to the other receiver.
type Selector interface {
	// Select replaces the claims. On an error the former claims hold. It may
	// be called while traffic flows, by one goroutine at a time.
	Select(*Claims) error
}

// Claims is all that a stack wants to receive from a device.
type Claims struct {
	// IPv4 lists addresses by VLAN: unicast, broadcast and joined groups.
	// ARP is claimed where its target protocol address is in the list.
	IPv4 []ClaimIPv4
	// EtherTypes lists further frames by VLAN and EtherType.
	EtherTypes []ClaimEtherType
	// VLANs lists the ids for which ports are enabled: what a filter's verdict
	// VLAN accepts.
	VLANs []uint16
	// Groups lists Ethernet multicast addresses that the device is to receive,
	// besides those that belong to the IPv4 groups above.
	Groups []MAC
	// Promiscuous asks the device for frames to other stations too.
	Promiscuous bool
}

// ClaimIPv4 claims IPv4 packets to, and ARP for, an address on a VLAN.
type ClaimIPv4 struct {
	VLAN uint16 // 0: untagged
	Addr [4]byte
}

// ClaimEtherType claims all frames of an EtherType on a VLAN.
type ClaimEtherType struct {
	VLAN      uint16 // 0: untagged
	EtherType uint16 // host order; AllEtherTypes for every frame of the VLAN
}

// Filterer is implemented by links whose frames are filtered before they come
// here, by the kernel or by hardware. On other links the stack runs the filter.
// Its methods may be called while traffic flows, by any goroutine.
type Filterer interface {
	// SetFilter puts a filter in the place of the claims, nil the claims in the
	// place of the filter: each frame meets the one or the other. On an error
	// the former one goes on.
	SetFilter(f filter.Filter) error
	// Divert switches the taking of frames off, and on again: off, all of them
	// are the other receiver's.
	Divert(on bool) error
	// FilterStats returns what was decided since Open.
	FilterStats() filter.Stats
	// FilterMap returns a map of the filter that is set; filter.ErrNoMap
	// wrapped if it has none of that name.
	FilterMap(name string) (filter.Map, error)
}

// Resizer is implemented by links whose buffers can get memory, and give it back
// to the machine, while traffic flows, where the layout asks for it
// (Layout.Resizable). The indexes stay what they are. Its methods are for one
// goroutine at a time, and may run beside those of the queues.
type Resizer interface {
	// Populate gives memory, zeroed and present, to buffers that have none, in
	// whole chunks (Layout.CheckChunks), and lets the device reach it. They are
	// the caller's then. On an error (ENOMEM wrapped: there is no memory, or it
	// cannot be locked) none of them has any; net.ErrClosed after Stop.
	Populate(first, n int) error
	// Release takes the memory of buffers that the caller owns, in whole chunks:
	// first the device can reach it no more, then the machine has it back. From
	// then on the link takes no frame in them, and touching them is a fault.
	// EBUSY wrapped: the device can reach one of them, and nothing has changed;
	// net.ErrClosed after Stop.
	Release(first, n int) error
}

// Recaller is implemented by queues whose device gives receive buffers back
// before a frame has come into them.
type Recaller interface {
	// Recall takes back up to len(bufs) of the buffers that Fill gave, of those
	// whose index is from or higher, and returns how many; it says whether to call
	// again, because there are more, or because the device has not let go of
	// them yet. Buffers that hold frames come by Receive. Meanwhile frames can be
	// lost for want of a buffer: it is for a queue that has nothing to do. It
	// belongs to the receive side, may allocate, and waits for nothing but the
	// start of the device's ring, 20 ms at most.
	Recall(from uint32, bufs []uint32) (n int, again bool)
}

// AllEtherTypes in a ClaimEtherType stands for every EtherType.
const AllEtherTypes = 0

// TXTimer is implemented by links whose device can say when a frame left it.
type TXTimer interface {
	// SentAt sets times[i] to when the device sent the frame that bufs[i] held
	// last, which had FlagTXTime, ns on the clock that Capabilities.TXClock names;
	// 0: it has not said. It is for the owner of the buffers, from Reclaim until
	// they are used again. It does not allocate or block.
	SentAt(bufs []uint32, times []int64)
}

// Capabilities describes a link and its device.
type Capabilities struct {
	// Driver is the kernel driver behind an AF_XDP link, or our own driver.
	Driver string
	// Mode says how frames are moved, in words a person can act on:
	// "native, copy", "generic, copy", "native, zero-copy", "memory".
	Mode string
	// ZeroCopy: the device reads and writes the region itself.
	ZeroCopy bool
	// PartialChecksum: frames can come from a virtual peer that left its
	// transport checksum at the pseudo-header's sum, for a device to complete
	// that is not there: on veth, what the kernel sends looks so.
	PartialChecksum bool
	// RXChecksum: received frames carry FlagChecksumGood or FlagChecksumBad.
	RXChecksum bool
	// TXChecksum: FlagChecksumOffload is honoured on send.
	TXChecksum bool
	// VLANInsert: FlagVLANStripped is honoured on send.
	VLANInsert bool
	// RXClock is the clock of Meta.Time of received frames; ClockNone: they have none.
	RXClock ClockDomain
	// TXClock is the clock of TXTimer.SentAt; ClockNone: there are no such times.
	TXClock ClockDomain
	// LaunchClock is the clock by which FlagLaunchTime is honoured on send;
	// ClockNone: it is not.
	LaunchClock ClockDomain
	// MaxBufferSize is the largest Layout.BufferSize, bytes.
	MaxBufferSize int
	// RXHeadroom is what the device keeps free before each received frame, bytes.
	RXHeadroom int
	// Pollable: Queue.FD is a descriptor that poll(2) reports readable when
	// frames are waiting.
	Pollable bool
}

// ClockDomain says which clock a hardware time was read from: times of
// different domains cannot be compared.
type ClockDomain uint8

// Clock domains.
const (
	// ClockNone: there is no hardware time.
	ClockNone ClockDomain = iota
	// ClockDevice is a counter of the device's own, in ns since some moment: a
	// PTP hardware clock, or one that nobody sets.
	ClockDevice
	// ClockMonotonic is the device's time, brought to CLOCK_MONOTONIC.
	ClockMonotonic
	// ClockTAI is the device's time where something disciplines it to TAI (PTP).
	ClockTAI
)

func (c ClockDomain) String() string {
	switch c {
	case ClockNone:
		return "none"
	case ClockDevice:
		return "device"
	case ClockMonotonic:
		return "monotonic"
	case ClockTAI:
		return "TAI"
	}
	return "unknown"
}

// State of the wire.
type State int

// States of a link.
const (
	Up   State = iota
	Down       // no carrier, or switched off; it may come back
	Gone       // the device has been removed; only Close is of use
)

func (s State) String() string {
	switch s {
	case Up:
		return "up"
	case Down:
		return "down"
	case Gone:
		return "gone"
	}
	return "unknown"
}

// Queue is one receive ring and one transmit ring of a device, with the rings
// that give buffers to the one and take them back from the other. No method
// blocks but the two waits. No method allocates.
type Queue interface {
	// Receive takes up to len(frames) received frames and returns how many.
	// Their buffers are the caller's.
	Receive(frames []Frame) int
	// Fill gives free buffers of this queue's own to the device and returns
	// how many it took, from the front; the others stay the caller's.
	Fill(bufs []uint32) int
	// WaitReceive returns nil when Receive may have something, when Wake was
	// called, or when d has passed; negative d waits without limit, which
	// Stop and Wake end. It returns net.ErrClosed after Stop, and any other
	// error only if the device has failed for good.
	WaitReceive(d time.Duration) error

	// Send gives frames to the device and returns how many it took, from the
	// front. They leave at the next Flush at the latest. A frame that the
	// device cannot carry (longer than the MTU allows, outside its buffer, with a
	// flag that asks for what Capabilities deny) is taken, counted in
	// QueueStats.TXInvalid and completed unsent.
	Send(frames []Frame) int
	// Flush rings the doorbell, once, for all that was sent before it. An
	// error wraps a syscall.Errno: ENETDOWN while the wire is down, ENODEV
	// when the device is gone; the frames stay the device's.
	Flush() error
	// Reclaim takes back up to len(bufs) buffers whose frames have left, and
	// returns how many. They come in any order.
	Reclaim(bufs []uint32) int
	// WaitSend returns nil when Reclaim may have something or d has passed.
	WaitSend(d time.Duration) error

	// Wake makes the WaitReceive under way, or the next one, return.
	Wake()
	// FD is a descriptor to poll for received frames, -1 if there is none
	// (Capabilities.Pollable). It stays the link's.
	FD() int
	// Drain takes back, after Stop, buffers that the device still holds in
	// whatever state, and returns how many; 0 means that it holds none.
	Drain(bufs []uint32) int
	// Stats returns the device's own counters of this queue.
	Stats() QueueStats
}

// QueueStats are a device's own counters of one queue since Attach.
type QueueStats struct {
	// RXNoBuffer counts frames that came while the fill ring was empty.
	RXNoBuffer uint64
	// RXRingFull counts frames that came while the receive ring was full.
	RXRingFull uint64
	// RXInvalid counts frames and descriptors that the device dropped as malformed.
	RXInvalid uint64
	// TXInvalid counts frames that Send took and the device could not carry.
	TXInvalid uint64
	// TXDropped counts frames that the device took and then lost on its side
	// of the wire, where it says so.
	TXDropped uint64
	// Wakeups counts doorbells and waits that went to the kernel.
	Wakeups uint64
}
