package linktest

import (
	"fmt"
	"sync/atomic"

	"github.com/oobnet/oobnet/link"
)

// Shadow is a link that passes everything on to another, and keeps a map of
// who owns each buffer. A breach of the contract, by the device or by its
// user, is reported: a buffer handed out twice or given away by who has not
// got it, a buffer in a foreign queue's fill ring, a frame outside its buffer.
//
// It costs an atomic operation a frame, allocates nothing after Attach unless
// it reports, and has the concurrency of the link it wraps.
type Shadow struct {
	link.Link
	report func(error)
	mem    *link.Memory
	queues []shadowQueue
	// owner of each buffer: byCaller, or one of the states of a queue. Both
	// sides of every queue read and write it.
	owner []atomic.Uint32
}

var (
	_ link.Link     = (*Shadow)(nil)
	_ link.Selector = (*Shadow)(nil)
	_ link.Recaller = (*shadowQueue)(nil)
)

// byCaller owns what the device does not. The other owners are the two sides
// of each queue: see shadowQueue.
const byCaller uint32 = 0

// NewShadow wraps l, which must not be attached yet. report is called for each
// breach, from whatever goroutine finds it.
func NewShadow(l link.Link, report func(error)) *Shadow {
	return &Shadow{Link: l, report: report}
}

// Attach implements [link.Link].
func (s *Shadow) Attach(layout link.Layout) (*link.Memory, error) {
	mem, err := s.Link.Attach(layout)
	if err != nil {
		return nil, err
	}
	s.mem = mem
	s.owner = make([]atomic.Uint32, layout.Buffers())
	s.queues = make([]shadowQueue, s.Link.Queues())
	for i := range s.queues {
		s.queues[i] = shadowQueue{
			Queue:  s.Link.Queue(i),
			shadow: s,
			number: i,
			byRX:   uint32(1 + 2*i),
			byTX:   uint32(2 + 2*i),
		}
	}
	return mem, nil
}

// Queue implements [link.Link].
func (s *Shadow) Queue(i int) link.Queue { return &s.queues[i] }

// Select implements [link.Selector]: it passes the claims on, if there is
// someone to hear them. A link that cannot select delivers every frame, which
// includes the claimed ones.
func (s *Shadow) Select(c *link.Claims) error {
	if sel, ok := s.Link.(link.Selector); ok {
		return sel.Select(c)
	}
	return nil
}

// Missing lists the buffers that the device holds, nil if there is none: what
// has to come out of Drain after Stop.
func (s *Shadow) Missing() []uint32 {
	var missing []uint32
	for i := range s.owner {
		if s.owner[i].Load() != byCaller {
			missing = append(missing, uint32(i))
		}
	}
	return missing
}

func (s *Shadow) ownerName(o uint32) string {
	switch {
	case o == byCaller:
		return "the caller"
	case o&1 == 1:
		return fmt.Sprintf("queue %d (receive)", (o-1)/2)
	}
	return fmt.Sprintf("queue %d (send)", (o-2)/2)
}

// shadowQueue checks one queue.
type shadowQueue struct {
	link.Queue
	shadow     *Shadow
	number     int
	byRX, byTX uint32 // the owners that this queue stands for
	// strays counts frames with an index outside the region that Send took:
	// they have to come back, too. The send side and Drain write it.
	strays atomic.Int64
}

// pass moves a buffer between owners, and reports if it was not where it
// should have been.
func (q *shadowQueue) pass(call string, index, from, to uint32) {
	s := q.shadow
	if int(index) >= len(s.owner) {
		s.report(fmt.Errorf("linktest: %s: queue %d: %s: buffer %d of %d", s.Name(), q.number, call, index, len(s.owner)))
		return
	}
	if s.owner[index].CompareAndSwap(from, to) {
		return
	}
	was := s.owner[index].Swap(to)
	s.report(fmt.Errorf("linktest: %s: queue %d: %s: buffer %d is owned by %s, not by %s",
		s.Name(), q.number, call, index, s.ownerName(was), s.ownerName(from)))
}

// Receive implements [link.Queue].
func (q *shadowQueue) Receive(frames []link.Frame) int {
	n := q.Queue.Receive(frames)
	for _, f := range frames[:n] {
		q.pass("Receive", f.Index, q.byRX, byCaller)
		if int(f.Index) < len(q.shadow.owner) && !q.shadow.mem.Valid(f) {
			q.shadow.report(fmt.Errorf("linktest: %s: queue %d: Receive: %+v lies outside its buffer", q.shadow.Name(), q.number, f))
		}
	}
	return n
}

// Fill implements [link.Queue].
func (q *shadowQueue) Fill(bufs []uint32) int {
	n := q.Queue.Fill(bufs)
	for _, b := range bufs[:n] {
		q.pass("Fill", b, byCaller, q.byRX)
		if home := q.shadow.mem.Home(b); home != q.number {
			q.shadow.report(fmt.Errorf("linktest: %s: queue %d: Fill: buffer %d is at home in queue %d", q.shadow.Name(), q.number, b, home))
		}
	}
	return n
}

// Send implements [link.Queue].
func (q *shadowQueue) Send(frames []link.Frame) int {
	n := q.Queue.Send(frames)
	for _, f := range frames[:n] {
		if int(f.Index) >= len(q.shadow.owner) {
			q.strays.Add(1)
			continue
		}
		q.pass("Send", f.Index, byCaller, q.byTX)
	}
	return n
}

// Reclaim implements [link.Queue].
func (q *shadowQueue) Reclaim(bufs []uint32) int {
	n := q.Queue.Reclaim(bufs)
	for _, b := range bufs[:n] {
		if !q.stray(b) {
			q.pass("Reclaim", b, q.byTX, byCaller)
		}
	}
	return n
}

// Drain implements [link.Queue].
func (q *shadowQueue) Drain(bufs []uint32) int {
	n := q.Queue.Drain(bufs)
	for _, b := range bufs[:n] {
		if q.stray(b) {
			continue
		}
		from := q.byRX
		if int(b) < len(q.shadow.owner) && q.shadow.owner[b].Load() == q.byTX {
			from = q.byTX
		}
		q.pass("Drain", b, from, byCaller)
	}
	return n
}

// Recall implements [link.Recaller], for queues that are one; the others have
// nothing to give back.
func (q *shadowQueue) Recall(from uint32, bufs []uint32) (n int, again bool) {
	r, ok := q.Queue.(link.Recaller)
	if !ok {
		return 0, false
	}
	n, again = r.Recall(from, bufs)
	for _, b := range bufs[:n] {
		q.pass("Recall", b, q.byRX, byCaller)
		if b < from {
			q.shadow.report(fmt.Errorf("linktest: %s: queue %d: Recall: buffer %d is below %d", q.shadow.Name(), q.number, b, from))
		}
	}
	return n, again
}

// stray reports whether the index is the return of one that never named a buffer.
func (q *shadowQueue) stray(index uint32) bool {
	if int(index) < len(q.shadow.owner) || q.strays.Load() == 0 {
		return false
	}
	q.strays.Add(-1)
	return true
}
