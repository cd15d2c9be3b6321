package hist

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestBucketsCoverTheRangeWithoutGaps(t *testing.T) {
	next := int64(0)
	for i := range buckets {
		lo, hi := bounds(i)
		if lo != next {
			t.Fatalf("bucket %d starts at %d, want %d", i, lo, next)
		}
		if bucket(lo) != i || bucket(hi) != i {
			t.Fatalf("bucket %d [%d, %d]: the ends map to %d and %d", i, lo, hi, bucket(lo), bucket(hi))
		}
		next = hi + 1
	}
	if next != 1<<maxBits {
		t.Errorf("the buckets end at %d, want %d", next, int64(1)<<maxBits)
	}
}

func TestQuantilesAgainstSortedValues(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var h Histogram
	values := make([]int64, 20000)
	for i := range values {
		values[i] = int64(r.ExpFloat64() * 5000)
		h.Record(values[i])
	}
	slices.Sort(values)
	for _, q := range []float64{0, 0.5, 0.9, 0.99, 0.999, 1} {
		want := values[max(int(q*float64(len(values)))-1, 0)]
		got := h.Quantile(q)
		if d := got - want; d > want/50+1 || -d > want/50+1 {
			t.Errorf("quantile %g: %d, sorted values say %d", q, got, want)
		}
	}
	if h.Max() != values[len(values)-1] || h.Min() != values[0] {
		t.Errorf("min %d max %d, want %d %d", h.Min(), h.Max(), values[0], values[len(values)-1])
	}
	if n := h.Export().TotalCount(); n != int64(len(values)) {
		t.Errorf("export holds %d values, want %d", n, len(values))
	}
}

func TestEdges(t *testing.T) {
	var h Histogram
	if h.Quantile(0.5) != 0 || h.Max() != 0 || h.Min() != 0 {
		t.Error("an empty histogram is not all zero")
	}
	h.Record(-5)
	h.Record(1 << 50)
	if h.Min() != 0 || h.Max() != 1<<50 || h.Count() != 2 {
		t.Errorf("min %d max %d count %d", h.Min(), h.Max(), h.Count())
	}
	h.Reset()
	if h.Count() != 0 || h.Quantile(1) != 0 {
		t.Error("not empty after Reset")
	}
}

func TestRecordAllocatesNothing(t *testing.T) {
	var h Histogram
	if n := testing.AllocsPerRun(100, func() { h.Record(12345) }); n != 0 {
		t.Errorf("%v allocations a value", n)
	}
}
