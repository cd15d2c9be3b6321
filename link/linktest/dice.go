package linktest

import (
	"math"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/oobnet/oobnet/link"
)

// dice decides the fate of the frames of one queue in one direction.
type dice struct {
	faults  Faults
	active  bool
	rng     *rand.Rand
	n       uint64                 // the next frame's number
	counts  [actions]atomic.Uint64 // written by this side; Counts reads them
	starved atomic.Uint64          // likewise
}

// init seeds the dice: stream tells queues and directions apart.
func (d *dice) init(faults Faults, seed, stream uint64) {
	d.faults = faults
	d.active = faults.active()
	d.rng = rand.New(rand.NewPCG(seed, stream))
}

// roll decides on one frame. spot is where a Corrupt hits. A frame costs two
// numbers of the sequence whatever becomes of it, so that the fate of the n-th
// does not depend on the sizes and the fates of those before.
func (d *dice) roll(frame []byte) (a Action, spot uint64) {
	n := d.n
	d.n++
	chance := d.rng.Float64()
	spot = d.rng.Uint64()
	if d.faults.Rule != nil {
		if a := d.faults.Rule(frame, n); a != Pass && a < actions {
			return a, spot
		}
	}
	for _, p := range [...]struct {
		probability float64
		action      Action
	}{
		{d.faults.Drop, Drop},
		{d.faults.Corrupt, Corrupt},
		{d.faults.Duplicate, Duplicate},
		{d.faults.Reorder, Reorder},
		{d.faults.Delay, Delay},
	} {
		if chance -= max(0, p.probability); chance < 0 {
			return p.action, spot
		}
	}
	return Pass, spot
}

// count books an action that was carried out.
func (d *dice) count(a Action) { d.counts[a].Add(1) }

// starve books a frame that passes for want of a buffer or of room.
func (d *dice) starve() {
	d.count(Pass)
	d.starved.Add(1)
}

func (d *dice) addTo(c *FaultCounts) {
	c.Passed += d.counts[Pass].Load()
	c.Dropped += d.counts[Drop].Load()
	c.Corrupted += d.counts[Corrupt].Load()
	c.Duplicated += d.counts[Duplicate].Load()
	c.Reordered += d.counts[Reorder].Load()
	c.Delayed += d.counts[Delay].Load()
	c.Starved += d.starved.Load()
	c.Frames = c.Passed + c.Dropped + c.Corrupted + c.Duplicated + c.Reordered + c.Delayed
}

// flip changes one bit of the frame.
func flip(frame []byte, spot uint64) {
	bit := spot % uint64(len(frame)*8)
	frame[bit/8] ^= 1 << (bit % 8)
}

// holdback keeps frames back, a few: it is searched from end to end.
type holdback struct {
	frames []held
	limit  int
	span   time.Duration
	epoch  time.Time
	passed uint64 // frames that went by
}

type held struct {
	frame link.Frame
	due   time.Duration // after the epoch
	after uint64        // due at this value of passed, too
}

func (h *holdback) init(cfg *FaultConfig) {
	h.limit, h.span = cfg.Reserve, cfg.Hold
	h.frames = make([]held, 0, h.limit)
	h.epoch = time.Now()
}

// put holds a frame back; false if there is no room.
func (h *holdback) put(f link.Frame, a Action) bool {
	if len(h.frames) == h.limit {
		return false
	}
	after := uint64(math.MaxUint64)
	if a == Reorder {
		after = h.passed + 1
	}
	h.frames = append(h.frames, held{frame: f, due: time.Since(h.epoch) + h.span, after: after})
	return true
}

// overtaken takes out the oldest frame that enough others have passed.
func (h *holdback) overtaken() (f link.Frame, ok bool) {
	for i := range h.frames {
		if h.frames[i].after <= h.passed {
			return h.remove(i), true
		}
	}
	return f, false
}

// due takes out the oldest frame whose time is up. All were held for the same
// span, so that is the first or none.
func (h *holdback) due() (f link.Frame, ok bool) {
	if len(h.frames) == 0 || h.frames[0].due > time.Since(h.epoch) {
		return f, false
	}
	return h.remove(0), true
}

// any takes out a frame, whatever its time.
func (h *holdback) any() (f link.Frame, ok bool) {
	if len(h.frames) == 0 {
		return f, false
	}
	return h.remove(0), true
}

func (h *holdback) remove(i int) link.Frame {
	f := h.frames[i].frame
	h.frames = append(h.frames[:i], h.frames[i+1:]...)
	return f
}

// bound shortens a wait to the time that the next frame is due.
func (h *holdback) bound(d time.Duration) time.Duration {
	if len(h.frames) == 0 {
		return d
	}
	left := max(0, h.frames[0].due-time.Since(h.epoch))
	if d < 0 || left < d {
		return left
	}
	return d
}

// fifo is a bounded queue of values, for one goroutine.
type fifo[T any] struct {
	slots   []T
	head, n int
}

func (f *fifo[T]) init(size int) { f.slots = make([]T, size) }

func (f *fifo[T]) room() int { return len(f.slots) - f.n }

// push puts a value in. A fifo has room for every buffer that its user can
// own: it is full only if one was given away twice, and then loses the value.
func (f *fifo[T]) push(v T) {
	if f.n == len(f.slots) {
		return
	}
	f.slots[(f.head+f.n)%len(f.slots)] = v
	f.n++
}

// peek copies the first values out and leaves them there.
func (f *fifo[T]) peek(values []T) int {
	n := min(len(values), f.n)
	for i := range n {
		values[i] = f.slots[(f.head+i)%len(f.slots)]
	}
	return n
}

// skip forgets the first n values.
func (f *fifo[T]) skip(n int) {
	if n > 0 {
		f.head = (f.head + n) % len(f.slots)
		f.n -= n
	}
}

// take moves the first values out.
func (f *fifo[T]) take(values []T) int {
	n := f.peek(values)
	f.skip(n)
	return n
}
