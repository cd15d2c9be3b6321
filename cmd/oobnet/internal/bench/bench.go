// Package bench measures our paths against those of peers: contenders take
// turns, round by round in one run, so that what the machine does meanwhile
// (frequency, neighbours, temperature) meets them all.
package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/oobnet/oobnet/cmd/oobnet/internal/machine"
	"github.com/oobnet/oobnet/cmd/oobnet/internal/report"
)

// Options of a run.
type Options struct {
	// Suites to run, of Suites; none means all.
	Suites []string
	// Rounds of each contest, at least 1.
	Rounds int
	// Turn is how long one contender measures in one round.
	Turn time.Duration
	// Only keeps the contests that have a row of one of these names; none
	// means all.
	Only []string
	// Progress receives one line a contest and what was skipped; nil for none.
	Progress io.Writer
}

// Suites in the order they run.
var Suites = []string{"loopback", "raw", "scale", "filter", "queueing", "vfio", "veth"}

// figures are what a contender measured in one turn, by metric.
type figures map[string]float64

// contender is one side of a contest.
type contender struct {
	name string
	// setUp prepares what all rounds share, and returns the turn and the
	// undoing. Contenders are set up one after the other before the first
	// round; those that must not coexist set up inside their turn.
	setUp func(ctx context.Context) (turn, func(), error)
}

// turn measures for about d and returns the figures.
type turn func(ctx context.Context, d time.Duration) (figures, error)

// boundOf is no contender, but a number to keep to, without an allocation.
func boundOf(ns float64) contender {
	return contender{name: "bound", setUp: func(context.Context) (turn, func(), error) {
		return func(context.Context, time.Duration) (figures, error) { return figures{"ns": ns, "allocs": 0}, nil }, func() {}, nil
	}}
}

// rowSpec makes one row from a contest's figures.
type rowSpec struct {
	name, unit string
	metric     string
	peerMetric string // of the peer; empty: metric
	ours, peer string // names of contenders
	peerLabel  string // of the row; empty: the contender's name
	goal       *float64
	more       bool
}

// contest is a set of contenders that take turns, and the rows made of it.
type contest struct {
	suite, name string
	contenders  []contender
	rows        []rowSpec
}

// Record is all that a run found: what --out writes.
type Record struct {
	Started time.Time       `json:"started"`
	Seconds float64         `json:"seconds"`
	Command []string        `json:"command"`
	Rounds  int             `json:"rounds"`
	TurnMS  int64           `json:"turn_ms"`
	Machine machine.Machine `json:"machine"`
	Rows    []report.Row    `json:"rows"`
	// RoundRatios is, by "suite/name/peer", the median of the ratios of single
	// rounds: where it is far from the row's ratio of medians the machine was
	// not steady, and neither figure should be believed.
	RoundRatios map[string]float64 `json:"round_ratios"`
	// Samples are the figures of each round, by "suite/contest/contender/metric".
	Samples map[string][]float64 `json:"samples"`
	Skipped []string             `json:"skipped,omitempty"`
}

// errSkip wraps the reason for which a contest or a contender cannot run here.
type errSkip struct{ reason string }

func (e errSkip) Error() string { return e.reason }

// Run runs the suites. On an error, or when ctx ends, it returns what it has
// measured until then too.
func Run(ctx context.Context, o Options) (*Record, error) {
	if o.Rounds < 1 {
		return nil, fmt.Errorf("bench: %d rounds: want at least 1", o.Rounds)
	}
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	names := o.Suites
	if len(names) == 0 {
		names = Suites
	}
	rec := &Record{
		Started: time.Now(), Rounds: o.Rounds, TurnMS: o.Turn.Milliseconds(), Machine: machine.Describe(),
		RoundRatios: map[string]float64{}, Samples: map[string][]float64{},
	}
	defer func() { rec.Seconds = time.Since(rec.Started).Seconds() }()
	for _, name := range names {
		if err := rec.suite(ctx, name, o); err != nil {
			return rec, err
		}
	}
	return rec, nil
}

