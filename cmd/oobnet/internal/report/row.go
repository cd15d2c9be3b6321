// Package report is what a bench run says: rows of figures against a peer's,
// as a table for people and as JSON for programs.
package report

import (
	"encoding/json"
	"math"
)

// Row compares one figure of ours with one of a peer. Its JSON form is the
// interface of `oobnet bench --json`.
type Row struct {
	// Suite is one of bench.Suites; Name is the figure's, and with Peer it
	// is unique in a suite.
	Suite string `json:"suite"`
	Name  string `json:"name"`
	Unit  string `json:"unit"`
	// Ours and PeerValue are medians over the rounds, in Unit.
	Ours      float64 `json:"ours"`
	Peer      string  `json:"peer"`
	PeerValue float64 `json:"peer_value"`
	// Ratio is Ours/PeerValue; absent when PeerValue is 0.
	Ratio *float64 `json:"ratio"`
	// Goal bounds Ratio: from above, or from below when More is set. Absent:
	// the row only informs.
	Goal *float64 `json:"goal"`
	OK   bool     `json:"ok"`
	// More says that a larger figure is the better one (packets a second).
	More bool `json:"-"`
}

// New makes a row and judges it. A nil goal makes an informing row.
func New(suite, name, unit, peer string, ours, peerValue float64, goal *float64, more bool) Row {
	r := Row{Suite: suite, Name: name, Unit: unit, Ours: round(ours), Peer: peer, PeerValue: round(peerValue), Goal: goal, More: more}
	if peerValue != 0 {
		ratio := ours / peerValue
		r.Ratio = &ratio
	}
	r.OK = r.meets()
	return r
}

// meets judges the ratio. Without a peer's figure nothing is proved, so a goal
// counts as missed: unless the goal and our figure are both 0, as for
// allocations.
func (r Row) meets() bool {
	switch {
	case r.Goal == nil:
		return true
	case r.Ratio == nil:
		return *r.Goal == 0 && r.Ours == 0
	case r.More:
		return *r.Ratio >= *r.Goal
	}
	return *r.Ratio <= *r.Goal
}

// round keeps five significant digits: more is noise in every figure here.
func round(v float64) float64 {
	if v == 0 || math.IsNaN(v) || math.IsInf(v, 0) {
		return 0
	}
	scale := math.Pow(10, 4-math.Floor(math.Log10(math.Abs(v))))
	return math.Round(v*scale) / scale
}

// Goal makes a row's goal.
func Goal(v float64) *float64 { return &v }

// Missed counts the rows that have a goal and miss it.
func Missed(rows []Row) int {
	n := 0
	for _, r := range rows {
		if !r.OK {
			n++
		}
	}
	return n
}

// MarshalJSON writes the ratio with four digits, as the table shows it.
func (r Row) MarshalJSON() ([]byte, error) {
	type plain Row
	p := plain(r)
	if r.Ratio != nil {
		v := round(*r.Ratio)
		p.Ratio = &v
	}
	if r.Goal != nil {
		v := round(*r.Goal)
		p.Goal = &v
	}
	return json.Marshal(p)
}
