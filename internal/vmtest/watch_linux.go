package vmtest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/oobnet/oobnet/internal/vmtest/inside"
)

// Report is what came of a machine.
type Report struct {
	Release string        // of the guest's kernel
	Boot    time.Duration // from QEMU's start until the guest was ready
	Results []Result      // one for each run of the Config, in order
	Models  []Model       // of cards that we model ourselves
}

// Result is what came of a run.
type Result struct {
	Run     Run
	Started bool
	Ended   bool
	Status  int // the binary's exit status; 128 and more: killed by that signal
	Elapsed time.Duration
	// Tests without their subtests, by verdict; those skipped with the reason.
	Passed, Failed, Skipped []string
}

// OK says whether the run ended and nothing in it failed.
func (r Result) OK() bool { return r.Ended && r.Status == 0 && len(r.Failed) == 0 }

// lastWords is how long after the results the console may take to end.
const lastWords = 5 * time.Second

// How much of the console and of the last run's output an error shows, lines.
const tailLines = 60

// trouble is what a kernel prints that has stumbled.
var trouble = regexp.MustCompile(`Kernel panic|Oops:|BUG:|general protection fault|unable to handle|soft lockup|blocked for more than|Out of memory:|guest: `)

// LostTimer is what a guest's kernel prints when the timer of an emulated processor
// goes off no more. Nothing that runs in that guest comes to an end, so it is given up
// at once, with an error that has this in it.
const LostTimer = "rcu_preempt kthread timer wakeup didn't happen"

// watch follows a guest by its two ports.
type watch struct {
	out    io.Writer
	start  time.Time
	plan   inside.Plan
	report Report
	now    int // the run that is going on, -1 for none
	verdicts
	ready, done bool
	silence     *time.Timer // runs out when the guest takes longer than it may
	timerLost   chan string // the line that says so, from the console

	mu      sync.Mutex
	console []string // the last lines
	stumble string   // the first line of trouble
}

func newWatch(plan inside.Plan, out io.Writer) *watch {
	return &watch{out: out, plan: plan, now: -1, start: time.Now(), timerLost: make(chan string, 1), report: Report{Results: make([]Result, len(plan.Runs))}}
}

// follow reads both ports until the guest is done or dead, or ctx or the guest's
// present task has run out of time.
func (w *watch) follow(ctx context.Context, console, results *os.File) error {
	w.silence = time.NewTimer(bootTimeout)
	defer w.silence.Stop()
	dead := make(chan struct{})
	go func() {
		defer close(dead)
		lines(console, w.noteConsole)
	}()
	events := make(chan string)
	stop := make(chan struct{})
	defer func() {
		close(stop)
		console.Close()
		results.Close()
		<-dead
		for range events { // until its goroutine has ended
		}
	}()
	go func() {
		defer close(events)
		lines(results, func(line string) {
			select {
			case events <- line:
			case <-stop:
			}
		})
	}()
	for {
		select {
		case line, ok := <-events:
			if !ok {
				// Its last words are on the console, which ends with QEMU.
				select {
				case <-dead:
				case <-time.After(lastWords):
				}
				return fmt.Errorf("vmtest: the guest died %s", w.where())
			}
			if err := w.take(line); err != nil || w.done {
				return err
			}
		case line := <-w.timerLost:
			return fmt.Errorf("vmtest: the guest has lost a timer %s: %s", w.where(), line)
		case <-w.silence.C:
			return fmt.Errorf("vmtest: the guest hangs %s", w.where())
		case <-ctx.Done():
			return fmt.Errorf("%w, %s", context.Cause(ctx), w.where())
		}
	}
}

// where says what the guest was doing.
func (w *watch) where() string {
	switch {
	case w.now >= 0:
		return "in " + w.plan.Runs[w.now].Name
	case w.ready:
		return "between runs"
	}
	return "before it was ready"
}

