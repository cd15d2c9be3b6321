package linktest

import (
	"errors"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/oobnet/oobnet/link"
)

const (
	// shortWait is long enough to tell a wait from none, and short enough for
	// many of them.
	shortWait = 30 * time.Millisecond
	// aWhile is how long a goroutine is given to get into its wait.
	aWhile = 20 * time.Millisecond
)

// within fails if f does not return in time.
func within(t *testing.T, limit time.Duration, what string, f func()) time.Duration {
	t.Helper()
	start := time.Now()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(limit):
		t.Fatalf("%s did not return within %v", what, limit)
	}
	return time.Since(start)
}

func testWaitReceive(t *testing.T, open func(t *testing.T) Wire) {
	r := newRig(t, open(t))
	r.fill()
	for i, q := range r.queues {
		wait := func(d time.Duration) time.Duration {
			return within(t, 2*r.Timeout, "WaitReceive", func() {
				if err := q.WaitReceive(d); err != nil {
					t.Errorf("queue %d: WaitReceive(%v): %v", i, d, err)
				}
			})
		}
		if took := wait(0); took > r.Timeout/2 {
			t.Errorf("queue %d: WaitReceive(0) took %v", i, took)
		}
		// Twice: a timer that is used again has to work again.
		for range 2 {
			if took := wait(shortWait); took < shortWait*9/10 && !r.Shared {
				t.Errorf("queue %d: WaitReceive(%v) returned after %v", i, shortWait, took)
			}
		}
		q.Wake()
		q.Wake()
		wait(-1)
		if took := wait(shortWait); took < shortWait*9/10 && !r.Shared {
			t.Errorf("queue %d: the wait after the woken one returned after %v of %v", i, took, shortWait)
		}
		wake := time.AfterFunc(aWhile, q.Wake)
		wait(-1)
		wake.Stop()
	}
	testWaitFrame(r)
	r.finish()
}

// testWaitFrame has a goroutine sleep on each queue, and sends one frame.
func testWaitFrame(r *rig) {
	r.t.Helper()
	var (
		wg     sync.WaitGroup
		quit   = make(chan struct{})
		came   = make(chan struct{}, len(r.queues))
		ledger = newLedger(&r.Wire, r.Link.MAC(), []int{200})
		mu     sync.Mutex // the ledger's
	)
	for i, q := range r.queues {
		wg.Go(func() {
			in := make([]link.Frame, 4)
			for {
				if err := q.WaitReceive(-1); err != nil {
					r.t.Errorf("queue %d: WaitReceive(-1): %v", i, err)
					return
				}
				for _, f := range in[:q.Receive(in)] {
					mu.Lock()
					r.arrive(ledger, r.mem.Bytes(f), i)
					if ledger.complete() {
						came <- struct{}{}
					}
					mu.Unlock()
				}
				select {
				case <-quit:
					return
				default:
				}
			}
		})
	}
	time.Sleep(aWhile)
	r.toLink(0, 200)
	select {
	case <-came:
	case <-time.After(r.Timeout):
		r.t.Error("a frame did not end WaitReceive(-1) on any queue")
	}
	close(quit)
	for _, q := range r.queues {
		q.Wake()
	}
	within(r.t, r.Timeout, "WaitReceive after Wake", wg.Wait)
}

func testWaitSend(t *testing.T, open func(t *testing.T) Wire) {
	r := newRig(t, open(t))
	r.fill()
	for i, q := range r.queues {
		for _, d := range []time.Duration{0, shortWait} {
			within(t, r.Timeout, "WaitSend", func() {
				if err := q.WaitSend(d); err != nil {
					t.Errorf("queue %d: WaitSend(%v): %v", i, d, err)
				}
			})
		}
		// The wait ends when the frame has left.
		r.send(i, 0, []int{100}, r.PeerMAC)
		deadline := time.Now().Add(r.Timeout)
		for len(r.tx) < r.Layout.TXBuffers && time.Now().Before(deadline) {
			if err := q.WaitSend(r.Timeout); err != nil {
				t.Fatalf("queue %d: WaitSend: %v", i, err)
			}
			r.reclaim(i)
		}
		if len(r.tx) < r.Layout.TXBuffers {
			t.Errorf("queue %d: the buffer of a frame did not come back in %v", i, r.Timeout)
		}
	}
	r.finish()
}

