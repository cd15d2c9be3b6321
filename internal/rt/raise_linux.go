package rt

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// raiseRounds bounds the looks for threads that have come since the last one.
// Those that raised threads make have the priority from birth, so that a second
// look finds few, and a third none.
const raiseRounds = 8

// Raise gives the ordinary threads of the process a priority of SCHED_FIFO.
func Raise(priority int) error {
	return reschedule(unix.SCHED_NORMAL, 0, unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: uint32(priority)})
}

// Lower makes threads of that priority ordinary ones.
func Lower(priority int) error {
	return reschedule(unix.SCHED_FIFO, uint32(priority), unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL})
}

// reschedule gives the threads of a policy and a priority another one, until it
// finds no more of them.
func reschedule(policy, priority uint32, to unix.SchedAttr) error {
	for range raiseRounds {
		changed, err := rescheduleOnce(policy, priority, to)
		if err != nil || changed == 0 {
			return err
		}
	}
	return nil
}

func rescheduleOnce(policy, priority uint32, to unix.SchedAttr) (changed int, err error) {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return 0, fmt.Errorf("rt: the process's threads: %w", err)
	}
	for _, task := range tasks {
		id, err := strconv.Atoi(task.Name())
		if err != nil {
			continue // no thread
		}
		is, err := unix.SchedGetAttr(id, 0)
		if err == nil && (is.Policy != policy || is.Priority != priority) {
			continue
		}
		if err == nil {
			err = unix.SchedSetAttr(id, &to, 0)
		}
		switch {
		case errors.Is(err, unix.ESRCH): // it has ended
		case err != nil:
			return changed, fmt.Errorf("rt: threads to SCHED_FIFO %d: %w: it takes CAP_SYS_NICE or an rtprio limit (ulimit -r)", max(to.Priority, priority), err)
		default:
			changed++
		}
	}
	return changed, nil
}
