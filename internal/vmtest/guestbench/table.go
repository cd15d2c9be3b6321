package guestbench

import (
	"fmt"
	"slices"
	"strings"
)

// Mark begins the lines of the table in the test's output.
const Mark = "| "

// goal is a bound of the ratio of ours to the kernel's.
type goal struct {
	least, most float64 // 0: none
}

func (g goal) String() string {
	if g.least > 0 {
		return fmt.Sprintf(">= %.1f", g.least)
	}
	return fmt.Sprintf("<= %.1f", g.most)
}

// best of the samples: the greatest where more is better, else the least. What
// else the machine does makes a sample worse, and nothing makes it better.
func (g goal) best(samples []float64) float64 {
	if len(samples) == 0 {
		return 0
	}
	if g.least > 0 {
		return slices.Max(samples)
	}
	return slices.Min(samples)
}

func (g goal) met(ratio float64) bool {
	return ratio >= g.least && (g.most == 0 || ratio <= g.most)
}

// row is one comparison: samples of each side, a turn each.
type row struct {
	name, unit   string
	ours, kernel []float64
	goal         goal
}

// table sets the best of each side beside each other.
func table(rows []row) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s%-24s %12s %12s %8s  %-7s %s\n", Mark, "UDP, 64 bytes", "ours", "kernel", "ratio", "goal", "verdict")
	for _, r := range rows {
		ours, kernel := r.goal.best(r.ours), r.goal.best(r.kernel)
		ratio := ours / kernel
		verdict := "ok"
		if !r.goal.met(ratio) {
			verdict = "missed"
		}
		fmt.Fprintf(&b, "%s%-24s %12.1f %12.1f %8.2f  %-7v %s\n", Mark, r.name+", "+r.unit, ours, kernel, ratio, r.goal, verdict)
	}
	return b.String()
}
