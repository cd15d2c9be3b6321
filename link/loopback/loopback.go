package loopback

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/oobnet/oobnet/internal/offheap"
	"github.com/oobnet/oobnet/link"
)

// Link is one end of a wire. It implements [link.Link].
type Link struct {
	id     identity
	mtu    int
	with   Features
	wire   *wire
	peer   *Link // the other end; the link itself if wired to itself
	queues []queue

	// phase moves forward only, under wire.mu. The peer's senders read it
	// before each batch: running publishes mem to them.
	phase atomic.Uint32
	// removed: SetState(Gone) was called on this end.
	removed atomic.Bool
	mem     *link.Memory
	sparse  *offheap.Sparse // the region of a resizable layout; under wire.mu
	closed  bool            // under wire.mu
}

var (
	_ link.Link    = (*Link)(nil)
	_ link.Resizer = (*Link)(nil)
)

// Phases of an end.
const (
	opened uint32 = iota
	running
	stopped
)

// wire is what the ends share.
type wire struct {
	// unplugged: SetState pulled the cable. Senders of both ends read it.
	unplugged atomic.Bool

	mu      sync.Mutex // the control path of both ends
	open    int        // ends not closed yet
	regions []io.Closer
}

// New opens a link that is wired to itself: what it sends on a queue it
// receives on the same queue.
func New(cfg *Config) (*Link, error) {
	c, err := cfg.settled()
	if err != nil {
		return nil, err
	}
	w := &wire{open: 1}
	l := newLink(w, &c, c.identities(1)[0])
	l.join(l)
	return l, nil
}

// Pair opens the two ends of one wire. Each is attached and closed on its own;
// the memory of both is given back when both are closed.
func Pair(cfg *Config) (a, b *Link, err error) {
	c, err := cfg.settled()
	if err != nil {
		return nil, nil, err
	}
	w := &wire{open: 2}
	ids := c.identities(2)
	a, b = newLink(w, &c, ids[0]), newLink(w, &c, ids[1])
	a.join(b)
	b.join(a)
	return a, b, nil
}

func newLink(w *wire, c *Config, id identity) *Link {
	l := &Link{id: id, mtu: c.MTU, with: c.With, wire: w, queues: make([]queue, c.Queues)}
	for i := range l.queues {
		l.queues[i].init(l, c.RingSize)
	}
	return l
}

func (l *Link) join(peer *Link) {
	l.peer = peer
	for i := range l.queues {
		l.queues[i].peer = &peer.queues[i]
	}
}

// Name implements [link.Link].
func (l *Link) Name() string { return l.id.name }

// MAC implements [link.Link].
func (l *Link) MAC() link.MAC { return l.id.mac }

// MTU implements [link.Link].
func (l *Link) MTU() int { return l.mtu }

// Queues implements [link.Link].
func (l *Link) Queues() int { return len(l.queues) }

// Queue implements [link.Link].
func (l *Link) Queue(i int) link.Queue { return &l.queues[i] }

// Capabilities implements [link.Link].
func (l *Link) Capabilities() link.Capabilities {
	return link.Capabilities{
		Driver: "loopback", Mode: "memory", MaxBufferSize: link.MaxBufferSize,
		RXChecksum: l.with&RXChecksum != 0, TXChecksum: l.with&TXChecksum != 0, VLANInsert: l.with&VLANInsert != 0,
	}
}

// Attach implements [link.Link]. A buffer must hold a whole frame: MTU plus 18
// bytes of header and VLAN tag.
func (l *Link) Attach(layout link.Layout) (*link.Memory, error) {
	if err := l.checkLayout(layout); err != nil {
		return nil, err
	}
	l.wire.mu.Lock()
	defer l.wire.mu.Unlock()
	switch l.phase.Load() {
	case running:
		return nil, fmt.Errorf("loopback: %s: attached already: a link is attached once: %w", l.id.name, syscall.EBUSY)
	case stopped:
		return nil, fmt.Errorf("loopback: %s: attach: %w", l.id.name, net.ErrClosed)
	}
	mem, err := l.makeRegion(layout)
	if err != nil {
		return nil, fmt.Errorf("loopback: %s: %w", l.id.name, err)
	}
	l.mem = mem
	for i := range l.queues {
		l.queues[i].attach(mem, i)
	}
	l.phase.Store(running)
	return mem, nil
}

