package rt

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oobnet/oobnet/internal/clock"
	"github.com/oobnet/oobnet/internal/rt"
)

// attention is how long a thread sleeps at most before it looks whether its
// context has ended: nothing else can wake it. Short enough for who stops a
// program, and too long to be noise in a cycle of less.
const attention = 100 * time.Millisecond

// Tick is one activation of a cycle. Times are CLOCK_MONOTONIC in ns, as those
// of packets are; on systems without it ns since the program started.
type Tick struct {
	// Number of the activation: Planned = the first one's + Number * Period.
	// Those that were left out are counted.
	Number uint64
	// Planned is when it was due, Actual when the thread was there.
	Planned, Actual int64
	// Missed activations just before this one that were left out.
	Missed uint64
}

// Late is how late the activation began.
func (t Tick) Late() time.Duration { return time.Duration(t.Actual - t.Planned) }

// Cycle is a thread that runs a function once a period, at absolute times. Make
// it by NewCycle. Run keeps to one goroutine at a time; the other methods may
// be called by any, while it runs as well.
type Cycle struct {
	cfg Config
	// now and sleep are the clock: clock.Now and rt.SleepUntil but in tests.
	now   func() int64
	sleep func(until int64) error

	latency, work Histogram
	// Written by the cycle's thread, read by Stats.
	cycles, overruns, missed atomic.Uint64

	// running is set by Run for as long as it lasts, stopping by the end of its
	// context; the thread reads it.
	running, stopping atomic.Bool

	mu     sync.Mutex
	report Report
}

// NewCycle checks the options, which are copied; nil means the defaults. An
// error says which is out of range, and wraps EINVAL.
func NewCycle(cfg *Config) (*Cycle, error) {
	c := &Cycle{now: clock.Now, sleep: rt.SleepUntil}
	if cfg != nil {
		c.cfg = *cfg
	}
	if err := c.cfg.complete(); err != nil {
		return nil, err
	}
	c.report.Thread = c.cfg.Name
	// Memory that the runtime has just mapped is zero without having been
	// touched: this touches it.
	c.latency.Reset()
	c.work.Reset()
	return c, nil
}

// Errors of Run.
var (
	// ErrRunning says that a cycle was started twice.
	ErrRunning = errors.New("rt: this cycle runs already: wait for its Run to return, or make another")
	// ErrOverrun is what an OverrunError is by errors.Is.
	ErrOverrun = errors.New("rt: overrun")
)

// OverrunError ends a cycle whose policy is Stop.
type OverrunError struct {
	Tick Tick          // the activation that was too long
	Took time.Duration // what its function took
	Over time.Duration // by how much it missed the next activation
}

// Error says which activation it was, and what share of it was its own.
func (e *OverrunError) Error() string {
	return fmt.Sprintf("rt: overrun: activation %d began %v late and took %v, %v more than it had: lengthen the period or shorten the work",
		e.Tick.Number, e.Tick.Late(), e.Took, e.Over)
}

// Is makes it an ErrOverrun.
func (e *OverrunError) Is(target error) bool { return target == ErrOverrun }

// Run calls f at each activation, on a thread of its own, until f returns an
// error, which Run then returns; until ctx ends, the cause of which Run
// returns once f has returned, at the latest 100 ms after; or until the overrun
// policy says so. The first activation is the first on the grid of Period and
// Phase once the thread is ready. A cycle may be run again; its figures go on.
//
// f is called by one thread only. It should wait for nothing in Go (channels,
// contended mutexes, time.Sleep), for a thread of its own pays double for that,
// and allocate nothing in steady state; Run itself allocates nothing per
// activation. A panic of f is one on a goroutine of Run's: it ends the program.
//
// Errors besides: ErrRunning, what was refused if the cycle is Strict, and the
// system's if it does not let the thread sleep.
func (c *Cycle) Run(ctx context.Context, f func(now Tick) error) error {
	if !c.running.CompareAndSwap(false, true) {
		return ErrRunning
	}
	defer c.running.Store(false)
	c.stopping.Store(false)
	detach := context.AfterFunc(ctx, func() { c.stopping.Store(true) })
	defer detach()

	var refused []error
	if !rt.AbsoluteSleep {
		refused = append(refused, fmt.Errorf("rt: thread %q: absolute sleep: %w on this system: it waits in Go's timers, and is late by their resolution, 1 to 16 ms; a spin tail of that length helps",
			c.cfg.Name, errors.ErrUnsupported))
	}
	if c.cfg.Lock != LockNone {
		refused = append(refused, each(Lock(c.cfg.Lock))...)
	}
	done := make(chan error, 1)
	var report Report
	rt.Go(c.cfg.thread(), func(err error) {
		report = c.setReport(append(refused, each(err)...))
		if c.cfg.Started != nil {
			c.cfg.Started(report)
		}
	}, func() {
		if c.cfg.Strict && len(report.Refused) > 0 {
			done <- report.Err()
			return
		}
		done <- c.loop(f)
	})
	err := <-done
	if errors.Is(err, errStopping) {
		return context.Cause(ctx)
	}
	return err
}

