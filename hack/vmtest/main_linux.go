// Vmtest runs the tests that need a kernel or a network card of their own, each
// suite in virtual machines, and ends with a table: suite by kernel by card.
// "make test-vm" calls it. Flags choose a part of the matrix:
//
//	go run ./hack/vmtest -kernel 6.12 -suite afxdp -run TestVLAN
//
// The exit status is 0 if all that ran was good.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/vmtest"
)

func main() {
	kernels := flag.String("kernel", "", "regular expression: kernels to boot")
	names := flag.String("suite", "", "regular expression: suites to run")
	cards := flag.String("card", "", "regular expression: cards to run with, as igb/vfio-pci")
	tests := flag.String("run", "", "regular expression: tests to run, as with go test")
	count := flag.Int("count", 1, "how often to run each test, as with go test")
	quiet := flag.Bool("q", false, "print failures and the table alone")
	traces := flag.String("trace", "", "folder for the traces of the cards that we model")
	list := flag.Bool("list", false, "print what would run")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	m := &matrix{tests: *tests, count: *count, quiet: *quiet, traces: *traces}
	guests, err := choose(*kernels, *names, *cards)
	if err == nil && *list {
		for _, g := range guests {
			fmt.Println(g)
		}
		return
	}
	if err == nil {
		err = m.run(ctx, guests)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "vmtest:", err)
		os.Exit(1)
	}
}

// guest is one boot: a kernel, cards of a kind, and the suites that go together
// on them.
type guest struct {
	kernel vmtest.Kernel
	card   card
	ports  int
	suites []suite
	newer  bool
	again  bool // it died of QEMU's own error once
}

func (g guest) String() string {
	var names []string
	for _, s := range g.suites {
		names = append(names, s.name)
	}
	times := ""
	if g.ports > 1 {
		times = fmt.Sprintf("%d x ", g.ports)
	}
	return fmt.Sprintf("%s, %s%s: %s", g.kernel.Name, times, g.card, strings.Join(names, " "))
}

// choose makes the guests of what the expressions match.
func choose(kernels, names, cards string) (guests []guest, err error) {
	var is [3]*regexp.Regexp
	for i, s := range []string{kernels, names, cards} {
		// A kernel's name as it is: 6.12 is not 6.12-rt too.
		if i == 0 && s != "" {
			s = "^(" + s + ")$"
		}
		if is[i], err = regexp.Compile(s); err != nil {
			return nil, err
		}
	}
	for _, k := range vmtest.Kernels {
		for _, s := range suites {
			if !is[0].MatchString(k.Name) || !is[1].MatchString(s.name) || s.kernels != nil && !slices.Contains(s.kernels, k.Name) {
				continue
			}
			with := s.cards
			if with == nil {
				with = []card{{}}
			}
			for _, c := range with {
				if !is[2].MatchString(c.String()) {
					continue
				}
				at := slices.IndexFunc(guests, func(g guest) bool {
					return g.kernel == k && g.card == c && g.ports == s.ports && (g.newer == s.newer || vmtest.NeedsModels(c.model))
				})
				if at < 0 {
					at = len(guests)
					guests = append(guests, guest{kernel: k, card: c, ports: s.ports, newer: s.newer})
				}
				guests[at].suites = append(guests[at].suites, s)
			}
		}
	}
	if len(guests) == 0 {
		return nil, errors.New("nothing matches: see -list")
	}
	return guests, nil
}

// row is a line of the table.
type row struct {
	suite, kernel, card, verdict string
	elapsed                      time.Duration
}

type matrix struct {
	tests    string
	count    int
	quiet    bool
	traces   string
	binaries string // a folder for what all guests need
	rows     []row
	shown    strings.Builder // figures, for the end
	bad      int
}

func (m *matrix) run(ctx context.Context, guests []guest) error {
	start := time.Now()
	root, err := vmtest.Root()
	if err != nil {
		return err
	}
	if m.binaries, err = os.MkdirTemp("", "oobnet-vm-"); err != nil {
		return err
	}
	defer os.RemoveAll(m.binaries)
	for _, g := range guests {
		image, err := g.kernel.Fetch(ctx, vmtest.Cache(root))
		if err != nil {
			fmt.Println(err)
			m.lost(g.suites, g, "FAILED: no kernel")
			continue
		}
		if g.newer || vmtest.NeedsModels(g.card.model) {
			if err := vmtest.FetchModels(ctx, vmtest.Cache(root)); err != nil {
				fmt.Println(err)
				m.skip(g, "skipped: no QEMU 11.1, see above")
				continue
			}
		}
		if err := m.boot(ctx, root, image, g); err != nil {
			return err
		}
	}
	m.table(os.Stdout)
	fmt.Printf("%d suites in %.0f min, with what it took to build and to boot\n", len(m.rows), time.Since(start).Minutes())
	if m.bad > 0 {
		return fmt.Errorf("%d of %d failed", m.bad, len(m.rows))
	}
	return nil
}

