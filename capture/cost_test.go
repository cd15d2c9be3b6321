package capture_test

import (
	"io"
	"strings"
	"testing"

	"github.com/oobnet/oobnet/capture"
	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

// TestNothingAllocated: neither the stage nor the writer allocates for a frame.
func TestNothingAllocated(t *testing.T) {
	leaktest.Check(t)
	a, b := pair(t)
	for _, filter := range []string{"", "udp and not port 9", "dropped or demoted"} {
		s := start(t, b.Device, io.Discard, &capture.Config{Filter: filter})
		frame := datagram(a, b, 42, 7, "x")
		const frames = 100
		for range frames + 1 {
			raw(t, a, frame)
		}
		// A few are the runtime's, and the session's first.
		if n := testing.AllocsPerRun(frames, func() {
			if n, err := b.Device.Poll(1); n != 1 || err != nil {
				t.Fatal(n, err)
			}
		}); n != 0 {
			t.Errorf("%q: %v allocations a frame", filter, n)
		}
		stop(t, s)
	}
}

// BenchmarkReceive is what a capture costs the stage: 64 datagrams of 1000 bytes
// that a socket drops, being full, in one batch.
func BenchmarkReceive(b *testing.B) {
	for _, c := range []struct {
		name string
		cfg  *capture.Config
	}{
		{"no capture", nil}, {"all", &capture.Config{}}, {"headers", &capture.Config{Snap: capture.MinSnap}},
		{"refused", &capture.Config{Filter: "udp port 9"}}, {"refused late", &capture.Config{Filter: "demoted arp"}},
	} {
		b.Run(c.name, func(b *testing.B) {
			x, y := pair(b)
			listener, err := udp.Listen(y.Stack, y.At(7), &udp.Config{Queue: 1})
			if err != nil {
				b.Fatal(err)
			}
			defer listener.Close()
			if c.cfg != nil {
				s := start(b, y.Device, io.Discard, c.cfg)
				defer stop(b, s)
			}
			frame := datagram(x, y, 0, 7, strings.Repeat("x", 1000))
			frames := 0
			for b.Loop() {
				b.StopTimer()
				for range stack.MaxBatch {
					raw(b, x, frame)
				}
				b.StartTimer()
				n, err := y.Device.Poll(stack.MaxBatch)
				if err != nil {
					b.Fatal(err)
				}
				frames += n
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(frames), "ns/frame")
		})
	}
}
