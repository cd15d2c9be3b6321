package latmus

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/oobnet/oobnet/cmd/oobnet/internal/hist"
	"github.com/oobnet/oobnet/cmd/oobnet/internal/machine"
	"github.com/oobnet/oobnet/rt"
)

// Figure is one column of a report, times in ns.
type Figure struct {
	Name  string  `json:"name"`
	Count uint64  `json:"count"`
	Min   int64   `json:"min"`
	Mean  float64 `json:"mean"`
	P50   int64   `json:"p50"`
	P99   int64   `json:"p99"`
	P999  int64   `json:"p999"`
	Max   int64   `json:"max"`

	cells []uint64
	hist  *hist.Histogram
}

// Report is what a run found: the object that --json prints.
type Report struct {
	Mode      string  `json:"mode"`
	Context   string  `json:"context"` // latmus's word for it
	Interface string  `json:"interface"`
	Link      string  `json:"link"`
	Addr      string  `json:"addr"`
	Peer      string  `json:"peer,omitempty"`
	VLAN      uint16  `json:"vlan,omitempty"`
	Poll      string  `json:"poll"`
	PeriodNS  int64   `json:"period_ns"`
	Size      int     `json:"size"`
	Priority  int     `json:"priority"`
	Stress    string  `json:"stress,omitempty"`
	Seconds   float64 `json:"seconds"`

	Sent     uint64 `json:"sent"`
	Received uint64 `json:"received"`
	// Lost never came; Late came after a later one; Duplicates came twice. BadCRC
	// are packets with a wrong CRC or form.
	Lost       uint64 `json:"lost"`
	Late       uint64 `json:"late"`
	Duplicates uint64 `json:"duplicates"`
	BadCRC     uint64 `json:"bad_crc"`
	SendErrors uint64 `json:"send_errors"`
	FirstError string `json:"first_error,omitempty"`
	// InBand are packets that have no times, because they went in-band; Odd are
	// figures below 0; Unlogged what the measurement itself lost, for want of room;
	// Unmatched answers and times of sends whose departure it does not know.
	InBand    uint64 `json:"in_band"`
	Odd       uint64 `json:"odd"`
	Unlogged  uint64 `json:"unlogged"`
	Unmatched uint64 `json:"unmatched"`
	// Overruns are activations that were left out.
	Overruns uint64 `json:"overruns"`
	Demoted  uint64 `json:"demoted"`
	// Collections of garbage while it ran.
	Collections uint32 `json:"collections"`

	Figures []Figure    `json:"figures_ns"`
	Worst   []*Exchange `json:"worst"`
	// KernelSent went through sockets of the kernel, KernelLost were not answered.
	KernelSent uint64 `json:"kernel_sent,omitempty"`
	KernelLost uint64 `json:"kernel_lost,omitempty"`
	// Ratio of the p99.9 and of the worst round trip to the kernel's.
	P999Ratio float64 `json:"p999_to_kernel,omitempty"`
	MaxRatio  float64 `json:"max_to_kernel,omitempty"`

	Refused     []string        `json:"refused,omitempty"`
	Environment rt.Env          `json:"environment"`
	Machine     machine.Machine `json:"machine"`
	// CommandLine of the kernel, and settings of the interface that matter.
	CommandLine string            `json:"kernel_command_line,omitempty"`
	NIC         map[string]string `json:"nic,omitempty"`

	started time.Time
}

// addFigures takes the figures that were measured.
func (r *Report) addFigures(t *tally, o *Options) {
	for i := range nFigures {
		if i == roundTrip && !o.RTT || i == kernelTrip && !o.Kernel {
			continue
		}
		h := &t.figures[i]
		r.Figures = append(r.Figures, Figure{
			Name: figureNames[i], Count: h.Count(), Min: h.Min(), Mean: h.Mean(),
			P50: h.Quantile(0.5), P99: h.Quantile(0.99), P999: h.Quantile(0.999), Max: h.Max(),
			cells: t.cells[i], hist: h,
		})
	}
	ours, kernel := &t.figures[roundTrip], &t.figures[kernelTrip]
	if o.Kernel && kernel.Count() > 0 {
		r.P999Ratio = float64(ours.Quantile(0.999)) / float64(max(kernel.Quantile(0.999), 1))
		r.MaxRatio = float64(ours.Max()) / float64(max(kernel.Max(), 1))
	}
}

