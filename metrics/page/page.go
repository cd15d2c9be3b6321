// Package page shows a stack to Prometheus on a page of its own, in the text
// format, without a library: it is for programs that have no other metrics, and to
// which five megabytes of code matter. The metrics are those of package metrics.
//
//	http.Handle("/metrics", page.Handler(s, nil))
//
// Source: the text-based exposition format, version 0.0.4
// (https://prometheus.io/docs/instrumenting/exposition_formats/).
package page

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/oobnet/oobnet/metrics/internal/gather"
	"github.com/oobnet/oobnet/stack"
)

// Config of a page; nil and the zero value mean the defaults.
type Config struct {
	// Labels are put on all metrics.
	Labels map[string]string
	// Sockets adds metrics of each open socket, by its addresses: some 2 us of a
	// request and four series a socket.
	Sockets bool
}

// contentType is what a scraper is told.
const contentType = "text/plain; version=0.0.4; charset=utf-8"

// Handler serves the metrics of a stack. Any number of requests may run at once.
// With a label that cannot be, each answer is 500 and says why.
func Handler(s *stack.Stack, cfg *Config) http.Handler {
	if cfg == nil {
		cfg = new(Config)
	}
	families := gather.New()
	var constant []string // name="value"
	for _, name := range slices.Sorted(maps.Keys(cfg.Labels)) {
		if err := check(name, families); err != nil {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				http.Error(w, err.Error(), http.StatusInternalServerError)
			})
		}
		constant = append(constant, label(name, cfg.Labels[name]))
	}
	sockets := cfg.Sockets
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		p := &page{families: families, constant: constant, text: make([]bytes.Buffer, len(families.All))}
		families.Collect(s, sockets, p)
		w.Header().Set("Content-Type", contentType)
		_, _ = w.Write(p.all()) // who has gone is told nothing
	})
}

var labelName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

// check refuses a label that cannot be put on all metrics.
func check(name string, families *gather.Families) error {
	if !labelName.MatchString(name) {
		return fmt.Errorf("metrics: label %q is no name: letters, digits and _, no digit first", name)
	}
	for _, f := range families.All {
		if name == "le" || slices.Contains(f.Labels, name) {
			return fmt.Errorf("metrics: label %q is one of the metrics' own: choose another", name)
		}
	}
	return nil
}

// page is one answer. All values of a family stand together, behind its help and
// its type.
type page struct {
	families *gather.Families
	constant []string
	text     []bytes.Buffer // by the families' numbers
}

func (p *page) all() []byte {
	var b bytes.Buffer
	for _, f := range p.families.All {
		if p.text[f.Number].Len() == 0 {
			continue
		}
		b.WriteString("# HELP " + f.Name + " " + inHelp.Replace(f.Help) + "\n# TYPE " + f.Name + " " + types[f.Kind] + "\n")
		b.Write(p.text[f.Number].Bytes())
	}
	return b.Bytes()
}

var types = map[gather.Kind]string{gather.Counter: "counter", gather.Gauge: "gauge", gather.Histogram: "histogram"}

var (
	inHelp  = strings.NewReplacer("\\", "\\\\", "\n", "\\n")
	inLabel = strings.NewReplacer("\\", "\\\\", "\n", "\\n", "\"", "\\\"")
)

func label(name, value string) string { return name + "=\"" + inLabel.Replace(value) + "\"" }

// line writes one value. more are labels that the family has not.
func (p *page) line(f *gather.Family, suffix, value string, labels []string, more ...string) {
	b := &p.text[f.Number]
	b.WriteString(f.Name + suffix)
	between := "{"
	put := func(l string) {
		b.WriteString(between + l)
		between = ","
	}
	for _, l := range p.constant {
		put(l)
	}
	for i, v := range labels {
		put(label(f.Labels[i], v))
	}
	for _, l := range more {
		put(l)
	}
	if between == "," {
		b.WriteByte('}')
	}
	b.WriteString(" " + value + "\n")
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

// Value implements gather.Sink.
func (p *page) Value(f *gather.Family, v float64, labels ...string) {
	p.line(f, "", number(v), labels)
}

// Histogram implements gather.Sink.
func (p *page) Histogram(f *gather.Family, bounds []float64, upTo []uint64, sum float64, labels ...string) {
	all := strconv.FormatUint(upTo[len(bounds)], 10)
	for i, bound := range bounds {
		p.line(f, "_bucket", strconv.FormatUint(upTo[i], 10), labels, label("le", number(bound)))
	}
	p.line(f, "_bucket", all, labels, label("le", "+Inf"))
	p.line(f, "_sum", number(sum), labels)
	p.line(f, "_count", all, labels)
}
