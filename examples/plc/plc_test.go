package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/netip"
	"os"
	"runtime"
	"runtime/metrics"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/proto/udp"
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
// axes keep to their paths, and the cycle allocates nothing, in a million of them.
// Who allocated what is looked up in the profile of the heap, which has each
// object here, with the calls that led to it.
func TestSteady(t *testing.T) {
	c := inMemory(t)
	total := uint64(1_000_000) // cycles
	if testing.Short() || raceEnabled {
		total = 20_000
	}
	number := uint64(0)
	run := func(n uint64) {
		for range n {
			if err := c.cycle(rt.Tick{Number: number}); err != nil {
				t.Fatal(err)
			}
			number++
		}
	}
	defer func(rate int) { runtime.MemProfileRate = rate }(runtime.MemProfileRate)
	runtime.MemProfileRate = 1
	run(1000)
	objects() // the first reading makes its tables
	before := allocations(t)
	objectsBefore := objects()
	run(total)
	n := objects() - objectsBefore
	ours, others := 0, 0
	for stack, made := range allocations(t) {
		made -= before[stack]
		switch {
		case made == 0:
		case strings.Contains(stack, "(*controller).cycle"):
			ours += int(made)
			t.Errorf("%d objects of the cycle:\n%s", made, stack)
		case !strings.Contains(stack, "plc.TestSteady"): // which itself makes these lists
			others += int(made)
			t.Logf("%d objects beside the cycle:\n%s", made, stack)
		}
	}
	t.Logf("%d cycles: %d objects by runtime/metrics; by the profile %d of the cycle and %d beside it", total, n, ours, others)
	if n > uint64(ours+others) && !raceEnabled {
		t.Errorf("%d objects that nobody is known to have made", n-uint64(ours+others))
	}
	c.answers(t)
	if st := c.device.Stats(); st.RX.Delivered < total*(udpDrives+1) {
		t.Errorf("%d frames delivered in %d cycles", st.RX.Delivered, total)
	}
}

// TestSteadyWouldNotice: what TestSteady looks for is found when it is there.
func TestSteadyWouldNotice(t *testing.T) {
	c := inMemory(t)
	defer func(rate int) { runtime.MemProfileRate = rate }(runtime.MemProfileRate)
	runtime.MemProfileRate = 1
	const port = 6000 // of a handler that allocates, called from within the cycle
	leak := must(udp.Listen(c.plant.device.Stack(), netip.AddrPortFrom(driveAddr(0), port), &udp.Config{Handler: func(d udp.Datagram) {
		garbage = make([]byte, 100)
		d.Release()
	}}))
	defer leak.Close()
	before := allocations(t)
	must(c.drives.WriteToUDPAddrPort([]byte("leak"), netip.AddrPortFrom(driveAddr(0), port)))
	if err := c.cycle(rt.Tick{}); err != nil {
		t.Fatal(err)
	}
	for stack, made := range allocations(t) {
		if made > before[stack] && strings.Contains(stack, "(*controller).cycle") {
			return
		}
	}
	t.Error("an object that the cycle made is not in the profile")
}

var garbage []byte

// allocations are the objects made since the program began, by the calls that led
// to each.
func allocations(t *testing.T) map[string]int64 {
	t.Helper()
	for range 3 { // what was made is in the profile two collections later
		runtime.GC()
	}
	records := make([]runtime.MemProfileRecord, 1<<16)
	n, ok := runtime.MemProfile(records, true)
	if !ok {
		t.Fatalf("%d places that allocate, more than this test has room for", n)
	}
	made := map[string]int64{}
	for _, r := range records[:n] {
		var calls strings.Builder
		frames := runtime.CallersFrames(r.Stack())
		for more := true; more; {
			var f runtime.Frame
			f, more = frames.Next()
			fmt.Fprintf(&calls, "\t%s:%d\n", f.Function, f.Line)
		}
		made[calls.String()] += r.AllocObjects
	}
	return made
}

// Made once, not to be counted.
var (
	stock runtime.MemStats
	made  = []metrics.Sample{{Name: "/gc/heap/allocs:objects"}}
)

// objects made since the program began. The runtime counts a place for objects as
// used when a thread takes it, and sets that right when it takes stock, which
// ReadMemStats makes it do.
func objects() uint64 {
	runtime.ReadMemStats(&stock)
	metrics.Read(made)
	return made[0].Value.Uint64()
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

// TestMissing: a drive that has not even an address is told of, the others are
// served, and it takes part once it is there.
func TestMissing(t *testing.T) {
	leaktest.Check(t)
	c := open("")
	const late = 2
	port, addr := c.plant.device.Ports()[0], netip.PrefixFrom(driveAddr(late), 24)
	check(port.RemoveAddr(addr))
	c.meet(t.Context())
	if c.complete() {
		t.Fatal("a drive without an address has answered")
	}
	var out text
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan *rt.Cycle)
	go func() { done <- c.run(ctx, &out, &rt.Config{Period: period}, 0, 0) }()
	stacktest.Eventually(t, "word of the drive", func() bool { return out.has(name(late) + " does not answer\n") })
	check(port.AddAddr(addr))
	stacktest.Eventually(t, "word of its coming", func() bool { return out.has(name(late) + " answers again\n") })
	cancel()
	cycles := (<-done).Stats().Cycles
	for i := range c.axes {
		if lost := c.axes[i].lost.Load(); (lost > tolerance) != (i == late) || lost >= cycles {
			t.Errorf("%s: %d answers missing of %d", name(i), lost, cycles)
		}
	}
	if err := c.close(); err != nil {
		t.Error(err)
	}
}

// TestFatal: what ends the program closes its devices first.
func TestFatal(t *testing.T) {
	leaktest.Check(t)
	c := open("")
	var said string
	fatal = func(v ...any) { said = fmt.Sprint(v...) }
	defer func() { fatal = log.Fatal }()
	check(errors.New("it smokes"))
	if said != "plc: it smokes" {
		t.Errorf("it says %q", said)
	}
	for _, d := range c.devices() {
		if _, err := d.Poll(1); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s is open: %v", d.Name(), err)
		}
	}
}

// TestLines: the files that README.md calls the example can be read in one go.
func TestLines(t *testing.T) {
	lines := 0
	for _, name := range []string{"main.go", "loop.go", "drives.go", "ethercat.go"} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		lines += strings.Count(string(b), "\n")
	}
	if lines >= 400 {
		t.Errorf("%d lines, want less than 400", lines)
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
