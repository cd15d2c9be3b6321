package metrics_test

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/oobnet/oobnet/metrics"
	"github.com/oobnet/oobnet/stack"
)

// A page for Prometheus.
func Example() {
	s, err := stack.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	mux := http.NewServeMux()
	mux.Handle("/metrics", metrics.Handler(s, nil))

	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for line := range strings.Lines(w.Body.String()) {
		if strings.HasPrefix(line, "oobnet_protocol_sockets") {
			fmt.Print(line)
		}
	}
	// Output:
	// oobnet_protocol_sockets{protocol="packet"} 0
	// oobnet_protocol_sockets{protocol="udp"} 0
}
