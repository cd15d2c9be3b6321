package clock

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestNowIsMonotonic: the number is the kernel's, to a microsecond, as other
// programs and the kernel's own times of frames have it.
func TestNowIsMonotonic(t *testing.T) {
	const off = time.Microsecond
	read := func() int64 {
		var ts unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
			t.Fatal(err)
		}
		return ts.Nano()
	}
	for range 1000 {
		before := read()
		now := Now()
		if after := read(); now < before-int64(off) || now > after+int64(off) {
			t.Fatalf("%d, and the kernel's clock went from %d to %d", now, before, after)
		}
	}
}
