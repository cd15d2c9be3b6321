package bench

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/oobnet/oobnet/cmd/oobnet/internal/report"
)

// fixed is a contender whose turns return the given figures one after the other.
func fixed(name string, log *[]string, v ...float64) contender {
	return contender{name: name, setUp: func(context.Context) (turn, func(), error) {
		return func(context.Context, time.Duration) (figures, error) {
			*log = append(*log, name)
			f := figures{"ns": v[0]}
			v = v[1:]
			return f, nil
		}, func() { *log = append(*log, "down "+name) }, nil
	}}
}

func newRecord() *Record {
	return &Record{RoundRatios: map[string]float64{}, Samples: map[string][]float64{}}
}

func TestContestInterleavesAndTakesMedians(t *testing.T) {
	var log []string
	rec := newRecord()
	c := contest{suite: "s", name: "c",
		contenders: []contender{fixed("ours", &log, 10, 30, 20), fixed("peer", &log, 100, 100, 400)},
		rows:       []rowSpec{{name: "r", unit: "ns", metric: "ns", ours: "ours", peer: "peer", goal: report.Goal(0.2)}},
	}
	if err := rec.contest(t.Context(), c, Options{Rounds: 3, Progress: discard{}}); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(log, " "); got != "ours peer peer ours ours peer down peer down ours" {
		t.Errorf("order %q", got)
	}
	r := rec.Rows[0]
	if r.Ours != 20 || r.PeerValue != 100 || *r.Ratio != 0.2 || !r.OK || r.Peer != "peer" {
		t.Errorf("%+v", r)
	}
	if got := rec.RoundRatios["s/r/peer"]; got != 0.1 {
		t.Errorf("median of round ratios %v, want 0.1 of 0.1, 0.3, 0.05", got)
	}
	if got := rec.Samples["s/c/ours/ns"]; len(got) != 3 {
		t.Errorf("samples %v", got)
	}
}

func TestContestWithoutAPeerGoesOn(t *testing.T) {
	var log []string
	rec := newRecord()
	absent := contender{name: "absent", setUp: func(context.Context) (turn, func(), error) {
		return nil, nil, errSkip{"not installed: apt install it"}
	}}
	c := contest{suite: "s", name: "c", contenders: []contender{fixed("ours", &log, 1), absent, fixed("peer", &log, 2)},
		rows: []rowSpec{
			{name: "a", metric: "ns", ours: "ours", peer: "absent"},
			{name: "b", metric: "ns", ours: "ours", peer: "peer"},
		}}
	if err := rec.contest(t.Context(), c, Options{Rounds: 1, Progress: discard{}}); err != nil {
		t.Fatal(err)
	}
	if len(rec.Rows) != 1 || rec.Rows[0].Name != "b" {
		t.Errorf("rows %+v", rec.Rows)
	}
	if len(rec.Skipped) != 1 || !strings.Contains(rec.Skipped[0], "apt install") {
		t.Errorf("skipped %q", rec.Skipped)
	}
}

func TestContestStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var downs int
	c := contest{suite: "s", name: "c", contenders: []contender{{name: "ours", setUp: func(context.Context) (turn, func(), error) {
		return func(context.Context, time.Duration) (figures, error) {
			cancel()
			return nil, errors.New("broken off")
		}, func() { downs++ }, nil
	}}}}
	err := newRecord().contest(ctx, c, Options{Rounds: 5, Progress: discard{}})
	if !errors.Is(err, context.Canceled) || downs != 1 {
		t.Errorf("error %v, torn down %d times", err, downs)
	}
}

func TestRunRefusesNonsense(t *testing.T) {
	if _, err := Run(t.Context(), Options{Rounds: 0}); err == nil || !strings.Contains(err.Error(), "at least 1") {
		t.Errorf("0 rounds: %v", err)
	}
	if _, err := Run(t.Context(), Options{Rounds: 1, Suites: []string{"nope"}}); err == nil || !strings.Contains(err.Error(), "loopback") {
		t.Errorf("unknown suite: %v", err)
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		v    []float64
		want float64
	}{{[]float64{3}, 3}, {[]float64{4, 1}, 2.5}, {[]float64{9, 1, 5}, 5}} {
		if got := median(c.v); got != c.want {
			t.Errorf("median %v: %v, want %v", c.v, got, c.want)
		}
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
