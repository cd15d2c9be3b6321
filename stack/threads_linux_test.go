package stack_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/stack"
)

// timerSlack of a thread of this process, ns; ok: it has one of that name.
func timerSlack(t *testing.T, name string) (ns string, ok bool) {
	t.Helper()
	comms, err := filepath.Glob("/proc/self/task/*/comm")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range comms {
		comm, err := os.ReadFile(path)
		if err != nil || strings.TrimSpace(string(comm)) != name {
			continue // another, or it has just ended
		}
		slack, err := os.ReadFile("/proc/" + filepath.Base(filepath.Dir(path)) + "/timerslack_ns")
		if err != nil {
			t.Skip("this kernel does not show the timer slack of a thread: ", err)
		}
		return strings.TrimSpace(string(slack)), true
	}
	return "", false
}

// TestPinnedThreadsHaveExactTimers: with a priority or without.
func TestPinnedThreadsHaveExactTimers(t *testing.T) {
	leaktest.Check(t)
	a, _ := stacktest.Pair(t, &stacktest.Options{Device: stack.DeviceConfig{RXCPUs: []int{0}, TXCPUs: []int{0}}})
	for _, info := range a.Device.Threads() {
		if info.Refused != nil || !info.Own {
			t.Fatalf("%+v", info)
		}
		if slack, ok := timerSlack(t, info.Name); !ok || slack != "1" {
			t.Errorf("thread %s (there: %v) has a timer slack of %s ns, want 1", info.Name, ok, slack)
		}
	}
}
