package watchdog

import (
	"sync"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/clock"
)

const (
	rxStep = iota
	txStep
	wait
)

func watch(threshold time.Duration) *Watch {
	w := new(Watch)
	w.Init("rx step", "tx step", "wait")
	w.Enable(threshold)
	return w
}

// run is a step of the given length, ns, that begins at a time after Enable.
func run(w *Watch, step int, at, length int64) {
	w.BeginAt(step, at)
	w.EndAt(step, at+length)
}

func TestLongestAndOver(t *testing.T) {
	w := watch(100)
	t0 := clock.Now()
	for i, length := range []int64{50, 100, 300, 101} {
		run(w, rxStep, t0+int64(i)*1000, length)
	}
	run(w, txStep, t0, 99)
	steps := w.Steps()
	want := []Step{
		{Name: "rx step", Count: 4, Total: 551, Longest: 300, At: t0 + 2300, Over: 2, Buckets: [Buckets]uint64{2 + 1, 1}},
		{Name: "tx step", Count: 1, Total: 99, Longest: 99, At: t0 + 99, Buckets: [Buckets]uint64{1}},
		{Name: "wait"},
	}
	for i := range want {
		if steps[i] != want[i] {
			t.Errorf("got  %+v\nwant %+v", steps[i], want[i])
		}
	}
	if l := w.Longest(); l.Name != "rx step" || w.Over() != 2 {
		t.Errorf("longest %+v, %d over", l, w.Over())
	}
}

// TestBuckets: a step is in the bucket whose bound it keeps, and in none before.
func TestBuckets(t *testing.T) {
	for took, want := range map[int64]int{-1: 0, 0: 0, 1: 0, 256: 0, 257: 1, 512: 1, 513: 2, 1 << 30: Buckets - 2, 1<<30 + 1: Buckets - 1, 1 << 62: Buckets - 1} {
		b := bucketOf(took)
		if b != want {
			t.Errorf("%d ns: bucket %d, want %d", took, b, want)
		}
		if bound := Bound(b); bound != 0 && took > int64(bound) || b > 0 && took <= int64(Bound(b-1)) {
			t.Errorf("%d ns: bucket %d ends at %v", took, b, bound)
		}
	}
}

func TestNoThresholdCountsNone(t *testing.T) {
	w := watch(0)
	run(w, wait, clock.Now(), int64(time.Hour))
	if l := w.Longest(); l.Longest != time.Hour || w.Over() != 0 {
		t.Errorf("%+v, %d over", l, w.Over())
	}
}

func TestOffBooksNothing(t *testing.T) {
	w := watch(1)
	w.Begin(rxStep)
	w.Disable()
	w.End(rxStep)
	run(w, rxStep, clock.Now(), 5)
	w.Enable(1)
	// This step began before the watch was off: its length says nothing.
	w.End(rxStep)
	if l := w.Longest(); l != (Step{}) {
		t.Errorf("booked %+v", l)
	}
	var zero Watch
	zero.Begin(0)
	zero.End(0)
	if zero.Enabled() || len(zero.Steps()) != 0 {
		t.Error("the zero watch watches")
	}
}

func TestStepsWithoutANameAreLeftOut(t *testing.T) {
	w := new(Watch)
	w.Init(make([]string, MaxSteps+3)...)
	w.Enable(0)
	for _, step := range []int{-1, MaxSteps, MaxSteps + 1} {
		run(w, step, clock.Now(), 5)
	}
	if l := w.Longest(); l.Longest != 0 || len(w.Steps()) != MaxSteps {
		t.Errorf("%+v of %d", l, len(w.Steps()))
	}
}

func TestBeginEndNextReadTheClock(t *testing.T) {
	w := watch(0)
	before := clock.Now()
	w.Begin(rxStep)
	for clock.Now() == before { // a step of no length proves nothing
	}
	w.Next(rxStep, txStep)
	if s := w.Steps(); s[txStep].Running == 0 || s[rxStep].Running != 0 {
		t.Errorf("what runs: %+v", s)
	}
	for at := clock.Now(); clock.Now() == at; {
	}
	w.End(txStep)
	whole := time.Duration(clock.Now() - before)
	s := w.Steps()
	if s[rxStep].Count != 1 || s[txStep].Count != 1 || s[rxStep].Longest <= 0 || s[txStep].Longest <= 0 ||
		s[rxStep].Longest+s[txStep].Longest > whole {
		t.Errorf("within %v: %+v", whole, s)
	}
}

func TestReadersWhileTheThreadRuns(t *testing.T) {
	w := watch(1)
	var threads sync.WaitGroup
	threads.Go(func() {
		for range 2000 {
			w.Begin(rxStep)
			w.End(rxStep)
		}
	})
	for range 100 {
		w.Enable(2)
		for _, s := range w.Steps() {
			if s.Count > 2000 {
				t.Fatalf("%+v", s)
			}
		}
	}
	threads.Wait()
}

func TestNothingIsAllocated(t *testing.T) {
	w := watch(1)
	if n := testing.AllocsPerRun(100, func() {
		w.Begin(rxStep)
		w.Next(rxStep, txStep)
		w.End(txStep)
	}); n != 0 {
		t.Errorf("%v allocations a step", n)
	}
}

func BenchmarkOff(b *testing.B) {
	var w Watch
	w.Init("step")
	for b.Loop() {
		w.Begin(0)
		w.End(0)
	}
}

func BenchmarkOn(b *testing.B) {
	w := watch(1)
	for b.Loop() {
		w.Begin(rxStep)
		w.End(rxStep)
	}
}

func BenchmarkOnTimesKnown(b *testing.B) {
	w := watch(1)
	now := clock.Now()
	for b.Loop() {
		w.BeginAt(rxStep, now)
		w.EndAt(rxStep, now)
	}
}

func BenchmarkClock(b *testing.B) {
	for b.Loop() {
		clock.Now()
	}
}