// lines calls f with each line that comes, until there is an end.
func lines(r io.Reader, f func(string)) {
	for b := bufio.NewReader(r); ; {
		line, err := b.ReadString('\n')
		if line != "" {
			f(strings.TrimRight(line, "\r\n"))
		}
		if err != nil {
			return
		}
	}
}

// take handles a line of the result port.
func (w *watch) take(line string) error {
	text, ok := strings.CutPrefix(line, inside.EventMark)
	if !ok {
		if w.now >= 0 {
			w.note(line)
			fmt.Fprintln(w.out, line)
		}
		return nil
	}
	var e inside.Event
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		return fmt.Errorf("vmtest: the guest said %q: %w", line, err)
	}
	switch e.Kind {
	case inside.Ready:
		w.ready, w.report.Release, w.report.Boot = true, e.Text, time.Since(w.start)
		w.silence.Reset(grace)
	case inside.Start, inside.End:
		if e.Run < 0 || e.Run >= len(w.plan.Runs) {
			return fmt.Errorf("vmtest: the guest speaks of run %d of %d", e.Run, len(w.plan.Runs))
		}
		w.turn(e)
	case inside.Done:
		w.done = true
	case inside.Fatal:
		return fmt.Errorf("vmtest: the guest gives up: %s", e.Text)
	default:
		return fmt.Errorf("vmtest: the guest said %q", line)
	}
	return w.trouble()
}

// turn begins or ends a run.
func (w *watch) turn(e inside.Event) {
	r := &w.report.Results[e.Run]
	if e.Kind == inside.Start {
		w.now, w.verdicts, r.Started = e.Run, verdicts{}, true
		w.silence.Reset(time.Duration(w.plan.Runs[e.Run].Seconds)*time.Second + grace)
		return
	}
	w.now = -1
	w.silence.Reset(grace)
	r.Ended, r.Status, r.Elapsed = true, e.Status, time.Duration(e.Seconds*float64(time.Second))
	r.Passed, r.Failed, r.Skipped = w.passed, w.failed, w.skipped
}

// noteConsole keeps a line of the kernel's.
func (w *watch) noteConsole(line string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.console = append(w.console, line)
	if len(w.console) > tailLines {
		w.console = w.console[1:]
	}
	if w.stumble == "" && trouble.MatchString(line) {
		w.stumble = line
	}
	if strings.Contains(line, LostTimer) {
		select {
		case w.timerLost <- line:
		default: // it is known
		}
	}
}

// trouble is an error if the kernel has stumbled and could go on.
func (w *watch) trouble() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stumble == "" {
		return nil
	}
	return fmt.Errorf("vmtest: the guest's console says, %s: %s", w.where(), w.stumble)
}

// tail is what to read of a guest that failed.
func (w *watch) tail(qemu string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var b bytes.Buffer
	show := func(what string, lines []string) {
		if len(lines) > 0 {
			fmt.Fprintf(&b, "--- the end of %s:\n%s\n", what, strings.Join(lines, "\n"))
		}
	}
	show("the output of the tests", w.last)
	show("the guest's console", w.console)
	show("what "+program+" said", slices.DeleteFunc(strings.Split(qemu, "\n"), func(s string) bool { return s == "" }))
	return b.String()
}

// verdicts collects from the output of go test -v what became of the tests.
type verdicts struct {
	passed, failed, skipped []string
	last                    []string
}

var verdict = regexp.MustCompile(`^--- (PASS|FAIL|SKIP): (\S+)`)

func (v *verdicts) note(line string) {
	v.last = append(v.last, line)
	if len(v.last) > tailLines {
		v.last = v.last[1:]
	}
	found := verdict.FindStringSubmatch(line)
	if found == nil {
		return
	}
	switch name := found[2]; found[1] {
	case "PASS":
		v.passed = append(v.passed, name)
	case "FAIL":
		v.failed = append(v.failed, name)
	case "SKIP":
		// With -v what a test logs comes before its verdict.
		if len(v.last) > 1 {
			name += ": " + strings.TrimSpace(v.last[len(v.last)-2])
		}
		v.skipped = append(v.skipped, name)
	}
}
