package demo

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oobnet/oobnet/cmd/oobnet/internal/hist"
)

var update = flag.Bool("update", false, "write the golden files anew")

func sampleReport() *Report {
	return &Report{
		Role: "client", Interface: "eth7", Link: "native, copy", Addr: "192.0.2.2/24", Peer: "192.0.2.1", VLAN: 5, Poll: "adaptive",
		PeriodNS: 1e6, Size: 64, Seconds: 10, Sent: 10000, Received: 9990, Lost: 10, Duplicates: 1, SendErrors: 2, FirstError: "write udp: no buffer", Late: 3,
		RTT:     &RTT{P50: 4200, P99: 9100, P999: 18000, Max: 250500},
		Demoted: map[string]uint64{"ARP": 2}, Dropped: map[string]uint64{"socket full": 7, "checksum": 1},
		AllocsPerPacket: 0.00125, Refused: []string{"cycle: SCHED_FIFO: operation not permitted"},
		Notes: []string{"vfio: 0000:02:00.0: the device hung and was reset"},
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

func TestReportAsTable(t *testing.T) {
	var b bytes.Buffer
	if err := sampleReport().WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	golden(t, "client.txt", b.Bytes())
}

// A client without an answer has no round trips: "0.0 us" would be a lie.
func TestNoAnswerAsTable(t *testing.T) {
	r := sampleReport()
	r.Received, r.Lost, r.RTT = 0, r.Sent, &RTT{}
	var b bytes.Buffer
	if err := r.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	if s := b.String(); !strings.Contains(s, "no answer came") || strings.Contains(s, "RTT p50") {
		t.Errorf("table is\n%s", s)
	}
}

func TestServerReportAsTable(t *testing.T) {
	r := sampleReport()
	r.Role, r.Peer, r.RTT, r.VLAN, r.SendErrors, r.Refused, r.Notes = "server", "", nil, 0, 0, nil, nil
	r.Demoted, r.Dropped = nil, nil
	var b bytes.Buffer
	if err := r.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	golden(t, "server.txt", b.Bytes())
}

func TestReportAsJSON(t *testing.T) {
	b, err := json.MarshalIndent(sampleReport(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "client.json", append(b, '\n'))
}

func TestLiveLineAllocatesNothing(t *testing.T) {
	l := newLiveLine(discard{})
	var rtt hist.Histogram
	rtt.Record(4321)
	if n := testing.AllocsPerRun(100, func() { l.write(12345, 12344, &rtt) }); n != 0 {
		t.Errorf("%v allocations a line", n)
	}
	var b bytes.Buffer
	l.w = &b
	l.write(3, 2, &rtt)
	if got := b.String(); got != "\r  0 s  sent 3  received 2  RTT p50 4.3  p99 4.3  max 4.3 us\x1b[K" {
		t.Errorf("%q", got)
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
