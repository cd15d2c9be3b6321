package rt

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/leaktest"
)

// fake is a clock that stands still but for sleeps, work and each look at it.
type fake struct {
	t      int64
	late   map[int64]int64 // by how much a sleep until a time is longer
	look   int64           // what a look at the clock takes
	sleeps []int64
	fail   error
}

func (f *fake) now() int64 { f.t += f.look; return f.t }

func (f *fake) sleep(until int64) error {
	f.sleeps = append(f.sleeps, until)
	f.t = max(f.t, until) + f.late[until]
	return f.fail
}

// faked is a cycle of 1000 us on a fake clock that shows 10,300 us.
func faked(t *testing.T, cfg Config) (*Cycle, *fake) {
	t.Helper()
	c, err := NewCycle(&cfg)
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{t: 10_300_000, late: map[int64]int64{}}
	c.now, c.sleep = f.now, f.sleep
	return c, f
}

var errEnough = errors.New("enough")

// trace runs activations that take as long as work says, us, and returns what
// they saw: number@planned+late(missed), us.
func trace(c *Cycle, clock *fake, work ...int64) (string, error) {
	var seen []string
	err := c.loop(func(t Tick) error {
		seen = append(seen, fmt.Sprintf("%d@%d+%d(%d)", t.Number, t.Planned/1000, t.Late()/time.Microsecond, t.Missed))
		clock.t += work[0] * 1000
		if work = work[1:]; len(work) == 0 {
			return errEnough
		}
		return nil
	})
	return strings.Join(seen, " "), err
}

func TestOverrunPolicies(t *testing.T) {
	for _, c := range []struct {
		name  string
		cfg   Config
		late  map[int64]int64
		work  []int64
		want  string
		stats Stats
	}{
		{"in time", Config{}, nil, []int64{0, 300, 999, 1000, 0},
			"0@11000+0(0) 1@12000+0(0) 2@13000+0(0) 3@14000+0(0) 4@15000+0(0)", Stats{4, 0, 0}},
		{"a late wake-up", Config{}, map[int64]int64{12_000_000: 70_000}, []int64{0, 0, 0},
			"0@11000+0(0) 1@12000+70(0) 2@13000+0(0)", Stats{2, 0, 0}},
		{"skip one", Config{}, nil, []int64{0, 1001, 0, 0},
			"0@11000+0(0) 1@12000+0(0) 3@14000+0(1) 4@15000+0(0)", Stats{3, 1, 1}},
		{"skip many", Config{}, nil, []int64{4500, 2000, 0},
			"0@11000+0(0) 5@16000+0(4) 7@18000+0(1)", Stats{2, 2, 5}},
		{"skip to the very moment", Config{}, nil, []int64{3000, 0},
			"0@11000+0(0) 3@14000+0(2)", Stats{1, 1, 2}},
		{"skip after a wake-up later than a period", Config{}, map[int64]int64{11_000_000: 1_200_000}, []int64{0, 0},
			"0@11000+1200(0) 2@13000+0(1)", Stats{1, 1, 1}},
		{"catch up", Config{Overrun: CatchUp}, nil, []int64{2500, 100, 100, 100, 0},
			"0@11000+0(0) 1@12000+1500(0) 2@13000+600(0) 3@14000+0(0) 4@15000+0(0)", Stats{4, 2, 0}},
		{"phase", Config{Phase: 250 * time.Microsecond}, nil, []int64{0, 0},
			"0@11250+0(0) 1@12250+0(0)", Stats{1, 0, 0}},
		{"phase still to come", Config{Phase: 300 * time.Microsecond}, nil, []int64{0, 0},
			"0@10300+0(0) 1@11300+0(0)", Stats{1, 0, 0}},
		{"phase of a period", Config{Phase: time.Millisecond}, nil, []int64{0, 0},
			"0@11000+0(0) 1@12000+0(0)", Stats{1, 0, 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cycle, clock := faked(t, c.cfg)
			if c.late != nil {
				clock.late = c.late
			}
			got, err := trace(cycle, clock, c.work...)
			if got != c.want || !errors.Is(err, errEnough) {
				t.Errorf("%v\ngot  %s\nwant %s", err, got, c.want)
			}
			if s := cycle.Stats(); s != c.stats {
				t.Errorf("stats %+v, want %+v", s, c.stats)
			}
			if n := cycle.Latency().Count(); n != uint64(len(c.work)) {
				t.Errorf("%d latencies of %d activations", n, len(c.work))
			}
		})
	}
}

