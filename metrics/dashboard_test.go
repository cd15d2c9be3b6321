package metrics_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/metrics"
)

// dashboard is what is looked at of Grafana's file.
type dashboard struct {
	Panels     []panel `json:"panels"`
	Templating struct {
		List []struct {
			Name       string `json:"name"`
			Type       string `json:"type"`
			Definition string `json:"definition"`
			Query      any    `json:"query"` // a text, or an object with the definition again
		} `json:"list"`
	} `json:"templating"`
}

type panel struct {
	Title   string  `json:"title"`
	Type    string  `json:"type"`
	Panels  []panel `json:"panels"` // of a row
	Targets []struct {
		Expr         string `json:"expr"`
		LegendFormat string `json:"legendFormat"`
	} `json:"targets"`
}

// exported is what the collector exports of a stack that has seen traffic: the
// labels of each family, and the values of each label.
func exported(t *testing.T) families {
	t.Helper()
	a, b := hosts(t)
	traffic(t, a, b)
	c := metrics.New(b.Stack, nil)
	descriptions := make(chan *prometheus.Desc, 1000)
	c.Describe(descriptions)
	close(descriptions)
	all := families{}
	parts := regexp.MustCompile(`fqName: "([a-z_]+)".*variableLabels: \{([a-z_,]*)\}`)
	for d := range descriptions {
		m := parts.FindStringSubmatch(d.String())
		if m == nil {
			t.Fatalf("not understood: %s", d)
		}
		// Prometheus itself puts the first two on each series.
		f := family{values: map[string][]string{"job": nil, "instance": nil}}
		for l := range strings.SplitSeq(m[2], ",") {
			f.values[l] = nil
		}
		delete(f.values, "")
		all[m[1]] = f
	}
	registry := prometheus.NewRegistry()
	if err := registry.Register(c); err != nil {
		t.Fatal(err)
	}
	gathered, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range gathered {
		f := all[g.GetName()]
		for _, m := range g.GetMetric() {
			for _, l := range m.GetLabel() {
				f.values[l.GetName()] = append(f.values[l.GetName()], l.GetValue())
			}
			f.histogram = m.GetHistogram() != nil
		}
		all[g.GetName()] = f
	}
	return all
}

var (
	labelValues = regexp.MustCompile(`^label_values\((.*), *([a-z_]+)\)$`)
	inLegend    = regexp.MustCompile(`\{\{ *([a-z_]+) *\}\}`)
)

// TestDashboard: each query of the dashboard is of metrics, labels and values
// that the collector exports, and a legend has labels that its query's result has.
func TestDashboard(t *testing.T) {
	leaktest.Check(t)
	text, err := os.ReadFile(filepath.Join("..", "examples", "appliance", "dashboard.json"))
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	known, variables, asked := exported(t), map[string]bool{}, map[string]bool{}
	for _, v := range d.Templating.List {
		variables[v.Name] = true
	}
	look := func(where, expr string) []string {
		q := query{families: known, variables: variables, asked: asked}
		labels, err := q.check(expr)
		if err != nil {
			t.Errorf("%s: %s: %v", where, expr, err)
		}
		return labels
	}
	for _, v := range d.Templating.List {
		if v.Type != "query" {
			continue
		}
		m := labelValues.FindStringSubmatch(v.Definition)
		if m == nil {
			t.Errorf("variable %s: %q is no label_values(METRIC, LABEL)", v.Name, v.Definition)
			continue
		}
		if labels := look("variable "+v.Name, m[1]); !slices.Contains(labels, m[2]) {
			t.Errorf("variable %s: there is no label %s, but %v", v.Name, m[2], labels)
		}
		if object, ok := v.Query.(map[string]any); !ok || object["query"] != v.Definition {
			t.Errorf("variable %s asks %v, and is defined as %s", v.Name, v.Query, v.Definition)
		}
	}
	var panels func(list []panel)
	panels = func(list []panel) {
		for _, p := range list {
			panels(p.Panels)
			if (p.Type == "row") != (len(p.Targets) == 0) {
				t.Errorf("%s: a %s with %d queries", p.Title, p.Type, len(p.Targets))
			}
			for _, target := range p.Targets {
				labels := look(p.Title, target.Expr)
				for _, l := range inLegend.FindAllStringSubmatch(target.LegendFormat, -1) {
					if !slices.Contains(labels, l[1]) {
						t.Errorf("%s: the legend %q wants %s of %s, which has %v", p.Title, target.LegendFormat, l[1], target.Expr, labels)
					}
				}
			}
		}
	}
	panels(d.Panels)
	if len(asked) < 20 {
		t.Errorf("the dashboard asks for %d metrics only: %v", len(asked), slices.Sorted(maps.Keys(asked)))
	}
}

