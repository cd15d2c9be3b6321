package rt

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// nameLen is the longest thread name that the kernel keeps, bytes.
const nameLen = 15

func apply(o Options) (refused []error) {
	if o.Name != "" {
		if err := setName(o.Name); err != nil {
			refused = append(refused, fmt.Errorf("rt: name of thread %q: %w", o.Name, err))
		}
	}
	if len(o.CPUs) > 0 {
		var set unix.CPUSet
		for _, cpu := range o.CPUs {
			set.Set(cpu)
		}
		if err := unix.SchedSetaffinity(0, &set); err != nil {
			refused = append(refused, fmt.Errorf("rt: thread %q to CPUs %v: %w: see lscpu for the CPUs there are", o.Name, o.CPUs, err))
		}
	}
	// Before the priority: the kernel takes no slack from threads that have one,
	// and this one is to have it when it loses its priority.
	if o.TimerSlack > 0 {
		if err := unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(o.TimerSlack), 0, 0, 0); err != nil {
			refused = append(refused, fmt.Errorf("rt: timer slack of %v for thread %q: %w", o.TimerSlack, o.Name, err))
		}
	}
	if o.Priority > 0 {
		attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: uint32(o.Priority)}
		if err := unix.SchedSetAttr(0, &attr, 0); err != nil {
			refused = append(refused, fmt.Errorf("rt: thread %q to SCHED_FIFO %d: %w: it takes CAP_SYS_NICE or an rtprio limit (ulimit -r)", o.Name, o.Priority, err))
		}
	}
	return refused
}

func setName(name string) error {
	var b [nameLen + 1]byte
	copy(b[:nameLen], name)
	// Not by unix.Prctl: b would move if the stack grew on the way into it.
	if _, _, errno := unix.Syscall(unix.SYS_PRCTL, unix.PR_SET_NAME, uintptr(unsafe.Pointer(&b[0])), 0); errno != 0 {
		return errno
	}
	return nil
}
