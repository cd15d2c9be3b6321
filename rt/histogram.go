package rt

import (
	"fmt"
	"iter"
	"math"
	"math/bits"
	"sync/atomic"
	"time"
)

const (
	// subBits is the number of value bits that a bucket keeps: 64 buckets an
	// octave, a width of at most 1.6 % of the value.
	subBits = 6
	sub     = 1 << subBits
	// maxBits bounds the values that are told apart: 2^36 ns is 68 s, longer
	// than any wait of a control loop.
	maxBits = 36
	// buckets: values below sub have one each, then sub for each octave. 16 KB.
	buckets = sub + (maxBits-subBits)*sub
)

// MaxTracked is the largest value that a [Histogram] tells from others, ns.
// Longer values count in the last bucket, and exactly in Max and Mean.
const MaxTracked = 1<<maxBits - 1

// Histogram of durations in nanoseconds, in buckets that are all there from the
// start: recording takes no lock and allocates nothing, so that measuring a
// cycle does not disturb it. The zero value is empty and ready.
//
// One goroutine records, any may read. Figures read while the recorder runs may
// miss its latest values.
type Histogram struct {
	// The recorder writes; readers of a live line and of the final table load.
	counts   [buckets]atomic.Uint64
	n        atomic.Uint64
	sum      atomic.Int64
	max, min atomic.Int64 // min holds value+1, 0: nothing recorded
}

// Record counts one value, ns. Negative values count as 0.
func (h *Histogram) Record(ns int64) {
	ns = max(ns, 0)
	// Nobody else writes: a load and a store do, where an addition would lock
	// the bus.
	c := &h.counts[bucket(ns)]
	c.Store(c.Load() + 1)
	if ns > h.max.Load() {
		h.max.Store(ns)
	}
	if m := h.min.Load(); m == 0 || ns < m-1 {
		h.min.Store(ns + 1)
	}
	h.sum.Store(h.sum.Load() + ns)
	h.n.Store(h.n.Load() + 1)
}

// Count is the number of recorded values.
func (h *Histogram) Count() uint64 { return h.n.Load() }

// Max is the largest recorded value, exact; 0 if there is none.
func (h *Histogram) Max() int64 { return h.max.Load() }

// Min is the smallest recorded value, exact; 0 if there is none.
func (h *Histogram) Min() int64 { return max(h.min.Load()-1, 0) }

// Mean of the recorded values, exact; 0 if there is none.
func (h *Histogram) Mean() float64 {
	n := h.n.Load()
	if n == 0 {
		return 0
	}
	return float64(h.sum.Load()) / float64(n)
}

// Quantile returns the value that a share q of the values, 0 to 1, does not
// exceed: the middle of its bucket, never more than Max nor less than Min; 0 if
// there is none.
func (h *Histogram) Quantile(q float64) int64 {
	total := h.n.Load()
	if total == 0 {
		return 0
	}
	want := max(uint64(math.Ceil(q*float64(total))), 1)
	var seen uint64
	for i := range h.counts {
		if seen += h.counts[i].Load(); seen >= want {
			lo, hi := bounds(i)
			return min(max(lo+(hi-lo)/2, h.Min()), h.Max())
		}
	}
	return h.Max()
}

// Reset empties the histogram. The recorder must not run.
func (h *Histogram) Reset() {
	for i := range h.counts {
		h.counts[i].Store(0)
	}
	h.n.Store(0)
	h.sum.Store(0)
	h.max.Store(0)
	h.min.Store(0)
}

// Bucket of a histogram: how many values from Low to High, both included, ns.
type Bucket struct {
	Low, High int64
	Count     uint64
}

// Buckets that hold a value, in ascending order. The last one of all,
// MaxTracked its High, holds what is longer, too.
func (h *Histogram) Buckets() iter.Seq[Bucket] {
	return func(yield func(Bucket) bool) {
		for i := range h.counts {
			if n := h.counts[i].Load(); n > 0 {
				lo, hi := bounds(i)
				if !yield(Bucket{lo, hi, n}) {
					return
				}
			}
		}
	}
}

// String is the histogram in one line.
func (h *Histogram) String() string {
	q := func(q float64) time.Duration { return time.Duration(h.Quantile(q)) }
	return fmt.Sprintf("%d values: min %v, mean %v, p50 %v, p99 %v, p99.9 %v, max %v",
		h.Count(), time.Duration(h.Min()), time.Duration(h.Mean()), q(0.5), q(0.99), q(0.999), time.Duration(h.Max()))
}

// bucket is the index that a value counts under.
func bucket(v int64) int {
	if v < sub {
		return int(v)
	}
	if v > MaxTracked {
		return buckets - 1
	}
	octave := bits.Len64(uint64(v)) - 1 - subBits // 0 for [sub, 2*sub)
	return sub + octave*sub + int(v>>octave) - sub
}

// bounds are the smallest and the largest value of a bucket.
func bounds(i int) (lo, hi int64) {
	if i < sub {
		return int64(i), int64(i)
	}
	octave := (i - sub) / sub
	lo = int64(sub+(i-sub)%sub) << octave
	return lo, lo + 1<<octave - 1
}
