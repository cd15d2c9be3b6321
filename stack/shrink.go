package stack

import (
	"math"

	"github.com/oobnet/oobnet/internal/ring"
)

// noLimit of a queue: no buffer is to be put aside, and refill need not look.
const noLimit = math.MaxUint32

// A queue that loses buffers finds them, in the RX step, in three places. What
// comes home is looked at before it goes to the device, so that none goes there
// again. What waited at home all the time, because the device's ring was full, is
// looked through when ResizeRX asks for it, and so is the ring of a device that
// receives nothing. What sockets hold comes home in their own time.

// shed does what ResizeRX has asked for.
func (r *rxQueue) shed(limit uint32) {
	if r.sweep.Load() {
		r.sweep.Store(false)
		r.sweepHome(limit)
	}
	if r.recall.Load() {
		r.recallFrom(limit)
	}
}

// sweepHome puts aside what waits at home and is to go.
func (r *rxQueue) sweepHome(limit uint32) {
	kept, n := uint32(ring.Nil), 0
	for _, chain := range [...]uint32{r.returned, r.home.Take()} {
		for chain != ring.Nil {
			index := chain
			chain = r.home.Next(index)
			if index >= limit {
				r.aside.Push(index)
				continue
			}
			r.home.SetNext(index, kept)
			kept = index
			n++
		}
	}
	r.returned, r.queued = kept, n
}

// recallFrom puts aside what the device gives back without a frame. What it does
// not let go of yet it is asked for in the next step.
func (r *rxQueue) recallFrom(limit uint32) {
	if r.recaller == nil {
		r.recall.Store(false)
		return
	}
	n, again := r.recaller.Recall(limit, r.recalled)
	for _, index := range r.recalled[:n] {
		r.aside.Push(index)
	}
	r.withDevice -= n
	if !again {
		r.recall.Store(false)
	}
}

// keepBelow puts aside what is to go of the spare buffers.
func (r *rxQueue) keepBelow(limit uint32) {
	n := 0
	for _, index := range r.spare {
		if index >= limit {
			r.aside.Push(index)
			continue
		}
		r.spare[n] = index
		n++
	}
	r.spare = r.spare[:n]
}

// bound implements pooled.
func (r *rxQueue) bound(size int) { r.limit.Store(uint32(r.section.from + size)) }

// nudge implements pooled.
func (r *rxQueue) nudge(recall bool) {
	r.sweep.Store(true)
	if recall {
		r.recall.Store(true)
	}
	r.q.Wake()
}

// add implements pooled.
func (r *rxQueue) add(indexes []uint32) {
	for _, index := range indexes {
		r.home.Push(index)
	}
	r.q.Wake()
}

// settled implements pooled.
func (r *rxQueue) settled() {
	r.limit.Store(noLimit)
	r.recall.Store(false)
}

// bound implements pooled.
func (p *pool) bound(size int) {
	for priority := range p.leave {
		p.leave[priority].Store(int32(size - share(size, p.queueing, priority)))
	}
	p.used.Store(uint32(size))
}

// nudge implements pooled: it takes back what has left, and puts aside what is
// free. A sender meanwhile finds what stays in one list or the other.
func (p *pool) nudge(bool) {
	p.dev.settle()
	var bite [txDone]uint32
	// As often as it takes for all: what others free meanwhile they look at.
	for range p.section.max/len(bite) + 1 {
		n := p.free.PopN(bite[:])
		stay := 0
		for _, index := range bite[:n] {
			if index-p.first >= p.used.Load() {
				p.aside.Push(index)
				continue
			}
			bite[stay] = index
			stay++
		}
		p.stash.PushAll(bite[:stay])
		if n < len(bite) {
			break
		}
	}
	for n := p.stash.PopN(bite[:]); n > 0; n = p.stash.PopN(bite[:]) {
		p.free.PushAll(bite[:n])
	}
	p.wake()
}

// add implements pooled.
func (p *pool) add(indexes []uint32) {
	p.free.PushAll(indexes)
	p.wake()
}

// settled implements pooled.
func (p *pool) settled() {}
