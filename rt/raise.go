package rt

import (
	"fmt"
	"syscall"

	"github.com/oobnet/oobnet/internal/rt"
)

// Raise gives all threads of the process that have ordinary scheduling a priority
// in SCHED_FIFO, 1 to MaxPriority, and with them all that the runtime makes later.
// lower makes threads of that priority ordinary again.
//
// It is for programs whose cycles have no machine to themselves. A cycle that wakes
// up needs a P, and where the collector works or goroutines are busy another thread
// has it, and has to run to give it away: an ordinary one waits for its turn among
// the threads of all other programs, and the cycle with it, whatever its own
// priority is. With a priority of 1 they come before other programs, and after
// cycles and devices.
//
// So does what goroutines do for long: as many of them as there are cores, busy
// without end, leave others the 5 % that the kernel keeps for them. Errors: EINVAL,
// EPERM wrapped, errors.ErrUnsupported on systems other than Linux; some threads
// may then have the priority, and lower is there in any case.
func Raise(priority int) (lower func() error, err error) {
	lower = func() error { return nil }
	if priority < 1 || priority > MaxPriority {
		return lower, fmt.Errorf("rt: priority %d: %w: want 1 to %d", priority, syscall.EINVAL, MaxPriority)
	}
	lower = func() error { return rt.Lower(priority) }
	return lower, rt.Raise(priority)
}
