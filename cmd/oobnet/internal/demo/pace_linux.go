package demo

import (
	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/clock"
)

// sleepUntil sleeps until the monotonic clock shows t, ns. time.Sleep would
// round to its timer's millisecond and drift; an absolute sleep does neither.
func sleepUntil(t int64) {
	ts := unix.NsecToTimespec(t)
	for clock.Now() < t {
		// EINTR: the runtime's own signals; the time stays the same.
		if err := unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &ts, nil); err != nil && err != unix.EINTR {
			return
		}
	}
}
