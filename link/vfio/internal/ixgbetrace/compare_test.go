package ixgbetrace

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oobnet/oobnet/internal/leaktest"
)

// text makes a task of the lines of folded steps.
func text(t *testing.T, name string, lines ...string) Folded {
	t.Helper()
	f, err := readFolded(strings.NewReader("# task " + name + "\n" + strings.Join(lines, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	return f[0]
}

func TestCompare(t *testing.T) {
	leaktest.Check(t)
	a := text(t, "up", "w FCTRL 0x400", "w MTA[0..127] 0x0", "w RDBAL[0..1] *", "w HLREG0 0x1", "w HLREG0 0x407", "w RETA[0] 0x1", "w RETA[1] 0x2", "w RETA[2] 0x3",
		"w RETA[3] 0x4", "w EITR[0] 0x8")
	b := text(t, "up", "w RDBAL[0] *", "w HLREG0 0x403", "w MTA[0..127] 0x0", "w FCTRL 0x400", "w SRRCTL[0] 0x2", "w RXDCTL[0] 0x02000000")
	var got []string
	for _, d := range Compare([]Folded{a, {Name: "down"}}, []Folded{b}) {
		got = append(got, fmt.Sprintf("%s: %s: %s: %s", d.Task, d.Register, d.A, d.B))
	}
	want := []string{
		"up: EITR: [0] 0x8: -",
		"up: RDBAL: [0..1]: [0]",
		"up: SRRCTL: -: [0] 0x2",
		"up: RXDCTL: -: [0] 0x2000000",
		"up: RETA: [0] 0x1; [1] 0x2; [2] 0x3; and 1 more: -",
		"up: HLREG0: 0x407 (JUMBOEN): 0x403",
		"up: ring and SRRCTL before RXDCTL.ENABLE (4.6.7): does not come to it: kept",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	if d := Compare([]Folded{a}, []Folded{a}); d != nil {
		t.Errorf("a task differs from itself: %v", d)
	}
}

// TestOrders shows each order kept and not kept.
func TestOrders(t *testing.T) {
	leaktest.Check(t)
	const reset = "w CTRL 0x04000000"
	for i, c := range []struct{ good, bad []string }{
		{[]string{"w EIMC 0xffff", reset}, []string{reset, "w EIMC 0xffff"}},
		{[]string{"w CTRL 0x4", reset}, []string{reset}},
		{[]string{reset, "r CTRL 0x0"}, []string{"r CTRL 0x0", reset}},
		{[]string{reset, "r EEC 0x200"}, []string{reset, "r EEC 0x100"}},
		{[]string{reset, "r RDRXCTL 0x8"}, []string{reset, "r RDRXCTL 0x0"}},
		{[]string{"w RXCTRL 0x0", "w FCTRL 0x400", "w RXCTRL 0x1"}, []string{"w RXCTRL 0x1", "w FCTRL 0x400"}},
		{[]string{"w RXDCTL[0..1] 0x02000000", "r RXDCTL[0] 0x02000000 x3", "w RDT[0] *"}, []string{"w RXDCTL[0..1] 0x02000000", "r RXDCTL[0] 0x02000000", "w RDT[1] *"}},
		{[]string{"w SRRCTL[0] 0x2", "w RXDCTL[0] 0x02000000"}, []string{"w RXDCTL[0] 0x02000000", "w SRRCTL[0] 0x2"}},
		{[]string{"w RXDCTL[0] 0x02000000", "w RXCTRL 0x1"}, []string{"w RXDCTL[0] 0x02000000", "w RXCTRL 0x1", "w RXDCTL[1] 0x02000000"}},
		{[]string{"w DMATXCTL 0x1", "w TXDCTL[0] 0x02000000"}, []string{"w TXDCTL[0] 0x02000000", "w DMATXCTL 0x1"}},
		{[]string{"w RTTDCS 0x40", "w MTQC 0x0"}, []string{"w RTTDCS 0x0", "w MTQC 0x0"}},
		{[]string{"r SECRXSTAT 0x1", "w RXCTRL 0x1"}, []string{"w RXCTRL 0x1"}},
		{[]string{"r RXDCTL[0] 0x02000000", "w RXDCTL[0..1] 0x0", "r RXDCTL[0] 0x02000000", "r RXDCTL[0] 0x0", "w RXDCTL[0] 0x0"}, []string{"w RXDCTL[0] 0x02000000", "w RXDCTL[0] 0x0", "w RXDCTL[0] 0x4"}},
	} {
		o := orders[i]
		for _, v := range []struct {
			lines []string
			want  verdict
		}{{c.good, kept}, {c.bad, broken}, {[]string{"r STATUS 0x0"}, absent}} {
			if got := o.check(text(t, "up", v.lines...).Steps); got != v.want {
				t.Errorf("%s: %v: %q, want %q", o.name, v.lines, got, v.want)
			}
		}
	}
}
