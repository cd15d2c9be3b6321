package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/vmtest"
)

func TestChoose(t *testing.T) {
	all, err := choose("", "", "")
	if err != nil {
		t.Fatal(err)
	}
	type machine struct {
		kernel   string
		card     card
		ports    int
		newer    bool
		alone    bool
		together bool
	}
	seen := map[machine]bool{}
	for _, g := range all {
		if m := (machine{g.kernel.Name, g.card, g.ports, g.newer, g.alone, g.together}); seen[m] {
			t.Errorf("two guests for %v", m)
		} else {
			seen[m] = true
		}
	}
	for _, k := range vmtest.Kernels {
		if !seen[machine{kernel: k.Name}] {
			t.Errorf("nothing runs on %s", k.Name)
		}
	}
	// Figures are taken while nothing else runs, and those tests have no other in their guest.
	bench := slices.IndexFunc(all, func(g guest) bool { return g.alone })
	if bench < 0 || len(all[bench].suites) != 1 || all[bench].suites[0].name != "bench" {
		t.Errorf("alone is guest %d of %v", bench, all)
	}
	some, err := choose("6.12", "cards", "igb/vfio-pci|e1000/")
	if got := fmt.Sprint(some); err != nil || got != "[6.12, igb/vfio-pci: cards 6.12, e1000/vfio-pci: cards]" {
		t.Errorf("chosen %s, %v", got, err)
	}
	for _, bad := range [][3]string{{"2.4", "", ""}, {"(", "", ""}, {"", "no such suite", ""}} {
		if some, err := choose(bad[0], bad[1], bad[2]); err == nil {
			t.Errorf("%q chooses %v", bad, some)
		}
	}
}

// TestOrder wants each guest once, those that may take longest first.
func TestOrder(t *testing.T) {
	all, err := choose("", "", "")
	if err != nil {
		t.Fatal(err)
	}
	together, alone := order(all)
	for i := range together[1:] {
		if a, b := all[together[i]], all[together[i+1]]; a.limit() < b.limit() {
			t.Errorf("%v, which may take %v, comes before %v, which may take %v", a, a.limit(), b, b.limit())
		}
	}
	seen := slices.Sorted(slices.Values(slices.Concat(together, alone)))
	for i, at := range seen {
		if i != at {
			t.Fatalf("guests %v of %d", seen, len(all))
		}
	}
	if len(seen) != len(all) || slices.ContainsFunc(together, func(i int) bool { return all[i].alone }) {
		t.Errorf("guests %v together, and %v alone, of %d", together, alone, len(all))
	}
}

// TestScore has three suites in a guest, of which it got through two.
func TestScore(t *testing.T) {
	g := guest{kernel: vmtest.Kernels[0], card: card{"igb", "vfio-pci"}, suites: []suite{
		{name: "good", packages: []string{"a", "b"}},
		{name: "bad", packages: []string{"c"}},
		{name: "lost", packages: []string{"d", "e"}},
	}}
	report := &vmtest.Report{Results: []vmtest.Result{
		{Started: true, Ended: true, Elapsed: time.Second, Passed: []string{"T1", "T2"}},
		{Started: true, Ended: true, Elapsed: time.Second, Passed: []string{"T3"}, Skipped: []string{"T4: no time"}},
		{Started: true, Ended: true, Status: 1, Failed: []string{"T5"}},
		{Started: true, Ended: true, Passed: []string{"T6"}},
		{Started: true},
	}}
	m := tally{out: io.Discard}
	if done := m.score(g, report); done != 2 {
		t.Errorf("%d suites are done, want 2", done)
	}
	m.lost(g.suites[2:], g, "FAILED: the guest died or hung")
	var out strings.Builder
	m.out = &out
	m.table()
	for _, want := range []string{
		"good             6.12     igb/vfio-pci         2s  ok, 3 passed, 1 skipped\n",
		"bad              6.12     igb/vfio-pci         0s  FAILED, 0 passed: T5\n",
		"lost             6.12     igb/vfio-pci         0s  FAILED: the guest died or hung\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("not in the table: %q", want)
		}
	}
	if m.bad != 2 || t.Failed() {
		t.Errorf("%d bad, want 2:\n%s", m.bad, out.String())
	}
	// A binary that ends badly without a failed test, as by its time limit.
	report.Results[0].Status = 2
	m = tally{out: io.Discard}
	m.score(g, report)
	if m.bad != 2 || !strings.Contains(m.rows[0].verdict, "exit status 2") {
		t.Errorf("rows %+v", m.rows)
	}
}

// TestJudge has two cards that we model, of which one was driven wrongly, and a
// guest that cannot run.
func TestJudge(t *testing.T) {
	g := guest{kernel: vmtest.Kernels[0], card: card{"82599", "ixgbe"}, suites: []suite{{name: "one"}, {name: "two"}}}
	m := tally{out: io.Discard}
	m.judge(g, []vmtest.Model{
		{Lines: []string{"count reads 1"}},
		{Violations: []string{"register 0x05080: it is not done"}},
	})
	m.skip(g, "skipped: no QEMU")
	var out strings.Builder
	m.out = &out
	m.table()
	for _, want := range []string{
		"model            6.12     82599/ixgbe          0s  ok, no violation\n",
		"model            6.12     82599/ixgbe          0s  FAILED: 1 violations, see above\n",
		"one              6.12     82599/ixgbe          0s  skipped: no QEMU\n",
		"two              6.12     82599/ixgbe          0s  skipped: no QEMU\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("not in the table: %q", want)
		}
	}
	if m.bad != 1 || t.Failed() {
		t.Errorf("%d bad, want 1:\n%s", m.bad, out.String())
	}
}

