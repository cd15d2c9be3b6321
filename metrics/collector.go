package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/oobnet/oobnet/metrics/internal/gather"
	"github.com/oobnet/oobnet/stack"
)

// Config of a collector; nil and the zero value mean the defaults.
type Config struct {
	// Labels are put on all metrics: two stacks of one program need some to be
	// told apart in one registry.
	Labels map[string]string
	// Sockets adds metrics of each open socket, by its addresses. They cost a
	// scrape some 7 us a socket, so that the limit of a millisecond does not hold
	// with many, and Prometheus four series; what all sockets counted together is
	// there without.
	Sockets bool
}

// Collector is a prometheus.Collector of one stack. Any number of scrapes may
// run at once.
type Collector struct {
	stack    *stack.Stack
	sockets  bool
	families *gather.Families
	descs    []*prometheus.Desc // by the families' numbers
}

var _ prometheus.Collector = (*Collector)(nil)

// New makes a collector. The stack may be closed before it: then there are no
// devices to tell of. An invalid label in the config shows as an error of
// Register.
func New(s *stack.Stack, cfg *Config) *Collector {
	if cfg == nil {
		cfg = new(Config)
	}
	c := &Collector{stack: s, sockets: cfg.Sockets, families: gather.New()}
	for _, f := range c.families.All {
		c.descs = append(c.descs, prometheus.NewDesc(f.Name, f.Help, f.Labels, cfg.Labels))
	}
	return c
}

// Describe sends what there can be.
func (c *Collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		to <- d
	}
}

// Collect takes a snapshot and sends it.
func (c *Collector) Collect(to chan<- prometheus.Metric) {
	c.families.Collect(c.stack, c.sockets, sink{c, to})
}

// sink sends what is gathered.
type sink struct {
	*Collector
	to chan<- prometheus.Metric
}

func (s sink) send(f *gather.Family, m prometheus.Metric, err error) {
	if err != nil {
		m = prometheus.NewInvalidMetric(s.descs[f.Number], err)
	}
	s.to <- m
}

// Value implements gather.Sink.
func (s sink) Value(f *gather.Family, v float64, labels ...string) {
	kind := prometheus.GaugeValue
	if f.Kind == gather.Counter {
		kind = prometheus.CounterValue
	}
	m, err := prometheus.NewConstMetric(s.descs[f.Number], kind, v, labels...)
	s.send(f, m, err)
}

// Histogram implements gather.Sink.
func (s sink) Histogram(f *gather.Family, bounds []float64, upTo []uint64, sum float64, labels ...string) {
	buckets := make(map[float64]uint64, len(bounds))
	for i, bound := range bounds {
		buckets[bound] = upTo[i]
	}
	m, err := prometheus.NewConstHistogram(s.descs[f.Number], upTo[len(bounds)], sum, buckets, labels...)
	s.send(f, m, err)
}
