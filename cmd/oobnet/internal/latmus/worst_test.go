package latmus

import (
	"math"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/oobnet/oobnet/stack"
)

func TestCausesAreFound(t *testing.T) {
	w, l := worst{limit: 2}, newLooks()
	demoted := uint64(7)
	look := func() { l.take(func() uint64 { return demoted }) }
	runtime.GC() // none is under way
	look()
	early := stack.Now()
	look()
	begin := stack.Now()
	runtime.GC()
	demoted += 3
	w.offer(path("in", 1, begin, 2, point{"delivery to read", stack.Now()}))
	w.list[0].echoSwitches = 4
	w.offer(path("in", 2, early-5, 0, point{"delivery to read", early}))
	look()
	w.explain(l, begin)
	all := strings.Join(w.list[0].Causes, "\n")
	for _, want := range []string{"stopped the world for", "2 involuntary switches", "the echo was preempted: 4 involuntary", "3 demotions"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in %q", want, all)
		}
	}
	for _, cause := range w.list[1].Causes { // the runtime may stop the world on its own account
		if !strings.HasPrefix(cause, "perhaps a stop of the world") {
			t.Errorf("%q for an exchange that ended before", cause)
		}
	}
	if len(w.fresh) != 0 || w.list[0].Sequence != 1 {
		t.Errorf("%+v", w)
	}
}

// TestStopsWithoutATime: of a collection's first stop, and of others, the runtime
// does not say when they were. An exchange near them says so.
func TestStopsWithoutATime(t *testing.T) {
	for name, stop := range map[string]func(){
		"first of two":  runtime.GC,
		"no collection": func() { runtime.ReadMemStats(new(runtime.MemStats)) },
	} {
		w, l := worst{limit: 1}, newLooks()
		demotions := func() uint64 { return 0 }
		runtime.GC() // none is under way
		l.take(demotions)
		begin := stack.Now()
		stop()
		l.take(demotions)
		w.offer(path("in", 1, begin, 0, point{"delivery to read", begin + 1})) // before the last stop
		w.explain(l, begin)
		if got := strings.Join(w.list[0].Causes, "; "); !strings.HasPrefix(got, "perhaps a stop of the world: ") {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// TestStopsTooShort: what cannot have taken a tenth of an exchange is no cause of it.
func TestStopsTooShort(t *testing.T) {
	l := newLooks()
	l.kept = []look{{begun: 0, done: 10}, {begun: 2000, done: 2010, collections: 1, others: 1, longest: 30}}
	for total, want := range map[int64]int{300: 1, 600: 1, 610: 0, 1900: 0} {
		w := worst{limit: 1}
		w.offer(path("in", 1, 50, 0, point{"delivery to read", 50 + total})) // soon after the system began: no collection
		w.explain(l, 0)
		if n := len(w.list[0].Causes); n != want {
			t.Errorf("%d ns: %q", total, w.list[0].Causes)
		}
	}
	if n := (&look{collections: 2, longest: math.MaxInt64}).stoppedFor(); n != math.MaxInt64 {
		t.Errorf("stops without a known end: %d", n)
	}
}

// TestLooksAround: what a look before an exchange and one behind it have counted is
// near it, and nothing else.
func TestLooksAround(t *testing.T) {
	l := newLooks()
	if n := l.near(1, 2); n != (look{}) {
		t.Errorf("without any look: %+v", n)
	}
	for i := range int64(5) {
		l.kept = append(l.kept, look{begun: 100 * i, done: 100*i + 10, demoted: uint64(1) << i, collections: 1, others: uint64(i), longest: time.Duration(i)})
	}
	for _, c := range []struct {
		begin, end  int64
		first, last int
	}{
		{110, 200, 1, 2}, {109, 200, 0, 2}, {110, 201, 1, 3}, {350, 360, 3, 4},
		{-50, 5, 0, 1}, // it began before what is known
		{390, 999, 3, 4},
	} {
		n, a, b := l.near(c.begin, c.end), l.kept[c.first], l.kept[c.last]
		if n.begun != a.begun || n.done != b.done || n.demoted != b.demoted-a.demoted || n.collections != 0 || n.others != b.others-a.others || n.longest != b.longest {
			t.Errorf("%d to %d: %+v, want from %+v to %+v", c.begin, c.end, n, a, b)
		}
	}
	for range looksKept {
		l.take(func() uint64 { return 0 })
	}
	if len(l.kept) != looksKept || l.kept[0].begun < 1000 {
		t.Errorf("%d kept, the oldest %+v", len(l.kept), l.kept[0])
	}
}

func TestWorstKeepsTheLongest(t *testing.T) {
	w := worst{limit: 3}
	for i, ns := range []int64{5, 1, 9, 3, 7, 9, 2} {
		w.offer(path("in", uint64(i), 1000, 0, point{"a", 1000 + ns}, point{"not taken", 0}))
	}
	var got []int64
	for _, e := range w.list {
		got = append(got, e.TotalNS)
	}
	if len(got) != 3 || got[0] != 9 || got[1] != 9 || got[2] != 7 || len(w.list[0].Steps) != 1 {
		t.Errorf("%d, want 9, 9, 7", got)
	}
	if s := path("in", 0, 10, 0, point{"a", 12}, point{"b", 20}).Longest(); s.Name != "b" || s.NS != 8 {
		t.Errorf("longest %+v", s)
	}
}
