package latmus

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/oobnet/oobnet/rt"
)

// WriteGnuplot writes the histogram of latmus -g: metadata behind `#`, then a line
// for each cell of 1 us, from the first that has a value to the last, with its
// counts: rx sched, rx user, tx sched, tx user as latmus has them, then the
// figures that it does not have. The last cell of all has what is beyond, too: a
// `+` then stands behind its number.
func (r *Report) WriteGnuplot(w io.Writer) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "# Test started on: %s\n", r.started.Format(time.ANSIC))
	for _, line := range rt.Env.Lines(r.Environment) {
		fmt.Fprintf(b, "# %s\n", line)
	}
	if r.CommandLine != "" {
		fmt.Fprintf(b, "# %s\n", r.CommandLine)
	}
	fmt.Fprintf(b, "# sampling period: %d microseconds\n", r.PeriodNS/1000)
	fmt.Fprintf(b, "# context: %s\n", r.Context)
	fmt.Fprintf(b, "# thread priority: %d\n", r.Priority)
	fmt.Fprintf(b, "# packet size: %d\n", r.Size)
	fmt.Fprintf(b, "# duration (hhmmss): %s\n", clockTime(time.Duration(r.Seconds*1e9)))
	if r.Demoted > 0 {
		fmt.Fprintf(b, "# IN-BAND SWITCHES: %d\n", r.Demoted)
	}
	first, last, outliers := r.cellRange()
	names := make([]string, len(r.Figures))
	for i, f := range r.Figures {
		names[i] = strings.ReplaceAll(f.Name, " ", "-")
		if f.Count > 0 {
			fmt.Fprintf(b, "# %s min latency: %.3f\n# %s avg latency: %.3f\n# %s max latency: %.3f\n# %s sample count: %d\n",
				f.Name, us(f.Min), f.Name, f.Mean/1000, f.Name, us(f.Max), f.Name, f.Count)
		}
	}
	fmt.Fprintf(b, "# cell %s\n", strings.Join(names, " "))
	for c := first; c <= last; c++ {
		fmt.Fprintf(b, "%d", c)
		if c == last && outliers {
			fmt.Fprint(b, "+")
		}
		for _, f := range r.Figures {
			fmt.Fprintf(b, " %d", f.cells[c])
		}
		fmt.Fprintln(b)
	}
	return b.Flush()
}

// cellRange is from the first cell with a value to the last, and whether that
// one has values from beyond. Without any it is cell 0.
func (r *Report) cellRange() (first, last int, outliers bool) {
	first = -1
	for _, f := range r.Figures {
		for c, n := range f.cells {
			if n == 0 {
				continue
			}
			if first < 0 || c < first {
				first = c
			}
			last = max(last, c)
		}
		outliers = outliers || f.Max/1000 >= int64(len(f.cells))
	}
	return max(first, 0), last, outliers
}
