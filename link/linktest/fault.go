package linktest

import (
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/oobnet/oobnet/link"
)

// Action is what a Fault does to one frame.
type Action uint8

// Actions of a Fault.
const (
	// Pass lets the frame go by.
	Pass Action = iota
	// Drop loses it.
	Drop
	// Corrupt flips one bit anywhere in it.
	Corrupt
	// Duplicate delivers it twice, one right after the other.
	Duplicate
	// Reorder holds it back until another frame has passed, or for
	// FaultConfig.Hold if none does.
	Reorder
	// Delay holds it back for FaultConfig.Hold.
	Delay

	actions = iota
)

func (a Action) String() string {
	names := [actions]string{"pass", "drop", "corrupt", "duplicate", "reorder", "delay"}
	if int(a) < len(names) {
		return names[a]
	}
	return "unknown"
}

// Faults of one direction.
type Faults struct {
	// Rule decides first, if it is set; what it passes is left to the
	// probabilities. It gets the frame's bytes, which it must not keep or
	// change, and the frame's number on its queue and in this direction, from
	// 0. Several queues call it at the same time.
	Rule func(frame []byte, n uint64) Action
	// Probabilities of the actions, 0 to 1 each and 1 in sum: what is beyond
	// that is cut off from the end.
	Drop, Corrupt, Duplicate, Reorder, Delay float64
}

// active says whether anything can happen to a frame.
func (f *Faults) active() bool {
	return f.Rule != nil || f.Drop > 0 || f.Corrupt > 0 || f.Duplicate > 0 || f.Reorder > 0 || f.Delay > 0
}

// FaultConfig says what a Fault does. The zero value does nothing.
type FaultConfig struct {
	// Seed of the dice. The n-th frame of a queue and a direction meets the
	// same fate each time, whatever the other queues do.
	Seed uint64
	// RX is what happens to received frames, TX to those sent.
	RX, TX Faults
	// Hold is how long Delay holds a frame back, and Reorder at most. Zero: 1 ms.
	Hold time.Duration
	// Reserve is the number of spare buffers of each queue and direction.
	// Zero: 16. Also the most frames held back at a time.
	Reserve int
}

const (
	defaultHold    = time.Millisecond // long against a wire, short against a retry of ARP
	defaultReserve = 16               // a burst of duplicates in a batch of 64 at 25 %
)

// FaultCounts counts what a Fault has done in one direction.
type FaultCounts struct {
	// Frames that were looked at, each once.
	Frames uint64
	// Passed, Dropped, Corrupted, Duplicated, Reordered and Delayed add up to
	// Frames.
	Passed, Dropped, Corrupted, Duplicated, Reordered, Delayed uint64
	// Starved of Passed are frames that were to meet another fate, for which
	// there was no spare buffer or no room to hold them.
	Starved uint64
}

// Fault is a link that passes frames on to another and back, and does things to
// them on the way.
//
// Ownership stays exact. For its user a Fault is the device: what it holds
// comes out of Drain, and what it drops goes back where it came from, a
// received frame's buffer to the device's fill ring, a sent one's to Reclaim. A
// second copy needs a buffer of its own, and so does a sent frame to be
// corrupted, because a device leaves the sender's bytes alone. The spares of the
// receive direction are kept back from what Fill gives, once the device has as
// many; a duplicate goes to the user in one of them, and comes home by Fill.
// Those of the send direction are TX buffers that the Fault asks for beyond the
// user's layout; the user never sees them.
//
// A Fault is as passive as any link: a frame that it holds back moves on in the
// first call of its side of the queue after its time. WaitReceive and WaitSend
// return early enough for that; a sender that calls nothing any more sends
// nothing. A direction that has no faults costs nothing and behaves exactly as
// the link does.
type Fault struct {
	link.Link
	cfg     FaultConfig
	queues  []faultQueue
	stopped atomic.Bool // Stop sets it; both sides of the queues read it
}

