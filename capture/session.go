package capture

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/oobnet/oobnet/internal/ring"
	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/stack"
)

// Format of what a session writes.
type Format uint8

// Formats.
const (
	// PCAPNG is what Wireshark, tshark and tcpdump read, with nanoseconds.
	PCAPNG Format = iota
	// Text is a line for each frame, much as tcpdump prints them.
	Text
)

const (
	// DefaultSlots is how many frames wait for the writer by default: at 4
	// million frames a second it has a millisecond to come.
	DefaultSlots = 4096
	// MaxSlots is the most: at 1518 bytes each, 400 MB.
	MaxSlots = 1 << 18
	// MinSnap is the least that is kept of a frame, bytes: all headers that are
	// looked at.
	MinSnap = 128

	// writerPeriod is how long the writer sleeps when it found nothing. It is
	// not woken: so the fast stage has nothing to do for it but to fill slots.
	writerPeriod = time.Millisecond
	// stopTimeout is how long Stop waits for the writer, which may wait for the
	// reader of a pipe.
	stopTimeout = 5 * time.Second
	// bufferSize of the writer, bytes: some forty full frames a write.
	bufferSize = 64 << 10
)

// Config of a session; nil and zero fields mean the defaults.
type Config struct {
	// Filter is an expression: see ParseExpr. Empty: all frames.
	Filter string
	Format Format
	// Snap is how much of a frame is kept, bytes: all of it by default, at least
	// MinSnap.
	Snap int
	// Slots is how many frames wait for the writer: DefaultSlots by default, at
	// most MaxSlots. Each takes Snap bytes, or what the MTU needs, from the start.
	Slots int
	// Count ends the session after so many frames; 0: it goes on until Stop.
	Count uint64
}

// Stats is what a session counted. When no frame is on its way,
// Received = Rejected + Lost + Written, but for those beyond Config.Count.
type Stats struct {
	// Received counts the frames that the device received and sent, Rejected
	// those that the filter did not want.
	Received, Rejected uint64
	// Lost counts the frames for which there was no room, because the writer
	// was too slow. Where the filter asks what became of them (dropped, demoted),
	// it may not have wanted all of these.
	Lost uint64
	// Written counts the frames written, Bytes what they took in the output.
	Written, Bytes uint64
}

// Session is a capture under way. Its methods may be called by any goroutine.
type Session struct {
	dev   *stack.Device
	slots *slots
	count uint64
	out   *bufio.Writer
	sink  sink
	// offset from the stack's clock to the time of day, ns, as it was at Start.
	offset      int64
	started     int64
	linkAtStart uint64
	// batch are the slots that the writer has; its alone.
	batch      []uint32
	lostBefore uint64
	scratch    record

	// Written by the writer, read by Stats.
	written, bytes atomic.Uint64

	stopOnce sync.Once
	stop     chan struct{}
	done     chan struct{}
	err      error // valid when done is closed
}

// sink is a format.
type sink interface {
	begin(a *about) error
	packet(r *record) error
	end(t *totals) error
}

// record is a frame as the writer sees it.
type record struct {
	*slot
	wall       int64 // time of day, ns since 1970
	lostBefore uint64
}

// totals of a session, at its end.
type totals struct {
	Stats
	// linkDropped is what the link counted as lost meanwhile.
	linkDropped uint64
	begin, end  int64 // time of day, ns
}

// Start begins to write what the device receives and sends to w, which is the
// session's until Done. It ends by Stop, by an error of w, with the device, or
// after Config.Count frames. Errors wrap EINVAL (no device, the config; a
// *ParseError for the filter) or net.ErrClosed.
func Start(d *stack.Device, w io.Writer, cfg *Config) (*Session, error) {
	if d == nil || w == nil {
		return nil, fmt.Errorf("capture: no device, or nowhere to write: %w", syscall.EINVAL)
	}
	var c Config
	if cfg != nil {
		c = *cfg
	}
	if err := c.complete(d); err != nil {
		return nil, err
	}
	expr, err := ParseExpr(c.Filter)
	if err != nil {
		return nil, err
	}
	s := &Session{
		dev: d, slots: newSlots(c.Slots, c.Snap, d.Link().Queues(), expr), count: c.Count,
		started: stack.Now(), stop: make(chan struct{}), done: make(chan struct{}), batch: make([]uint32, 0, c.Slots),
	}
	s.offset = time.Now().UnixNano() - s.started
	s.slots.deviceTime = d.Link().Capabilities().RXClock == link.ClockMonotonic
	s.out = bufio.NewWriterSize(counted{w, &s.bytes}, bufferSize)
	if s.sink = sink(&pcapng{w: s.out}); c.Format == Text {
		s.sink = &textLines{w: s.out}
	}
	s.linkAtStart = linkDropped(d)
	if err := d.Record(s.slots); err != nil {
		return nil, fmt.Errorf("capture: %w", err)
	}
	go s.run(s.about(&c))
	return s, nil
}