func (rec *Record) suite(ctx context.Context, name string, o Options) error {
	contests, tearDown, err := openSuite(name)
	if skip := (errSkip{}); errors.As(err, &skip) {
		rec.skip(o, name, skip)
		return nil
	}
	if err != nil {
		return fmt.Errorf("bench: %s: %w", name, err)
	}
	defer tearDown()
	for _, c := range contests {
		if !c.wanted(o.Only) {
			continue
		}
		if err := rec.contest(ctx, c, o); err != nil {
			return fmt.Errorf("bench: %s: %s: %w", name, c.name, err)
		}
	}
	return nil
}

// openSuite returns a suite's contests, and what gives back what they share.
func openSuite(name string) ([]contest, func(), error) {
	switch name {
	case "loopback":
		return loopbackSuite(), func() {}, nil
	case "raw":
		return rawSuite(), func() {}, nil
	case "scale":
		return scaleSuite(), func() {}, nil
	case "filter":
		return filterSuite(), func() {}, nil
	case "queueing":
		return queueingSuite(), func() {}, nil
	case "vfio":
		return vfioSuite()
	case "veth":
		return vethSuite()
	}
	return nil, nil, fmt.Errorf("no such suite: one of %q", Suites)
}

func (c contest) wanted(only []string) bool {
	return len(only) == 0 || slices.ContainsFunc(c.rows, func(r rowSpec) bool { return slices.Contains(only, r.name) })
}

// contest runs all rounds and makes the rows.
func (rec *Record) contest(ctx context.Context, c contest, o Options) error {
	turns := map[string]turn{}
	for _, side := range c.contenders {
		t, tearDown, err := side.setUp(ctx)
		if skip := (errSkip{}); errors.As(err, &skip) {
			rec.skip(o, c.suite+"/"+c.name+"/"+side.name, skip)
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", side.name, err)
		}
		defer tearDown()
		turns[side.name] = t
	}
	fmt.Fprintf(o.Progress, "%s/%s: %d rounds of %d contenders\n", c.suite, c.name, o.Rounds, len(turns))
	samples := map[string][]figures{}
	for round := range o.Rounds {
		for i := range c.contenders {
			// The order turns round by round: being first is no advantage.
			name := c.contenders[(i+round)%len(c.contenders)].name
			t, ok := turns[name]
			if !ok {
				continue
			}
			f, err := t(ctx, o.Turn)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				return fmt.Errorf("%s, round %d: %w", name, round+1, err)
			}
			samples[name] = append(samples[name], f)
			for metric, v := range f {
				key := c.suite + "/" + c.name + "/" + name + "/" + metric
				rec.Samples[key] = append(rec.Samples[key], v)
			}
		}
	}
	rec.addRows(c, samples)
	return nil
}

func (rec *Record) skip(o Options, what string, why errSkip) {
	line := what + ": " + why.reason
	rec.Skipped = append(rec.Skipped, line)
	fmt.Fprintf(o.Progress, "skipped %s\n", line)
}

func (rec *Record) addRows(c contest, samples map[string][]figures) {
	for _, spec := range c.rows {
		peerMetric := spec.peerMetric
		if peerMetric == "" {
			peerMetric = spec.metric
		}
		ours, peer := series(samples[spec.ours], spec.metric), series(samples[spec.peer], peerMetric)
		if len(ours) == 0 || len(peer) == 0 {
			continue
		}
		label := spec.peerLabel
		if label == "" {
			label = spec.peer
		}
		rec.Rows = append(rec.Rows, report.New(c.suite, spec.name, spec.unit, label, median(ours), median(peer), spec.goal, spec.more))
		if r, ok := medianRatio(ours, peer); ok {
			rec.RoundRatios[c.suite+"/"+spec.name+"/"+label] = r
		}
	}
}

// series picks one metric out of the rounds.
func series(rounds []figures, metric string) []float64 {
	var out []float64
	for _, f := range rounds {
		if v, ok := f[metric]; ok {
			out = append(out, v)
		}
	}
	return out
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// medianRatio is the median over rounds of ours to peer.
func medianRatio(ours, peer []float64) (float64, bool) {
	var r []float64
	for i := range min(len(ours), len(peer)) {
		if peer[i] != 0 {
			r = append(r, ours[i]/peer[i])
		}
	}
	if len(r) == 0 {
		return 0, false
	}
	return median(r), true
}
