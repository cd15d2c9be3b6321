package metrics

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/oobnet/oobnet/stack"
	"github.com/oobnet/oobnet/stats"
)

// Config of a collector; nil and the zero value mean the defaults.
type Config struct {
	// Labels are put on all metrics: two stacks of one program need some to be
	// told apart in one registry.
	Labels map[string]string
	// Sockets adds metrics of each open socket, by its addresses. They cost a
	// scrape some microseconds a socket, and Prometheus four series; what all
	// sockets counted together is there without.
	Sockets bool
}

// Collector is a prometheus.Collector of one stack. Any number of scrapes may
// run at once.
type Collector struct {
	stack    *stack.Stack
	sockets  bool
	families families
	all      []*family
}

var _ prometheus.Collector = (*Collector)(nil)

// New makes a collector. The stack may be closed before it: then there are no
// devices to tell of. An invalid label in the config shows as an error of
// Register.
func New(s *stack.Stack, cfg *Config) *Collector {
	if cfg == nil {
		cfg = new(Config)
	}
	c := &Collector{stack: s, sockets: cfg.Sockets}
	c.all = c.families.list(cfg.Labels)
	return c
}

// Handler serves the metrics of a stack, and no others. It does not compress
// them: that would take as long as all the rest. When a collection fails, the
// answer is 500, with the error.
func Handler(s *stack.Stack, cfg *Config) http.Handler {
	registry := prometheus.NewRegistry()
	if err := registry.Register(New(s, cfg)); err != nil {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "metrics: "+err.Error(), http.StatusInternalServerError)
		})
	}
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{DisableCompression: true})
}

// Describe sends what there can be.
func (c *Collector) Describe(to chan<- *prometheus.Desc) {
	for _, f := range c.all {
		to <- f.desc
	}
}

// Collect takes a snapshot and sends it.
func (c *Collector) Collect(to chan<- prometheus.Metric) {
	take := stats.Summary
	if c.sockets {
		take = stats.Take
	}
	s := take(c.stack)
	g := &gathering{families: &c.families, to: to}
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
	to chan<- prometheus.Metric
}

func (g *gathering) send(m prometheus.Metric, err error, f *family) {
	if err != nil {
		m = prometheus.NewInvalidMetric(f.desc, err)
	}
	g.to <- m
}

func (g *gathering) value(f *family, v float64, labels ...string) {
	m, err := prometheus.NewConstMetric(f.desc, f.kind, v, labels...)
	g.send(m, err, f)
}

func (g *gathering) count(f *family, n uint64, labels ...string) { g.value(f, float64(n), labels...) }
func (g *gathering) size(f *family, n int, labels ...string)     { g.value(f, float64(n), labels...) }

// reasons sends those that can be, at 0 too, so that rates begin with the first
// frame, and those that were.
func (g *gathering) reasons(f *family, r *stats.Reasons, expected func(stack.Reason) bool, labels ...string) {
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
