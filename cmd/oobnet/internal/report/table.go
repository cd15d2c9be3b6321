package report

import (
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"
)

// Terminal colours (ECMA-48): red for a goal missed, green for one met.
const (
	red   = "\x1b[31m"
	green = "\x1b[32m"
	plain = "\x1b[0m"
)

// Table writes the rows for people. With colour, the verdicts of rows with a
// goal are green or red; without, the words alone tell.
func Table(w io.Writer, rows []Row, colour bool) error {
	var lines strings.Builder
	tw := tabwriter.NewWriter(&lines, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "SUITE\tNAME\tOURS\tPEER\t\tUNIT\tRATIO\tGOAL\tVERDICT")
	for _, r := range rows {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n",
			r.Suite, r.Name, figure(r.Ours), r.Peer, figure(r.PeerValue), r.Unit, ratio(r.Ratio), goal(r), verdict(r))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	// Colour goes on after the columns are laid out: escapes have a width of
	// their own in a tabwriter.
	text := strings.Split(lines.String(), "\n")
	for i, line := range text[:len(text)-1] {
		if colour && i > 0 {
			line = paint(line, rows[i-1])
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}

func paint(line string, r Row) string {
	switch {
	case r.Goal == nil:
		return line
	case r.OK:
		return strings.TrimSuffix(line, "ok") + green + "ok" + plain
	}
	return red + line + plain
}

func verdict(r Row) string {
	switch {
	case r.Goal == nil:
		return "-"
	case r.OK:
		return "ok"
	}
	return "MISSED"
}

// figure writes four significant digits, and large figures in groups of three.
func figure(v float64) string {
	switch a := math.Abs(v); {
	case a == 0:
		return "0"
	case a < 10:
		return fmt.Sprintf("%.3f", v)
	case a < 1000:
		return fmt.Sprintf("%.1f", v)
	}
	s := fmt.Sprintf("%.0f", v)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + " " + s[i:]
	}
	return s
}

func ratio(r *float64) string {
	if r == nil {
		return "-"
	}
	return fmt.Sprintf("%.3f", *r)
}

// goal writes the bound; one below a tenth as the fraction it was set as.
func goal(r Row) string {
	if r.Goal == nil {
		return "-"
	}
	sign := "<="
	if r.More {
		sign = ">="
	}
	if g := *r.Goal; g > 0 && g < 0.1 {
		return fmt.Sprintf("%s 1/%.0f", sign, 1/g)
	}
	return fmt.Sprintf("%s %g", sign, *r.Goal)
}
