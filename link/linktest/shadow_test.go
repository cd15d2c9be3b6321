package linktest

import (
	"strings"
	"testing"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/loopback"
)

// liar is a link whose queue 0 says what the test tells it to say.
type liar struct {
	link.Link
	queue lyingQueue
}

type lyingQueue struct {
	link.Queue
	receive []link.Frame
	reclaim []uint32
	drain   []uint32
}

func (l *liar) Queue(i int) link.Queue {
	l.queue.Queue = l.Link.Queue(i)
	return &l.queue
}

func (q *lyingQueue) Receive(frames []link.Frame) int { return copy(frames, q.receive) }
func (q *lyingQueue) Reclaim(bufs []uint32) int       { return copy(bufs, q.reclaim) }
func (q *lyingQueue) Drain(bufs []uint32) int         { return copy(bufs, q.drain) }
func (q *lyingQueue) Fill(bufs []uint32) int          { return len(bufs) }
func (q *lyingQueue) Send(frames []link.Frame) int    { return len(frames) }

func TestShadowReports(t *testing.T) {
	layout := link.Layout{BufferSize: 2048, Queues: 1, RXBuffers: 4, TXBuffers: 4}
	in, bufs := make([]link.Frame, 8), make([]uint32, 8)
	for _, c := range []struct {
		name string
		want string // empty: nothing to report
		do   func(l *liar, q link.Queue)
	}{
		{"all is well", "", func(l *liar, q link.Queue) {
			q.Fill([]uint32{0, 1})
			l.queue.receive = []link.Frame{{Index: 1, Len: 60}}
			q.Receive(in)
			q.Send([]link.Frame{{Index: 1}, {Index: 5}, {Index: 99}})
			l.queue.reclaim = []uint32{99, 5, 1}
			q.Reclaim(bufs)
			l.queue.drain = []uint32{0}
			q.Drain(bufs)
		}},
		{"received, never filled", "Receive: buffer 2 is owned by the caller, not by queue 0 (receive)", func(l *liar, q link.Queue) {
			l.queue.receive = []link.Frame{{Index: 2}}
			q.Receive(in)
		}},
		{"received twice", "Receive: buffer 0 is owned by the caller", func(l *liar, q link.Queue) {
			q.Fill([]uint32{0})
			l.queue.receive = []link.Frame{{Index: 0}, {Index: 0}}
			q.Receive(in)
		}},
		{"received outside the buffer", "lies outside its buffer", func(l *liar, q link.Queue) {
			q.Fill([]uint32{0})
			l.queue.receive = []link.Frame{{Index: 0, Off: 2000, Len: 60}}
			q.Receive(in)
		}},
		{"received from nowhere", "Receive: buffer 8 of 8", func(l *liar, q link.Queue) {
			l.queue.receive = []link.Frame{{Index: 8}}
			q.Receive(in)
		}},
		{"filled twice", "Fill: buffer 3 is owned by queue 0 (receive), not by the caller", func(_ *liar, q link.Queue) {
			q.Fill([]uint32{3, 3})
		}},
		{"filled a TX buffer", "Fill: buffer 4 is at home in queue -1", func(_ *liar, q link.Queue) {
			q.Fill([]uint32{4})
		}},
		{"sent while filled", "Send: buffer 0 is owned by queue 0 (receive), not by the caller", func(_ *liar, q link.Queue) {
			q.Fill([]uint32{0})
			q.Send([]link.Frame{{Index: 0}})
		}},
		{"reclaimed, never sent", "Reclaim: buffer 6 is owned by the caller", func(l *liar, q link.Queue) {
			l.queue.reclaim = []uint32{6}
			q.Reclaim(bufs)
		}},
		{"a bad index came back twice", "Reclaim: buffer 99 of 8", func(l *liar, q link.Queue) {
			q.Send([]link.Frame{{Index: 99}})
			l.queue.reclaim = []uint32{99, 99}
			q.Reclaim(bufs)
		}},
		{"drained twice", "Drain: buffer 7 is owned by the caller", func(l *liar, q link.Queue) {
			q.Send([]link.Frame{{Index: 7}})
			l.queue.drain = []uint32{7, 7}
			q.Drain(bufs)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			wire, err := loopback.New(nil)
			if err != nil {
				t.Fatal(err)
			}
			defer wire.Close()
			l := &liar{Link: wire}
			var reports []string
			s := NewShadow(l, func(err error) { reports = append(reports, err.Error()) })
			if _, err := s.Attach(layout); err != nil {
				t.Fatal(err)
			}
			c.do(l, s.Queue(0))
			switch {
			case c.want == "" && (len(reports) > 0 || s.Missing() != nil):
				t.Errorf("reported %q, missing %v", reports, s.Missing())
			case c.want != "" && (len(reports) != 1 || !strings.Contains(reports[0], c.want)):
				t.Errorf("reported %q, want one report with %q", reports, c.want)
			}
		})
	}
}
