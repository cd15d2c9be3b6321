package afxdp

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/filter"
	"github.com/oobnet/oobnet/internal/offheap"
	"github.com/oobnet/oobnet/link"
)

const (
	// drainWait bounds how long Stop waits for frames to leave, for all
	// queues together. What has not left by then never will.
	drainWait = 200 * time.Millisecond
	// leaveWait bounds how long Stop waits for a waiter it has woken.
	leaveWait = time.Second
	stopPause = 100 * time.Microsecond
)

// Link is an AF_XDP link on one interface. See link.Link for what may be
// called when and by whom.
type Link struct {
	dev          *device
	capabilities link.Capabilities
	requests     txRequests
	sentAt       []int64 // by buffer, see SentAt; nil without TXTime. It belongs to the buffer's owner
	queues       []*queue

	stopped atomic.Bool // set by Stop, read by both sides of each queue

	changing sync.Mutex // held by SetFilter and Close, taken before mu

	mu       sync.Mutex // guards what follows: Attach, Select, Stop, Close, statistics
	gate     *gate
	groups   *groups
	errors   *driverErrors
	region   *offheap.Region
	memory   *link.Memory
	attached bool
	closed   bool
	stopErr  error
	filtered filter.Stats // the last ones, for after Close
}

var (
	_ link.Link     = (*Link)(nil)
	_ link.Selector = (*Link)(nil)
	_ link.Filterer = (*Link)(nil)
	_ link.TXTimer  = (*Link)(nil)
	_ link.Queue    = (*queue)(nil)
)

// Name returns the interface's name at Open.
func (l *Link) Name() string { return l.dev.name }

// Capabilities implements link.Link.
func (l *Link) Capabilities() link.Capabilities { return l.capabilities }

// MAC returns the interface's address at Open.
func (l *Link) MAC() link.MAC { return l.dev.mac }

// MTU returns the interface's MTU at Open.
func (l *Link) MTU() int { return l.dev.mtu }

// Queues implements link.Link.
func (l *Link) Queues() int { return len(l.queues) }

// Queue implements link.Link.
func (l *Link) Queue(i int) link.Queue { return l.queues[i] }

// State asks the kernel for the interface's flags: two system calls, no
// allocation. A closed link is gone.
func (l *Link) State() link.State {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return link.Gone
	}
	return l.dev.state()
}

// Select implements link.Selector. While it works, frames of the former and
// of the new claims are taken. While a filter is set, it and not the claims
// decides; groups, promiscuous mode and the enabled VLANs apply nevertheless.
func (l *Link) Select(c *link.Claims) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return l.fail(net.ErrClosed)
	}
	if c == nil {
		c = &link.Claims{}
	}
	if err := checkClaims(c); err != nil {
		return l.fail(fmt.Errorf("select: %w", err))
	}
	if err := l.claim(c); err != nil {
		return l.fail(fmt.Errorf("select: %w", err))
	}
	return nil
}

// claim asks the device for frames before the program takes them, and gives up
// what is no longer wanted after.
func (l *Link) claim(c *link.Claims) error {
	wanted := groupsOf(c)
	if err := l.groups.join(wanted); err != nil {
		return err
	}
	wasPromiscuous := l.groups.promiscuous
	promiscuous := c.Promiscuous || l.dev.vlanFilter && namesVLAN(c)
	err := l.groups.setPromiscuous(wasPromiscuous || promiscuous)
	if err == nil {
		err = l.gate.apply(c)
	}
	if err != nil {
		return errors.Join(err, l.groups.setPromiscuous(wasPromiscuous), l.groups.leave(wanted, l.groups.joined))
	}
	former := l.groups.joined
	l.groups.joined = wanted
	return errors.Join(l.groups.leave(former, wanted), l.groups.setPromiscuous(promiscuous))
}

func (l *Link) fail(err error) error { return fmt.Errorf("afxdp: %s: %w", l.dev.name, err) }

// Attach implements link.Link. If it fails, the link can only be closed.
func (l *Link) Attach(layout link.Layout) (*link.Memory, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.stopped.Load() {
		return nil, l.fail(net.ErrClosed)
	}
	if l.attached {
		return nil, l.fail(errors.New("attach: already attached, or failed to: open the interface again"))
	}
	if err := l.checkLayout(layout); err != nil {
		return nil, l.fail(err)
	}
	l.attached = true
	if err := l.start(layout); err != nil {
		return nil, l.fail(errors.Join(fmt.Errorf("attach: %w", err), l.halt()))
	}
	return l.memory, nil
}

