package main

import (
	"context"
	"runtime/metrics"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/rt"
	"github.com/oobnet/oobnet/stack"
)

// patience bounds a wait that must end; only a test that fails waits so long.
const patience = 20 * time.Second

// inMemory is a controller with its plant at the other end of a wire in memory,
// that have met. At the end their books add up, and nothing was dropped.
func inMemory(t *testing.T) *controller {
	t.Helper()
	leaktest.Check(t)
	c := open("")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c.meet(ctx)
	if !c.complete() {
		t.Fatal("the drives have not met their controller")
	}
	t.Cleanup(func() {
		t.Helper()
		c.settle(t)
		if err := c.close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// settle takes what is under way, and looks at the books.
func (c *controller) settle(t *testing.T) {
	t.Helper()
	for n := 1; n > 0; {
		n = 0
		for _, d := range c.devices() {
			n += must(d.Poll(64))
		}
	}
	for _, m := range c.mailbox.conns {
		check(m.Close()) // an answer may wait that nobody asks for any more
	}
	for _, d := range c.devices() {
		stacktest.AssertBooks(t, d)
		stacktest.AssertNothingHeld(t, d)
		st := d.Stats()
		if n := st.RX.Dropped.Total() + st.TX.Dropped + st.TX.Errors + st.TX.InBandNoBuffer; n != 0 {
			t.Errorf("%s: %d frames dropped: %v, %+v", st.Name, n, st.RX.Dropped.Map(), st.TX)
		}
		for _, q := range st.Queues {
			if q.RXNoBuffer+q.RXRingFull+q.RXInvalid+q.TXInvalid+q.TXDropped != 0 {
				t.Errorf("%s: the link dropped frames: %+v", st.Name, q)
			}
		}
	}
}

// answers checks that the drives have answered all but n of the commands, and
// that the axes are where they should be.
func (c *controller) answers(t *testing.T) {
	t.Helper()
	for i := range c.axes {
		a := &c.axes[i]
		if a.lost.Load() != 0 || a.silent.Load() != 0 {
			t.Errorf("%s: %d answers missing", name(i), a.lost.Load())
		}
		if nm := a.worst.Load(); nm > 1 {
			t.Errorf("%s is %d nm off its path", name(i), nm)
		}
	}
	if n := c.incomplete.Load(); n != 0 {
		t.Errorf("%d working counters are wrong", n)
	}
}

// TestDeadlines: in 300 ms each activation is counted once, as run or as
// missed, and in each that runs all drives answer.
func TestDeadlines(t *testing.T) {
	c := inMemory(t)
	sent := c.number
	cycle, err := rt.NewCycle(&rt.Config{Period: period})
	check(err)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	var last rt.Tick
	var missed uint64
	_ = cycle.Run(ctx, func(now rt.Tick) error { // the context's end
		last, missed = now, missed+now.Missed
		return c.cycle(now)
	})
	s := cycle.Stats()
	if s.Cycles == 0 || s.Cycles+missed != last.Number+1 || s.Missed < missed {
		t.Errorf("%d run and %d missed until activation %d: %+v", s.Cycles, missed, last.Number, s)
	}
	if got := c.number - sent; got != s.Cycles || cycle.Work().Count() != s.Cycles || cycle.Latency().Count() != s.Cycles {
		t.Errorf("%d commands, %d and %d in the histograms, in %d cycles", got, cycle.Work().Count(), cycle.Latency().Count(), s.Cycles)
	}
	for i := range c.axes {
		if a := &c.axes[i]; a.lost.Load() != 0 {
			t.Errorf("%s: %d answers missing", name(i), a.lost.Load())
		}
	}
	if n := c.incomplete.Load(); n != 0 {
		t.Errorf("%d working counters are wrong", n)
	}
}

// TestSteady runs cycles as fast as they go: all drives answer in each, the
// axes keep to their paths, and nothing is allocated. Objects of the stack's own
// goroutines, which confirm neighbours now and then, come in few of the parts
// that the run has; a path that allocates shows in all.
func TestSteady(t *testing.T) {
	c := inMemory(t)
	const parts, most = 100, 10 // parts with objects in them
	part := uint64(10_000)      // cycles
	if testing.Short() || raceEnabled {
		part = 200
	}
	number := uint64(0)
	run := func() {
		for range part {
			if err := c.cycle(rt.Tick{Number: number}); err != nil {
				t.Fatal(err)
			}
			number++
		}
	}
	run()
	total, dirty := uint64(0), 0
	for range parts {
		before := objects()
		run()
		if n := objects() - before; n > 0 {
			total, dirty = total+n, dirty+1
		}
	}
	t.Logf("%d objects in %d cycles, in %d parts of %d", total, number, dirty, parts)
	if dirty > most && !raceEnabled {
		t.Errorf("%d of %d parts have allocated: %d objects in %d cycles", dirty, parts, total, number)
	}
	c.answers(t)
	if st := c.device.Stats(); st.RX.Delivered < number*(udpDrives+1) {
		t.Errorf("%d frames delivered in %d cycles", st.RX.Delivered, number)
	}
}

func objects() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:objects"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// text collects what is printed by several goroutines.
type text struct {
	mu sync.Mutex
	b  strings.Builder
}

func (o *text) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *text) has(s string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Contains(o.b.String(), s)
}

// TestSilent: drives that stop to answer are told of by name, those that come
// back too, and the loop goes on with the others.
func TestSilent(t *testing.T) {
	c := inMemory(t)
	var out text
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan *rt.Cycle)
	go func() { done <- c.run(ctx, &out, &rt.Config{Period: period}, 0, 0) }()
	for _, i := range []int{2, udpDrives + 1} {
		c.plant.axes[i].silent.Store(true)
		stacktest.Eventually(t, "word of a silent drive", func() bool { return out.has(name(i) + " does not answer\n") })
		c.plant.axes[i].silent.Store(false)
		stacktest.Eventually(t, "word of its return", func() bool { return out.has(name(i) + " answers again\n") })
	}
	cancel()
	s := (<-done).Stats()
	for i := range c.axes {
		lost := c.axes[i].lost.Load()
		if silent := i == 2 || i == udpDrives+1; silent != (lost > tolerance) || !silent && lost > 0 || lost >= s.Cycles {
			t.Errorf("%s: %d answers missing of %d", name(i), lost, s.Cycles)
		}
	}
	if n := c.incomplete.Load(); n != c.axes[udpDrives+1].lost.Load() {
		t.Errorf("%d working counters are wrong, while the slave missed %d cycles", n, c.axes[udpDrives+1].lost.Load())
	}
	for _, want := range []string{"deadlines ", "work ", "exchange ", "mailbox ", "jitter ", "1ms and more"} {
		if !out.has(want) {
			t.Errorf("the report has no %q", want)
		}
	}
}

// TestAbsent: the loop begins without a drive that is not there, and tells of it.
func TestAbsent(t *testing.T) {
	leaktest.Check(t)
	c := open("")
	c.plant.axes[axes-1].silent.Store(true)
	c.meet(t.Context())
	if c.complete() {
		t.Fatal("a silent drive has answered")
	}
	var out text
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan *rt.Cycle)
	go func() { done <- c.run(ctx, &out, &rt.Config{Period: period}, 0, 0) }()
	stacktest.Eventually(t, "word of the drive", func() bool { return out.has(name(axes-1) + " does not answer\n") })
	cancel()
	<-done
	if strings.Count(out.b.String(), "does not answer") != 1 {
		t.Errorf("%s", out.b.String())
	}
	if err := c.close(); err != nil {
		t.Error(err)
	}
}

// TestNoCycle: a run that ends before its first cycle has a report, too.
func TestNoCycle(t *testing.T) {
	c := inMemory(t)
	var out text
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c.run(ctx, &out, &rt.Config{Period: time.Hour}, 0, 0)
	if !out.has("deadlines   0 met, 0 missed\n") {
		t.Errorf("%s", out.b.String())
	}
}

// TestReport: the mailbox is served beside the cycle, garbage is made when asked
// for, and the collector is as it was when the run is over.
func TestReport(t *testing.T) {
	c := inMemory(t)
	var out text
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	before := objects()
	c.run(ctx, &out, &rt.Config{Period: period}, 512<<20, 50)
	if n := objects() - before; n < 5000 { // of 15000 in 300 ms
		t.Errorf("%d objects of garbage", n)
	}
	if !out.has("deadlines") || out.has("mailbox     0 parameters") || out.has("does not answer") {
		t.Errorf("%s", out.b.String())
	}
}

// devices of both ends.
func (c *controller) devices() []*stack.Device {
	return []*stack.Device{c.device, c.plant.device}
}
