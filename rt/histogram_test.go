package rt

import (
	"math/rand/v2"
	"slices"
	"strings"
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
	if next != MaxTracked+1 {
		t.Errorf("the buckets end at %d, want %d", next, int64(MaxTracked)+1)
	}
}

func TestQuantilesAgainstSortedValues(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var h Histogram
	values := make([]int64, 20000)
	sum := int64(0)
	for i := range values {
		values[i] = int64(r.ExpFloat64() * 5000)
		sum += values[i]
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
	if h.Max() != values[len(values)-1] || h.Min() != values[0] || h.Mean() != float64(sum)/float64(len(values)) {
		t.Errorf("min %d mean %g max %d", h.Min(), h.Mean(), h.Max())
	}
	var n uint64
	last := Bucket{High: -1}
	for b := range h.Buckets() {
		if b.Low <= last.High || b.Count == 0 {
			t.Errorf("bucket %+v after %+v", b, last)
		}
		n, last = n+b.Count, b
	}
	if n != uint64(len(values)) {
		t.Errorf("the buckets hold %d values, want %d", n, len(values))
	}
}

func TestHistogramEdges(t *testing.T) {
	var h Histogram
	if h.Quantile(0.5) != 0 || h.Max() != 0 || h.Min() != 0 || h.Mean() != 0 {
		t.Error("an empty histogram is not all zero")
	}
	h.Record(-5)
	h.Record(1 << 50)
	if h.Min() != 0 || h.Max() != 1<<50 || h.Count() != 2 || h.Quantile(1) != 1<<50 && h.Quantile(1) > MaxTracked {
		t.Errorf("min %d max %d count %d", h.Min(), h.Max(), h.Count())
	}
	if got := slices.Collect(h.Buckets()); len(got) != 2 || got[0] != (Bucket{0, 0, 1}) || got[1].High != MaxTracked || got[1].Count != 1 {
		t.Errorf("buckets %+v", got)
	}
	for range h.Buckets() {
		break // a reader may stop early
	}
	if s := h.String(); !strings.HasPrefix(s, "2 values: min 0s, ") {
		t.Error(s)
	}
	h.Reset()
	if h.Count() != 0 || h.Quantile(1) != 0 || h.Mean() != 0 || len(slices.Collect(h.Buckets())) != 0 {
		t.Error("not empty after Reset")
	}
}

func TestRecordAllocatesNothing(t *testing.T) {
	var h Histogram
	if n := testing.AllocsPerRun(100, func() { h.Record(12345) }); n != 0 {
		t.Errorf("%v allocations a value", n)
	}
}

func BenchmarkRecord(b *testing.B) {
	h := new(Histogram)
	for v := int64(0); b.Loop(); v += 97 {
		h.Record(v & 0xfffff)
	}
}
