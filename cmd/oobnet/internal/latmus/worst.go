package latmus

import (
	"cmp"
	"fmt"
	"math"
	"runtime/debug"
	"slices"
	"time"

	"github.com/oobnet/oobnet/stack"
)

// Step is a part of an exchange: from one point of time to the next.
type Step struct {
	Name string `json:"name"`
	NS   int64  `json:"ns"`
}

// Exchange is one of the worst, explained.
type Exchange struct {
	// Kind is "in", "out" or "round trip".
	Kind     string `json:"kind"`
	Sequence uint64 `json:"sequence"`
	// At is when it began, seconds since the run did.
	At      float64 `json:"at_seconds"`
	TotalNS int64   `json:"total_ns"`
	Steps   []Step  `json:"steps"`
	// Causes that fell into it, or may have: they say which. Empty: none can be seen
	// from here.
	Causes []string `json:"causes"`

	begin, end int64
	switches   int64
	// echoSwitches are those of the thread that answered, where that is known.
	echoSwitches int64
}

// Longest step of the exchange.
func (e *Exchange) Longest() Step {
	return slices.MaxFunc(e.Steps, func(a, b Step) int { return cmp.Compare(a.NS, b.NS) })
}

// path makes an exchange of points of time; those that are 0 were not taken.
func path(kind string, seq uint64, begin int64, switches int64, points ...point) *Exchange {
	e := &Exchange{Kind: kind, Sequence: seq, begin: begin, switches: switches}
	at := begin
	for _, p := range points {
		if p.at == 0 {
			continue
		}
		e.Steps = append(e.Steps, Step{p.step, p.at - at})
		at = p.at
	}
	e.end, e.TotalNS = at, at-begin
	return e
}

// point is a moment, and the name of the step that ends with it.
type point struct {
	step string
	at   int64
}

func sendPoints(d *departure, s *stack.IOTimes) []point {
	return []point{
		{"wake-up of the sender", d.actual}, {"sender's own work", d.begun}, {"send to delivery", s.Delivery},
		{"delivery to queuing", s.Queuing}, {"queuing to device", s.Device},
	}
}

func readPoints(a *arrival) []point {
	return []point{
		{"device to queuing", a.times.Queuing}, {"queuing to delivery", a.times.Delivery}, {"delivery to read", a.read},
	}
}

// outward is from the activation's time to the link.
func outward(d *departure, s *stack.IOTimes) *Exchange {
	return path("out", d.seq, d.planned, d.gone-d.asleep, sendPoints(d, s)...)
}

// inward is from the link to the application.
func inward(a *arrival) *Exchange {
	if a.times.Device == 0 {
		return nil
	}
	return path("in", a.seq, a.times.Device, a.switches-a.waited, readPoints(a)...)
}

// around is from the send to the read of the answer, as the figure is. What the
// echo knows is nil where it is not in this process. manual: one thread sends and
// receives.
func around(d *departure, s *stack.IOTimes, echo *answer, a *arrival, manual bool) *Exchange {
	points := sendPoints(d, s)[2:]
	if echo != nil && echo.came != 0 {
		points = append(points, point{"wire to the echo", echo.came}, point{"echo", min(echo.left, a.times.Device)}, point{"wire back", a.times.Device})
	} else {
		points = append(points, point{"wire, echo and back", a.times.Device})
	}
	switches := d.gone - d.ready
	switch {
	case !manual:
		switches += a.switches - a.waited
	case a.times.Device != 0: // else another thread had it, which counts nothing
		switches = a.switches - d.ready
	}
	e := path("round trip", d.seq, d.begun, switches, append(points, readPoints(a)...)...)
	if echo != nil {
		e.echoSwitches = echo.switches
	}
	return e
}

// worst keeps the longest exchanges.
type worst struct {
	limit int
	list  []*Exchange // longest first
	// fresh are those that are not explained yet.
	fresh []*Exchange
}

func (w *worst) offer(e *Exchange) {
	if e == nil || w.limit == 0 || len(w.list) == w.limit && e.TotalNS <= w.list[w.limit-1].TotalNS {
		return
	}
	i, _ := slices.BinarySearchFunc(w.list, e, func(a, b *Exchange) int { return cmp.Compare(b.TotalNS, a.TotalNS) })
	w.list = slices.Insert(w.list, i, e)
	if len(w.list) > w.limit {
		w.list = w.list[:w.limit]
	}
	w.fresh = append(w.fresh, e)
}

// pause of the whole program, CLOCK_MONOTONIC ns.
type pause struct{ begin, end int64 }

// pauses that the collector of garbage has made lately, 256 at most. The runtime
// tells one time for each collection, that of its last stop, and one length, of
// both: so these are the last stops, and begin too early rather than too late. Of
// the first stops, and of those that are not the collector's, looks know the number.
func pauses() (out []pause) {
	var st debug.GCStats
	debug.ReadGCStats(&st)
	// The thread may lose its core between the two readings: of several, the one
	// with the least between them is right.
	offset := int64(math.MinInt64)
	for range 4 {
		offset = max(offset, stack.Now()-time.Now().UnixNano())
	}
	for i, end := range st.PauseEnd {
		e := end.UnixNano() + offset
		out = append(out, pause{e - int64(st.Pause[i]), e})
	}
	return out
}

// explain looks what fell into the exchanges that are new, or near them. Stops of the
// world near one that are too short for a tenth of it are no cause.
func (w *worst) explain(l *looks, started int64) {
	if len(w.fresh) == 0 {
		return
	}
	all := pauses()
	for _, e := range w.fresh {
		e.At = float64(e.begin-started) / 1e9
		e.Causes = []string{}
		near := l.near(e.begin, e.end)
		span := time.Duration(near.done - near.begun).Round(time.Millisecond)
		stopped := false
		for _, p := range all {
			if p.begin < e.end && p.end > e.begin {
				stopped = true
				e.Causes = append(e.Causes, fmt.Sprintf("garbage collection stopped the world for %v at most", time.Duration(p.end-p.begin)))
			}
		}
		if n := near.collections + near.others; near.stoppedFor() >= e.TotalNS/10 && n > 0 && !stopped {
			e.Causes = append(e.Causes, fmt.Sprintf("perhaps a stop of the world: %d within %v, %d of them for garbage collection, the longest below %v",
				n, span, near.collections, near.longest))
		}
		if e.switches > 0 {
			e.Causes = append(e.Causes, fmt.Sprintf("preempted: %d involuntary switches of the thread", e.switches))
		}
		if e.echoSwitches > 0 {
			e.Causes = append(e.Causes, fmt.Sprintf("the echo was preempted: %d involuntary switches of its thread since it began to wait", e.echoSwitches))
		}
		if near.demoted > 0 {
			e.Causes = append(e.Causes, fmt.Sprintf("%d demotions within %v", near.demoted, span))
		}
	}
	w.fresh = w.fresh[:0]
}
