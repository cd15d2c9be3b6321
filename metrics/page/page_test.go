package page_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/loopback"
	"github.com/oobnet/oobnet/metrics"
	"github.com/oobnet/oobnet/metrics/page"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

// scrape parses what a handler answers, as Prometheus does.
func scrape(t *testing.T, h http.Handler) map[string]*dto.MetricFamily {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain; version=0.0.4") {
		t.Fatalf("%d, %v", w.Code, w.Header())
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// TestAsTheLibraryHasIt: the page says what Prometheus's own library says of the
// same stack.
func TestAsTheLibraryHasIt(t *testing.T) {
	leaktest.Check(t)
	a, b := stacktest.Pair(t, &stacktest.Options{
		Loopback: loopback.Config{Name: `a "wire" of \ many` + "\nlines", Queues: 2},
		Device:   stack.DeviceConfig{Watchdog: -1, Poll: link.Block},
	})
	stacktest.Know(t, a, b)
	to, err := udp.Listen(b.Stack, b.At(7), &udp.Config{Queue: 2})
	if err != nil {
		t.Fatal(err)
	}
	from, err := udp.Dial(a.Stack, a.At(0), b.At(7), nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if _, err := from.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
	}
	stacktest.Eventually(t, "all is settled", func() bool { return b.Device.Stats().RX.Packets >= 5 })
	stacktest.AssertBooks(t, b.Device)

	labels := map[string]string{"cell": `"7"`, "hall": "x"}
	registry := prometheus.NewRegistry()
	if err := registry.Register(metrics.New(b.Stack, &metrics.Config{Labels: labels, Sockets: true})); err != nil {
		t.Fatal(err)
	}
	library := promhttp.HandlerFor(registry, promhttp.HandlerOpts{DisableCompression: true})
	own := page.Handler(b.Stack, &page.Config{Labels: labels, Sockets: true})
	// Threads that wait go on being timed: nothing may happen between the two.
	var diff string
	same := func() bool {
		diff = cmp.Diff(flat(scrape(t, library)), flat(scrape(t, own)))
		return diff == ""
	}
	for end := time.Now().Add(20 * time.Second); !same() && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if diff != "" {
		t.Errorf("library and page differ: %s", diff)
	}
	if len(scrape(t, own)) < 50 {
		t.Errorf("%d families only", len(scrape(t, own)))
	}
	if err := to.Close(); err != nil {
		t.Error(err)
	}
}

// flat is a line for each metric, whatever the order, but for what a running
// clock is in.
func flat(families map[string]*dto.MetricFamily) map[string]string {
	lines := map[string]string{}
	for name, f := range families {
		if name == "oobnet_thread_step_running_seconds" {
			continue
		}
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			slices.Sort(labels)
			m.Label = nil
			lines[fmt.Sprintf("%s %q", name, labels)] = fmt.Sprint(f.GetType(), f.GetHelp(), m)
		}
	}
	return lines
}

// TestBadLabels: what Prometheus would not take is the answer.
func TestBadLabels(t *testing.T) {
	leaktest.Check(t)
	s, err := stack.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"device": "own", "le": "own", "a-b": "no name", "": "no name", "9": "no name"} {
		w := httptest.NewRecorder()
		page.Handler(s, &page.Config{Labels: map[string]string{name: "x"}}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		if w.Code != http.StatusInternalServerError || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%q: %d, %s", name, w.Code, w.Body)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
