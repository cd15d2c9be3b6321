//go:build !linux

package rt

// AbsoluteSleep says that SleepUntil waits in the kernel for a point in time.
const AbsoluteSleep = false

// SleepUntil sleeps until clock.Now shows t, ns, and not less, as well as the
// runtime's timers can.
func SleepUntil(t int64) error {
	sleepByTimer(t)
	return nil
}
