package vfio

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/offheap"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio/internal/bus"
	"github.com/oobnet/oobnet/link/vfio/internal/driver"
)

// frameHeader and vlanTag are what a frame has beside its MTU, bytes; the check
// sequence is never in a buffer.
const (
	frameHeader = 14
	vlanTag     = 4
)

// Link is a NIC of this process. See link.Link for what may be called when and
// by whom; further methods may be called from anywhere.
type Link struct {
	name         string
	bus          bus.Bus
	kind         bus.Kind
	dev          driver.Device
	timer        driver.TXTimer // nil without TXTime
	capabilities link.Capabilities
	mtu          int
	queues       []*queue
	onEvent      func(Event)

	// trouble is an eventfd that the bus writes, once, when the device is to be
	// given back or has failed: nobody reads it, so it wakes every wait. halt is
	// readable after Stop, likewise.
	trouble, halt int

	stopped atomic.Bool // set by Stop, read by both sides of each queue
	// wire is a link.State: written under the mutex, read by Flush and waits.
	wire atomic.Uint32
	// features are those switched on: written under the mutex, read by Send.
	features atomic.Uint32

	mu       sync.Mutex // the control path's: all of the driver's Device, and what follows
	held     []uint16
	region   driver.Region // of a resizable layout
	attached bool
	running  bool
	small    int // of the region's memory, what is worth huge pages and got none, bytes
	closed   bool
	stopErr  error
	fault    error         // why the wire is gone
	selected driver.Filter // what the claims come to
	claimed  bool          // there were claims
	asked    driver.Filter // what the application asked for beside them
	counted  driver.Counters
	// countedAt is when, CLOCK_MONOTONIC ns.
	countedAt int64
	forgot    Statistics // what had been counted at the last reset
	hangs     uint64
	changes   uint64
}

var (
	_ link.Link     = (*Link)(nil)
	_ link.Selector = (*Link)(nil)
	_ link.TXTimer  = (*Link)(nil)
	_ link.Queue    = (*queue)(nil)
)

// Name is the PCI address.
func (l *Link) Name() string { return l.name }

// Capabilities implements link.Link. They tell of the features that Open
// switched on.
func (l *Link) Capabilities() link.Capabilities { return l.capabilities }

// MTU implements link.Link.
func (l *Link) MTU() int { return l.mtu }

// Queues implements link.Link.
func (l *Link) Queues() int { return len(l.queues) }

// Queue implements link.Link.
func (l *Link) Queue(i int) link.Queue { return l.queues[i] }

// SentAt implements link.TXTimer, with the feature TXTime.
//
//oobnet:hot
func (l *Link) SentAt(bufs []uint32, times []int64) {
	if l.timer != nil {
		l.timer.SentAt(bufs, times) // once a batch
		return
	}
	for i := range bufs {
		times[i] = 0
	}
}

func (l *Link) fail(err error) error { return fmt.Errorf("vfio: %s: %w", l.name, err) }

// Attach implements link.Link. If the device fails in it, the link can only be
// closed.
func (l *Link) Attach(layout link.Layout) (*link.Memory, error) {
	mem, err := l.attach(layout)
	if err == nil && l.small > 0 && l.onEvent != nil {
		l.onEvent(Event{State: l.State(), Err: l.fail(fmt.Errorf("%d MiB of buffers lie in ordinary pages, which costs speed and nothing else: with `sysctl` raise vm.nr_hugepages by %d, pages of 2 MiB",
			l.small>>20, (l.small+offheap.HugePageSize-1)/offheap.HugePageSize))})
	}
	return mem, err
}

func (l *Link) attach(layout link.Layout) (*link.Memory, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.stopped.Load() {
		return nil, l.fail(net.ErrClosed)
	}
	if l.gone() {
		return nil, l.fault
	}
	if l.attached {
		return nil, l.fail(errors.New("attach: already attached, or failed to: open the device again"))
	}
	if err := l.checkLayout(layout); err != nil {
		return nil, l.fail(err)
	}
	l.attached = true
	mem, err := l.start(layout)
	if err != nil {
		return nil, l.fail(errors.Join(fmt.Errorf("attach: %w", err), l.stop()))
	}
	return mem, nil
}

func (l *Link) checkLayout(layout link.Layout) error {
	if err := layout.Check(); err != nil {
		return err
	}
	switch need := l.capabilities.RXHeadroom + l.mtu + frameHeader + vlanTag; {
	case layout.Queues != len(l.queues):
		return fmt.Errorf("layout for %d queues: the link has %d: %w", layout.Queues, len(l.queues), unix.EINVAL)
	case layout.BufferSize < need:
		return fmt.Errorf("buffers of %d bytes: a frame of MTU %d takes %d and lies in one: use larger buffers, or lower Config.MTU to %d: %w",
			layout.BufferSize, l.mtu, need, layout.BufferSize-(need-l.mtu), unix.ERANGE)
	}
	return nil
}

// start makes the region, arms the interrupts and lets the device go.
func (l *Link) start(layout link.Layout) (*link.Memory, error) {
	l.bus.Expect(l.needs(layout)...)
	region, err := l.makeRegion(layout)
	if err != nil {
		return nil, err
	}
	if l.kind != bus.None {
		if err := l.bus.Arm(l.kind, l.vectors()); err != nil {
			return nil, fmt.Errorf("arm %v: %w", l.kind, err)
		}
	}
	l.running = true
	rings, err := l.dev.Start(region)
	if err != nil {
		return nil, err
	}
	for i, q := range l.queues {
		q.init(rings[i], region.Memory, l.held, l.dev.Info().TXDescriptors)
	}
	return region.Memory, l.learnWire()
}

// vectors are the eventfds of the interrupts: one a queue with MSI-X.
func (l *Link) vectors() (fds []int) {
	for _, q := range l.queues {
		fds = append(fds, q.fd)
	}
	return fds
}

// Stop implements link.Link. It gives frames that were sent 200 ms to leave.
func (l *Link) Stop() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stop()
}

// stop makes the device quiet: first nobody of ours begins anything new, then
// interrupts, queues, DMA and bus master go off and the device is reset, then
// the eventfds are taken from it. The mutex is held.
func (l *Link) stop() error {
	if l.stopped.Swap(true) {
		return l.stopErr
	}
	l.wakeAll()
	if !l.running || l.gone() {
		return nil
	}
	l.dev.Count(&l.counted)
	err := errors.Join(l.dev.Stop(), l.bus.Disarm())
	l.running = false
	if err != nil && l.dev.Status().Gone {
		// A device that went while it was being stopped is quiet.
		err = nil
	}
	if err != nil {
		l.stopErr = l.fail(fmt.Errorf("stop: %w", err))
	}
	return l.stopErr
}

// wakeAll ends all waits; after Stop, for good, since nobody clears the
// eventfds then.
func (l *Link) wakeAll() {
	notify(l.halt)
	for _, q := range l.queues {
		notify(q.fd)
	}
}

// Close implements link.Link.
func (l *Link) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	err := l.stop()
	l.closed = true
	return errors.Join(err, l.tearDown())
}
