package latmus

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"strings"
)

// Layout of the picture, pixels.
const (
	svgWidth, svgHeight = 940, 460
	plotLeft, plotTop   = 70, 20
	plotWidth           = 620
	plotHeight          = 380
	legendLeft          = plotLeft + plotWidth + 20
	legendLine          = 44
	// leastPlotted is where the axis of time begins, ns: shorter figures are
	// drawn there, for a logarithm has no 0.
	leastPlotted = 100
)

// figureColours are told apart by the colour-blind, too (Okabe and Ito).
var figureColours = [nFigures]string{"#0072b2", "#56b4e9", "#009e73", "#e69f00", "#cc79a7", "#d55e00", "#666666"}

// axes place a value on the picture: both are logarithmic.
type axes struct{ decades, counts float64 }

func (a axes) x(ns int64) float64 {
	return plotLeft + plotWidth*math.Log10(float64(max(ns, leastPlotted))/leastPlotted)/a.decades
}

// y of a count: half a value has its place below one, so that a single one shows.
func (a axes) y(n float64) float64 {
	return plotTop + plotHeight*(1-math.Log10(max(n, 0.5)/0.5)/a.counts)
}

// rowCounts are the counts of a drawn histogram by row, below leastPlotted in
// its row.
func (f *Figure) rowCounts() (counts map[int]uint64, first, last int) {
	counts = map[int]uint64{}
	first, last = math.MaxInt, 0
	for b := range f.hist.Buckets() {
		k := row(max(b.Low, leastPlotted))
		counts[k] += b.Count
		first, last = min(first, k), max(last, k)
	}
	return counts, first, last
}

// WriteSVG draws the histograms of all figures over each other.
func (r *Report) WriteSVG(w io.Writer) error {
	b := bufio.NewWriter(w)
	var most uint64
	var longest int64
	for i := range r.Figures {
		counts, _, _ := r.Figures[i].rowCounts()
		for _, n := range counts {
			most = max(most, n)
		}
		longest = max(longest, r.Figures[i].Max)
	}
	a := axes{
		decades: max(math.Ceil(math.Log10(float64(max(longest, 1))/leastPlotted)), 1),
		counts:  math.Ceil(math.Log10(float64(max(most, 1)))) - math.Log10(0.5),
	}
	fmt.Fprintf(b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n",
		svgWidth, svgHeight, svgWidth, svgHeight)
	fmt.Fprintf(b, `<rect width="%d" height="%d" fill="white"/>`+"\n", svgWidth, svgHeight)
	a.grid(b)
	for i := range r.Figures {
		r.Figures[i].draw(b, a, i)
	}
	fmt.Fprintln(b, "</svg>")
	return b.Flush()
}

// grid draws a line a decade, with its value.
func (a axes) grid(w io.Writer) {
	for d := range int(a.decades) + 1 {
		ns := int64(leastPlotted * math.Pow10(d))
		x := a.x(ns)
		fmt.Fprintf(w, `<path d="M%.1f %dV%d" stroke="#ddd"/><text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n",
			x, plotTop, plotTop+plotHeight, x, plotTop+plotHeight+18, axisTime(ns))
	}
	for n := 1.0; a.y(n) >= plotTop-1; n *= 10 {
		y := a.y(n)
		fmt.Fprintf(w, `<path d="M%d %.1fH%d" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%.0f</text>`+"\n",
			plotLeft, y, plotLeft+plotWidth, plotLeft-6, y+4, n)
	}
	fmt.Fprintf(w, `<text x="%d" y="%d" text-anchor="middle">latency</text>`+"\n", plotLeft+plotWidth/2, plotTop+plotHeight+42)
	fmt.Fprintf(w, `<text x="16" y="%d" text-anchor="middle" transform="rotate(-90 16 %d)">packets</text>`+"\n", plotTop+plotHeight/2, plotTop+plotHeight/2)
}

// axisTime writes a power of ten of ns in the unit that people say it in.
func axisTime(ns int64) string {
	switch {
	case ns < 1e3:
		return fmt.Sprintf("%d ns", ns)
	case ns < 1e6:
		return fmt.Sprintf("%d us", ns/1e3)
	case ns < 1e9:
		return fmt.Sprintf("%d ms", ns/1e6)
	}
	return fmt.Sprintf("%d s", ns/1e9)
}

// draw draws the outline of a figure's histogram, and its line of the legend.
func (f *Figure) draw(w io.Writer, a axes, i int) {
	counts, first, last := f.rowCounts()
	var path strings.Builder
	floor := a.y(0)
	if len(counts) > 0 {
		fmt.Fprintf(&path, "M%.1f %.1f", a.x(rowStart(first)), floor)
		for k := first; k <= last; k++ {
			fmt.Fprintf(&path, "V%.1fH%.1f", a.y(float64(counts[k])), a.x(max(rowStart(k+1), leastPlotted)))
		}
		fmt.Fprintf(&path, "V%.1f", floor)
		fmt.Fprintf(w, `<path d="%s" fill="%s" fill-opacity="0.08" stroke="%s" stroke-width="%.1f"/>`+"\n",
			path.String(), figureColours[i], figureColours[i], strokeWidth(i))
	}
	y := plotTop + 14 + i*legendLine
	fmt.Fprintf(w, `<rect x="%d" y="%d" width="12" height="12" fill="%s"/>`, legendLeft, y-11, figureColours[i])
	fmt.Fprintf(w, `<text x="%d" y="%d">%s</text><text x="%d" y="%d" fill="#555">p99.9 %.1f, max %.1f us</text>`+"\n",
		legendLeft+18, y, f.Name, legendLeft+18, y+16, us(f.P999), us(f.Max))
}

// strokeWidth of a figure's outline, pixels: one that a later figure may cover
// whole shows on both sides of it.
func strokeWidth(i int) float64 {
	if i == rxSched || i == txSched {
		return 4
	}
	return 1.5
}
