package demo

import (
	"io"
	"runtime/metrics"
	"strconv"
	"time"

	"github.com/oobnet/oobnet/cmd/oobnet/internal/hist"
)

// liveInterval is how often the live line is written: as fast as an eye reads.
const liveInterval = 250 * time.Millisecond

// liveLine writes the state of a run over and over into one line of a
// terminal. It allocates nothing, so that the allocations which the demo
// reports are the stack's.
type liveLine struct {
	w       io.Writer
	buf     []byte
	started time.Time
}

func newLiveLine(w io.Writer) *liveLine {
	return &liveLine{w: w, buf: make([]byte, 0, 160), started: time.Now()}
}

// noRTT is for a server, which knows of no round trips.
var noRTT = new(hist.Histogram)

// write shows the counts, and round trips where there are any.
func (l *liveLine) write(sent, received uint64, rtt *hist.Histogram) {
	b := append(l.buf[:0], "\r  "...)
	b = strconv.AppendInt(b, int64(time.Since(l.started)/time.Second), 10)
	b = append(b, " s  sent "...)
	b = strconv.AppendUint(b, sent, 10)
	b = append(b, "  received "...)
	b = strconv.AppendUint(b, received, 10)
	if rtt.Count() > 0 {
		b = append(b, "  RTT p50 "...)
		b = appendMicros(b, rtt.Quantile(0.5))
		b = append(b, "  p99 "...)
		b = appendMicros(b, rtt.Quantile(0.99))
		b = append(b, "  max "...)
		b = appendMicros(b, rtt.Max())
		b = append(b, " us"...)
	}
	b = append(b, "\x1b[K"...) // to the end of the line: the last one was longer
	_, _ = l.w.Write(b)        // a terminal that is gone stops nothing
}

// clear takes the line away before the table.
func (l *liveLine) clear() { _, _ = io.WriteString(l.w, "\r\x1b[K") }

func appendMicros(b []byte, ns int64) []byte {
	b = strconv.AppendInt(b, ns/1000, 10)
	b = append(b, '.')
	return strconv.AppendInt(b, ns%1000/100, 10)
}

// allocations reads how many objects the process has allocated. The counter
// of the runtime misses what its caches hold back, some hundred objects.
type allocations struct{ sample []metrics.Sample }

func newAllocations() *allocations {
	return &allocations{sample: []metrics.Sample{{Name: "/gc/heap/allocs:objects"}, {Name: "/gc/heap/tiny/allocs:objects"}}}
}

func (a *allocations) read() (n uint64) {
	metrics.Read(a.sample)
	for _, s := range a.sample {
		if s.Value.Kind() == metrics.KindUint64 {
			n += s.Value.Uint64()
		}
	}
	return n
}
