package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/oobnet/oobnet/rt"
)

// report prints what the run was.
func (c *controller) report(out io.Writer, cycle *rt.Cycle) {
	for _, line := range cycle.Report().Lines() {
		fmt.Fprintln(out, line)
	}
	s, work, late := cycle.Stats(), cycle.Work(), cycle.Latency()
	fmt.Fprintf(out, "deadlines   %d met, %d missed\n", s.Cycles-s.Overruns, s.Overruns+s.Missed)
	fmt.Fprintf(out, "work        worst %v, p50 %v, p99.9 %v\n", ns(work.Max()), ns(work.Quantile(0.5)), ns(work.Quantile(0.999)))
	var lost, worst uint64
	for i := range c.axes {
		lost += c.axes[i].lost.Load()
		worst = max(worst, c.axes[i].worst.Load())
	}
	fmt.Fprintf(out, "exchange    %d answers missing, %d images incomplete; axes off their paths by %.6f mm at most\n",
		lost, c.incomplete.Load(), float64(worst)/1e6)
	fmt.Fprintf(out, "mailbox     %d parameters read, %d not\n", c.mailbox.told, c.mailbox.untold)
	fmt.Fprintf(out, "jitter      worst %v\n", ns(late.Max()))
	histogram(out, late)
}

// limits of the histogram's rows.
var limits = [...]time.Duration{time.Microsecond, 2 * time.Microsecond, 5 * time.Microsecond, 10 * time.Microsecond, 20 * time.Microsecond,
	50 * time.Microsecond, 100 * time.Microsecond, 200 * time.Microsecond, 500 * time.Microsecond, time.Millisecond, time.Hour}

func histogram(out io.Writer, h *rt.Histogram) {
	var rows [len(limits)]uint64
	for b := range h.Buckets() {
		i := 0
		for time.Duration(b.Low) >= limits[i] && i < len(limits)-1 {
			i++
		}
		rows[i] += b.Count
	}
	total := max(h.Count(), 1)
	for i, n := range rows {
		label := fmt.Sprintf("below %v", limits[i])
		if i == len(limits)-1 {
			label = fmt.Sprintf("%v and more", limits[i-1])
		}
		fmt.Fprintf(out, "  %-14s %9d %s\n", label, n, strings.Repeat("█", int((50*n+total-1)/total)))
	}
}

func ns(n int64) time.Duration { return time.Duration(n) }
