package loopback

import (
	"fmt"
	"testing"

	"github.com/oobnet/oobnet/link"
)

// BenchmarkCycle measures the whole way of a frame on one goroutine: Send,
// Flush, Receive, Fill, Reclaim, in batches.
func BenchmarkCycle(b *testing.B) {
	for _, size := range []int{106, 1514} {
		for _, batch := range []int{1, 32} {
			b.Run(fmt.Sprintf("size=%d/batch=%d", size, batch), func(b *testing.B) { benchCycle(b, size, batch) })
		}
	}
}

func benchCycle(b *testing.B, size, batch int) {
	c := newCycle(b, size, batch)
	b.ReportAllocs()
	b.SetBytes(int64(size))
	b.ResetTimer()
	for done := 0; done < b.N; done += batch {
		c.run(b)
	}
}

// cycle sends a batch over a pair and brings every buffer back to its place.
type cycle struct {
	tx, rx link.Queue
	out    []link.Frame
	in     []link.Frame
	bufs   []uint32
}

func newCycle(tb testing.TB, size, batch int) *cycle {
	tb.Helper()
	x, y, err := Pair(nil)
	if err != nil {
		tb.Fatal(err)
	}
	layout := link.Layout{BufferSize: 2048, Queues: 1, RXBuffers: 512, TXBuffers: batch}
	for _, l := range []*Link{x, y} {
		if _, err := l.Attach(layout); err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { l.Close() })
	}
	c := &cycle{tx: x.Queue(0), rx: y.Queue(0)}
	for i := range layout.RXBuffers {
		c.rx.Fill([]uint32{uint32(i)})
	}
	for i := range batch {
		c.out = append(c.out, link.Frame{Index: uint32(layout.RXTotal() + i), Len: uint16(size)})
	}
	c.in = make([]link.Frame, batch)
	c.bufs = make([]uint32, batch)
	return c
}

func (c *cycle) run(tb testing.TB) {
	if n := c.tx.Send(c.out); n != len(c.out) {
		tb.Fatalf("Send took %d of %d", n, len(c.out))
	}
	if err := c.tx.Flush(); err != nil {
		tb.Fatal(err)
	}
	n := c.rx.Receive(c.in)
	if n != len(c.in) {
		tb.Fatalf("received %d of %d", n, len(c.in))
	}
	for i := range c.in {
		c.bufs[i] = c.in[i].Index
	}
	if n := c.rx.Fill(c.bufs); n != len(c.bufs) {
		tb.Fatalf("Fill took %d of %d", n, len(c.bufs))
	}
	if n := c.tx.Reclaim(c.bufs); n != len(c.bufs) {
		tb.Fatalf("reclaimed %d of %d", n, len(c.bufs))
	}
}

// BenchmarkWake measures a frame that wakes a sleeping receiver, there and back.
func BenchmarkWake(b *testing.B) {
	ping, pong := newCycle(b, 106, 1), newCycle(b, 106, 1)
	quit := make(chan struct{})
	go func() {
		defer close(quit)
		fill, done := make([]uint32, 1), make([]uint32, 1)
		for ping.rx.WaitReceive(-1) == nil {
			if ping.rx.Receive(ping.in) == 0 {
				continue
			}
			fill[0] = ping.in[0].Index
			ping.rx.Fill(fill)
			pong.tx.Send(pong.out)
			pong.tx.Flush()
			pong.tx.Reclaim(done)
		}
	}()
	b.ReportAllocs()
	for b.Loop() {
		ping.tx.Send(ping.out)
		ping.tx.Flush()
		ping.tx.Reclaim(ping.bufs)
		for pong.rx.Receive(pong.in) == 0 {
			pong.rx.WaitReceive(-1)
		}
		pong.bufs[0] = pong.in[0].Index
		pong.rx.Fill(pong.bufs[:1])
	}
	b.StopTimer()
	ping.rx.(*queue).link.Stop()
	<-quit
}

func TestCycleAllocatesNothing(t *testing.T) {
	c := newCycle(t, 106, 32)
	if n := testing.AllocsPerRun(1000, func() { c.run(t) }); n != 0 {
		t.Errorf("%v allocations a batch of 32, want 0", n)
	}
}
