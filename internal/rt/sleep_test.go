package rt

import (
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/clock"
)

func TestSleepEndsNotBeforeItsTime(t *testing.T) {
	for name, sleep := range map[string]func(int64) error{
		"SleepUntil": SleepUntil,
		"timer":      func(t int64) error { sleepByTimer(t); return nil },
	} {
		for _, d := range []time.Duration{-time.Second, 0, 300 * time.Microsecond, 5 * time.Millisecond} {
			at := clock.Now() + int64(d)
			if err := sleep(at); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if now := clock.Now(); now < at {
				t.Errorf("%s for %v: %d ns early", name, d, at-now)
			}
		}
	}
}

func TestSleepAllocatesNothing(t *testing.T) {
	if n := testing.AllocsPerRun(20, func() { SleepUntil(clock.Now() + 1000) }); n != 0 {
		t.Errorf("%v allocations a sleep", n)
	}
}
