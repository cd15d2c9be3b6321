package clock

import (
	"math"
	"time"

	"golang.org/x/sys/unix"
)

// readings is how often the two clocks are compared: a thread that loses its
// processor between two looks would put base off by as much, for good.
const readings = 8

// monotonic is what the clock showed at start: what it shows less the time since
// then, by the readings that lie closest together.
func monotonic() int64 {
	var ts unix.Timespec
	shown, closest := int64(0), int64(math.MaxInt64)
	for range readings {
		before := time.Since(start)
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
			return 0
		}
		if apart := int64(time.Since(start) - before); apart < closest {
			shown, closest = ts.Nano()-int64(before)-apart/2, apart
		}
	}
	return shown
}