// testWaitStop has Stop end the waits of every queue, the endless and the long.
func testWaitStop(t *testing.T, open func(t *testing.T) Wire) {
	// Each has a wire of its own, and there may be one only at a time.
	for name, d := range map[string]time.Duration{"endless": -1, "long": time.Hour} {
		t.Run(name, func(t *testing.T) { testWaitStopOf(t, open, d) })
	}
}

func testWaitStopOf(t *testing.T, open func(t *testing.T) Wire, d time.Duration) {
	r := newRig(t, open(t))
	r.fill()
	var wg sync.WaitGroup
	for i, q := range r.queues {
		wg.Go(func() {
			for {
				err := q.WaitReceive(d)
				if errors.Is(err, net.ErrClosed) {
					return
				}
				if err != nil || !r.Shared {
					t.Errorf("queue %d: WaitReceive(%v), ended by Stop: %v, want net.ErrClosed", i, d, err)
					return
				}
			}
		})
	}
	time.Sleep(aWhile)
	within(t, 2*r.Timeout, "Stop", func() {
		if err := r.shadow.Stop(); err != nil {
			t.Errorf("Stop: %v", err)
		}
	})
	within(t, r.Timeout, "a wait that Stop has ended", wg.Wait)
	for i, q := range r.queues {
		for _, d := range []time.Duration{-1, 0, shortWait} {
			within(t, r.Timeout, "WaitReceive after Stop", func() {
				if err := q.WaitReceive(d); !errors.Is(err, net.ErrClosed) {
					t.Errorf("queue %d: WaitReceive(%v) after Stop: %v, want net.ErrClosed", i, d, err)
				}
			})
		}
		within(t, r.Timeout, "WaitSend after Stop", func() { _ = q.WaitSend(time.Hour) })
	}
	r.finish()
}

// testCarrier pulls the cable and plugs it in again.
func testCarrier(t *testing.T, open func(t *testing.T) Wire) {
	r := newRig(t, open(t))
	if r.SetCarrier == nil {
		t.Skip("the wire has no Wire.SetCarrier: its carrier cannot be taken away here")
	}
	r.fill()
	awaitState(r, link.Up)
	r.SetCarrier(false)
	awaitState(r, link.Down)
	frames := []link.Frame{r.build(0, 0, 100, r.PeerMAC), r.build(0, 1, 100, r.PeerMAC)}
	if n := r.queues[0].Send(frames); n != len(frames) {
		t.Errorf("Send without a carrier took %d of %d", n, len(frames))
	}
	if err := r.queues[0].Flush(); !errors.Is(err, syscall.ENETDOWN) {
		t.Errorf("Flush without a carrier: %v, want ENETDOWN", err)
	}
	r.SetCarrier(true)
	awaitState(r, link.Up)
	r.reclaimAll()
	// What was sent meanwhile may come or not; what is sent now comes.
	const seq, n = 10, 5
	l := newLedger(&r.Wire, r.PeerMAC, repeatSizes(seq+n, 100))
	l.from, l.goal = seq, n
	r.Shared = true
	r.send(0, seq, l.sizes[seq:], r.PeerMAC)
	r.collect(l, r.Timeout, func(int) int { return 0 })
	if !l.complete() {
		t.Errorf("after the carrier came back: %s", l.missing())
	}
	r.finish()
}

func awaitState(r *rig, want link.State) {
	r.t.Helper()
	for deadline := time.Now().Add(r.Timeout); r.Link.State() != want; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("the link is %v, want %v", r.Link.State(), want)
		}
	}
}
