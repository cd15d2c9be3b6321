package bench

import (
	"slices"
	"strings"
	"testing"
)

func TestParsePortStats(t *testing.T) {
	const block = `
  ######################## NIC statistics for port 0  ########################
  RX-packets: 12         RX-missed: 0          RX-bytes:  0
  RX-errors: 0
  RX-nombuf:  0         
  TX-packets: 3261920    TX-errors: 0          TX-bytes:  345763520

  Throughput (since last show)
  Rx-pps:           34          Rx-bps:            0
  Tx-pps:      1107190          Tx-bps:    938897424
  ############################################################################`
	var s portStats
	last := ""
	for line := range strings.Lines(block) {
		if s.parse(line) {
			last = line
			break
		}
	}
	if want := (portStats{rxPackets: 12, txPackets: 3261920, rxPPS: 34, txPPS: 1107190}); s != want {
		t.Errorf("got %+v, want %+v", s, want)
	}
	if !strings.Contains(last, "Tx-pps") {
		t.Errorf("ended at %q", last)
	}
}

func TestTestpmdCommandLine(t *testing.T) {
	args := testpmdArgs("veth7", "5tswap", 0, 1, 106)
	for _, want := range []string{"--no-huge", "--no-pci", "--forward-mode=5tswap", "--nb-cores=1",
		"net_af_xdp0,iface=veth7,start_queue=0,queue_count=1,busy_budget=0"} {
		if !slices.Contains(args, want) {
			t.Errorf("no %q in %q", want, args)
		}
	}
}
