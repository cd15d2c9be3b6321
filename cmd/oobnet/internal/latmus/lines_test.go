package latmus

import (
	"strings"
	"testing"
	"time"

	"github.com/oobnet/oobnet/rt"
)

// TestLinesOfLatmus holds the lines to what latmus -E prints, byte for byte.
func TestLinesOfLatmus(t *testing.T) {
	o := short()
	o.Period, o.Priority, o.CPU, o.Lines, o.Duration = time.Millisecond, 10, -1, 2, time.Minute
	y := newTally(&o)
	for i, ns := range []int64{1500, 2250, 310, 4800} {
		y.record(i, 100)
		y.record(i, ns)
	}
	var b strings.Builder
	p := pages{out: &b, o: &o}
	p.figures(y, counts{0, 3}, time.Second)
	y.record(rxUser, 123456789)
	p.figures(y, counts{12, 3}, 2*time.Second)
	p.figures(y, counts{12, 3}, 3*time.Second)
	p.summary(y, counts{12, 3}, 3723*time.Second)
	const want = `RTT|  00:00:01  (net, 1000 us period, priority 10, CPU any)
RTH|--rx sched|---rx user|--tx sched|---tx user|-msw|-overrun|---rx best|--rx worst|---tx best|--tx worst
RTD|     1.500|     2.250|     0.310|     4.800|   0|       3|     0.100|     2.250|     0.100|     4.800
RTD|     0.000|123456.789|     0.000|     0.000|  12|       3|     0.100|123456.789|     0.100|     4.800
RTT|  00:00:03  (net, 1000 us period, priority 10, CPU any)
RTH|--rx sched|---rx user|--tx sched|---tx user|-msw|-overrun|---rx best|--rx worst|---tx best|--tx worst
RTD|     0.000|     0.000|     0.000|     0.000|  12|       3|     0.100|123456.789|     0.100|     4.800
---|----------|----------|----------|----------|---------------------------------------------------------
RTS|     1.500|123456.789|     0.310|     4.800|  12|       3|                          01:02:03/00:01:00
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestCoresAreNamedAsLatmusDoes(t *testing.T) {
	for _, c := range []struct {
		cpu      int
		isolated string
		want     string
	}{{-1, "1", "CPU any"}, {3, "1-3,8", "CPU3"}, {8, "1-3,8", "CPU8"}, {4, "1-3,8", "CPU4-noisol"}, {0, "", "CPU0-noisol"}, {10, "1\n", "CPU10-noisol"}} {
		if got := core(c.cpu, c.isolated); got != c.want {
			t.Errorf("%d of %q: %s, want %s", c.cpu, c.isolated, got, c.want)
		}
	}
}

// TestGnuplotFile holds the file to what latmus -g writes: the window is cut to
// the cells with values, and what is beyond the last shows.
func TestGnuplotFile(t *testing.T) {
	o := short()
	o.Cells = 5
	y := newTally(&o)
	for i, ns := range []int64{2100, 3900, 2000, 99_000} {
		y.record(i, ns)
	}
	r := &Report{Context: "net", started: time.Unix(0, 0).UTC(), PeriodNS: 1e6, Priority: 10, Size: 64, Seconds: 61, Demoted: 2}
	r.Environment = rt.Env{}
	r.addFigures(y, &o)
	r.Figures = r.Figures[:4] // latmus's own
	var b strings.Builder
	if err := r.WriteGnuplot(&b); err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(b.String(), "# sampling period")
	const want = `: 1000 microseconds
# context: net
# thread priority: 10
# packet size: 64
# duration (hhmmss): 00:01:01
# IN-BAND SWITCHES: 2
# rx sched min latency: 2.100
# rx sched avg latency: 2.100
# rx sched max latency: 2.100
# rx sched sample count: 1
# rx user min latency: 3.900
# rx user avg latency: 3.900
# rx user max latency: 3.900
# rx user sample count: 1
# tx sched min latency: 2.000
# tx sched avg latency: 2.000
# tx sched max latency: 2.000
# tx sched sample count: 1
# tx user min latency: 99.000
# tx user avg latency: 99.000
# tx user max latency: 99.000
# tx user sample count: 1
# cell rx-sched rx-user tx-sched tx-user
2 1 0 1 0
3 0 1 0 0
4+ 0 0 0 1
`
	if text != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
}