func (l *Link) checkLayout(layout link.Layout) error {
	if err := layout.Check(); err != nil {
		return fmt.Errorf("loopback: %s: %w", l.id.name, err)
	}
	if layout.Queues != len(l.queues) {
		return fmt.Errorf("loopback: %s: layout of %d queues: the link has %d", l.id.name, layout.Queues, len(l.queues))
	}
	if need := l.mtu + overhead; layout.BufferSize < need {
		return fmt.Errorf("loopback: %s: buffers of %d bytes: MTU %d needs %d", l.id.name, layout.BufferSize, l.mtu, need)
	}
	return nil
}

// State implements [link.Link].
func (l *Link) State() link.State {
	switch {
	case l.removed.Load():
		return link.Gone
	case l.wire.unplugged.Load() || l.peer.removed.Load() || l.peer.phase.Load() == stopped:
		return link.Down
	}
	return link.Up
}

// SetState lets a test pull the cable: Down takes both ends down, Up brings
// them back. Gone removes this end's device for good: waits return an error
// that wraps ENODEV, as Flush does, and the other end goes Down. It may be
// called at any time, from anywhere. A Send under way may still deliver.
func (l *Link) SetState(s link.State) {
	if s == link.Gone {
		l.removed.Store(true)
		l.wake()
		return
	}
	l.wire.unplugged.Store(s == link.Down)
}

// sendError says why nothing can leave, nil if it can.
func (l *Link) sendError() error {
	if l.phase.Load() == stopped {
		return net.ErrClosed
	}
	switch l.State() {
	case link.Down:
		return errDown
	case link.Gone:
		return errGone
	}
	return nil
}

// Errors of the fast path, made once so that it allocates nothing.
var (
	errDown = fmt.Errorf("loopback: the other end has been stopped, or the cable is pulled: %w", syscall.ENETDOWN)
	errGone = fmt.Errorf("loopback: the device has been removed: %w", syscall.ENODEV)
)

// Stop implements [link.Link]. It waits for the Send calls under way, of both
// ends, and for nothing else.
func (l *Link) Stop() error {
	l.wire.mu.Lock()
	defer l.wire.mu.Unlock()
	l.stop()
	return nil
}

func (l *Link) stop() {
	if l.phase.Swap(stopped) == stopped {
		return
	}
	l.wake()
	for i := range l.queues {
		l.queues[i].tx.quiesce()
		l.peer.queues[i].tx.quiesce()
	}
}

func (l *Link) wake() {
	for i := range l.queues {
		l.queues[i].rx.sleeper.wake()
	}
}

// quiesce waits for the Send under way to end. A later one sees the phase. A
// Send is short, but its goroutine can be off the processor: yield first, then
// sleep.
func (t *txSide) quiesce() {
	const yields = 100
	for i := 0; t.sending.Load() != 0; i++ {
		if i < yields {
			runtime.Gosched()
			continue
		}
		time.Sleep(50 * time.Microsecond)
	}
}

// Close implements [link.Link]. The memory of both ends goes back to the
// system with the last end.
func (l *Link) Close() error {
	w := l.wire
	w.mu.Lock()
	defer w.mu.Unlock()
	if l.closed {
		return nil
	}
	l.stop()
	l.closed = true
	w.open--
	if w.open > 0 {
		return nil
	}
	var first error
	for _, r := range w.regions {
		if err := r.Close(); err != nil && first == nil {
			first = fmt.Errorf("loopback: %s: %w", l.id.name, err)
		}
	}
	w.regions = nil
	return first
}
