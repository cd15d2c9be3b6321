package vmtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/vmtest/inside"
)

// guest plays a guest: it writes to both ports, and hangs up if it is told to.
func guest(t *testing.T, console, results string, hangUp bool) (*watch, error) {
	t.Helper()
	leaktest.Check(t)
	var ends [4]*os.File
	for i := range 2 {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close(); w.Close() })
		ends[2*i], ends[2*i+1] = r, w
	}
	for i, text := range []string{console, results} {
		if _, err := ends[2*i+1].WriteString(text); err != nil {
			t.Fatal(err)
		}
		if hangUp {
			ends[2*i+1].Close()
		}
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), 200*time.Millisecond, errTime)
	defer cancel()
	w := newWatch(inside.Plan{Runs: []inside.Run{{Name: "one", Seconds: 60}, {Name: "two", Seconds: 60}}}, &strings.Builder{})
	return w, w.follow(ctx, ends[0], ends[2])
}

var errTime = errors.New("no time left")

const (
	ready  = inside.EventMark + `{"Kind":"ready","Text":"6.12"}` + "\n"
	start0 = inside.EventMark + `{"Kind":"start"}` + "\n"
	end0   = inside.EventMark + `{"Kind":"end","Status":1,"Seconds":1.5}` + "\n"
	start1 = inside.EventMark + `{"Kind":"start","Run":1}` + "\n"
	end1   = inside.EventMark + `{"Kind":"end","Run":1}` + "\n"
	done   = inside.EventMark + `{"Kind":"done"}` + "\n"
)

func TestWatch(t *testing.T) {
	tests := "=== RUN   TestA\n    a_test.go:1: bad\n--- FAIL: TestA (0.00s)\n    --- FAIL: TestA/sub (0.00s)\n" +
		"=== RUN   TestB\n    b_test.go:2: no such thing here\n--- SKIP: TestB (0.00s)\n--- PASS: TestC (0.00s)\nFAIL\n"
	w, err := guest(t, "", ready+start0+tests+end0+start1+"--- PASS: TestD (0.00s)\r\nPASS\n"+end1+done, false)
	if err != nil {
		t.Fatal(err)
	}
	r := w.report.Results
	if got := fmt.Sprintf("%q %q %q", r[0].Passed, r[0].Failed, r[0].Skipped); got != `["TestC"] ["TestA"] ["TestB: b_test.go:2: no such thing here"]` {
		t.Errorf("tests of the first run: %s", got)
	}
	if r[0].OK() || r[0].Elapsed != 1500*time.Millisecond || !r[1].OK() || len(r[1].Passed) != 1 || w.report.Release != "6.12" {
		t.Errorf("report %+v", w.report)
	}
}

func TestWatchTrouble(t *testing.T) {
	for name, c := range map[string]struct {
		console, results string
		hangUp           bool
		want             string
	}{
		"never ready":          {"", "", true, "died before it was ready"},
		"dies in a run":        {"", ready + start0 + "=== RUN\n", true, "died in one"},
		"dies between runs":    {"", ready + start0 + end0, true, "died between runs"},
		"hangs":                {"", ready + start0 + end0 + start1, false, "no time left, in two"},
		"has lost a timer":     {"[  183.5] rcu: " + LostTimer + " for 5251 jiffies!\n", ready + start0, false, ": [  183.5] rcu: " + LostTimer},
		"gives up":             {"", inside.EventMark + `{"Kind":"fatal","Text":"no module"}` + "\n", false, "gives up: no module"},
		"a run too many":       {"", ready + inside.EventMark + `{"Kind":"start","Run":2}` + "\n", false, "run 2 of 2"},
		"speaks in riddles":    {"", inside.EventMark + "{\n", false, "the guest said"},
		"says unknown things":  {"", inside.EventMark + `{"Kind":"tea"}` + "\n", false, "the guest said"},
		"negative run numbers": {"", ready + inside.EventMark + `{"Kind":"end","Run":-1}` + "\n", false, "run -1 of 2"},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			w, err := guest(t, c.console, c.results, c.hangUp)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want %q in it", err, c.want)
			}
			if tail := w.tail("qemu says"); !strings.Contains(tail, strings.TrimSpace(c.console)) || !strings.Contains(tail, "qemu says") {
				t.Errorf("the tail is %q", tail)
			}
		})
	}
}

func TestWatchStumble(t *testing.T) {
	w := newWatch(inside.Plan{}, &strings.Builder{})
	w.silence = time.NewTimer(time.Minute)
	w.noteConsole("[  1.0] BUG: kernel NULL pointer dereference")
	if err := w.take(strings.TrimSuffix(ready, "\n")); err == nil || !strings.Contains(err.Error(), "NULL pointer") {
		t.Errorf("a kernel that stumbled and goes on: %v", err)
	}
}
