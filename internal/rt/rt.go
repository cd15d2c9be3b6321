// Package rt makes threads fit for real time: named, pinned to a core, with a
// real-time priority. What a machine refuses is reported, never swallowed.
package rt

import (
	"errors"
	"runtime"
)

// MaxPriority is the highest priority of SCHED_FIFO.
const MaxPriority = 99

// Options of a thread. The zero value asks for nothing.
type Options struct {
	// Name of at most 15 bytes, as ps -T shows it; a longer one is cut.
	Name string
	// CPUs to run on; empty: wherever the system likes.
	CPUs []int
	// Priority of SCHED_FIFO, 1 to MaxPriority; 0: ordinary scheduling.
	Priority int
}

// Go runs f on an operating system thread of its own, which ends with f: no
// other goroutine ever inherits its name, affinity or priority. started, if
// not nil, is called on the thread before f with what the machine refused,
// each refusal wrapping the system's error; nil if it refused nothing.
//
// A goroutine that has a thread of its own pays for it whenever it waits in Go
// (a channel, Gosched): the thread sleeps in the kernel, and is woken through
// another one. It is for those that wait in system calls, or not at all.
func Go(o Options, started func(refused error), f func()) {
	go func() {
		runtime.LockOSThread()
		// No unlock: the runtime ends a thread whose goroutine ends locked.
		err := errors.Join(apply(o)...)
		if started != nil {
			started(err)
		}
		f()
	}()
}
