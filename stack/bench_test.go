package stack_test

import (
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/stack"
)

// freeLink is a link that costs next to nothing, so that what is measured is the
// way of a buffer through the stack: what is filled comes back as a frame that was
// prepared, what is sent has left. For one goroutine; one queue.
type freeLink struct {
	*fakeLink
	fill []uint32 // a ring, its length a power of two
	// head and tail run on and on.
	head, tail int
	length     uint16 // of received frames; 0: none come
	sent       []uint32
}

func newFreeLink() *freeLink {
	return &freeLink{fakeLink: newFakeLink(1), fill: make([]uint32, 1024)}
}

func (l *freeLink) Queue(int) link.Queue { return freeQueue{l.queues[0], l} }

type freeQueue struct {
	*fakeQueue
	l *freeLink
}

func (q freeQueue) Receive(frames []link.Frame) int {
	l := q.l
	if l.length == 0 {
		return 0
	}
	n := min(len(frames), l.tail-l.head)
	for i := range frames[:n] {
		frames[i] = link.Frame{Index: l.fill[(l.head+i)&(len(l.fill)-1)], Len: l.length}
	}
	l.head += n
	return n
}

func (q freeQueue) Fill(bufs []uint32) int {
	l := q.l
	n := min(len(bufs), len(l.fill)-(l.tail-l.head))
	for i, b := range bufs[:n] {
		l.fill[(l.tail+i)&(len(l.fill)-1)] = b
	}
	l.tail += n
	return n
}

func (q freeQueue) Send(frames []link.Frame) int {
	for i := range frames {
		q.l.sent = append(q.l.sent, frames[i].Index)
	}
	return len(frames)
}

func (q freeQueue) Flush() error { return nil }

func (q freeQueue) Reclaim(bufs []uint32) int {
	n := copy(bufs, q.l.sent)
	q.l.sent = q.l.sent[:copy(q.l.sent, q.l.sent[n:])]
	return n
}

func (q freeQueue) Drain(bufs []uint32) int {
	n := q.Reclaim(bufs)
	for ; n < len(bufs) && q.l.head < q.l.tail; n++ {
		bufs[n] = q.l.fill[q.l.head&(len(q.l.fill)-1)]
		q.l.head++
	}
	return n
}

func (q freeQueue) WaitSend(time.Duration) error { return nil }

// benchHost is a host in manual mode on a freeLink, whose region is all ones: a
// received frame is a broadcast of an EtherType that nobody has.
func benchHost(b *testing.B, protocol stack.Protocol) (*stacktest.Host, *freeLink) {
	l := newFreeLink()
	h := stacktest.On(b, l, ownNet, &stacktest.Options{Manual: true})
	for i := range h.Device.Memory().Layout().RXTotal() {
		buf := h.Device.Memory().Buffer(uint32(i))
		for j := range buf[:64] {
			buf[j] = 0xff
		}
		buf[12], buf[13] = testEtherType>>8, testEtherType&0xff
	}
	if protocol != nil {
		if err := h.Stack.RegisterProtocol(stack.EtherType(testEtherType), protocol); err != nil {
			b.Fatal(err)
		}
	}
	h.Poll()
	return h, l
}

// BenchmarkHome is the way of a buffer home, ns a buffer: from a TX pool and back
// unsent, sent and reclaimed, received and dropped, received and released by who
// took it.
func BenchmarkHome(b *testing.B) {
	b.Run("free", func(b *testing.B) {
		h, _ := benchHost(b, nil)
		b.ReportAllocs()
		for b.Loop() {
			f, err := h.Device.Alloc()
			if err != nil {
				b.Fatal(err)
			}
			h.Device.Free(f)
		}
	})
	b.Run("reclaim", func(b *testing.B) {
		const batch = 32
		h, _ := benchHost(b, nil)
		frames := make([]link.Frame, batch)
		b.ReportAllocs()
		for i := 0; i < b.N; i += batch {
			for j := range frames {
				f, err := h.Device.AllocFor(0)
				if err != nil {
					b.Fatal(err)
				}
				f.Len = 64
				frames[j] = f
			}
			if n, err := h.Device.SendBatch(frames, 0, 0); n != batch || err != nil {
				b.Fatal(n, err)
			}
		}
	})
	b.Run("drop", func(b *testing.B) { benchReceive(b, nil, nil) })
	taken := make([]uint32, 0, stack.MaxBatch)
	take := newTestProtocol(func(batch *stack.Batch) {
		for _, p := range batch.Packets {
			p.Take()
			taken = append(taken, p.Frame.Index)
		}
	})
	b.Run("release", func(b *testing.B) {
		benchReceive(b, take, func(d *stack.Device) {
			for _, index := range taken {
				d.Release(index)
			}
			taken = taken[:0]
		})
	})
}

// benchReceive receives batches, with a protocol that takes what it is given and
// gives it back after each.
func benchReceive(b *testing.B, p stack.Protocol, giveBack func(*stack.Device)) {
	h, l := benchHost(b, p)
	l.length = 64
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i += stack.MaxBatch {
		if n, err := h.Device.Poll(stack.MaxBatch); n != stack.MaxBatch || err != nil {
			b.Fatal(n, err)
		}
		if giveBack != nil {
			giveBack(h.Device)
		}
	}
	b.StopTimer()
	l.length = 0
}
