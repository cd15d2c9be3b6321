// Package rt makes threads fit for real time: named, pinned to a core, with a
// real-time priority, exact timers, a stack that is there; and memory that
// stays where it is. What a machine refuses is reported, never swallowed.
package rt

import (
	"errors"
	"runtime"
	"time"
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
	// TimerSlack is by how much the kernel may put off the end of a wait to
	// bundle it with others, 1 ns at least; 0: what the process was started
	// with, commonly 50 us. Threads of SCHED_FIFO have none in any case.
	TimerSlack time.Duration
	// Stack is how many bytes of stack are made and touched before f runs,
	// rounded up to a power of two, MaxStack at most; 0: none. They stay: the
	// collector does not shrink the stack while f runs. f may use half of them
	// without a fault or a copy, and all it likes beyond with one.
	Stack int
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
		withStack(o.Stack, func() {
			if started != nil {
				started(err)
			}
			f()
		})
	}()
}
