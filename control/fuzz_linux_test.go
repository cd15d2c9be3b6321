package control_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/oobnet/oobnet/control"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/loopback"
	"github.com/oobnet/oobnet/stack"
)

// Whatever a client sends, there is an answer in JSON (or a stream), with an
// error or without, and the server goes on.
func FuzzRequests(f *testing.F) {
	for _, call := range control.Calls() {
		method, path, _ := strings.Cut(call, " ")
		f.Add(method, strings.NewReplacer("{device}", "wire0", "{port}", "wire0.42", "{address}", "10.0.0.9", "{id}", "1").Replace(path), "", "")
	}
	f.Add("POST", "/v1/ports", "", `{"interface": "wire0.5", "addresses": ["10.5.0.1/24"], "pool_size": 8}`)
	f.Add("PUT", "/v1/routes", "", `{"destination": "10.9.0.0/16", "gateway": "10.0.0.2", "port": "wire0"}`)
	f.Add("PUT", "/v1/devices/wire0/filter", "", `{"rules": "accept vlan 5"}`)
	f.Add("PUT", "/v1/vlans", "", `{"ids": "5-7"}`)
	f.Add("DELETE", "/v1/ports/wire0/addresses", "address=10.0.0.1/24", "")
	f.Add("GET", "/v1/statistics", "sockets=true", "")

	s, err := stack.New(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { s.Close() })
	h := control.Handler(s, &control.Config{Default: "memory", Openers: map[string]control.Opener{
		"memory": func(string) (link.Link, error) { return loopback.New(&loopback.Config{Name: "wire0", RingSize: 64}) },
	}})
	f.Fuzz(func(t *testing.T, method, path, query, body string) {
		if strings.Contains(path, "capture") || strings.Contains(path, "solicit") {
			return // they wait
		}
		r, err := http.NewRequestWithContext(t.Context(), method, "http://app/", strings.NewReader(body))
		if err != nil {
			return // no such method
		}
		r.URL = &url.URL{Scheme: "http", Host: "app", Path: path, RawQuery: query}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code >= 300 && w.Code < 400 {
			return // a path that ServeMux writes otherwise
		}
		var v map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
			t.Fatalf("%s %s?%s %s: %d: %v: %s", method, path, query, body, w.Code, err, w.Body)
		}
		if _, failed := v["error"]; failed != (w.Code != http.StatusOK) || w.Code == http.StatusInternalServerError {
			t.Errorf("%s %s?%s %s: %d %s", method, path, query, body, w.Code, w.Body)
		}
	})
}
