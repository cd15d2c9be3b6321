package metrics_test

import (
	"fmt"
	"log"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/oobnet/oobnet/metrics"
	"github.com/oobnet/oobnet/stack"
)

func Example() {
	s, err := stack.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	registry := prometheus.NewRegistry()
	registry.MustRegister(metrics.New(s, nil))

	families, err := registry.Gather()
	if err != nil {
		log.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "oobnet_protocol_sockets" {
			for _, m := range f.GetMetric() {
				fmt.Println(f.GetName(), m.GetLabel()[0].GetValue(), m.GetGauge().GetValue())
			}
		}
	}
	// Output:
	// oobnet_protocol_sockets packet 0
	// oobnet_protocol_sockets udp 0
}
