package rt

import (
	"time"

	"github.com/oobnet/oobnet/internal/clock"
)

// sleepByTimer waits in Go: the runtime keeps one timer for each goroutine that
// sleeps, so there is no allocation but for the first. It is late by the
// resolution of the system's timers and by the time that the goroutine waits
// for a thread: from 1 ms on Linux to 16 ms on Windows.
func sleepByTimer(t int64) {
	for d := t - clock.Now(); d > 0; d = t - clock.Now() {
		time.Sleep(time.Duration(d))
	}
}
