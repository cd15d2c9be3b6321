package stack_test

import (
	"testing"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/stack"
)

// TestLooksAtTheClockOfWhatWaits: without timestamping the clock is read for
// frames that wait, and for no others: once a send that queues, however many
// frames it has, and once a burst that leaves. A discipline of the application's
// own has one reading more for each of its turns.
func TestLooksAtTheClockOfWhatWaits(t *testing.T) {
	for name, c := range map[string]struct {
		queueing stack.Queueing
		turn     int64 // readings for a discipline's turn
	}{"fifo": {stack.FIFO, 0}, "strict": {stack.StrictPriority, 0}, "own": {&roundRobin{}, 1}} {
		t.Run(name, func(t *testing.T) {
			leaktest.Check(t)
			l := newFakeLink(1)
			o := manual()
			o.Device.Queueing = c.queueing
			h := fakeHost(t, l, o)
			frames := func(n int) (out []link.Frame) {
				t.Helper()
				for range n {
					f, err := h.Device.Alloc()
					if err != nil {
						t.Fatal(err)
					}
					out = append(out, rawFrame(h.Device, f, []byte{1, 2}))
				}
				return out
			}
			clock := tick(t)
			looks := func(what string, want int64, do func()) {
				t.Helper()
				before := clock.Load()
				do()
				if n := clock.Load() - before; n != want {
					t.Errorf("%s: %d looks at the clock, want %d", what, n, want)
				}
			}
			send := func(n int) func() {
				return func() {
					t.Helper()
					if sent, err := h.Port.SendBatch(frames(n), 0, 3); sent != n || err != nil {
						t.Fatal(sent, err)
					}
				}
			}
			looks("what leaves at once", 0, send(1))
			looks("a batch that leaves at once", 0, send(5))
			l.set(func() { l.queues[0].txRoom = 0 })
			looks("what waits", 1+c.turn, send(1))
			looks("a batch that waits", 1+c.turn, send(5))
			l.set(func() { l.queues[0].txRoom = 1024 })
			looks("a burst that leaves", 1+c.turn, func() { h.Poll() })
			looks("nothing to send", 0, func() { h.Poll() })
			if n := len(l.queues[0].wire()); n != 12 {
				t.Errorf("%d frames sent, want 12", n)
			}
			stacktest.AssertBooks(t, h.Device)
		})
	}
}
