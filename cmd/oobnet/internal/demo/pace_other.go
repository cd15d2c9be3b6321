//go:build !linux

package demo

import (
	"time"

	"github.com/oobnet/oobnet/internal/clock"
)

// sleepUntil sleeps until the monotonic clock shows t, ns, as well as the
// runtime's timers can.
func sleepUntil(t int64) {
	if d := t - clock.Now(); d > 0 {
		time.Sleep(time.Duration(d))
	}
}
