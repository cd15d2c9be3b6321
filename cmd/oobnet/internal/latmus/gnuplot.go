package latmus

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/oobnet/oobnet/rt"
)

// WriteGnuplot writes the histogram that latmus -g does: metadata behind `#`, then
// a line for each cell of 1 us up to the last one that has a value, with its
// counts by figure: rx sched, rx user, tx sched, tx user, and the round trips
// where they were measured. The last cell of all has what is beyond, too.
func (r *Report) WriteGnuplot(w io.Writer) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "# oobnet latmus: %s\n", r.Mode)
	fmt.Fprintf(b, "# period: %d us, priority: %d, size: %d bytes, duration: %.1f s\n", r.PeriodNS/1000, r.Priority, r.Size, r.Seconds)
	for _, line := range rt.Env.Lines(r.Environment) {
		fmt.Fprintf(b, "# %s\n", line)
	}
	last := 0
	names := make([]string, len(r.Figures))
	for i, f := range r.Figures {
		names[i] = strings.ReplaceAll(f.Name, " ", "-")
		for c, n := range f.cells {
			if n > 0 {
				last = max(last, c)
			}
		}
		fmt.Fprintf(b, "# %s: %d values, min %.3f, mean %.3f, max %.3f us\n", f.Name, f.Count, us(f.Min), f.Mean/1000, us(f.Max))
	}
	fmt.Fprintf(b, "# cell %s\n", strings.Join(names, " "))
	for c := 0; c <= last; c++ {
		fmt.Fprintf(b, "%d", c)
		for _, f := range r.Figures {
			fmt.Fprintf(b, " %d", f.cells[c])
		}
		fmt.Fprintln(b)
	}
	return b.Flush()
}
