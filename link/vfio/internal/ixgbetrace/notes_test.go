package ixgbetrace

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oobnet/oobnet/internal/leaktest"
)

var update = flag.Bool("update", false, "bring the table of NOTES.md up to date; reasons stay, new rows have none")

// The document, and the lines round its table.
const (
	notesFile  = "../../ixgbe/NOTES.md"
	tableBegin = "<!-- differences: kept true by link/vfio/internal/ixgbetrace -->\n"
	tableEnd   = "<!-- end of differences -->\n"
)

// row is a difference with the places where it is.
type row struct {
	Register, Where, Linux, Ours, Why string
}

// rows collects the differences of chips, alike ones in one row.
func rows(chips []string, differences map[string][]Difference) []row {
	type key struct{ register, a, b string }
	var order []key
	where := map[key]map[string][]string{} // tasks by chip
	for _, chip := range chips {
		for _, d := range differences[chip] {
			k := key{d.Register, d.A, d.B}
			if where[k] == nil {
				where[k] = map[string][]string{}
				order = append(order, k)
			}
			where[k][chip] = append(where[k][chip], d.Task)
		}
	}
	slices.SortStableFunc(order, func(x, y key) int { return rank(x.register) - rank(y.register) })
	var all []row
	for _, k := range order {
		all = append(all, row{Register: k.register, Where: places(chips, where[k]), Linux: k.a, Ours: k.b})
	}
	return all
}

// places says "init, up" where all chips have the same, else "82599: init; X540: up".
func places(chips []string, tasks map[string][]string) string {
	var parts []string
	same := true
	for _, c := range chips {
		same = same && slices.Equal(tasks[c], tasks[chips[0]])
		if len(tasks[c]) > 0 {
			parts = append(parts, c+": "+strings.Join(tasks[c], ", "))
		}
	}
	if same {
		return strings.Join(tasks[chips[0]], ", ")
	}
	return strings.Join(parts, "; ")
}

func (r row) String() string {
	return fmt.Sprintf("| %s | %s | %s | %s | %s |", r.Register, r.Where, r.Linux, r.Ours, r.Why)
}

// split cuts the document at its table.
func split(t *testing.T, text string) (before, table, after string) {
	t.Helper()
	before, rest, ok := strings.Cut(text, tableBegin)
	table, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		t.Fatalf("%s: want a table between %q and %q", notesFile, tableBegin, tableEnd)
	}
	return before, table, after
}

func parseRows(t *testing.T, table string) (all []row) {
	t.Helper()
	for i, line := range strings.Split(strings.TrimSpace(table), "\n") {
		if i < 2 || line == "" {
			continue // heading and rule
		}
		f := strings.Split(strings.Trim(line, "| "), " | ")
		if len(f) == 4 && strings.HasSuffix(line, "|  |") {
			f = append(f, "")
		}
		if len(f) != 5 {
			t.Fatalf("%s: row %q has %d columns, want 5", notesFile, line, len(f))
		}
		all = append(all, row{f[0], f[1], f[2], f[3], f[4]})
	}
	return all
}

// reasoned gives rows the reasons that the document has for them, or for the
// same register elsewhere.
func reasoned(got, known []row) []row {
	for i := range got {
		for _, k := range known {
			if k.Register != got[i].Register || k.Why == "" {
				continue
			}
			same := k.Linux == got[i].Linux && k.Ours == got[i].Ours
			if got[i].Why == "" || same {
				got[i].Why = k.Why
			}
			if same {
				break
			}
		}
	}
	return got
}

// TestNotes holds the document to the traces: its table has each difference that
// there is, with a reason, and none that there is not.
func TestNotes(t *testing.T) {
	leaktest.Check(t)
	chips := []string{"82599", "X540"}
	differences := map[string][]Difference{}
	for _, chip := range chips {
		differences[chip] = Compare(linuxTrace(t, chip), ourTrace(t, chip))
	}
	b, err := os.ReadFile(notesFile)
	if err != nil {
		t.Fatal(err)
	}
	before, table, after := split(t, string(b))
	known := parseRows(t, table)
	got := rows(chips, differences)
	if *update {
		text := "| register or order | where | Linux | ours | why |\n|---|---|---|---|---|\n"
		got = reasoned(got, known)
		for _, r := range got {
			text += r.String() + "\n"
		}
		if err := os.WriteFile(notesFile, []byte(before+tableBegin+text+tableEnd+after), 0o644); err != nil {
			t.Fatal(err)
		}
		known = got
	}
	want := slices.Clone(known)
	for i := range want {
		if want[i].Why == "" {
			t.Errorf("%s: %s (%s): no reason is given", notesFile, want[i].Register, want[i].Where)
		}
		want[i].Why = ""
	}
	for i := range got {
		got[i].Why = ""
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s is not what the traces say: run the test with -update, and give new rows a reason. -document +traces\n%s", notesFile, d)
	}
}

// linuxTrace is what Linux's driver did in a guest: see the package's comment.
func linuxTrace(t *testing.T, chip string) []Folded {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "linux-"+strings.ToLower(chip)+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all, err := Load(f)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, task := range all {
		names = append(names, task.Name)
	}
	if !slices.Equal(names, Tasks[1:]) {
		t.Fatalf("%s: tasks %v, want %v", f.Name(), names, Tasks[1:])
	}
	return all
}

func TestRows(t *testing.T) {
	leaktest.Check(t)
	d := func(task, register, a, b string) Difference { return Difference{task, register, a, b} }
	got := rows([]string{"82599", "X540"}, map[string][]Difference{
		"82599": {d("init", "FCTRL", "1", "2"), d("up", "FCTRL", "1", "2"), d("up", "CTRL", "-", "1"), d("up", "an order", "kept", "not kept")},
		"X540":  {d("init", "FCTRL", "1", "2"), d("up", "FCTRL", "1", "2"), d("mtu", "CTRL", "-", "1"), d("mtu", "CTRL", "-", "2")},
	})
	want := []row{
		{"CTRL", "82599: up; X540: mtu", "-", "1", ""}, {"CTRL", "X540: mtu", "-", "2", ""},
		{"FCTRL", "init, up", "1", "2", ""}, {"an order", "82599: up", "kept", "not kept", ""},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	known := []row{{"CTRL", "up", "-", "2", "first"}, {"CTRL", "up", "-", "1", "second"}, {"EEC", "up", "-", "1", "none such"}}
	var why []string
	for _, r := range reasoned(got, known) {
		why = append(why, r.Why)
	}
	if diff := cmp.Diff([]string{"second", "first", "", ""}, why); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	text := "a\n" + tableBegin + "| r | w | l | o | y |\n|---|---|---|---|---|\n" + got[0].String() + "\n" + got[2].String() + "\n" + tableEnd + "b\n"
	before, table, after := split(t, text)
	if before != "a\n" || after != "b\n" {
		t.Errorf("round the table %q and %q", before, after)
	}
	if diff := cmp.Diff([]row{got[0], got[2]}, parseRows(t, table)); diff != "" {
		t.Errorf("read again: -want +got\n%s", diff)
	}
}