func (c *Config) complete(d *stack.Device) error {
	// The longest frame that a buffer can hold, and a tag that was stripped.
	whole := wire.EthernetHeaderLen + 2*wire.VLANTagLen + d.MTU()
	if c.Snap == 0 {
		c.Snap = whole
	}
	if c.Slots == 0 {
		c.Slots = DefaultSlots
	}
	switch {
	case c.Snap < MinSnap:
		return fmt.Errorf("capture: a snap of %d bytes: %w: want 0 for all, or at least %d", c.Snap, syscall.EINVAL, MinSnap)
	case c.Slots < 2 || c.Slots > MaxSlots:
		return fmt.Errorf("capture: %d slots: %w: want 2 to %d", c.Slots, syscall.EINVAL, MaxSlots)
	case c.Format > Text:
		return fmt.Errorf("capture: format %d: %w: want PCAPNG or Text", c.Format, syscall.EINVAL)
	}
	c.Snap = min(c.Snap, max(whole, MinSnap))
	return nil
}

func (s *Session) about(c *Config) *about {
	caps := s.dev.Link().Capabilities()
	return &about{
		name: s.dev.Name(), description: "oobnet: " + caps.Driver + ", " + caps.Mode,
		filter: s.slots.expr.String(), mac: s.dev.Link().MAC(), snap: c.Snap,
	}
}

// Done is closed when the session has ended, and w is the caller's again.
func (s *Session) Done() <-chan struct{} { return s.done }

// Err says why the session has ended: nil after Stop, after Config.Count frames,
// or while it has not; the error of w; net.ErrClosed wrapped: the device is
// closed. What was captured until then has been written, if w took it.
func (s *Session) Err() error {
	select {
	case <-s.done:
		return s.err
	default:
		return nil
	}
}

// Stats reads the session's counters.
func (s *Session) Stats() Stats {
	return Stats{
		Written: s.written.Load(), Bytes: s.bytes.Load(), Lost: s.slots.lost.Load(),
		Rejected: s.slots.rejected.Load(), Received: s.slots.received.Load(),
	}
}

// Stop ends the session: what was captured until then is written, and the
// statistics behind it. It returns Err, or ETIMEDOUT wrapped if w does not take
// it within five seconds: then w is the caller's only when Done is closed.
// Idempotent.
func (s *Session) Stop() error {
	s.stopOnce.Do(func() { close(s.stop) })
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case <-s.done:
		return s.err
	case <-timer.C:
		return fmt.Errorf("capture: the writer has not taken all within %v, close it: %w", stopTimeout, syscall.ETIMEDOUT)
	}
}

// run is the writer.
func (s *Session) run(a *about) {
	defer close(s.done)
	err := s.sink.begin(a)
	if err == nil {
		err = s.out.Flush() // so that a reader of a pipe can begin
	}
	if err == nil {
		err = s.follow()
	}
	s.dev.StopRecording(s.slots)
	if err == nil || errors.Is(err, net.ErrClosed) {
		err = errors.Join(err, s.finish())
	}
	if err != nil {
		err = fmt.Errorf("capture: %s: %w", s.dev.Name(), err)
	}
	s.err = err
}

// follow writes what comes, until the session is to end.
func (s *Session) follow() error {
	timer := time.NewTimer(writerPeriod)
	defer timer.Stop()
	for {
		n, err := s.drain()
		if err != nil || s.enough() {
			return err
		}
		if n == 0 {
			if err := s.out.Flush(); err != nil {
				return err
			}
		}
		if s.dev.Closed() {
			return net.ErrClosed
		}
		select {
		case <-s.stop:
			return nil
		default:
		}
		if n > 0 {
			continue
		}
		timer.Reset(writerPeriod)
		select {
		case <-s.stop:
			return nil
		case <-timer.C:
		}
	}
}

func (s *Session) enough() bool { return s.count != 0 && s.written.Load() >= s.count }

// finish writes what is left, and the statistics.
func (s *Session) finish() error {
	if _, err := s.drain(); err != nil {
		return err
	}
	now := stack.Now()
	t := &totals{Stats: s.Stats(), begin: s.started + s.offset, end: now + s.offset}
	t.linkDropped = max(linkDropped(s.dev), s.linkAtStart) - s.linkAtStart
	if err := s.sink.end(t); err != nil {
		return err
	}
	return s.out.Flush()
}

// drain writes what waits, in the order of time, and returns how many it was.
// Frames of several queues come in the order in which their steps ended.
func (s *Session) drain() (int, error) {
	list := s.slots.list
	s.batch = s.batch[:0]
	for i := s.slots.waiting.TakeOldest(); i != ring.Nil; i = s.slots.waiting.Next(i) {
		s.batch = append(s.batch, i)
	}
	slices.SortStableFunc(s.batch, func(a, b uint32) int { return cmp.Compare(list[a].at, list[b].at) })
	var err error
	for _, index := range s.batch {
		if err == nil && !s.enough() {
			err = s.write(&list[index])
		}
		s.slots.free.Push(index)
	}
	return len(s.batch), err
}

func (s *Session) write(l *slot) error {
	lost := s.slots.lost.Load()
	s.scratch = record{slot: l, wall: l.at + s.offset, lostBefore: lost - s.lostBefore}
	s.lostBefore = lost
	if err := s.sink.packet(&s.scratch); err != nil {
		return err
	}
	s.written.Add(1)
	return nil
}

// linkDropped is what a device's link has lost.
func linkDropped(d *stack.Device) (n uint64) {
	for i := range d.Link().Queues() {
		q := d.Link().Queue(i).Stats()
		n += q.RXNoBuffer + q.RXRingFull + q.RXInvalid
	}
	return n
}

// counted counts the bytes that a writer took.
type counted struct {
	w io.Writer
	n *atomic.Uint64
}

func (c counted) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n.Add(uint64(n))
	return n, err
}
