package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/oobnet/oobnet/internal/vmtest"
)

// row is a line of the table.
type row struct {
	suite, kernel, card, verdict string
	elapsed                      time.Duration
}

// tally is what came of guests, of one or of all.
type tally struct {
	out     io.Writer // for what is worth telling at once
	rows    []row
	shown   strings.Builder // figures, for the end
	bad     int
	skipped int
}

// add takes over what came of others.
func (t *tally) add(other *tally) {
	t.rows = append(t.rows, other.rows...)
	t.shown.WriteString(other.shown.String())
	t.bad += other.bad
	t.skipped += other.skipped
}

// score makes rows of the suites that ended, in order, and returns how many.
func (t *tally) score(g guest, report *vmtest.Report) (done int) {
	results := report.Results
	for _, s := range g.suites {
		mine := results[:len(s.packages)]
		results = results[len(s.packages):]
		r := row{suite: s.name, kernel: g.kernel.Name, card: g.card.String()}
		var passed, skipped int
		var failed []string
		for _, one := range mine {
			if !one.Ended {
				return done
			}
			r.elapsed += one.Elapsed
			passed += len(one.Passed)
			skipped += len(one.Skipped)
			failed = append(failed, one.Failed...)
			if !one.OK() && len(one.Failed) == 0 {
				failed = append(failed, fmt.Sprintf("%s: exit status %d", one.Run.Package, one.Status))
			}
			for _, s := range one.Skipped {
				fmt.Fprintln(t.out, "skipped:", s)
			}
		}
		r.verdict = fmt.Sprintf("ok, %d passed", passed)
		if skipped > 0 {
			r.verdict += fmt.Sprintf(", %d skipped", skipped)
		}
		if len(failed) > 0 {
			t.bad++
			r.verdict = fmt.Sprintf("FAILED, %d passed: %s", passed, strings.Join(failed, " "))
		}
		t.rows = append(t.rows, r)
		done++
	}
	return done
}

// judge makes a row for each card that we model: what its driver did wrong is a
// failure, whatever the tests have seen. Of ours that is all that the datasheet forbids:
// see guest.ours.
func (t *tally) judge(g guest, models []vmtest.Model) {
	for _, one := range models {
		for _, line := range one.Lines {
			fmt.Fprintln(t.out, "model:", line)
		}
		r := row{suite: "model", kernel: g.kernel.Name, card: g.card.String(), verdict: "ok, no violation"}
		if n := len(one.Violations); n > 0 {
			t.bad++
			r.verdict = fmt.Sprintf("FAILED: %d violations, see above", n)
		}
		t.rows = append(t.rows, r)
	}
}

// missing makes rows of suites for whose guest something is missing, as err says. That
// it cannot be had here, as without a network, is no failure.
func (t *tally) missing(g guest, what string, err error) {
	fmt.Fprintln(t.out, err)
	if errors.Is(err, vmtest.ErrUnavailable) {
		t.skip(g, "skipped: "+what+", see above")
		return
	}
	t.lost(g.suites, g, "FAILED: "+what)
}

// skip makes rows of suites that cannot run here.
func (t *tally) skip(g guest, why string) {
	for _, s := range g.suites {
		t.skipped++
		t.rows = append(t.rows, row{suite: s.name, kernel: g.kernel.Name, card: g.card.String(), verdict: why})
	}
}

// lost makes rows of suites of which nothing is known.
func (t *tally) lost(suites []suite, g guest, verdict string) {
	for _, s := range suites {
		t.bad++
		t.rows = append(t.rows, row{suite: s.name, kernel: g.kernel.Name, card: g.card.String(), verdict: verdict})
	}
}

// keep remembers what is to be shown of a guest's output. The output tells not
// which suite a line is of, but marks are few.
func (t *tally) keep(g guest, output string) {
	for _, s := range g.suites {
		for line := range strings.Lines(output) {
			if s.shows != "" && strings.HasPrefix(line, s.shows) {
				t.shown.WriteString(line)
			}
		}
	}
}

// table prints all that there is, by suite.
func (t *tally) table() {
	fmt.Fprint(t.out, t.shown.String())
	slices.SortStableFunc(t.rows, func(a, b row) int { return strings.Compare(a.suite, b.suite) })
	fmt.Fprintf(t.out, "== summary\n%-16s %-8s %-16s %6s  %s\n", "suite", "kernel", "card", "time", "result")
	for _, r := range t.rows {
		fmt.Fprintf(t.out, "%-16s %-8s %-16s %5.0fs  %s\n", r.suite, r.kernel, r.card, r.elapsed.Seconds(), r.verdict)
	}
}
