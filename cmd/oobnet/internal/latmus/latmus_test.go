package latmus

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/linktest"
)

// short is a run that is long enough for one line of figures.
func short() Options {
	return Options{
		Period: 2 * time.Millisecond, Duration: 1200 * time.Millisecond, Size: DefaultSize, Port: Port, CPU: -1, PeerCPU: -1,
		Cells: DefaultCells, Lines: DefaultLines, Worst: 3, Silence: 20 * time.Second,
	}
}

// measured runs with o, and again for longer where a loaded machine let nothing
// through in that time.
func measured(t *testing.T, o Options) *Report {
	t.Helper()
	return measuredBy(t, o, func(o Options) (*Report, error) { return Run(t.Context(), o) })
}

func measuredBy(t *testing.T, o Options, run func(Options) (*Report, error)) *Report {
	t.Helper()
	const longest = 10 * time.Second
	for {
		r, err := run(o)
		if err != nil {
			t.Fatal(err)
		}
		if r.Received > 20 && (!o.Kernel || r.KernelSent > 20) || o.Duration >= longest {
			return r
		}
		t.Logf("%d received in %v: once more", r.Received, o.Duration)
		o.Duration = min(4*o.Duration, longest)
	}
}

func TestSymmetricInMemory(t *testing.T) {
	leaktest.Check(t)
	o := short()
	var out strings.Builder
	o.Out = &out
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if r.Sent == 0 || r.Received == 0 || r.Lost+r.Late+r.Duplicates+r.BadCRC+r.InBand+r.Odd+r.SendErrors+r.Demoted+r.Unlogged+r.Unmatched != 0 {
		t.Errorf("%+v", r)
	}
	if len(r.Figures) != 5 {
		t.Fatalf("%d figures, want 5", len(r.Figures))
	}
	for i, want := range []uint64{r.Received, r.Received, r.Sent, r.Sent, r.Received} {
		if f := r.Figures[i]; f.Count != want || f.Min > f.P50 || f.P50 > f.P99 || f.P99 > f.P999 || f.P999 > f.Max {
			t.Errorf("%s: %+v, want %d values", f.Name, f, want)
		}
	}
	checkLines(t, out.String(), r)
	checkWorst(t, r)
	checkGnuplot(t, r)
	checkHDR(t, r)
	checkJSON(t, r)
}

// checkLines reads the lines back as a script that was written for latmus does.
func checkLines(t *testing.T, text string, r *Report) {
	t.Helper()
	const number = ` *\d+\.\d{3}`
	for _, want := range []string{
		`(?m)^RTT\|  \d\d:\d\d:\d\d  \(net, 2000 us period, priority 0, CPU any\)$`,
		`(?m)^RTH\|--rx sched\|---rx user\|--tx sched\|---tx user\|-msw\|-overrun\|---rx best\|--rx worst\|---tx best\|--tx worst$`,
		`(?m)^RTD(\|` + number + `){4}\| *\d+\| *\d+(\|` + number + `){4}$`,
	} {
		if !regexp.MustCompile(want).MatchString(text) {
			t.Errorf("no line %s in\n%s", want, text)
		}
	}
	i := strings.Index(text, "RTS|")
	if i < 0 {
		t.Fatalf("no RTS line in\n%s", text)
	}
	var worst [4]float64
	var msw uint64
	fields := strings.ReplaceAll(text[i+4:], "|", " ")
	if _, err := fmt.Sscan(fields, &worst[0], &worst[1], &worst[2], &worst[3], &msw); err != nil {
		t.Fatalf("%v in %s", err, text[i:])
	}
	for i, w := range worst {
		if d := w*1000 - float64(r.Figures[i].Max); d > 1 || d < -1 {
			t.Errorf("RTS says %.3f us for %s, the report %d ns", w, r.Figures[i].Name, r.Figures[i].Max)
		}
	}
}

func checkWorst(t *testing.T, r *Report) {
	t.Helper()
	if len(r.Worst) != 3 {
		t.Fatalf("%d exchanges explained, want 3", len(r.Worst))
	}
	for i, e := range r.Worst {
		var sum int64
		for _, s := range e.Steps {
			if s.NS < 0 {
				t.Errorf("step back in time: %s", e)
			}
			sum += s.NS
		}
		if sum != e.TotalNS || e.Causes == nil || i > 0 && e.TotalNS > r.Worst[i-1].TotalNS {
			t.Errorf("exchange %d: steps of %d: %s", i, sum, e)
		}
	}
}

func checkGnuplot(t *testing.T, r *Report) {
	t.Helper()
	var b bytes.Buffer
	if err := r.WriteGnuplot(&b); err != nil {
		t.Fatal(err)
	}
	var sums [5]uint64
	first, _, _ := r.cellRange()
	cells := first
	for scan := bufio.NewScanner(&b); scan.Scan(); {
		if strings.HasPrefix(scan.Text(), "#") {
			continue
		}
		var cell int
		var n [5]uint64
		if _, err := fmt.Sscan(strings.Replace(scan.Text(), "+", "", 1), &cell, &n[0], &n[1], &n[2], &n[3], &n[4]); err != nil || cell != cells {
			t.Fatalf("line %q: %v, want cell %d", scan.Text(), err, cells)
		}
		cells++
		for i := range n {
			sums[i] += n[i]
		}
	}
	for i, f := range r.Figures {
		if sums[i] != f.Count {
			t.Errorf("%s: %d values in the cells, want %d", f.Name, sums[i], f.Count)
		}
	}
}