func TestOverrunStops(t *testing.T) {
	c, clock := faked(t, Config{Overrun: Stop})
	clock.late[12_000_000] = 200_000
	got, err := trace(c, clock, 900, 1100, 0)
	if got != "0@11000+0(0) 1@12000+200(0)" {
		t.Errorf("ran %s", got)
	}
	var over *OverrunError
	if !errors.Is(err, ErrOverrun) || !errors.As(err, &over) {
		t.Fatalf("ended with %v", err)
	}
	if over.Tick.Number != 1 || over.Took != 1100*time.Microsecond || over.Over != 300*time.Microsecond {
		t.Errorf("%+v: %v", over, over)
	}
	if s := c.Stats(); s != (Stats{2, 1, 0}) {
		t.Errorf("stats %+v", s)
	}
}

func TestFiguresOfLatencyAndWork(t *testing.T) {
	c, clock := faked(t, Config{})
	clock.late = map[int64]int64{11_000_000: 50, 12_000_000: 7_000, 13_000_000: 3}
	if _, err := trace(c, clock, 10, 20, 30); !errors.Is(err, errEnough) {
		t.Fatal(err)
	}
	l, w := c.Latency(), c.Work()
	if l.Min() != 3 || l.Max() != 7_000 || l.Mean() != 7053.0/3 {
		t.Errorf("latency: %v", l)
	}
	// The last one ended in an error, and was no cycle.
	if w.Count() != 2 || w.Min() != 10_000 || w.Max() != 20_000 {
		t.Errorf("work: %v", w)
	}
}

func TestSpinTail(t *testing.T) {
	c, clock := faked(t, Config{Spin: 100 * time.Microsecond})
	clock.look = 100 // ns
	// A wake-up that is late by less than the tail is made up for; one that is
	// later by more is not.
	clock.late = map[int64]int64{10_900_000: 60_000, 11_900_000: 130_000}
	if _, err := trace(c, clock, 0, 0, 0); !errors.Is(err, errEnough) {
		t.Fatal(err)
	}
	if want := []int64{10_900_000, 11_900_000, 12_900_000}; fmt.Sprint(clock.sleeps) != fmt.Sprint(want) {
		t.Errorf("slept until %v, want %v", clock.sleeps, want)
	}
	if l := c.Latency(); l.Min() > 100 || l.Max() < 30_000 || l.Max() > 30_200 {
		t.Errorf("latency %v", l)
	}

	c, clock = faked(t, Config{Spin: time.Millisecond})
	clock.look = 1000
	if _, err := trace(c, clock, 0, 0, 0); !errors.Is(err, errEnough) || len(clock.sleeps) != 0 {
		t.Errorf("a tail as long as the period: slept until %v, %v", clock.sleeps, err)
	}
}

func TestLongSleepsAreCutForTheContext(t *testing.T) {
	c, clock := faked(t, Config{Period: time.Second})
	woken := 0
	sleep := c.sleep
	c.sleep = func(until int64) error {
		if woken++; woken == 3 {
			c.stopping.Store(true)
		}
		return sleep(until)
	}
	got, err := trace(c, clock, 0)
	if got != "" || !errors.Is(err, errStopping) || len(clock.sleeps) != 3 {
		t.Errorf("ran %q after sleeps until %v: %v", got, clock.sleeps, err)
	}
	if d := clock.sleeps[1] - clock.sleeps[0]; d != int64(attention) {
		t.Errorf("looks at the context after %d ns", d)
	}
}

func TestASandboxThatForbidsSleeping(t *testing.T) {
	c, clock := faked(t, Config{})
	clock.fail = syscall.EPERM
	if got, err := trace(c, clock, 0); got != "" || !errors.Is(err, syscall.EPERM) {
		t.Errorf("ran %q: %v", got, err)
	}
}

