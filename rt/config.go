package rt

import (
	"fmt"
	"syscall"
	"time"

	"github.com/oobnet/oobnet/internal/rt"
)

const (
	// MaxPriority is the highest priority of SCHED_FIFO.
	MaxPriority = rt.MaxPriority
	// DefaultPeriod of a cycle, which is latmus's and of most servo loops.
	DefaultPeriod = time.Millisecond
	// MinPeriod keeps a period above what one wait costs, 2 to 10 us.
	MinPeriod = 10 * time.Microsecond
	// DefaultStack of a cycle's thread, bytes: half of it is there to be used.
	DefaultStack = 64 << 10
	// MaxStack of a cycle's thread, bytes.
	MaxStack = rt.MaxStack
	// timerSlack is the least that the kernel knows.
	timerSlack = time.Nanosecond
)

// Overrun is what a cycle does when its function still runs at the time of the
// next activation.
type Overrun int

const (
	// Skip leaves out each activation whose time has passed, and waits for the
	// next: none begins late because one before it was long. Tick.Missed says
	// how many were left out.
	Skip Overrun = iota
	// CatchUp runs every activation: the late ones at once, one after another,
	// until the cycle is back in time. For work that is counted, not timed.
	CatchUp
	// Stop ends the cycle with an *OverrunError.
	Stop
)

// String is the policy's name.
func (o Overrun) String() string {
	switch o {
	case Skip:
		return "skip"
	case CatchUp:
		return "catch up"
	case Stop:
		return "stop"
	}
	return fmt.Sprintf("Overrun(%d)", int(o))
}

// Config of a cycle. The zero value and nil mean the defaults: 1 ms, an
// ordinary thread, and nothing that could be refused but for the timer slack.
type Config struct {
	// Period from one activation to the next: DefaultPeriod by default,
	// MinPeriod at least.
	Period time.Duration
	// Phase shifts the activations, which stand at multiples of Period on
	// CLOCK_MONOTONIC, to Phase after these. So two cycles of one period keep
	// their distance, in two processes of a machine as well. 0 to Period.
	Phase time.Duration
	// Overrun policy: Skip by default.
	Overrun Overrun
	// Spin is how long before each activation the thread wakes, to wait for the
	// rest with its eyes open: then the way out of the kernel's sleep does not
	// make it late, for the price of that share of a core. 0: it sleeps until
	// its time has come; at most Period, where it never sleeps.
	Spin time.Duration

	// Name of the thread as ps -T shows it, 15 bytes: "cycle" by default.
	Name string
	// CPUs to pin the thread to; empty: not pinned.
	CPUs []int
	// Priority of the thread in SCHED_FIFO, 1 to MaxPriority; 0: ordinary
	// scheduling.
	Priority int
	// Lock the memory of the whole process before the first activation, and
	// leave it locked.
	Lock LockMode
	// Stack that is made and touched before the first activation, bytes, and
	// does not shrink while the cycle runs: DefaultStack by default, MaxStack
	// at most, none if negative.
	Stack int

	// Strict makes Run fail, with what was refused, before the first
	// activation. Otherwise the cycle runs as well as it can, and Report says
	// what it lacks.
	Strict bool
	// Started, if not nil, is called on the cycle's thread before the first
	// activation.
	Started func(Report)
}

// complete fills in defaults, and checks the rest. Errors wrap EINVAL.
func (c *Config) complete() error {
	if c.Period == 0 {
		c.Period = DefaultPeriod
	}
	if c.Name == "" {
		c.Name = "cycle"
	}
	if c.Stack == 0 {
		c.Stack = DefaultStack
	}
	switch {
	case c.Period < MinPeriod:
		return fmt.Errorf("rt: period of %v: %w: want %v at least", c.Period, syscall.EINVAL, MinPeriod)
	case c.Phase < 0 || c.Phase > c.Period:
		return fmt.Errorf("rt: phase of %v: %w: want 0 to the period, %v", c.Phase, syscall.EINVAL, c.Period)
	case c.Spin < 0 || c.Spin > c.Period:
		return fmt.Errorf("rt: spin tail of %v: %w: want 0 to the period, %v", c.Spin, syscall.EINVAL, c.Period)
	case c.Overrun < Skip || c.Overrun > Stop:
		return fmt.Errorf("rt: overrun policy %d: %w: want Skip, CatchUp or Stop", int(c.Overrun), syscall.EINVAL)
	case c.Priority < 0 || c.Priority > MaxPriority:
		return fmt.Errorf("rt: priority %d: %w: want 1 to %d, or 0 for ordinary scheduling", c.Priority, syscall.EINVAL, MaxPriority)
	case c.Lock < LockNone || c.Lock > LockAll:
		return fmt.Errorf("rt: lock mode %d: %w: want LockNone, LockOnFault or LockAll", int(c.Lock), syscall.EINVAL)
	case c.Stack > MaxStack:
		return fmt.Errorf("rt: stack of %d bytes: %w: want %d at most", c.Stack, syscall.EINVAL, MaxStack)
	}
	return nil
}

// thread is what the cycle wants of its thread.
func (c *Config) thread() rt.Options {
	return rt.Options{Name: c.Name, CPUs: c.CPUs, Priority: c.Priority, TimerSlack: timerSlack, Stack: c.Stack}
}