func checkHDR(t *testing.T, r *Report) {
	t.Helper()
	var b bytes.Buffer
	if err := r.WriteHDR(&b); err != nil {
		t.Fatal(err)
	}
	lr := hdrhistogram.NewHistogramLogReader(&b)
	for _, f := range r.Figures {
		h, err := lr.NextIntervalHistogram()
		if err != nil || h == nil {
			t.Fatalf("%s: %v", f.Name, err)
		}
		if h.TotalCount() != int64(f.Count) || h.Tag() != strings.ReplaceAll(f.Name, " ", "_") {
			t.Errorf("%s: %d values of %q in the log, want %d", f.Name, h.TotalCount(), h.Tag(), f.Count)
		}
	}
}

func checkJSON(t *testing.T, r *Report) {
	t.Helper()
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if back.Sent != r.Sent || len(back.Worst) != 3 || back.Figures[1].Max != r.Figures[1].Max || back.Environment.Go == "" {
		t.Errorf("%s", b)
	}
}

func TestRoundTripsAndTheKernels(t *testing.T) {
	leaktest.Check(t)
	o := short()
	o.RTT, o.Kernel, o.Duration = true, true, 400*time.Millisecond
	o.Stress = Stress{GC: true, Memory: true, Flood: true}
	r := measured(t, o)
	if len(r.Figures) != nFigures {
		t.Fatalf("%d figures, want %d", len(r.Figures), nFigures)
	}
	ours, kernel := r.Figures[roundTrip], r.Figures[kernelTrip]
	if ours.Count == 0 || kernel.Count == 0 || ours.Min <= 0 || kernel.Min <= 0 || r.MaxRatio <= 0 || r.P999Ratio <= 0 {
		t.Errorf("%+v, %+v, ratios %g and %g", ours, kernel, r.P999Ratio, r.MaxRatio)
	}
	if ours.Count != r.Sent || r.Lost+r.Demoted+r.Unmatched != 0 {
		t.Errorf("%d round trips of %d, lost %d, demoted %d", ours.Count, r.Sent, r.Lost, r.Demoted)
	}
	var text strings.Builder
	if err := errors.Join(r.WriteText(&text), r.WriteHistogram(&text)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"kernel rtt", "p99.9", "to kernel sockets", "worst: round trip", "wire to the echo", "wire back", "rtt, us", "#"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
}

// TestManualMode: no thread but the application's own, both ways.
func TestManualMode(t *testing.T) {
	leaktest.Check(t)
	o := short()
	o.Poll, o.Duration = link.Manual, 500*time.Millisecond
	r := measured(t, o)
	if r.Sent == 0 || r.Received == 0 || r.Lost+r.Duplicates+r.BadCRC+r.InBand+r.Odd+r.SendErrors+r.Demoted+r.Unlogged+r.Unmatched != 0 || r.Poll != "manual" {
		t.Errorf("%+v", r)
	}
	o.RTT, o.Kernel = true, runtime.GOOS == "linux"
	o.Memory = 1 << 30
	r = measured(t, o)
	if rtt := r.Figures[5]; r.Sent == 0 || rtt.Count != r.Sent || r.Lost+r.Demoted+r.InBand+r.Unmatched != 0 {
		t.Errorf("%+v, %+v", r, rtt)
	}
	if o.Kernel && (r.KernelSent == 0 || r.Figures[6].Count == 0 || r.KernelLost != r.KernelSent-r.Figures[6].Count) {
		t.Errorf("the kernel's: %d sent, %d lost, %+v", r.KernelSent, r.KernelLost, r.Figures[6])
	}
}

func TestSpareProcsAreGivenBack(t *testing.T) {
	t.Setenv("GOMAXPROCS", "")
	before := runtime.GOMAXPROCS(0)
	undo := spareProcs()
	if n := runtime.GOMAXPROCS(0); n != runtime.NumCPU()+spare {
		t.Errorf("%d, want %d", n, runtime.NumCPU()+spare)
	}
	undo()
	if n := runtime.GOMAXPROCS(0); n != before {
		t.Errorf("%d afterwards, want %d", n, before)
	}
	t.Setenv("GOMAXPROCS", "3") // asked for: left alone
	spareProcs()()
	if n := runtime.GOMAXPROCS(0); n != before {
		t.Errorf("%d, want %d as before", n, before)
	}
}

func TestAbortAndWatchdog(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(*Options)
		code int
	}{
		{"limit", func(o *Options) { o.Abort = time.Nanosecond }, ExitAbort},
		{"silence", func(o *Options) {
			o.Silence = 100 * time.Millisecond
			o.wrap = func(l link.Link) link.Link {
				return linktest.NewFault(l, linktest.FaultConfig{TX: linktest.Faults{Rule: func(f []byte, _ uint64) linktest.Action {
					if len(f) > 14+20+8 && f[14+20+8] == frameStart {
						return linktest.Drop
					}
					return linktest.Pass
				}}})
			}
		}, ExitWatchdog},
	} {
		t.Run(c.name, func(t *testing.T) {
			leaktest.Check(t)
			o := short()
			o.Duration = 30 * time.Second
			c.set(&o)
			r, err := Run(t.Context(), o)
			var exit *ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != c.code || r == nil {
				t.Errorf("%v with %v, want exit code %d", err, r, c.code)
			}
		})
	}
}

func TestInterruptedIsNoError(t *testing.T) {
	leaktest.Check(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o := short()
	o.Duration, o.Out = 0, writerFunc(func(b []byte) (int, error) {
		cancel() // it prints when it has measured for a second
		return len(b), nil
	})
	if r, err := Run(ctx, o); err != nil || r.Sent == 0 {
		t.Errorf("%v, %+v", err, r)
	}
}

type writerFunc func(b []byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
