package clock

import (
	"time"

	"golang.org/x/sys/unix"
)

// monotonic is what the clock showed at start. It is read a moment later, and
// that moment is taken off again.
func monotonic() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0
	}
	return ts.Nano() - int64(time.Since(start))
}
