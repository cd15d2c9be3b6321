// Package watchdog tells which step of a thread took how long: the longest of
// each step, and how many took longer than a threshold.
package watchdog

import (
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/oobnet/oobnet/internal/clock"
)

// MaxSteps is how many steps one watch can tell apart: a thread of the stack
// has four.
const MaxSteps = 8

const (
	// Buckets is how many classes of duration a step's count is split into: up
	// to 256 ns, up to twice that, and so on up to 2^30 ns (about a second), and
	// above.
	Buckets = 24
	// firstBucket is the logarithm of the first one's bound in ns: a look that
	// finds nothing takes less.
	firstBucket = 8
)

// Bound of a bucket: the longest step that is counted in it. The last one has
// none: 0.
func Bound(bucket int) time.Duration {
	if bucket >= Buckets-1 {
		return 0
	}
	return 1 << (firstBucket + bucket)
}

// bucketOf a duration in ns.
//
//oobnet:hot
func bucketOf(took int64) int {
	return min(max(bits.Len64(uint64(max(took, 1)-1))-firstBucket, 0), Buckets-1)
}

// Watch looks at the steps of one thread. That thread calls Begin and End, any
// goroutine the rest. The zero value watches nothing and has no steps: Init
// gives it some, Enable sets it going. It takes no lock and allocates nothing.
//
// While it is off, Begin and End cost a load and a branch each. While it is on,
// each reads the clock once; BeginAt and EndAt are for who has just read it,
// and Next is End and Begin with one reading.
type Watch struct {
	names []string
	// on, threshold (ns) and since (when it was enabled) are set by Enable and
	// Disable, and read by the thread.
	on               atomic.Bool
	threshold, since atomic.Int64
	steps            [MaxSteps]step
}

// step is written by the thread alone, and read by Steps.
type step struct {
	// began is when the step that is under way began, 0: none is.
	began atomic.Int64
	// longest and total are ns; at is when the longest ended.
	longest, at, total atomic.Int64
	count, over        atomic.Uint64
	buckets            [Buckets]atomic.Uint64
}

// Init names the steps, MaxSteps at most; step i of Begin is names[i], and what
// has no name is not watched. Before the thread runs.
func (w *Watch) Init(names ...string) {
	w.names = names[:min(len(names), MaxSteps)]
}

// Enable starts watching, and counts steps that take longer than threshold; 0:
// it counts none, and keeps the longest.
func (w *Watch) Enable(threshold time.Duration) {
	w.threshold.Store(int64(max(threshold, 0)))
	w.since.Store(clock.Now())
	w.on.Store(true)
}

// Disable stops watching; a step under way is not counted. What was found
// stays.
func (w *Watch) Disable() { w.on.Store(false) }

// Enabled says whether it watches.
func (w *Watch) Enabled() bool { return w.on.Load() }

// Begin says that a step begins. The thread only.
//
//oobnet:hot
func (w *Watch) Begin(step int) {
	if w.on.Load() {
		w.beginNow(step)
	}
}

// End says that the step has ended. The thread only.
//
//oobnet:hot
func (w *Watch) End(step int) {
	if w.on.Load() {
		w.endNow(step)
	}
}

// Next ends one step and begins another, with one reading of the clock.
//
//oobnet:hot
func (w *Watch) Next(ended, begins int) {
	if w.on.Load() {
		w.next(ended, begins)
	}
}

// The part that runs while it is on stands apart, so that Begin and End are
// small enough to be inlined.
func (w *Watch) beginNow(step int) { w.begin(step, clock.Now()) }
func (w *Watch) endNow(step int)   { w.end(step, clock.Now()) }

func (w *Watch) next(ended, begins int) {
	now := clock.Now()
	w.end(ended, now)
	w.begin(begins, now)
}

// BeginAt is Begin for a caller who knows the time, clock.Now's ns.
//
//oobnet:hot
func (w *Watch) BeginAt(step int, now int64) {
	if w.on.Load() {
		w.begin(step, now)
	}
}

// EndAt is End for a caller who knows the time, clock.Now's ns.
//
//oobnet:hot
func (w *Watch) EndAt(step int, now int64) {
	if w.on.Load() {
		w.end(step, now)
	}
}

func (w *Watch) begin(step int, now int64) {
	if uint(step) < uint(len(w.names)) {
		w.steps[step&(MaxSteps-1)].began.Store(now)
	}
}

// end books a step. One that began while the watch was off, or before that, is
// left out.
func (w *Watch) end(step int, now int64) {
	if uint(step) >= uint(len(w.names)) {
		return
	}
	s := &w.steps[step&(MaxSteps-1)]
	began := s.began.Load()
	if began == 0 {
		return
	}
	s.began.Store(0)
	if began < w.since.Load() {
		return
	}
	took := now - began
	// Only this thread writes: a load and a store do, where an addition would
	// lock the bus.
	s.count.Store(s.count.Load() + 1)
	s.total.Store(s.total.Load() + took)
	b := &s.buckets[bucketOf(took)]
	b.Store(b.Load() + 1)
	if took > s.longest.Load() {
		s.longest.Store(took)
		s.at.Store(now)
	}
	if limit := w.threshold.Load(); limit > 0 && took > limit {
		s.over.Store(s.over.Load() + 1)
	}
}

// Step is what was found about a step.
type Step struct {
	Name string
	// Count of the steps that ended, and the time that they took together.
	Count uint64
	Total time.Duration
	// Longest step, and when it ended, CLOCK_MONOTONIC in ns.
	Longest time.Duration
	At      int64
	// Over counts those that took longer than the threshold.
	Over uint64
	// Running is for how long the step has been under way; 0: it is not. A
	// thread that hangs is found here, for its step does not end.
	Running time.Duration
	// Buckets are the steps by duration: see Bound. While the thread runs, their
	// sum may be off Count by the step that ends meanwhile.
	Buckets [Buckets]uint64
}

// Steps describes all steps. Figures that are read while the thread runs may
// miss the step that ends meanwhile.
func (w *Watch) Steps() []Step {
	steps := make([]Step, len(w.names))
	on, since := w.on.Load(), w.since.Load()
	for i, name := range w.names {
		s := &w.steps[i]
		steps[i] = Step{
			Name:    name,
			Count:   s.count.Load(),
			Total:   time.Duration(s.total.Load()),
			Longest: time.Duration(s.longest.Load()),
			At:      s.at.Load(),
			Over:    s.over.Load(),
		}
		for b := range s.buckets {
			steps[i].Buckets[b] = s.buckets[b].Load()
		}
		if began := s.began.Load(); on && began != 0 && began >= since {
			steps[i].Running = time.Duration(max(clock.Now()-began, 1))
		}
	}
	return steps
}

// Longest is the step that took longest of all; the zero Step if none has
// ended.
func (w *Watch) Longest() (longest Step) {
	for _, s := range w.Steps() {
		if s.Longest > longest.Longest {
			longest = s
		}
	}
	return longest
}

// Over counts the steps of all names that took longer than the threshold.
func (w *Watch) Over() (n uint64) {
	for i := range w.steps {
		n += w.steps[i].over.Load()
	}
	return n
}
