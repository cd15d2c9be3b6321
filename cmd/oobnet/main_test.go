package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/oobnet/oobnet/cmd/oobnet/internal/worker"
)

// TestMain lets this test binary be the bench's worker processes.
func TestMain(m *testing.M) {
	worker.Main()
	os.Exit(m.Run())
}

// command runs a command line and returns what it wrote.
func command(ctx context.Context, args ...string) (stdout, stderr string, err error) {
	var out, errs bytes.Buffer
	root := rootCommand()
	root.SetArgs(args)
	root.SetOut(&out)
	root.SetErr(&errs)
	err = root.ExecuteContext(ctx)
	return out.String(), errs.String(), err
}

func TestBadInputIsOneLineWithTheWayOut(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"demo -i nosuch0 --addr 192.0.2.1/24", "nosuch0"},
		{"demo -i lo", "--addr"},
		{"demo -i lo --addr 192.0.2.1", "prefix length"},
		{"demo -i lo --addr 2001:db8::1/64", "IPv4"},
		{"demo -i lo --addr 192.0.2.1/24 --peer ::1", "IPv4"},
		{"demo -i lo --addr 192.0.2.1/24 --peer printer", "192.0.2.2"},
		{"demo -i lo --addr 192.0.2.1/24 --vlan 0", "2 to 4094"},
		{"demo -i lo --addr 192.0.2.1/24 --vlan 1", "2 to 4094"},
		{"demo -i lo --addr 192.0.2.1/24 --vlan 4095", "2 to 4094"},
		{"demo --addr 192.0.2.1/24", "-i"},
		{"demo --period 0s", "--period"},
		{"demo --size 3", "16 to 65507"},
		{"demo --poll often", "adaptive"},
		{"demo --duration 0s", "--duration"},
		{"demo --nonsense", "nonsense"},
		{"demo extra", "extra"},
		{"bench nosuch", "loopback"},
		{"bench --rounds 0", "at least 1"},
		{"bench --turn 0s", "1ms"},
		{"nosuch", "nosuch"},
	} {
		stdout, _, err := command(t.Context(), strings.Fields(c.args)...)
		switch {
		case err == nil:
			t.Errorf("%s: no error", c.args)
		case !strings.Contains(err.Error(), c.want):
			t.Errorf("%s: %q, want %q in it", c.args, err, c.want)
		case strings.Contains(err.Error(), "\n"):
			t.Errorf("%s: more than one line: %q", c.args, err)
		case stdout != "":
			t.Errorf("%s: wrote %q", c.args, stdout)
		}
	}
}

func TestDemoInMemory(t *testing.T) {
	for _, poll := range []string{"adaptive", "block", "manual"} {
		t.Run(poll, func(t *testing.T) {
			out, _, err := command(t.Context(), "demo", "--duration", "300ms", "--poll", poll, "--json")
			if err != nil {
				t.Fatal(err)
			}
			var r struct {
				Role                 string
				Sent, Received, Lost uint64
				Buffers              int                                 `json:"buffers_in_use"`
				RTT                  struct{ P50, P99, P999, Max int64 } `json:"rtt_ns"`
			}
			if err := json.Unmarshal([]byte(out), &r); err != nil {
				t.Fatalf("%v in %s", err, out)
			}
			// How many cycles fit is the machine's to say; that each was
			// answered is ours.
			if r.Role != "loopback" || r.Sent == 0 || r.Received != r.Sent || r.Lost != 0 {
				t.Errorf("%s", out)
			}
			if r.RTT.P50 <= 0 || r.RTT.P50 > r.RTT.P99 || r.RTT.P99 > r.RTT.P999 || r.RTT.P999 > r.RTT.Max {
				t.Errorf("quantiles do not rise: %+v", r.RTT)
			}
			// A device collects what has been sent with the next send: up to a
			// batch a side may be waiting for that, a leak would be all of them.
			if r.Buffers > 2*64 {
				t.Errorf("%d buffers still in use", r.Buffers)
			}
		})
	}
}

func TestDemoEndsWithATableWhenInterrupted(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	out, _, err := command(ctx, "demo", "--duration", "1m")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"loopback", "sent", "lost", "RTT p99.9", "demotions", "drops", "buffers in use", "allocations a packet"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

func TestBenchLoopback(t *testing.T) {
	file := filepath.Join(t.TempDir(), "record.json")
	out, _, err := command(t.Context(), "bench", "loopback", "scale", "filter", "--rounds", "1", "--turn", "5ms", "--json", "--out", file)
	if err != nil {
		t.Fatal(err)
	}
	var rows []map[string]any
	if err := json.Unmarshal([]byte(out), &rows); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	names := map[string]bool{}
	for _, r := range rows {
		for _, key := range []string{"suite", "name", "unit", "ours", "peer", "peer_value", "ratio", "goal", "ok"} {
			if _, ok := r[key]; !ok {
				t.Errorf("no %q in %v", key, r)
			}
		}
		names[r["name"].(string)+" "+r["peer"].(string)] = true
	}
	for _, want := range []string{"rx64 gvisor", "rx64 kernel", "rx1400 gvisor", "tx64 gvisor", "tx64 kernel", "tx1400 kernel",
		"rx64_allocs gvisor", "tx64_allocs gvisor", "sockets_10000 sockets_1", "peers_64000 peers_1",
		"rules_flows_1000 rules_1", "rules_miss_1000 rules_1"} {
		if !names[want] {
			t.Errorf("no row %q", want)
		}
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var rec struct {
		Machine struct{ Go string }
		Rows    []any
		Samples map[string][]float64
	}
	if err := json.Unmarshal(b, &rec); err != nil || rec.Machine.Go == "" || len(rec.Rows) != len(rows) || len(rec.Samples) == 0 {
		t.Errorf("%v, %+v", err, rec)
	}
}

func TestBenchInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := command(ctx, "bench", "--suite", "loopback", "--rounds", "1", "--turn", "5ms"); err == nil {
		t.Error("no error of a bench that was interrupted")
	}
}