func (l *Link) checkLayout(layout link.Layout) error {
	if err := layout.Check(); err != nil {
		return err
	}
	switch {
	case layout.BufferSize > maxChunk:
		return fmt.Errorf("buffer size %d: a buffer is a chunk of the UMEM, which in aligned mode is one page at most: use %d: %w",
			layout.BufferSize, maxChunk, link.ErrNotSupported)
	case layout.Queues != len(l.queues):
		return fmt.Errorf("layout for %d queues: the link has %d: %w", layout.Queues, len(l.queues), unix.EINVAL)
	case l.dev.mtu+frameOverhead+headroom > layout.BufferSize:
		return fmt.Errorf("buffer size %d: a frame of MTU %d and %d bytes of headroom do not fit: use buffers of %d, or lower the MTU to %d: %w",
			layout.BufferSize, l.dev.mtu, headroom, maxChunk, layout.BufferSize-headroom-frameOverhead, unix.ERANGE)
	case l.capabilities.ZeroCopy && l.dev.mtu+frameOverhead > zeroCopyRoom(layout.BufferSize):
		return fmt.Errorf("buffer size %d: in zero copy a buffer takes frames of %d bytes, and the MTU is %d: use buffers of %d: %w",
			layout.BufferSize, zeroCopyRoom(layout.BufferSize), l.dev.mtu, maxChunk, unix.ERANGE)
	}
	return nil
}

// start makes the region, binds the sockets and lets the program see them.
func (l *Link) start(layout link.Layout) (err error) {
	if l.region, err = offheap.Map(layout.Bytes()); err != nil {
		return err
	}
	if l.memory, err = link.NewMemory(l.region.Bytes(), layout); err != nil {
		return err
	}
	if err := registerUMEM(l.queues[0].rxFD, l.region.Bytes()[:layout.Bytes()], layout.BufferSize, l.requests.room); err != nil {
		return err
	}
	held := make([]uint16, layout.Buffers())
	if l.requests.flags&link.FlagTXTime != 0 {
		l.sentAt = make([]int64, layout.Buffers())
	}
	for _, q := range l.queues {
		if err := q.start(l.memory, held); err != nil {
			return err
		}
	}
	for _, q := range l.queues {
		if err := l.gate.maps.sockets.Put(uint32(q.id), uint32(q.rxFD)); err != nil {
			return fmt.Errorf("give queue %d to the XDP program: %w", q.id, err)
		}
	}
	return nil
}

// Stop implements link.Link. It gives frames that were sent 200 ms to leave.
func (l *Link) Stop() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stop()
}

func (l *Link) stop() error {
	if l.stopped.Load() {
		return l.stopErr
	}
	if l.attached {
		l.stopErr = l.halt()
	}
	l.stopped.Store(true)
	return l.stopErr
}

// halt makes the device quiet, in this order: the program stops to hand out
// frames; who waits is woken, and sees that the link is stopped; what was sent
// leaves; then the sockets go, and with them all that the kernel does with the
// region. The rings and the numbers of the sockets stay in place, harmless,
// for a side of a queue that is still at work.
func (l *Link) halt() error {
	var errs []error
	for _, q := range l.queues {
		err := l.gate.maps.sockets.Delete(uint32(q.id))
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			errs = append(errs, fmt.Errorf("take queue %d from the XDP program: %w", q.id, err))
		}
	}
	l.stopped.Store(true)
	for _, q := range l.queues {
		q.interrupt()
	}
	drained := time.Now().Add(drainWait)
	for _, q := range l.queues {
		q.letLeave(drained)
	}
	left := time.Now().Add(leaveWait)
	for _, q := range l.queues {
		for q.waiting() && time.Now().Before(left) {
			time.Sleep(stopPause)
		}
		errs = append(errs, q.detach())
	}
	released := time.Now().Add(releaseWait)
	for _, q := range l.queues {
		errs = append(errs, q.awaitRelease(released))
	}
	if err := errors.Join(errs...); err != nil {
		return l.fail(fmt.Errorf("stop: %w", err))
	}
	return nil
}

// Close implements link.Link.
func (l *Link) Close() error {
	l.changing.Lock()
	defer l.changing.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	err := l.stop()
	l.filtered = l.filterStats()
	l.closed = true
	return errors.Join(err, l.tearDown())
}

// tearDown gives back all that Open and Attach have made, whatever of it there is.
func (l *Link) tearDown() error {
	var errs []error
	for _, q := range l.queues {
		errs = append(errs, q.close())
	}
	if l.region != nil {
		errs = append(errs, l.region.Close())
	}
	if l.gate != nil {
		errs = append(errs, l.gate.close())
	}
	if l.groups != nil {
		errs = append(errs, l.groups.close())
	}
	errs = append(errs, l.dev.close())
	if err := errors.Join(errs...); err != nil {
		return l.fail(fmt.Errorf("close: %w", err))
	}
	return nil
}
