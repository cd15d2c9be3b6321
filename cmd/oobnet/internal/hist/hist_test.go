package hist

import (
	"math/rand/v2"
	"testing"
)

func TestExportKeepsTheShape(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var h Histogram
	const values = 20000
	for range values {
		h.Record(int64(r.ExpFloat64() * 5000))
	}
	out := h.Export()
	if n := out.TotalCount(); n != values {
		t.Errorf("export holds %d values, want %d", n, values)
	}
	for _, q := range []float64{0.5, 0.9, 0.99, 0.999, 1} {
		want, got := h.Quantile(q), out.ValueAtQuantile(q*100)
		if d := got - want; d > want/50+1 || -d > want/50+1 {
			t.Errorf("quantile %g: %d, the histogram says %d", q, got, want)
		}
	}
}

func TestExportTakesValuesOutOfRange(t *testing.T) {
	var h Histogram
	h.Record(-5)
	h.Record(1 << 50)
	if n := h.Export().TotalCount(); n != 2 {
		t.Errorf("export holds %d values, want 2", n)
	}
}
