package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/netns"
)

func needWire(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: starts some twenty processes")
	}
	if err := netns.Available(); err != nil {
		t.Skipf("no network namespaces here (run as root): %v", err)
	}
}

func TestBenchVeth(t *testing.T) {
	needWire(t)
	out, stderr, err := command(t.Context(), "bench", "--suite", "veth", "--rounds", "1", "--turn", "150ms", "--json")
	if err != nil {
		t.Fatal(err)
	}
	t.Log(stderr)
	var rows []struct {
		Name string
		Ours float64
		Peer string
	}
	if err := json.Unmarshal([]byte(out), &rows); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	seen := map[string]bool{}
	for _, r := range rows {
		if r.Ours <= 0 {
			t.Errorf("%+v", r)
		}
		seen[r.Name] = true
	}
	want := []string{"rtt_spin_p50", "rtt_spin_p99", "rtt_sleep_p50", "tx_pps_sendmmsg", "tx_pps_sendto", "rx_pps_recvmmsg", "rx_cpu_recvmmsg"}
	if _, err := exec.LookPath("dpdk-testpmd"); err == nil {
		want = append(want, "tx_pps_testpmd", "rx_pps_testpmd", "rtt_testpmd_p50")
	}
	for _, name := range want {
		if !seen[name] {
			t.Errorf("no row %q", name)
		}
	}
	nothingLeft(t)
}

func TestBenchVethInterrupted(t *testing.T) {
	needWire(t)
	ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
	defer cancel()
	_, _, err := command(ctx, "bench", "--suite", "veth", "--rounds", "1", "--turn", "1m")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	nothingLeft(t)
}

// nothingLeft looks for namespaces and child processes of this process.
func nothingLeft(t *testing.T) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(netns.Dir, fmt.Sprintf("oobnet-%d-*", os.Getpid())))
	if err != nil || len(left) > 0 {
		t.Errorf("namespaces left: %v %v", left, err)
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", os.Getpid()))
	if err == nil && len(children) > 0 {
		t.Errorf("processes left: %s", children)
	}
}
