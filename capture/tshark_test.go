package capture_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/leaktest"
)

// TestTshark: Wireshark's own reader takes the file, and finds in it what the
// capture saw: frames, times to the nanosecond, the interface's name, direction
// and comments.
func TestTshark(t *testing.T) {
	leaktest.Check(t)
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("tshark is not installed: `apt-get install tshark`, as hack/deps.sh does")
	}
	a, b := pair(t)
	var out output
	s := start(t, b.Device, &out, nil)
	frames, comments := traffic(t, a, b)
	stop(t, s)
	path := filepath.Join(t.TempDir(), "capture.pcapng")
	if err := os.WriteFile(path, out.bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	// It takes half a minute to begin on a machine that is loaded tenfold.
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	fields := []string{"frame.time_epoch", "frame.interface_name", "frame.len", "frame.packet_flags_direction", "frame.comment", "udp.length"}
	args := []string{"-n", "-r", path, "-T", "fields", "-E", "separator=|"}
	for _, f := range fields {
		args = append(args, "-e", f)
	}
	cmd := exec.CommandContext(ctx, tshark, args...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	text, err := cmd.Output()
	if err != nil {
		t.Fatalf("tshark: %v\n%s", err, stderr.Bytes())
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if len(lines) != len(frames) {
		t.Fatalf("tshark reads %d packets, want %d:\n%s%s", len(lines), len(frames), text, stderr.Bytes())
	}
	written := readFile(t, out.bytes())
	for i, line := range lines {
		p := written.packets[i]
		got := strings.Split(line, "|")
		want := []string{fmt.Sprintf("%d.%09d", p.at/1e9, p.at%1e9), b.Device.Name(), fmt.Sprint(p.length), fmt.Sprintf("0x%08x", p.flags&3), comments[i]}
		if len(got) != len(fields) || strings.Join(got[:len(want)], "|") != strings.Join(want, "|") {
			t.Errorf("packet %d: tshark reads %q, want %q", i, got, want)
		}
		if comments[i] != "demoted: arp" && len(got) == len(fields) && got[5] == "" {
			t.Errorf("packet %d: tshark finds no UDP in it", i)
		}
	}
}
