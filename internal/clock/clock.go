// Package clock reads CLOCK_MONOTONIC as a number.
package clock

import (
	"sync/atomic"
	"time"
)

// The runtime's monotonic clock is CLOCK_MONOTONIC on Linux, read through the
// vDSO, but time.Time hides its number: base is what it showed at start.
var (
	start = time.Now()
	base  = monotonic()
)

// Now is CLOCK_MONOTONIC in nanoseconds; on systems without that clock,
// nanoseconds since the program started.
func Now() int64 {
	if f := fake.Load(); f != nil {
		return (*f)()
	}
	return base + int64(time.Since(start))
}

// fake is set by Fake and read by whoever wants to know the time: a load that
// costs a hundredth of what it costs to read the clock.
var fake atomic.Pointer[func() int64]

// Fake has f answer for the clock of the whole process, until restore: for
// tests, which count readings or say what the time is. Any goroutine calls f.
func Fake(f func() int64) (restore func()) {
	fake.Store(&f)
	return func() { fake.Store(nil) }
}