func TestConfigOutOfRange(t *testing.T) {
	for _, cfg := range []Config{
		{Period: -1}, {Period: MinPeriod - 1}, {Phase: -1}, {Phase: 2 * time.Millisecond},
		{Spin: -1}, {Spin: 2 * time.Millisecond}, {Overrun: -1}, {Overrun: Stop + 1},
		{Priority: -1}, {Priority: MaxPriority + 1}, {Lock: -1}, {Lock: LockAll + 1}, {Stack: MaxStack + 1},
	} {
		if c, err := NewCycle(&cfg); !errors.Is(err, syscall.EINVAL) || c != nil {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
	if c, err := NewCycle(nil); err != nil || c.Period() != DefaultPeriod {
		t.Errorf("no options: %v", err)
	}
}

// TestRealTime looks at order and counts: how late it is, is the machine's.
func TestRealTime(t *testing.T) {
	for _, cfg := range []Config{{}, {Spin: 50 * time.Microsecond}, {Overrun: CatchUp}} {
		t.Run(cfg.Overrun.String()+" "+cfg.Spin.String(), func(t *testing.T) {
			leaktest.Check(t)
			c, err := NewCycle(&cfg)
			if err != nil {
				t.Fatal(err)
			}
			var last Tick
			var calls, missed uint64
			begin := time.Now()
			err = c.Run(t.Context(), func(now Tick) error {
				if calls > 0 && (now.Number != last.Number+1+now.Missed || now.Planned-last.Planned != int64(now.Number-last.Number)*int64(time.Millisecond)) {
					return fmt.Errorf("after %+v came %+v", last, now)
				}
				if now.Actual < now.Planned || now.Planned%int64(time.Millisecond) != 0 {
					return fmt.Errorf("early, or off the grid: %+v", now)
				}
				calls++
				missed += now.Missed
				if last = now; now.Number >= 200 {
					return errEnough
				}
				return nil
			})
			if !errors.Is(err, errEnough) {
				t.Fatal(err)
			}
			if d := time.Since(begin); d < 200*time.Millisecond {
				t.Errorf("200 periods of 1 ms took %v", d)
			}
			s := c.Stats()
			if s.Cycles != calls-1 || s.Missed != missed || calls+missed != last.Number+1 || c.Latency().Count() != calls {
				t.Errorf("%d calls, %d missed up to %d: %+v", calls, missed, last.Number, s)
			}
			if cfg.Overrun == CatchUp && (missed != 0 || calls != 201) {
				t.Errorf("caught up with %d of 201", calls)
			}
			t.Logf("latency: %v", c.Latency())
		})
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	leaktest.Check(t)
	for _, period := range []time.Duration{time.Millisecond, time.Hour} {
		c, err := NewCycle(&Config{Period: period})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- c.Run(ctx, func(Tick) error { return nil }) }()
		for !c.running.Load() {
			time.Sleep(time.Millisecond)
		}
		if err := c.Run(ctx, nil); !errors.Is(err, ErrRunning) {
			t.Errorf("a second Run: %v", err)
		}
		cancel(errEnough)
		select {
		case err := <-ended:
			if !errors.Is(err, errEnough) {
				t.Errorf("period %v: ended with %v", period, err)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("period %v: still runs", period)
		}
		// Again, with a context that has ended already.
		if err := c.Run(ctx, func(Tick) error { return errors.New("ran") }); !errors.Is(err, errEnough) {
			t.Errorf("with an ended context: %v", err)
		}
	}
}

func TestCycleAllocatesNothing(t *testing.T) {
	c, clock := faked(t, Config{})
	n := 0
	f := func(Tick) error {
		if n++; n%1000 == 0 {
			return errEnough
		}
		clock.t += int64(n%3) * 600_000
		return nil
	}
	c.sleep = func(until int64) error { clock.t = until; return nil }
	if a := testing.AllocsPerRun(5, func() { c.loop(f) }); a != 0 {
		t.Errorf("%v allocations in 1000 activations", a)
	}
}

func TestRealCycleAllocatesNothing(t *testing.T) {
	leaktest.Check(t)
	c, err := NewCycle(&Config{Period: 200 * time.Microsecond})
	if err != nil {
		t.Fatal(err)
	}
	const from, to = 10, 410
	var before, after runtime.MemStats
	n := 0
	if err := c.Run(t.Context(), func(Tick) error {
		switch n++; n {
		case from:
			runtime.ReadMemStats(&before)
		case to:
			runtime.ReadMemStats(&after)
			return errEnough
		}
		return nil
	}); !errors.Is(err, errEnough) {
		t.Fatal(err)
	}
	// The whole process is counted: the runtime may have its own business.
	if a := after.Mallocs - before.Mallocs; a > (to-from)/4 {
		t.Errorf("%d allocations in %d activations", a, to-from)
	}
}
