package latmus

import (
	"runtime"
	"strings"
	"testing"

	"github.com/oobnet/oobnet/stack"
)

func TestCausesAreFound(t *testing.T) {
	const minute = 60e9 // before any collection of this test
	w := worst{limit: 2}
	begin := stack.Now()
	runtime.GC()
	w.offer(path("in", 1, begin, 2, point{"delivery to read", stack.Now()}))
	w.list[0].echoSwitches = 4
	w.offer(path("in", 2, begin-minute-5, 0, point{"delivery to read", begin - minute}))
	w.explain(3, begin)
	all := strings.Join(w.list[0].Causes, "\n")
	for _, want := range []string{"stopped the world for", "2 involuntary switches", "the echo was preempted: 4 involuntary", "3 demotions"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in %q", want, all)
		}
	}
	if s := w.list[1].Causes; len(s) != 1 || !strings.Contains(s[0], "demotions") {
		t.Errorf("%q for an exchange that ended before", s)
	}
	if len(w.fresh) != 0 || w.list[0].Sequence != 1 {
		t.Errorf("%+v", w)
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
