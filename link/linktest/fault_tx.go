package linktest

import (
	"sync/atomic"
	"time"

	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
)

// faultTX is the send side of a queue: between the user and the device's TX
// ring.
type faultTX struct {
	dice    dice
	hold    holdback
	inner   link.Queue
	stopped *atomic.Bool // the wrapper's own: its Stop sets it
	mem     *link.Memory // as the user sees it
	all     *link.Memory // with the spares
	buffers uint32       // the user's buffers; from here on, spares

	out     fifo[link.Frame] // decided, for the device
	done    fifo[uint32]     // complete without the device's help, for Reclaim
	spares  []uint32
	batch   []link.Frame
	invalid atomic.Uint64 // frames that named a spare or no buffer; Stats reads it
}

// txBacklog is how many frames wait for the device at most. A batch doubles if
// all of it is duplicated.
const txBacklog = 4 * batchSize

func (t *faultTX) init(f *Fault, number int, inner link.Queue, mem, all *link.Memory) {
	t.dice.init(f.cfg.TX, f.cfg.Seed, uint64(2*number+1))
	t.hold.init(&f.cfg)
	t.inner, t.mem, t.all, t.stopped = inner, mem, all, &f.stopped
	t.buffers = uint32(mem.Layout().Buffers())
	t.out.init(txBacklog)
	t.done.init(mem.Layout().Buffers())
	t.batch = make([]link.Frame, batchSize)
	if !t.dice.active {
		return
	}
	for i := range f.cfg.Reserve {
		t.spares = append(t.spares, t.buffers+uint32(number*f.cfg.Reserve+i))
	}
}

// Send implements [link.Queue]. While the device has no room for what was
// taken before, nothing more is taken.
func (q *faultQueue) Send(frames []link.Frame) int {
	t := &q.tx
	if !t.dice.active {
		return q.Queue.Send(frames)
	}
	if t.stopped.Load() {
		return 0
	}
	t.push()
	if t.out.n > 0 {
		return 0
	}
	n := 0
	// The worst case of one frame: itself, its twin, and all that were held.
	for n < len(frames) && t.done.room() > 0 && t.out.room() >= 2+len(t.hold.frames) {
		t.apply(frames[n])
		n++
	}
	t.push()
	return n
}

// apply decides on one frame.
func (t *faultTX) apply(f link.Frame) {
	if f.Index >= t.buffers {
		t.invalid.Add(1)
		t.done.push(f.Index)
		return
	}
	if !t.mem.Valid(f) || f.Len == 0 {
		t.out.push(f) // the device's to refuse
		return
	}
	b := t.mem.Bytes(f)
	a, spot := t.dice.roll(b)
	switch a {
	case Drop:
		t.done.push(f.Index)
	case Corrupt:
		twin, ok := t.copy(f)
		if !ok {
			t.dice.starve()
			t.pass(f)
			return
		}
		t.complete(&twin)
		flip(t.all.Bytes(twin), spot)
		t.done.push(f.Index)
		t.pass(twin)
	case Duplicate:
		twin, ok := t.copy(f)
		if !ok {
			t.dice.starve()
			t.pass(f)
			return
		}
		t.out.push(f)
		t.pass(twin)
	case Reorder, Delay:
		if !t.hold.put(f, a) {
			t.dice.starve()
			t.pass(f)
			return
		}
	default:
		t.pass(f)
	}
	t.dice.count(a)
}

// copy makes a second frame of the same bytes in a spare.
func (t *faultTX) copy(f link.Frame) (twin link.Frame, ok bool) {
	if len(t.spares) == 0 {
		return twin, false
	}
	twin = f
	twin.Index = t.spares[len(t.spares)-1]
	t.spares = t.spares[:len(t.spares)-1]
	copy(t.all.Bytes(twin), t.mem.Bytes(f))
	return twin, true
}

// complete does what the device was to do for a frame that is damaged next: a
// device would make the checksum fit the damage.
func (t *faultTX) complete(f *link.Frame) {
	if f.Flags&link.FlagChecksumOffload != 0 && wire.CompleteUDP(t.all.Bytes(*f)) {
		f.Flags &^= link.FlagChecksumOffload
	}
}

// pass hands a frame to the device, and after it those it has overtaken.
func (t *faultTX) pass(f link.Frame) {
	t.out.push(f)
	t.hold.passed++
	for f, ok := t.hold.overtaken(); ok; f, ok = t.hold.overtaken() {
		t.out.push(f)
	}
}

// push gives the device what is due and decided, as far as it has room.
func (t *faultTX) push() {
	for t.out.room() > 0 {
		f, ok := t.hold.due()
		if !ok {
			break
		}
		t.out.push(f)
	}
	for t.out.n > 0 {
		n := t.inner.Send(t.batch[:t.out.peek(t.batch)])
		if n == 0 {
			return
		}
		t.out.skip(n)
	}
}

// Flush implements [link.Queue].
func (q *faultQueue) Flush() error {
	if q.tx.dice.active {
		q.tx.push()
	}
	return q.Queue.Flush()
}

// Reclaim implements [link.Queue].
func (q *faultQueue) Reclaim(bufs []uint32) int {
	t := &q.tx
	if !t.dice.active {
		return q.Queue.Reclaim(bufs)
	}
	t.pushLate()
	n := t.done.take(bufs)
	for n < len(bufs) {
		k := t.inner.Reclaim(bufs[n:])
		if k == 0 {
			break
		}
		n += t.keepSpares(bufs[n : n+k])
	}
	return n
}

// pushLate sends what waited for its time or for room: the Flush of these
// frames is long over, so they get one of their own. Its error is the next
// Flush's to report.
func (t *faultTX) pushLate() {
	waiting := t.out.n + len(t.hold.frames)
	if waiting == 0 {
		return
	}
	t.push()
	if t.out.n+len(t.hold.frames) < waiting {
		_ = t.inner.Flush()
	}
}

// keepSpares takes the spares out of bufs and closes the gaps.
func (t *faultTX) keepSpares(bufs []uint32) int {
	n := 0
	for _, b := range bufs {
		if t.dice.active && b >= t.buffers {
			t.spares = append(t.spares, b)
			continue
		}
		bufs[n] = b
		n++
	}
	return n
}

// WaitSend implements [link.Queue].
func (q *faultQueue) WaitSend(d time.Duration) error {
	t := &q.tx
	if t.dice.active {
		t.pushLate()
		d = t.hold.bound(d)
		if t.done.n > 0 {
			d = 0
		}
	}
	return q.Queue.WaitSend(d)
}

// drain gives out what this side holds, and keeps its spares.
func (t *faultTX) drain(bufs []uint32) int {
	n := 0
	for n < len(bufs) {
		var one [1]link.Frame
		switch {
		case t.done.take(bufs[n:n+1]) == 1:
			n++
		case t.out.take(one[:]) == 1:
			bufs[n] = one[0].Index
			n += t.keepSpares(bufs[n : n+1])
		default:
			f, ok := t.hold.any()
			if !ok {
				return n
			}
			bufs[n] = f.Index
			n++
		}
	}
	return n
}