var (
	_ link.Link     = (*Fault)(nil)
	_ link.Selector = (*Fault)(nil)
)

// NewFault wraps l, which must not be attached yet, and which it owns from now on.
func NewFault(l link.Link, cfg FaultConfig) *Fault {
	if cfg.Hold <= 0 {
		cfg.Hold = defaultHold
	}
	if cfg.Reserve <= 0 {
		cfg.Reserve = defaultReserve
	}
	return &Fault{Link: l, cfg: cfg}
}

// Attach implements [link.Link].
func (f *Fault) Attach(layout link.Layout) (*link.Memory, error) {
	if err := layout.Check(); err != nil {
		return nil, err
	}
	larger := layout
	if f.cfg.TX.active() {
		larger.TXBuffers += f.cfg.Reserve * layout.Queues
	}
	inner, err := f.Link.Attach(larger)
	if err != nil {
		return nil, err
	}
	// The same region, without the spares at its end.
	mem, err := link.NewMemory(unsafe.Slice(unsafe.SliceData(inner.Buffer(0)), layout.Bytes()), layout)
	if err != nil {
		return nil, err
	}
	f.queues = make([]faultQueue, f.Link.Queues())
	for i := range f.queues {
		f.queues[i].init(f, i, mem, inner)
	}
	return mem, nil
}

// Queue implements [link.Link].
func (f *Fault) Queue(i int) link.Queue { return &f.queues[i] }

// Capabilities implements [link.Link]. A descriptor cannot tell of frames that
// are held back: with faults on receive there is none.
func (f *Fault) Capabilities() link.Capabilities {
	c := f.Link.Capabilities()
	if f.cfg.RX.active() {
		c.Pollable = false
	}
	return c
}

// Select implements [link.Selector] as [Shadow.Select] does.
func (f *Fault) Select(c *link.Claims) error {
	if sel, ok := f.Link.(link.Selector); ok {
		return sel.Select(c)
	}
	return nil
}

// Stop implements [link.Link].
func (f *Fault) Stop() error {
	err := f.Link.Stop()
	f.stopped.Store(true)
	return err
}

// Close implements [link.Link].
func (f *Fault) Close() error {
	f.stopped.Store(true)
	return f.Link.Close()
}

// Counts returns what was done so far, all queues together.
func (f *Fault) Counts() (rx, tx FaultCounts) {
	for i := range f.queues {
		f.queues[i].rx.dice.addTo(&rx)
		f.queues[i].tx.dice.addTo(&tx)
	}
	return rx, tx
}

// faultQueue is one queue of a Fault. Its halves are used by one goroutine each.
type faultQueue struct {
	link.Queue // of the link inside
	fault      *Fault
	rx         faultRX
	tx         faultTX
}

func (q *faultQueue) init(f *Fault, number int, mem, inner *link.Memory) {
	q.Queue = f.Link.Queue(number)
	q.fault = f
	q.rx.init(f, number, q.Queue, mem)
	q.tx.init(f, number, q.Queue, mem, inner)
}

// FD implements [link.Queue].
func (q *faultQueue) FD() int {
	if q.rx.dice.active {
		return -1
	}
	return q.Queue.FD()
}

// Stats implements [link.Queue]: the device's counters. Frames that the Fault
// dropped stand in [Fault.Counts] alone.
func (q *faultQueue) Stats() link.QueueStats {
	s := q.Queue.Stats()
	s.TXInvalid += q.tx.invalid.Load()
	return s
}

// Drain implements [link.Queue].
func (q *faultQueue) Drain(bufs []uint32) int {
	if !q.fault.stopped.Load() {
		return 0
	}
	n := q.rx.drain(bufs)
	n += q.tx.drain(bufs[n:])
	for n < len(bufs) {
		k := q.Queue.Drain(bufs[n:])
		if k == 0 {
			break
		}
		n += q.tx.keepSpares(bufs[n : n+k])
	}
	return n
}
