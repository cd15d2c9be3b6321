package main

import (
	"context"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/oobnet/oobnet/capture"
	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/netns"
)

// dumping runs a dump in the background.
func dumping(ctx context.Context, args ...string) (wait func() (stdout, stderr string, err error)) {
	type result struct {
		stdout, stderr string
		err            error
	}
	done := make(chan result, 1)
	go func() {
		var r result
		r.stdout, r.stderr, r.err = command(ctx, append([]string{"dump"}, args...)...)
		done <- r
	}()
	return func() (string, string, error) {
		r := <-done
		return r.stdout, r.stderr, r.err
	}
}

// echoOn sends datagrams from the host to an echo server until one comes back,
// and returns whether.
func echoOn(t *testing.T, h *netns.Host, to netip.AddrPort) {
	t.Helper()
	c, err := h.DialUDP(netip.AddrPort{}, to)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 100 {
		if _, err := c.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		if err := c.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Read(make([]byte, 100)); err == nil && n == 5 {
			return
		}
	}
	t.Fatal("no echo")
}

// TestDumpManaged: the frames of a process that runs, as a file and as lines.
func TestDumpManaged(t *testing.T) {
	leaktest.Check(t)
	w := testWire(t)
	if err := w.B.AddAddr(netip.MustParsePrefix("192.0.2.2/24")); err != nil {
		t.Fatal(err)
	}
	socket, file := filepath.Join(t.TempDir(), "s"), filepath.Join(t.TempDir(), "f.pcapng")
	end := serveOn(t, w.A, socket, "ports:\n  "+w.A.IfName+": {addresses: [192.0.2.1/24]}\nservices: {echo: 7}\n")
	defer end()
	ctx, enough := context.WithCancel(t.Context())
	defer enough()
	toFile := dumping(ctx, "-i", w.A.IfName, "--socket", socket, "-w", file)
	toText := dumping(ctx, "-i", w.A.IfName, "--socket", socket, "-c", "2", "udp", "port", "7")
	c := client(t, socket)
	eventually(t, "both captures run", func() bool {
		list, err := c.Captures(t.Context())
		return err == nil && len(list) == 2
	})
	echoOn(t, w.B, netip.MustParseAddrPort("192.0.2.1:7"))
	stdout, _, err := toText()
	for _, want := range []string{"In  IP 192.0.2.2.", " > 192.0.2.1.7: UDP, length 5 [delivered]", "Out IP 192.0.2.1.7 > 192.0.2.2.", "2 written"} {
		if err != nil || !strings.Contains(stdout, want) {
			t.Errorf("%v, and no %q in:\n%s", err, want, stdout)
		}
	}
	enough()
	if _, stderr, err := toFile(); err != nil || !strings.Contains(stderr, "frames written") || !strings.Contains(stderr, " 0 lost") {
		t.Errorf("%v: %s", err, stderr)
	}
	written, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if st, ok := capture.ReadStats(written); !ok || st.Written < 2 || st.Written != st.Received {
		t.Errorf("the file's statistics: %+v, %v", st, ok)
	}
	if tshark, err := exec.LookPath("tshark"); err == nil {
		cmd := exec.CommandContext(t.Context(), tshark, "-n", "-r", file, "-Y", "udp.port == 7 && frame.interface_name == \""+w.A.IfName+"\"")
		cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
		if text, err := cmd.Output(); err != nil || strings.Count(string(text), "\n") < 2 {
			t.Errorf("tshark: %v\n%s", err, text)
		}
	}
}

// eventually polls for a condition that another process brings about.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !cond(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

// TestDumpTake: without a stack that runs, all frames of an interface, and none
// of them is the host's.
func TestDumpTake(t *testing.T) {
	leaktest.Check(t)
	w := testWire(t)
	for _, h := range []struct {
		*netns.Host
		addr string
	}{{w.A, "192.0.2.1/24"}, {w.B, "192.0.2.2/24"}} {
		if err := h.AddAddr(netip.MustParsePrefix(h.addr)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.B.AddNeighbour(netip.MustParseAddr("192.0.2.1"), w.A.MAC); err != nil {
		t.Fatal(err)
	}
	type result struct {
		stdout string
		err    error
	}
	done := make(chan result, 1)
	go func() {
		var r result
		w.A.Do(func() {
			r.stdout, _, r.err = command(t.Context(), "dump", "-i", w.A.IfName, "--take", "-c", "3", "--duration", "60s", "udp", "dst", "port", "5000")
		})
		done <- r
	}()
	c, err := w.B.DialUDP(netip.AddrPort{}, netip.MustParseAddrPort("192.0.2.1:5000"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for {
		// Until dump has the interface, the host answers: nobody is on that port.
		_, _ = c.Write([]byte("to whom it may concern"))
		select {
		case r := <-done:
			if r.err != nil || strings.Count(r.stdout, "> 192.0.2.1.5000: UDP, length 22 [dropped: no_port]") != 3 {
				t.Errorf("%v\n%s", r.err, r.stdout)
			}
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func TestDumpBadInput(t *testing.T) {
	leaktest.Check(t)
	dir := t.TempDir()
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "-i"},
		{[]string{"-i", "eth9", "port", "x"}, "at offset 5"},
		{[]string{"-i", "eth9", "--socket", filepath.Join(dir, "none")}, "--take"},
		{[]string{"-i", "nosuch0", "--take"}, "nosuch0"},
		{[]string{"-i", "eth9", "-w", filepath.Join(dir, "none", "f")}, "none"},
		{[]string{"-i", "eth9", "-c", "-1"}, "-c"},
	} {
		_, _, err := command(t.Context(), append([]string{"dump"}, c.args...)...)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v, want a line with %q", c.args, err, c.want)
		}
	}
}
