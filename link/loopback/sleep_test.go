package loopback

import (
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
