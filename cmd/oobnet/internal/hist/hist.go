// Package hist counts durations in buckets that are all there from the start:
// recording takes no lock and allocates nothing, so that measuring a cycle
// does not disturb it, and another goroutine may read at any time.
package hist

import (
	"math"
	"math/bits"
	"sync/atomic"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const (
	// subBits is the number of value bits that a bucket keeps: 64 buckets an
	// octave, a width of at most 1.6 % of the value.
	subBits = 6
	sub     = 1 << subBits
	// maxBits bounds the values: 2^36 ns is 68 s, longer than any wait of the
	// tools. Longer values count in the last bucket, and exactly in Max.
	maxBits = 36
	// buckets: values below sub have one each, then sub for each octave.
	buckets = sub + (maxBits-subBits)*sub
)

// Histogram of durations in nanoseconds. The zero value is empty and ready.
// One goroutine records, any may read; figures read while the recorder runs
// may miss its latest values.
type Histogram struct {
	// The recorder writes, readers of the live line and the final table load.
	counts   [buckets]atomic.Uint64
	n        atomic.Uint64
	max, min atomic.Int64 // min holds value+1, 0: nothing recorded
}

// Record counts one value. Negative values count as 0.
func (h *Histogram) Record(ns int64) {
	ns = max(ns, 0)
	h.counts[bucket(ns)].Add(1)
	if ns > h.max.Load() {
		h.max.Store(ns)
	}
	if m := h.min.Load(); m == 0 || ns < m-1 {
		h.min.Store(ns + 1)
	}
	h.n.Add(1)
}

// Count is the number of recorded values.
func (h *Histogram) Count() uint64 { return h.n.Load() }

// Max is the largest recorded value, exact; 0 if there is none.
func (h *Histogram) Max() int64 { return h.max.Load() }

// Min is the smallest recorded value, exact; 0 if there is none.
func (h *Histogram) Min() int64 { return max(h.min.Load()-1, 0) }

// Quantile returns the value that a share q of the values, 0 to 1, does not
// exceed: the middle of its bucket, never more than Max nor less than Min.
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
	h.max.Store(0)
	h.min.Store(0)
}

// Export copies the counts into an HdrHistogram of three digits, for the tools
// that read its files.
func (h *Histogram) Export() *hdrhistogram.Histogram {
	out := hdrhistogram.New(1, 1<<maxBits, 3)
	for i := range h.counts {
		if n := h.counts[i].Load(); n > 0 {
			lo, hi := bounds(i)
			// The error is for values out of range; bounds are inside.
			_ = out.RecordValues(max(lo+(hi-lo)/2, 1), int64(n))
		}
	}
	return out
}

// bucket is the index that a value counts under.
func bucket(v int64) int {
	if v < sub {
		return int(v)
	}
	if v >= 1<<maxBits {
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
