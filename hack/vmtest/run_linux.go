package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/oobnet/oobnet/internal/vmtest"
)

// matrix runs guests.
type matrix struct {
	tests    string
	count    int
	jobs     int // guests at once
	quiet    bool
	traces   string
	root     string
	binaries string // a folder for what all guests need
}

func (m *matrix) run(ctx context.Context, guests []guest) (err error) {
	start := time.Now()
	if m.root, err = vmtest.Root(); err != nil {
		return err
	}
	if m.binaries, err = os.MkdirTemp("", "oobnet-vm-"); err != nil {
		return err
	}
	defer os.RemoveAll(m.binaries)
	s := m.fetch(ctx, guests)
	together, alone := order(guests)
	parts := make([]tally, len(guests)) // each is of the goroutine that has its guest
	var printing sync.Mutex
	one := func(ctx context.Context, i int) error {
		// Guests at the same time must not mix their lines.
		var whole bytes.Buffer
		t := &parts[i]
		if t.out = io.Writer(&whole); m.jobs == 1 {
			t.out = os.Stdout
		}
		err := m.guest(ctx, t, s, guests[i])
		printing.Lock()
		defer printing.Unlock()
		if _, e := os.Stdout.Write(whole.Bytes()); err == nil {
			err = e
		}
		return err
	}
	if err = each(ctx, m.jobs, together, one); err == nil {
		err = each(ctx, 1, alone, one)
	}
	// What ended before a run was broken off is worth seeing.
	all := tally{out: os.Stdout}
	for i := range parts {
		all.add(&parts[i])
	}
	all.table()
	fmt.Printf("%d suites in %.0f min, with what it took to build and to boot\n", len(all.rows), time.Since(start).Minutes())
	if all.skipped > 0 {
		fmt.Printf("%d of them skipped: their guests cannot be had here\n", all.skipped)
	}
	switch {
	case err != nil:
		return err
	case all.bad > 0:
		return fmt.Errorf("%d of %d failed", all.bad, len(all.rows))
	}
	return nil
}

// order is in which order to boot guests, by their indexes: those that may run
// together, and then those that run alone. What may take longest comes first, so
// that at the end none runs on while nobody else is left.
func order(guests []guest) (together, alone []int) {
	for i, g := range guests {
		if g.alone {
			alone = append(alone, i)
		} else {
			together = append(together, i)
		}
	}
	slices.SortStableFunc(together, func(a, b int) int { return cmp.Compare(guests[b].limit(), guests[a].limit()) })
	return together, alone
}