// TestMissing has guests of which something is missing: what cannot be had here is
// skipped, with the reason, whatever the card; what should be there fails.
func TestMissing(t *testing.T) {
	k, other := vmtest.Kernels[0], vmtest.Kernels[1]
	s := stock{
		errors: map[vmtest.Kernel]error{k: fmt.Errorf("no network: %w", vmtest.ErrUnavailable), other: errors.New("no such package")},
		newer:  fmt.Errorf("no way: %w", vmtest.ErrUnavailable),
	}
	var out strings.Builder
	total := tally{out: &out}
	for _, g := range []guest{
		{kernel: k, card: card{"82599", "ixgbe"}}, {kernel: k, card: card{"igb", "igb"}}, {kernel: other},
		{kernel: vmtest.Kernels[2], card: card{"x540", "vfio-pci"}},
	} {
		g.suites = []suite{{name: "one"}}
		part := tally{out: &out}
		if err := new(matrix).guest(t.Context(), &part, s, g); err != nil {
			t.Fatal(err)
		}
		total.add(&part)
	}
	total.table()
	for _, want := range []string{
		"no network", "no such package", "no way",
		"82599/ixgbe          0s  skipped: no kernel, see above\n",
		"igb/igb              0s  skipped: no kernel, see above\n",
		"-                    0s  FAILED: no kernel\n",
		"x540/vfio-pci        0s  skipped: no QEMU 11.1, see above\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("not said: %q", want)
		}
	}
	if total.bad != 1 || total.skipped != 3 || t.Failed() {
		t.Errorf("%d bad and %d skipped, want 1 and 3:\n%s", total.bad, total.skipped, out.String())
	}
}

// TestIxgbe wants in "make test-ixgbe" all suites of the cards that we model,
// and nothing else.
func TestIxgbe(t *testing.T) {
	all, err := choose("", "", "^(82599|x540)/")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, g := range all {
		if !vmtest.NeedsModels(g.card.model) {
			t.Errorf("%v is none of ours", g)
		}
		var m matrix
		strict := m.config(nil, g, nil).Strict
		for _, s := range g.suites {
			seen[s.name]++
			if want := g.card.driver == "vfio-pci" && s.name != "ixgbe-dpdk"; strict != want {
				t.Errorf("%v: its model is strict: %v; want that of our driver alone", g, strict)
			}
		}
	}
	for _, name := range []string{"cards", "vfio", "oracle", "ixgbe-linux", "ixgbe-trace", "ixgbe-dpdk"} {
		if seen[name] != 2 {
			t.Errorf("suite %s: on %d cards, want both", name, seen[name])
		}
	}
}

// TestEmulatorsOwn tells QEMU's own error from a guest's.
func TestEmulatorsOwn(t *testing.T) {
	const said = "vmtest: the guest died in link/vfio\n--- the end of what qemu-system-x86_64 said:\nqemu-system-x86_64: "
	for text, want := range map[string]bool{
		said + "system/physmem.c:2678: iotlb_to_section: Assertion `section_index < d->map.sections_nb' failed.":   true,
		"vmtest: the guest hangs\n[  183.5] rcu: rcu_preempt kthread timer wakeup didn't happen for 5251 jiffies!": true,
		"vmtest: the guest hangs\n[  183.5] Kernel panic":                                                          false,
		said + "terminating on signal 15":                                                                          false,
	} {
		if got := emulatorsOwn(errors.New(text)); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

// TestTakeBack: of a guest that QEMU let down counts what had passed before
// anything failed.
func TestTakeBack(t *testing.T) {
	r := &vmtest.Report{Results: []vmtest.Result{{Ended: true}, {Ended: true, Status: 137}, {Ended: true}, {}}}
	takeBack(r)
	for i, want := range []bool{true, false, false, false} {
		if r.Results[i].Ended != want {
			t.Errorf("result %d: ended %v, want %v", i, r.Results[i].Ended, want)
		}
	}
}

// TestEach has calls of which two run at a time, and an error that ends them.
func TestEach(t *testing.T) {
	list := []int{0, 1, 2, 3, 4, 5}
	var mu sync.Mutex
	var now, most int
	var calls []int
	both := make(chan struct{})
	err := each(t.Context(), 2, list, func(_ context.Context, i int) error {
		mu.Lock()
		calls = append(calls, i)
		if now++; now > most {
			if most = now; most == 2 {
				close(both)
			}
		}
		mu.Unlock()
		select {
		case <-both: // a third call would come while these wait
		case <-time.After(time.Minute):
		}
		mu.Lock()
		defer mu.Unlock()
		now--
		return nil
	})
	if slices.Sort(calls); err != nil || !slices.Equal(calls, list) || most != 2 {
		t.Errorf("called with %v, %d at a time, %v", calls, most, err)
	}
	bad := errors.New("bad")
	calls = nil
	err = each(t.Context(), 2, list, func(ctx context.Context, i int) error {
		mu.Lock()
		calls = append(calls, i)
		mu.Unlock()
		if i == 0 {
			return bad
		}
		<-ctx.Done() // what runs beside it is ended
		return ctx.Err()
	})
	if !errors.Is(err, bad) || len(calls) == len(list) {
		t.Errorf("after an error: called with %v, %v", calls, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := each(ctx, 2, list, func(ctx context.Context, _ int) error { return ctx.Err() }); !errors.Is(err, context.Canceled) {
		t.Errorf("of a context that has ended: %v", err)
	}
}
