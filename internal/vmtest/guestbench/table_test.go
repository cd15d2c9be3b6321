package guestbench

import (
	"strings"
	"testing"
)

func TestTable(t *testing.T) {
	text := table([]row{
		{"send", "kpps", []float64{1, 200}, []float64{50, 100}, goal{least: 1.5}},
		{"echo", "us", []float64{500, 90}, []float64{120, 100}, goal{most: 0.8}},
	})
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if len(lines) != 3 {
		t.Fatal(text)
	}
	for i, want := range []string{"verdict", "200.0 100.0 2.00 >= 1.5 ok", "90.0 100.0 0.90 <= 0.8 missed"} {
		if got := strings.Join(strings.Fields(lines[i]), " "); !strings.HasPrefix(lines[i], Mark) || !strings.HasSuffix(got, want) {
			t.Errorf("line %d: %q, want the end %q", i, got, want)
		}
	}
}