// each calls f with all of a list, jobs at a time, until ctx ends or a call has an
// error, which then is what it returns, after all calls have returned.
func each(ctx context.Context, jobs int, list []int, f func(context.Context, int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	todo := make(chan int)
	var workers sync.WaitGroup
	for range jobs {
		workers.Go(func() {
			for one := range todo {
				if err := f(ctx, one); err != nil {
					cancel(err)
				}
			}
		})
	}
	for _, one := range list {
		select {
		case todo <- one:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(todo)
	workers.Wait()
	return context.Cause(ctx)
}

// stock is what guests need that is downloaded, once for all.
type stock struct {
	images map[vmtest.Kernel]*vmtest.Image
	errors map[vmtest.Kernel]error
	newer  error // of QEMU 11.1
}

func (m *matrix) fetch(ctx context.Context, guests []guest) stock {
	cache := vmtest.Cache(m.root)
	s := stock{images: map[vmtest.Kernel]*vmtest.Image{}, errors: map[vmtest.Kernel]error{}}
	for _, g := range guests {
		if s.images[g.kernel] == nil && s.errors[g.kernel] == nil {
			s.images[g.kernel], s.errors[g.kernel] = g.kernel.Fetch(ctx, cache)
		}
	}
	if slices.ContainsFunc(guests, guest.needsNewer) {
		s.newer = vmtest.FetchModels(ctx, cache)
	}
	return s
}

// needsNewer says whether it takes QEMU 11.1.
func (g guest) needsNewer() bool { return g.newer || vmtest.NeedsModels(g.card.model) }

// guest runs a guest with what there is.
func (m *matrix) guest(ctx context.Context, t *tally, s stock, g guest) error {
	if err := s.errors[g.kernel]; err != nil {
		t.missing(g, "no kernel", err)
		return nil
	}
	if g.needsNewer() && s.newer != nil {
		t.missing(g, "no QEMU 11.1", s.newer)
		return nil
	}
	return m.boot(ctx, t, s.images[g.kernel], g)
}

// boot runs a guest's suites. When the guest dies in one, the rest gets another.
func (m *matrix) boot(ctx context.Context, t *tally, image *vmtest.Image, g guest) error {
	for len(g.suites) > 0 {
		fmt.Fprintf(t.out, "== %s (%s)\n", g, image.Package)
		var kept bytes.Buffer
		var out io.Writer = &kept
		if !m.quiet {
			out = io.MultiWriter(t.out, &kept)
		}
		report, err := vmtest.Boot(ctx, m.root, m.config(image, g, out))
		if cause := ctx.Err(); cause != nil {
			return cause
		}
		if report == nil && errors.Is(err, vmtest.ErrUnavailable) {
			t.missing(g, "no QEMU", err)
			return nil
		}
		if report == nil {
			return err
		}
		fmt.Fprintf(t.out, "kernel %s, ready after %.1f s\n", report.Release, report.Boot.Seconds())
		again := err != nil && !g.again && emulatorsOwn(err)
		if again {
			takeBack(report)
		}
		t.judge(g, report.Models)
		done := t.score(g, report)
		if m.quiet && (err != nil || failed(report)) {
			if _, err := t.out.Write(kept.Bytes()); err != nil {
				return err
			}
		}
		t.keep(g, kept.String())
		if err != nil {
			fmt.Fprintln(t.out, err)
			if again {
				fmt.Fprintln(t.out, "an error of QEMU's own: what was not done is done again, once")
				g.suites, g.again = g.suites[done:], true
				continue
			}
			// The suite in which it died is done with; without any, so are all.
			lost := g.suites[done:]
			if len(report.Results) > 0 && report.Results[0].Started && len(lost) > 0 {
				lost = lost[:1]
			}
			t.lost(lost, g, "FAILED: the guest died or hung")
			done += len(lost)
		}
		g.suites = g.suites[done:]
	}
	return nil
}

// takeBack has what failed, and what came after it, not be done: some time goes by
// until an error of the emulator's is found, in which it may have failed tests.
func takeBack(report *vmtest.Report) {
	if first := slices.IndexFunc(report.Results, func(r vmtest.Result) bool { return !r.OK() }); first >= 0 {
		for i := range report.Results[first:] {
			report.Results[first+i].Ended = false
		}
	}
}

func failed(report *vmtest.Report) bool {
	return slices.ContainsFunc(report.Results, func(r vmtest.Result) bool { return !r.OK() })
}

// emulatorsOwn says whether a guest died of what is no fault of it: QEMU before
// 10.0.4 and 10.1 may use what it has freed when the registers of a card come or
// go while a processor looks for some (system/physmem.c, mended by its commit
// 2865bf1c5795). And in one emulated guest of twenty or so the timer of a virtual
// processor goes off no more, whatever runs in it; its kernel finds that out.
func emulatorsOwn(err error) bool {
	for _, sign := range []string{"iotlb_to_section: Assertion", vmtest.LostTimer} {
		if strings.Contains(err.Error(), sign) {
			return true
		}
	}
	return false
}

// ours says whether the guest's cards are driven by our drivers alone: what a card that
// we model tolerates for the sake of others is a failure of theirs.
func (g guest) ours() bool {
	others := func(s suite) bool { return s.others }
	return g.card.driver == "vfio-pci" && !slices.ContainsFunc(g.suites, others)
}

func (m *matrix) config(image *vmtest.Image, g guest, out io.Writer) vmtest.Config {
	cfg := vmtest.Config{Kernel: image, Output: out, HugePages: 32, Programs: slices.Clone(programs), Binaries: m.binaries, Traces: m.traces, Newer: g.newer, Strict: g.ours()}
	if g.card.model != "" {
		one := vmtest.Card{Model: g.card.model, Driver: g.card.driver}
		cfg.Cards = slices.Repeat([]vmtest.Card{one}, max(g.ports, 1))
		for i := 1; i < len(cfg.Cards); i++ {
			cfg.Cards[i].Beside = g.together
		}
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