// WriteHDR writes the histograms as an HdrHistogram log, one tagged line each.
func (r *Report) WriteHDR(w io.Writer) error {
	lw := hdrhistogram.NewHistogramLogWriter(w)
	if err := lw.OutputLogFormatVersion(); err != nil {
		return err
	}
	start := r.started.UnixMilli()
	if err := lw.OutputStartTime(start); err != nil {
		return err
	}
	if err := lw.OutputLegend(); err != nil {
		return err
	}
	for _, f := range r.Figures {
		h := f.hist.Export()
		h.SetTag(strings.ReplaceAll(f.Name, " ", "_"))
		h.SetStartTimeMs(start)
		h.SetEndTimeMs(start + int64(r.Seconds*1000))
		if err := lw.OutputIntervalHistogram(h); err != nil {
			return err
		}
	}
	return nil
}

// WriteText writes the report for people.
func (r *Report) WriteText(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "us\tcount\tmin\tmean\tp50\tp99\tp99.9\tmax\t")
	for _, f := range r.Figures {
		fmt.Fprintf(tw, "%s\t%d\t%.3f\t%.3f\t%.3f\t%.3f\t%.3f\t%.3f\t\n", f.Name, f.Count,
			us(f.Min), f.Mean/1000, us(f.P50), us(f.P99), us(f.P999), us(f.Max))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "sent %d, received %d, lost %d, late %d, duplicates %d, bad CRC %d, in-band %d, demoted %d, overruns %d, collections %d\n",
		r.Sent, r.Received, r.Lost, r.Late, r.Duplicates, r.BadCRC, r.InBand, r.Demoted, r.Overruns, r.Collections)
	if r.SendErrors > 0 {
		fmt.Fprintf(w, "send errors %d, the first: %s\n", r.SendErrors, r.FirstError)
	}
	if r.Unlogged+r.Unmatched > 0 {
		fmt.Fprintf(w, "the measurement missed %d for want of room, and could not match %d: these are not in the figures\n", r.Unlogged, r.Unmatched)
	}
	if r.MaxRatio > 0 {
		fmt.Fprintf(w, "to kernel sockets: p99.9 %.2f, worst %.2f; theirs sent %d, lost %d\n", r.P999Ratio, r.MaxRatio, r.KernelSent, r.KernelLost)
	}
	for _, s := range r.Refused {
		fmt.Fprintf(w, "refused: %s\n", s)
	}
	for _, e := range r.Worst {
		fmt.Fprintf(w, "worst: %s\n", e)
	}
	return nil
}

// String is the exchange in one line.
func (e *Exchange) String() string {
	var steps []string
	for _, s := range e.Steps {
		steps = append(steps, fmt.Sprintf("%s %.3f", s.Name, us(s.NS)))
	}
	causes := "no cause seen from here"
	if len(e.Causes) > 0 {
		causes = strings.Join(e.Causes, "; ")
	}
	return fmt.Sprintf("%s %d at %.3f s: %.3f us (%s): %s", e.Kind, e.Sequence, e.At, us(e.TotalNS), strings.Join(steps, ", "), causes)
}

// barWidth of a text histogram, characters.
const barWidth = 60

// WriteHistogram draws a text histogram of each figure: rows of doubling width,
// bars by the count's share of the fullest.
func (r *Report) WriteHistogram(w io.Writer) error {
	for _, f := range r.Figures {
		rows := map[int]uint64{}
		var most uint64
		for b := range f.hist.Buckets() {
			// Four rows an octave tell shapes apart and fit a screen.
			k := row(b.Low)
			rows[k] += b.Count
			most = max(most, rows[k])
		}
		if _, err := fmt.Fprintf(w, "%s, us\n", f.Name); err != nil {
			return err
		}
		for _, k := range slices.Sorted(maps.Keys(rows)) {
			n := rows[k]
			fmt.Fprintf(w, "%10.3f |%-*s %d\n", us(rowStart(k)), barWidth, strings.Repeat("#", int((n*barWidth+most-1)/most)), n)
		}
	}
	return nil
}