// boot runs a guest's suites. When the guest dies in one, the rest gets another.
func (m *matrix) boot(ctx context.Context, root string, image *vmtest.Image, g guest) error {
	for len(g.suites) > 0 {
		fmt.Printf("== %s (%s)\n", g, image.Package)
		var kept bytes.Buffer
		var out io.Writer = os.Stdout
		if m.quiet {
			out = &kept
		}
		report, err := vmtest.Boot(ctx, root, m.config(image, g, out))
		if cause := ctx.Err(); cause != nil {
			return cause
		}
		if report == nil {
			return err
		}
		fmt.Printf("kernel %s, ready after %.1f s\n", report.Release, report.Boot.Seconds())
		m.judge(g, report.Models)
		done := m.score(g, report)
		if m.quiet && (err != nil || m.failed(g, report)) {
			if _, err := os.Stdout.Write(kept.Bytes()); err != nil {
				return err
			}
		}
		m.keep(g, kept.String())
		if err != nil {
			fmt.Println(err)
			if !g.again && emulatorsOwn(err) {
				fmt.Println("an error of QEMU's own: what was not done is done again, once")
				g.suites, g.again = g.suites[done:], true
				continue
			}
			// The suite in which it died is done with; without any, so are all.
			lost := g.suites[done:]
			if len(report.Results) > 0 && report.Results[0].Started && len(lost) > 0 {
				lost = lost[:1]
			}
			m.lost(lost, g, "FAILED: the guest died or hung")
			done += len(lost)
		}
		g.suites = g.suites[done:]
	}
	return nil
}

// emulatorsOwn says whether a guest died of what is no fault of it: QEMU before
// 10.0.4 and 10.1 may use what it has freed when the registers of a card come or
// go while a processor looks for some (system/physmem.c, mended by its commit
// 2865bf1c5795). And in one emulated guest of twenty or so the timer of a virtual
// processor goes off no more, whatever runs in it; its kernel finds that out.
func emulatorsOwn(err error) bool {
	for _, sign := range []string{"iotlb_to_section: Assertion", "rcu_preempt kthread timer wakeup didn't happen"} {
		if strings.Contains(err.Error(), sign) {
			return true
		}
	}
	return false
}

func (m *matrix) config(image *vmtest.Image, g guest, out io.Writer) vmtest.Config {
	cfg := vmtest.Config{Kernel: image, Output: out, HugePages: 32, Programs: slices.Clone(programs), Binaries: m.binaries, Traces: m.traces, Newer: g.newer}
	if g.card.model != "" {
		one := vmtest.Card{Model: g.card.model, Driver: g.card.driver}
		cfg.Cards = slices.Repeat([]vmtest.Card{one}, max(g.ports, 1))
	}
	for _, s := range g.suites {
		cfg.HugePages = max(cfg.HugePages, s.pages)
		cfg.Programs = append(cfg.Programs, s.programs...)
		cfg.Modules = append(cfg.Modules, s.modules...)
		for _, p := range s.packages {
			args := append(slices.Clone(s.args), fmt.Sprintf("-test.count=%d", m.count))
			if m.tests != "" {
				args = append(args, "-test.run="+m.tests)
			}
			cfg.Runs = append(cfg.Runs, vmtest.Run{Package: p, Args: args, Env: s.env, Timeout: s.timeout})
		}
	}
	return cfg
}

// score makes rows of the suites that ended, in order, and returns how many.
func (m *matrix) score(g guest, report *vmtest.Report) (done int) {
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
				fmt.Println("skipped:", s)
			}
		}
		r.verdict = fmt.Sprintf("ok, %d passed", passed)
		if skipped > 0 {
			r.verdict += fmt.Sprintf(", %d skipped", skipped)
		}
		if len(failed) > 0 {
			m.bad++
			r.verdict = fmt.Sprintf("FAILED, %d passed: %s", passed, strings.Join(failed, " "))
		}
		m.rows = append(m.rows, r)
		done++
	}
	return done
}

// judge makes a row for each card that we model: what its driver did wrong is a
// failure, whatever the tests have seen.
func (m *matrix) judge(g guest, models []vmtest.Model) {
	for _, one := range models {
		for _, line := range one.Lines {
			fmt.Println("model:", line)
		}
		r := row{suite: "model", kernel: g.kernel.Name, card: g.card.String(), verdict: "ok, no violation"}
		if n := len(one.Violations); n > 0 {
			m.bad++
			r.verdict = fmt.Sprintf("FAILED: %d violations, see above", n)
		}
		m.rows = append(m.rows, r)
	}
}

// skip makes rows of suites that cannot run here.
func (m *matrix) skip(g guest, why string) {
	for _, s := range g.suites {
		m.rows = append(m.rows, row{suite: s.name, kernel: g.kernel.Name, card: g.card.String(), verdict: why})
	}
}

func (m *matrix) failed(g guest, report *vmtest.Report) bool {
	return slices.ContainsFunc(report.Results, func(r vmtest.Result) bool { return !r.OK() })
}

// keep remembers what is to be shown of a guest's output. The output tells not
// which suite a line is of, but marks are few.
func (m *matrix) keep(g guest, output string) {
	for _, s := range g.suites {
		for line := range strings.Lines(output) {
			if s.shows != "" && strings.HasPrefix(line, s.shows) {
				m.shown.WriteString(line)
			}
		}
	}
}

// lost makes rows of suites of which nothing is known.
func (m *matrix) lost(suites []suite, g guest, verdict string) {
	for _, s := range suites {
		m.bad++
		m.rows = append(m.rows, row{suite: s.name, kernel: g.kernel.Name, card: g.card.String(), verdict: verdict})
	}
}

func (m *matrix) table(out io.Writer) {
	fmt.Fprint(out, m.shown.String())
	slices.SortStableFunc(m.rows, func(a, b row) int { return strings.Compare(a.suite, b.suite) })
	fmt.Fprintf(out, "== summary\n%-16s %-8s %-16s %6s  %s\n", "suite", "kernel", "card", "time", "result")
	for _, r := range m.rows {
		fmt.Fprintf(out, "%-16s %-8s %-16s %5.0fs  %s\n", r.suite, r.kernel, r.card, r.elapsed.Seconds(), r.verdict)
	}
}
