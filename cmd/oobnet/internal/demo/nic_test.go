package demo

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestNotes(t *testing.T) {
	var n notes
	n.add(nil)
	for i := range 3 * maxNotes {
		for range 2 {
			n.add(fmt.Errorf("event %d", i))
		}
	}
	if got := n.all(); len(got) != maxNotes || got[0] != "event 0" || got[1] != "event 1" {
		t.Errorf("%d notes: %q", len(got), got)
	}
}

func TestExplainOpen(t *testing.T) {
	other := errors.New("other")
	for _, c := range []struct{ err, want error }{{other, other}, {os.ErrPermission, nil}, {errors.ErrUnsupported, nil}} {
		got := explainOpen(c.err, "--vfio")
		if !errors.Is(got, c.err) || c.want != nil && !errors.Is(got, c.want) || c.want == nil && !strings.Contains(got.Error(), "leave --vfio out") {
			t.Errorf("%v: %v", c.err, got)
		}
	}
}
