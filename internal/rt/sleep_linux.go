package rt

import (
	"golang.org/x/sys/unix"
)

// AbsoluteSleep says that SleepUntil waits in the kernel for a point in time.
const AbsoluteSleep = true

// SleepUntil sleeps until CLOCK_MONOTONIC shows t, ns, and not less. It
// allocates nothing. time.Sleep would be rounded to the millisecond of the
// runtime's poller, and a relative sleep would add the time from the reading
// of the clock to the call to each wait.
//
// The call is an ordinary Syscall, so that the scheduler knows that the thread
// waits: others run on its processor (P) meanwhile, and nobody waits for it to
// stop the world. A RawSyscall would spare the thread the way back to a P, and
// hold up every collection of the process for as long as it sleeps.
//
// An error is the system's, EINVAL for a negative t, ENOSYS or EPERM where a
// sandbox forbids the call.
func SleepUntil(t int64) error {
	ts := unix.NsecToTimespec(t)
	for {
		// EINTR comes from signals, the runtime's own for preemption among
		// them. The point in time stays the same.
		if err := unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &ts, nil); err != unix.EINTR {
			return err
		}
	}
}
