package report

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// sample holds one row of each kind: met, missed, both directions, informing,
// no peer figure.
func sample() []Row {
	return []Row{
		New("loopback", "rx64", "ns", "gvisor", 60.25, 2700, Goal(1.0/35), false),
		New("loopback", "rx64", "ns", "kernel", 60.25, 700, nil, false),
		New("loopback", "rx64_allocs", "allocs", "gvisor", 0, 4, Goal(0), false),
		New("loopback", "tx64_allocs", "allocs", "gvisor", 0, 0, Goal(0), false),
		New("scale", "sockets_10000", "ns", "sockets_1", 160, 100, Goal(1.5), false),
		New("veth", "tx_pps_sendmmsg", "pps", "sendmmsg", 931234.7, 630000, Goal(1.4), true),
		New("veth", "rx_pps_testpmd", "pps", "testpmd", 1000000, 1191000, Goal(0.95), true),
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

func TestRowsAsJSON(t *testing.T) {
	got, err := json.MarshalIndent(sample(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "rows.json", append(got, '\n'))
}

func TestTable(t *testing.T) {
	var b bytes.Buffer
	if err := Table(&b, sample(), false); err != nil {
		t.Fatal(err)
	}
	golden(t, "table.txt", b.Bytes())
	if strings.Contains(b.String(), "\x1b") {
		t.Error("escapes in a table without colour")
	}
}

func TestMissedGoalsAreRed(t *testing.T) {
	var b bytes.Buffer
	if err := Table(&b, sample(), true); err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(b.String(), "\n") {
		if want := strings.Contains(line, "MISSED"); strings.HasPrefix(line, red) != want {
			t.Errorf("red is %v: %q", !want, line)
		}
	}
}

func TestVerdicts(t *testing.T) {
	for _, c := range []struct {
		name        string
		ours, peer  float64
		goal        *float64
		more, wants bool
	}{
		{"at the bound", 150, 100, Goal(1.5), false, true},
		{"above the bound", 151, 100, Goal(1.5), false, false},
		{"more at the bound", 140, 100, Goal(1.4), true, true},
		{"more below the bound", 139, 100, Goal(1.4), true, false},
		{"no goal", 500, 1, nil, false, true},
		{"nothing to compare with", 5, 0, Goal(1.5), false, false},
		{"zero wanted, zero got", 0, 0, Goal(0), false, true},
		{"zero wanted, some got", 0.5, 0, Goal(0), false, false},
	} {
		if r := New("s", "n", "u", "p", c.ours, c.peer, c.goal, c.more); r.OK != c.wants {
			t.Errorf("%s: ok %v", c.name, r.OK)
		}
	}
	if n := Missed(sample()); n != 2 {
		t.Errorf("%d missed, want 2", n)
	}
}
