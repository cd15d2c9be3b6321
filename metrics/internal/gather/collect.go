// Package gather turns what a stack has counted into metrics: names, labels and
// values, for whoever shows them.
package gather

import (
	"strconv"
	"strings"

	"github.com/oobnet/oobnet/stack"
	"github.com/oobnet/oobnet/stats"
)

// Sink takes the values of one collection. Of one family and one set of labels
// there is one. What it is given is its own only during the call.
type Sink interface {
	Value(f *Family, v float64, labels ...string)
	// Histogram has how many values were at most each bound, then all of them,
	// and their sum.
	Histogram(f *Family, bounds []float64, upTo []uint64, sum float64, labels ...string)
}

// Families are all that there can be. They may be used by any number of
// goroutines at once.
type Families struct {
	families
	// All of them, in the order in which they are shown.
	All []*Family
}

// New makes them.
func New() *Families {
	f := new(Families)
	f.All = f.list()
	return f
}

// Collect takes a snapshot, with each socket if sockets is set, and gives it to a
// sink.
func (f *Families) Collect(from *stack.Stack, sockets bool, to Sink) {
	take := stats.Summary
	if sockets {
		take = stats.Take
	}
	s := take(from)
	g := &gathering{families: &f.families, to: to}
	devices, ports := namesakes{}, namesakes{}
	for i := range s.Devices {
		g.device(&s.Devices[i], devices.name(s.Devices[i].Name))
	}
	for i := range s.Ports {
		p := &s.Ports[i]
		name := ports.name(p.Name)
		g.count(g.portRXPackets, p.RXPackets, name)
		g.count(g.portRXBytes, p.RXBytes, name)
		g.count(g.portTXPackets, p.TXPackets, name)
		g.count(g.portTXBytes, p.TXBytes, name)
	}
	for i := range s.Protocols {
		g.protocol(&s.Protocols[i])
	}
	g.eachSocket(s.Sockets)
	g.stack(&s.Stack)
}

// gathering is one collection.
type gathering struct {
	*families
	to Sink
}

func (g *gathering) value(f *Family, v float64, labels ...string) { g.to.Value(f, v, labels...) }
func (g *gathering) count(f *Family, n uint64, labels ...string)  { g.value(f, float64(n), labels...) }
func (g *gathering) size(f *Family, n int, labels ...string)      { g.value(f, float64(n), labels...) }

// reasons sends those that can be, at 0 too, so that rates begin with the first
// frame, and those that were.
func (g *gathering) reasons(f *Family, r *stats.Reasons, expected func(stack.Reason) bool, labels ...string) {
	for i, n := range r {
		if n != 0 || expected(stack.Reason(i)) {
			g.count(f, n, append(labels, stack.Reason(i).String())...)
		}
	}
}

func demotes(r stack.Reason) bool { return r >= stack.ReasonARP }
func drops(r stack.Reason) bool   { return r < stack.ReasonARP }
func never(stack.Reason) bool     { return false }

// namesakes tells apart what has one name: a program may give it to two links,
// and Prometheus takes no two series with the same labels.
type namesakes map[string]int

func (n namesakes) name(s string) string {
	s = strings.ToValidUTF8(s, "?")
	n[s]++
	if n[s] == 1 {
		return s
	}
	return s + "#" + strconv.Itoa(n[s])
}
