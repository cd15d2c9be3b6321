package latmus

import (
	"fmt"
	"io"
	"time"
)

// pages writes latmus's lines: a heading each so many lines, figures in us.
type pages struct {
	out   io.Writer
	o     *Options
	lines int
}

func (p *pages) heading(elapsed time.Duration) {
	s := int(elapsed.Seconds())
	cpu := "any"
	if p.o.CPU >= 0 {
		cpu = fmt.Sprint(p.o.CPU)
	}
	fmt.Fprintf(p.out, "RTT|  %02d:%02d:%02d  (%s, %d us period, priority %d, CPU %s)\n",
		s/3600, s/60%60, s%60, mode(p.o), p.o.Period.Microseconds(), p.o.Priority, cpu)
	fmt.Fprintf(p.out, "RTH|%10s|%10s|%10s|%10s|%6s|%10s|%10s|%10s|%10s",
		"rx sched", "rx user", "tx sched", "tx user", "msw", "rx best", "rx worst", "tx best", "tx worst")
	if p.o.RTT {
		fmt.Fprintf(p.out, "|%10s", "rtt")
	}
	if p.o.Kernel {
		fmt.Fprintf(p.out, "|%10s", "kernel rtt")
	}
	fmt.Fprintln(p.out)
}

// figures writes one line: the most since the line before, and the best and the
// worst of the run. demoted is in the column of latmus's mode switches.
func (p *pages) figures(t *tally, demoted uint64, elapsed time.Duration) {
	if p.lines == 0 || p.o.Lines > 0 && p.lines%p.o.Lines == 0 {
		p.heading(elapsed)
	}
	p.lines++
	fmt.Fprintf(p.out, "RTD|%10.3f|%10.3f|%10.3f|%10.3f|%6d|%10.3f|%10.3f|%10.3f|%10.3f",
		us(t.now[rxSched]), us(t.now[rxUser]), us(t.now[txSched]), us(t.now[txUser]), demoted,
		us(t.rx.best), us(t.rx.worst), us(t.tx.best), us(t.tx.worst))
	if p.o.RTT {
		fmt.Fprintf(p.out, "|%10.3f", us(t.now[roundTrip]))
	}
	if p.o.Kernel {
		fmt.Fprintf(p.out, "|%10.3f", us(t.now[kernelTrip]))
	}
	fmt.Fprintln(p.out)
	t.newPage()
}

// summary writes the most of the run, and how long it was.
func (p *pages) summary(t *tally, demoted uint64, elapsed time.Duration) {
	s := int(elapsed.Seconds())
	fmt.Fprintf(p.out, "---|----------|----------|----------|----------|------|-------------------------------------------\n")
	fmt.Fprintf(p.out, "RTS|%10.3f|%10.3f|%10.3f|%10.3f|%6d|    %02d:%02d:%02d/%02d:%02d:%02d\n",
		us(t.figures[rxSched].Max()), us(t.figures[rxUser].Max()), us(t.figures[txSched].Max()), us(t.figures[txUser].Max()),
		demoted, s/3600, s/60%60, s%60, s/3600, s/60%60, s%60)
}

func us(ns int64) float64 { return float64(ns) / 1000 }

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
