package loopback

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// The moments between a sleeper's last look and its sleep, one by one: the
// look itself plays the waker.
func TestSleeperRaces(t *testing.T) {
	const pause = 20 * time.Millisecond
	for _, c := range []struct {
		name  string
		d     time.Duration
		ready func(s *sleeper) bool
		waits bool // the sleep is to last for d
	}{
		{"ready before the flag was seen", -1, func(*sleeper) bool { return true }, false},
		{"woken after the look", -1, func(s *sleeper) bool { s.wake(); return false }, false},
		{"woken and ready", -1, func(s *sleeper) bool { s.wake(); return true }, false},
		{"woken twice", -1, func(s *sleeper) bool { s.wake(); s.wake(); return false }, false},
		{"woken before a short sleep", pause, func(s *sleeper) bool { s.wake(); return false }, false},
		{"not woken", pause, func(*sleeper) bool { return false }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var s sleeper
			s.init()
			start := time.Now()
			done := make(chan struct{})
			go func() {
				defer close(done)
				s.sleep(c.d, func() bool { return c.ready(&s) })
			}()
			select {
			case <-done:
			case <-time.After(5 * time.Second):
				t.Fatal("the wake-up was lost")
			}
			if took := time.Since(start); c.waits && took < pause {
				t.Errorf("slept %v of %v", took, pause)
			}
			// Nothing is left over for the next sleep.
			if len(s.token) != 0 || s.asleep.Load() != 0 {
				t.Fatalf("left over: %d tokens, flag %d", len(s.token), s.asleep.Load())
			}
			start = time.Now()
			s.sleep(pause, func() bool { return false })
			if took := time.Since(start); took < pause {
				t.Errorf("the next sleep lasted %v of %v", took, pause)
			}
			if s.wake() {
				t.Error("a waker found a sleeper where there is none")
			}
		})
	}
}

// TestNoLostWakeup has frames, wakes and timeouts race with a receiver that
// sleeps for ever unless it is woken.
func TestNoLostWakeup(t *testing.T) {
	const rounds = 20000
	ping, pong := newCycle(t, 60, 1), newCycle(t, 60, 1)
	var wg sync.WaitGroup
	defer wg.Wait()
	watchdog := time.AfterFunc(40*time.Second, func() {
		t.Error("a wake-up was lost")
		ping.rx.(*queue).link.Stop()
		pong.rx.(*queue).link.Stop()
	})
	defer watchdog.Stop()
	wg.Go(func() { bounce(ping, pong, rounds, 1) })
	for range rounds {
		transmit(ping)
		if !awaitOne(pong, rand.New(rand.NewPCG(2, 2))) {
			return
		}
	}
}

func bounce(from, to *cycle, rounds int, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, seed))
	for range rounds {
		if !awaitOne(from, rng) {
			return
		}
		transmit(to)
	}
}

func transmit(c *cycle) {
	var done [1]uint32
	c.tx.Send(c.out)
	c.tx.Flush()
	c.tx.Reclaim(done[:])
}

// awaitOne receives a frame, sleeping without limit or for a time that often
// ends just when the frame comes.
func awaitOne(c *cycle, rng *rand.Rand) bool {
	for c.rx.Receive(c.in) == 0 {
		d := time.Duration(-1)
		if rng.IntN(2) == 0 {
			d = time.Duration(rng.IntN(20)) * time.Microsecond
		}
		if c.rx.WaitReceive(d) != nil {
			return false
		}
	}
	c.rx.Fill([]uint32{c.in[0].Index})
	return true
}

// A wait allocates nothing, however it ends.
func TestWaitAllocatesNothing(t *testing.T) {
	c := newCycle(t, 60, 1)
	bufs := make([]uint32, 1)
	n := testing.AllocsPerRun(200, func() {
		c.rx.WaitReceive(10 * time.Microsecond)
		c.rx.Wake()
		c.rx.WaitReceive(-1)
		c.tx.Send(c.out)
		c.tx.Flush()
		c.tx.Reclaim(bufs)
		c.rx.WaitReceive(-1)
		bufs[0] = c.in[:c.rx.Receive(c.in)][0].Index
		c.rx.Fill(bufs)
	})
	if n != 0 {
		t.Errorf("%v allocations a round of waits", n)
	}
}