// TestQueriesThatAskForNothing: what TestDashboard is there to find.
func TestQueriesThatAskForNothing(t *testing.T) {
	known := families{
		"x_total":   {values: map[string][]string{"job": nil, "device": {"a"}, "reason": {"arp", "filter"}}},
		"x_seconds": {histogram: true, values: map[string][]string{"job": nil, "step": {"rx"}}},
	}
	for _, c := range []struct {
		expr, labels, problem string
	}{
		{`sum by (device) (rate(x_total{job=~"$job"}[5m])) > 0`, "device", ""},
		{`sum(rate(x_total[$__rate_interval])) by (reason)`, "reason", ""},
		{`8 * x_total{reason="arp"} / x_total`, "device job reason", ""},
		{`x_total / sum by (device) (x_total)`, "device", ""},
		{`histogram_quantile(0.9, sum by (le, step) (rate(x_seconds_bucket[5m])))`, "step", ""},
		{`sum(x_total) - sum(x_total)`, "", ""},
		{`(x_total{reason!="arp",reason!~"arp|filter"})`, "device job reason", ""},
		{`y_total`, "", "no metric y_total"},
		{`x_total{queue="0"}`, "", "no label queue"},
		{`x_total{reason="none_such"}`, "", `never "none_such"`},
		{`x_total{reason!="none_such"}`, "", `never "none_such"`},
		{`x_total{reason=~"arp|none_such"}`, "", `never "none_such"`},
		{`x_total{job=~"$jobs"}`, "", "no variable $jobs"},
		{`sum by (queue) (x_total)`, "", "no label queue"},
		{`sum by (le) (x_total)`, "", "no label le"},
		{`sum by (reason) (sum by (device) (x_total))`, "", "no label reason"},
		{`x_seconds`, "", "histogram"},
		{`x_total_bucket`, "", "no metric x_total_bucket"},
		{`rate(x_total)`, "", "takes a range"},
		{`x_total[5m]`, "", "a range stands"},
		{`sum(x_total[5m])`, "", "a range stands"},
		{`rate(x_total[five])`, "", "[five] is no range"},
		{`histogram_quantile(0.9, sum by (step) (rate(x_seconds_bucket[5m])))`, "", "wants the label le"},
		{`sum by (device) (x_total`, "", "want"},
		{`sum(x_total) sum(x_total)`, "", "want"},
		{`median(x_total)`, "", "no function median"},
		{`x_total{reason}`, "", "want an operator"},
		{`x_total > `, "", "want"},
		{`?`, "", "want"},
		{``, "", "want"},
	} {
		q := query{families: known, variables: map[string]bool{"job": true}, asked: map[string]bool{}}
		labels, err := q.check(c.expr)
		switch {
		case c.problem == "" && (err != nil || strings.Join(labels, " ") != c.labels):
			t.Errorf("%s: labels %v, %v; want %s", c.expr, labels, err, c.labels)
		case c.problem != "" && (err == nil || !strings.Contains(err.Error(), c.problem)):
			t.Errorf("%s: %v, want %q", c.expr, err, c.problem)
		}
	}
}
