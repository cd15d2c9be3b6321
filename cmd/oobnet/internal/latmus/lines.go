package latmus

import (
	"fmt"
	"io"
	"time"

	"github.com/oobnet/oobnet/rt"
)

// pages writes the lines of EVL's latmus (libevl, latmus/net.c), which programs
// read: a heading each so many lines, figures in us. What it never had stands in
// columns behind its own.
type pages struct {
	out   io.Writer
	o     *Options
	lines int
}

// counts are what stands between the figures: packets that went in-band, which
// are its mode switches, and activations that were left out, its overruns.
type counts struct{ switches, overruns uint64 }

func (p *pages) heading(elapsed time.Duration) {
	fmt.Fprintf(p.out, "RTT|  %s  (%s, %d us period, priority %d, %s)\n",
		clockTime(elapsed), contextLabel(p.o), p.o.Period.Microseconds(), p.o.Priority, core(p.o.CPU, rt.Environment().Isolated))
	fmt.Fprintf(p.out, "RTH|%10s|%10s|%10s|%10s|%4s|%8s|%10s|%10s|%10s|%10s",
		"--rx sched", "---rx user", "--tx sched", "---tx user", "-msw", "-overrun", "---rx best", "--rx worst", "---tx best", "--tx worst")
	if p.o.RTT {
		fmt.Fprintf(p.out, "|%10s", "-------rtt")
	}
	if p.o.Kernel {
		fmt.Fprintf(p.out, "|%10s", "kernel rtt")
	}
	fmt.Fprintln(p.out)
}

// figures writes one line: the most since the line before, and the best and the
// worst of the run.
func (p *pages) figures(t *tally, c counts, elapsed time.Duration) {
	if p.lines == 0 || p.o.Lines > 0 && p.lines%p.o.Lines == 0 {
		p.heading(elapsed)
	}
	p.lines++
	rx, tx := &t.figures[rxUser], &t.figures[txUser]
	fmt.Fprintf(p.out, "RTD|%10.3f|%10.3f|%10.3f|%10.3f|%4d|%8d|%10.3f|%10.3f|%10.3f|%10.3f",
		us(t.now[rxSched]), us(t.now[rxUser]), us(t.now[txSched]), us(t.now[txUser]), c.switches, c.overruns,
		us(rx.Min()), us(rx.Max()), us(tx.Min()), us(tx.Max()))
	if p.o.RTT {
		fmt.Fprintf(p.out, "|%10.3f", us(t.now[roundTrip]))
	}
	if p.o.Kernel {
		fmt.Fprintf(p.out, "|%10.3f", us(t.now[kernelTrip]))
	}
	fmt.Fprintln(p.out)
	t.newPage()
}

// summary writes the most of the run, how long it was and was to be.
func (p *pages) summary(t *tally, c counts, elapsed time.Duration) {
	asked := p.o.Duration
	if asked == 0 {
		asked = elapsed
	}
	fmt.Fprintln(p.out, "---|----------|----------|----------|----------|---------------------------------------------------------")
	fmt.Fprintf(p.out, "RTS|%10.3f|%10.3f|%10.3f|%10.3f|%4d|%8d|%26s%s/%s\n",
		us(t.figures[rxSched].Max()), us(t.figures[rxUser].Max()), us(t.figures[txSched].Max()), us(t.figures[txUser].Max()),
		c.switches, c.overruns, "", clockTime(elapsed), clockTime(asked))
}

func us(ns int64) float64 { return float64(ns) / 1000 }

// clockTime is hh:mm:ss.
func clockTime(d time.Duration) string {
	s := int(d.Seconds())
	return fmt.Sprintf("%02d:%02d:%02d", s/3600, s/60%60, s%60)
}

// contextLabel is latmus's word for what is measured; round trips it never had.
func contextLabel(o *Options) string {
	if o.RTT {
		return "net-rtt"
	}
	return "net"
}

// core is where the threads run, as latmus says it: whether that is kept free of
// others (isolcpus=) is said of those that are not.
func core(cpu int, isolated string) string {
	switch {
	case cpu < 0:
		return "CPU any"
	case inRanges(cpu, isolated):
		return fmt.Sprintf("CPU%d", cpu)
	}
	return fmt.Sprintf("CPU%d-noisol", cpu)
}

// mode in words.
func mode(o *Options) string {
	switch {
	case o.Echo:
		return "echo"
	case o.RTT:
		return "round trips over UDP"
	}
	return "symmetric UDP"
}
