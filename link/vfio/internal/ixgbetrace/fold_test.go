package ixgbetrace

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oobnet/oobnet/internal/leaktest"
)

const raw = `
w 0x00000 0x04000000
# task 1
r 0x00000 0x04000000
r 0x00000 0x04000000
r 0x00000 0x00000000
w 0x05200 0x00000000
w 0x05204 0x00000000
w 0x05208 0x00000000
w 0x0520c 0x00000001
w 0x05210 0x00000000
w 0x10014 0x00000001
r 0x10014 0x12340003
w 0x10140 0x00000002
w 0x10014 0x00000005
r 0x10014 0x56780007
w 0x10140 0x00000002
r 0x0405c 0x00000001
r 0x0407c 0x00000002
w 0x01018 0x000001ff
w 0x0d018 0x000001ff
w 0x02100 0x00000002
w 0x1fffc 0x00000007
w 0x05400 0x00000001
w 0x05404 0x00000002
w 0x05408 0x00000001
w 0x0540c 0x00000002
w 0x05410 0x00000001
w 0x05414 0x00000002
w 0x05414 0x00000003
w 0x06028 0x00000000
r 0x06028 0x02000000
w 0x06068 0x00000000
r 0x06068 0x00000000
# task 0
w 0x00000 0x00000001
# task up
w 0x01000 0x12345000
`

const folded = `# folded
# task init
r CTRL 0x00000000 x3
w MTA[0..2] 0x00000000
w MTA[3] 0x00000001
w MTA[4] 0x00000000
w EERD * x4
w SWSM * x2
r counters * x2
w RDT[0] *
w RDT[64] *
w SRRCTL[0] 0x00000002
w 0x1fffc 0x00000007
w RAL[0..2] *
w RAH[0..2] *
w RAH[2] *
w TXDCTL[0] 0x00000000
r TXDCTL[0] 0x02000000
w TXDCTL[1] 0x00000000
r TXDCTL[1] 0x00000000
# task up
w RDBAL[0] *
`

func TestFold(t *testing.T) {
	leaktest.Check(t)
	tasks, err := Read(strings.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	f := Fold(tasks)
	if err := Write(&b, f); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(folded, b.String()); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	again, err := Load(&b)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(f, again); d != "" {
		t.Errorf("read again: -want +got\n%s", d)
	}
}

func TestTracesThatAreNone(t *testing.T) {
	leaktest.Check(t)
	for _, s := range []string{"x 1 2", "r 1", "# task", "r z 1", "r 1 0x100000000", "w 1 2 3"} {
		if _, err := Read(strings.NewReader(s)); err == nil {
			t.Errorf("%q was read", s)
		}
	}
	for _, s := range []string{"w CTRL 0x1", "# task up\nw CTRL", "# task up\nw CTRL x", "# task up\nw MTA[a] 0", "# task up\nw MTA[0..z] 0", "# task up\nw CTRL 0 xx"} {
		if _, err := readFolded(strings.NewReader(s)); err == nil {
			t.Errorf("%q was read", s)
		}
	}
}

// Each register has one name, and each name one register for an index.
func TestNames(t *testing.T) {
	leaktest.Check(t)
	type place struct {
		name  string
		index int
	}
	double := map[string]bool{ // at an old offset too
		"CTRL": true, "SRRCTL": true, "DCA_RXCTRL": true, "RAL": true, "RAH": true, "FCTTV": true, "PSRTYPE": true, "FCRXCTRL": true,
	}
	seen := map[place]uint32{}
	for o := uint32(0); o < 0x20000; o += 4 {
		n, i := name(o)
		if first, ok := seen[place{n, i}]; ok && n != counterName && !double[n] {
			t.Errorf("%s[%d] is at %#x and %#x", n, i, first, o)
		}
		seen[place{n, i}] = o
	}
	for _, list := range [][]span{spans} {
		for _, s := range list {
			if last := s.first + (s.count-1)*s.stride; last >= 0x20000 || s.first%4 != 0 {
				t.Errorf("%s ends at %#x", s.name, last)
			}
		}
	}
}
