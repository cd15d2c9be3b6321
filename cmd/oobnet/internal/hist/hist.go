// Package hist is rt's histogram for the tools, who also write it as files that
// others read.
package hist

import (
	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/oobnet/oobnet/rt"
)

// Histogram of durations in nanoseconds. The zero value is empty and ready.
// One goroutine records, any may read; figures read while the recorder runs
// may miss its latest values.
type Histogram struct{ rt.Histogram }

// Export copies the counts into an HdrHistogram of three digits, for the tools
// that read its files.
func (h *Histogram) Export() *hdrhistogram.Histogram { return Export(&h.Histogram) }

// Export copies any of rt's histograms: those of a cycle as well.
func Export(h *rt.Histogram) *hdrhistogram.Histogram {
	out := hdrhistogram.New(1, rt.MaxTracked+1, 3)
	for b := range h.Buckets() {
		// The error is for values out of range; buckets are inside.
		_ = out.RecordValues(max(b.Low+(b.High-b.Low)/2, 1), int64(b.Count))
	}
	return out
}
