package stack_test

import (
	"errors"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/stack"
)

// TestFloodOfManyDelaysNoUrgentFrame: several goroutines flood at priority 0, a
// TX thread sends what waits, a ring of eight lets one frame leave after the
// other. From the moment that a frame of priority 7 is queued nothing goes before
// it but what was already on its way to the link: a burst that somebody had put
// together, and a frame of each sender that had just found nothing waiting.
//
// It counts frames, and so it does not matter how long anybody sleeps.
func TestFloodOfManyDelaysNoUrgentFrame(t *testing.T) {
	const flooders, urgent, burst = 3, 60, 16 // txBurst
	const underWay = burst + flooders
	leaktest.Check(t)
	l := newFakeLink(1)
	o := &stacktest.Options{}
	o.Device.Queueing, o.Device.PoolSize = stack.StrictPriority, 256
	h := fakeHost(t, l, o)
	q := l.queues[0]
	l.set(func() { q.txRoom, q.hold = 8, true })
	stop := make(chan struct{})
	var running sync.WaitGroup
	defer func() { // before the host closes
		close(stop)
		running.Wait()
		l.set(func() { q.txRoom, q.hold = 1024, false })
		q.complete()
	}()
	repeat := func(f func()) {
		running.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					f()
				}
			}
		})
	}
	for range flooders {
		repeat(func() {
			f, err := h.Device.AllocFor(0)
			if err == nil {
				err = h.Device.Send(rawFrame(h.Device, f, []byte{0, 0}), 0, 0)
			}
			switch {
			case errors.Is(err, syscall.ENOBUFS):
				time.Sleep(20 * time.Microsecond) // the rest is for what is urgent
			case err != nil:
				t.Error(err)
				time.Sleep(time.Second)
			}
		})
	}
	repeat(func() { // one leaves, and whoever needs its buffer finds it
		l.set(func() {
			if len(q.ring) > 0 {
				q.done, q.ring = append(q.done, q.ring[0]), q.ring[1:]
			}
		})
		time.Sleep(20 * time.Microsecond)
	})
	given := func() (n int) {
		l.set(func() { n = len(q.sent) })
		return n
	}
	worst := 0
	for i := range byte(urgent) {
		stacktest.Eventually(t, "the flood to wait for the link", func() bool {
			return h.Device.Stats().TX.Queueing.Bands[0].Length > 2*underWay
		})
		f, err := h.Device.AllocFor(7)
		if err != nil {
			t.Fatalf("urgent frame %d finds no buffer: %v", i, err)
		}
		from := given()
		if err := h.Device.Send(rawFrame(h.Device, f, []byte{7, i}), 0, 7); err != nil {
			t.Fatalf("urgent frame %d: %v", i, err)
		}
		queued, at := given(), -1
		stacktest.Eventually(t, "the urgent frame to go to the link", func() bool {
			l.set(func() {
				for n := from; n < len(q.sent) && at < 0; n++ {
					if q.sent[n][14] == 7 && q.sent[n][15] == i {
						at = n
					}
				}
			})
			return at >= 0
		})
		worst = max(worst, at-queued)
	}
	if worst > underWay {
		t.Errorf("%d frames of priority 0 went before an urgent one that was queued, want at most the %d under way", worst, underWay)
	}
	st := h.Device.Stats().TX.Queueing
	if st.Bands[7].Queued == 0 || st.Bands[7].Dropped != 0 || st.Bands[0].Queued < 2*underWay {
		t.Errorf("%+v", st)
	}
	t.Logf("at most %d frames went before an urgent one; %d of %d had to wait", worst, st.Bands[7].Queued, urgent)
}
