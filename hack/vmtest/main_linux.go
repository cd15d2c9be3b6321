// Vmtest runs the tests that need a kernel or a network card of their own, each
// suite in virtual machines, and ends with a table: suite by kernel by card.
// "make test-vm" calls it. Flags choose a part of the matrix:
//
//	go run ./hack/vmtest -kernel 6.12 -suite afxdp -run TestVLAN
//
// The exit status is 0 if all that ran was good. A suite whose guest cannot be had, for
// want of a network or a program, is skipped, and the reason printed; so are all of them
// on systems but Linux.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"runtime"
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
	jobs := flag.Int("jobs", defaultJobs(), "how many guests run at once; with 1 their output comes as they write it, else when they end")
	list := flag.Bool("list", false, "print what would run")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	m := &matrix{tests: *tests, count: *count, quiet: *quiet, traces: *traces, jobs: max(*jobs, 1)}
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
	// together: the ports are functions of one device.
	together bool
	suites   []suite
	newer    bool
	alone    bool // no other guest may run beside it
	again    bool // it died of QEMU's own error once
}

// limit is how long its suites may take.
func (g guest) limit() (all time.Duration) {
	for _, s := range g.suites {
		all += time.Duration(len(s.packages)) * cmp.Or(s.timeout, 5*time.Minute)
	}
	return all
}

// defaultJobs is how many guests run at once. A guest waits for time to pass
// about as long as it computes, so two share two processors; more would wait for
// each other, and tests have limits.
func defaultJobs() int { return min(2, runtime.NumCPU()) }

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
					return g.kernel == k && g.card == c && g.ports == s.ports && g.together == s.together && g.alone == s.alone && (g.newer == s.newer || vmtest.NeedsModels(c.model))
				})
				if at < 0 {
					at = len(guests)
					guests = append(guests, guest{kernel: k, card: c, ports: s.ports, together: s.together, newer: s.newer, alone: s.alone})
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