func (c *Cycle) setReport(refused []error) Report {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Refused = refused
	return c.report
}

// errStopping ends the loop when the context has ended.
var errStopping = errors.New("rt: stopping")

// loop is the thread.
func (c *Cycle) loop(f func(Tick) error) error {
	period := int64(c.cfg.Period)
	t := Tick{Planned: c.first()}
	for {
		var err error
		if t.Actual, err = c.await(t.Planned); err != nil {
			return err
		}
		c.latency.Record(t.Actual - t.Planned)
		if err := f(t); err != nil {
			return err
		}
		end := c.now()
		c.work.Record(end - t.Actual)
		c.cycles.Store(c.cycles.Load() + 1)

		ended := t
		t.Missed = 0
		t.Number++
		t.Planned += period
		over := end - t.Planned
		if over <= 0 {
			continue
		}
		c.overruns.Store(c.overruns.Load() + 1)
		switch c.cfg.Overrun {
		case Skip:
			t.Missed = uint64((over + period - 1) / period)
			t.Number += t.Missed
			t.Planned += int64(t.Missed) * period
			c.missed.Store(c.missed.Load() + t.Missed)
		case Stop:
			return &OverrunError{Tick: ended, Took: time.Duration(end - ended.Actual), Over: time.Duration(over)}
		}
	}
}

// first is the first activation that is not over.
func (c *Cycle) first() int64 {
	period, now := int64(c.cfg.Period), c.now()-int64(c.cfg.Phase)
	since := now % period
	if since < 0 {
		since += period // a clock that began with the program, and a phase
	}
	if since > 0 {
		now += period - since
	}
	return now + int64(c.cfg.Phase)
}

// await returns when it is time, and what time it is.
func (c *Cycle) await(planned int64) (now int64, err error) {
	wake := planned - int64(c.cfg.Spin)
	for now = c.now(); now < wake; now = c.now() {
		if c.stopping.Load() {
			return 0, errStopping
		}
		if err := c.sleep(min(wake, now+int64(attention))); err != nil {
			return 0, fmt.Errorf("rt: thread %q: sleep until the next activation: %w", c.cfg.Name, err)
		}
	}
	for now < planned {
		now = c.now()
	}
	if c.stopping.Load() {
		return 0, errStopping
	}
	return now, nil
}

// Stats are the counters of a cycle.
type Stats struct {
	// Cycles that were run to their end without an error.
	Cycles uint64
	// Overruns are the cycles that ended after the next activation was due,
	// because the thread came late or f took long.
	Overruns uint64
	// Missed are the activations that were left out for that.
	Missed uint64
}

// Stats since NewCycle. Read while the cycle runs, they may be of two cycles
// that follow each other.
func (c *Cycle) Stats() Stats {
	return Stats{Cycles: c.cycles.Load(), Overruns: c.overruns.Load(), Missed: c.missed.Load()}
}

// Latency is how late the activations began. It goes on while the cycle runs;
// its Reset is for when it does not.
func (c *Cycle) Latency() *Histogram { return &c.latency }

// Work is how long the function took; as Latency.
func (c *Cycle) Work() *Histogram { return &c.work }

// Period between two activations.
func (c *Cycle) Period() time.Duration { return c.cfg.Period }

// Report says what the machine refused, once the cycle has begun; it is empty
// before.
func (c *Cycle) Report() Report {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.report
}
