package page_test

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/oobnet/oobnet/metrics/page"
	"github.com/oobnet/oobnet/stack"
)

func Example() {
	s, err := stack.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	mux := http.NewServeMux()
	mux.Handle("/metrics", page.Handler(s, nil))

	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for line := range strings.Lines(w.Body.String()) {
		if strings.HasPrefix(line, "oobnet_protocol_sockets{protocol=\"udp\"") {
			fmt.Print(line)
		}
	}
	// Output:
	// oobnet_protocol_sockets{protocol="udp"} 0
}
