package main

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/oobnet/oobnet/control"
	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/netns"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/stats"
)

// serveOn runs `oobnet serve` as a process on a host of the wire, and returns
// how to end it, which gives its exit code, and what it wrote to stderr.
func serveOn(t *testing.T, h *netns.Host, socket, config string) (end func() (int, string)) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "oobnet.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "serve", "--socket", socket, "--config", file)
	cmd.Env = append(os.Environ(), commandEnv+"=1")
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	h.Do(func() { err = cmd.Start() }) // the process is where the thread is
	if err != nil {
		t.Fatal(err)
	}
	ended := false
	end = func() (int, string) {
		if !ended {
			ended = true
			cmd.Process.Signal(syscall.SIGTERM)
			timer := time.AfterFunc(30*time.Second, func() { cmd.Process.Kill() })
			defer timer.Stop()
			io.Copy(io.Discard, out)
			cmd.Wait()
		}
		return cmd.ProcessState.ExitCode(), errs.String()
	}
	t.Cleanup(func() { end() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "oobnet: serving on "+socket+"\n" {
		_, said := end()
		t.Fatalf("serve said %q, %v, %s", line, err, said)
	}
	return end
}

// client of a control socket.
func client(t *testing.T, socket string) *control.Client {
	t.Helper()
	c, err := control.Dial(socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// All that a config can say is so when serve is ready, and gone when it ends.
func TestServeConfig(t *testing.T) {
	leaktest.Check(t)
	w := testWire(t)
	if err := w.B.AddAddr(netip.MustParsePrefix("192.0.2.2/24")); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "table"), []byte("192.0.2.8 02:00:00:00:00:08 # a drive\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "s")
	name := w.A.IfName
	end := serveOn(t, w.A, socket, strings.ReplaceAll(`
devices:
  IF:
    pool_size: 512
    buffer_size: 4096
    queueing: priority
    watchdog: 1ms
    filter: {rules: "accept ethertype ipv4,arp"}
ports:
  IF: {addresses: [192.0.2.1/24]}
  IF.7: {addresses: [198.51.100.1/24], mtu: 1400}
routes:
  - {to: 10.0.0.0/8, via: 192.0.2.254, port: IF}
neighbors:
  - {address: 192.0.2.9, mac: "02:00:00:00:00:09", port: IF}
neighbor_table: `+filepath.Join(dir, "table")+`
vlans: 7
services: {echo: 7, discard: 9, latmus: 59059}
`, "IF", name))
	c, ctx := client(t, socket), t.Context()
	d, err := c.Device(ctx, name)
	if err != nil || d.PoolSize != 512 || d.BufferSize != 4096 || d.Filter.Kind != "rules" || !d.Managed || len(d.Ports) != 2 {
		t.Errorf("device %+v, %v", d, err)
	}
	if state, err := c.DeviceState(ctx, name); err != nil || len(state.Threads) == 0 || len(state.Threads[0].Steps) == 0 || state.TXQueues[0].Discipline == "" {
		t.Errorf("state %+v, %v", state, err)
	}
	if p, err := c.Port(ctx, name+".7"); err != nil || p.MTU != 1400 || p.Addresses[0] != netip.MustParsePrefix("198.51.100.1/24") {
		t.Errorf("port %+v, %v", p, err)
	}
	if routes, err := c.Routes(ctx); err != nil || len(routes) != 3 {
		t.Errorf("routes %+v, %v", routes, err)
	}
	fc, err := c.FrontCache(ctx)
	if err != nil || fc.Stats.Permanent != 2 {
		t.Errorf("front cache %+v, %v", fc, err)
	}
	if v, err := c.VLANs(ctx); err != nil || v.IDs != "7" {
		t.Errorf("VLANs %+v, %v", v, err)
	}
	serves(t, w.B, c)
	// What is enabled again has what the config says.
	for _, force := range []string{name + ".7", name} {
		if _, err := c.DisablePort(ctx, force, true); err != nil {
			t.Fatal(err)
		}
	}
	if out, _, err := command(ctx, "net", "--socket", socket, "-ei", name, "-Qa"); err != nil || out != "512\n" {
		t.Errorf("enabled again: %q, %v", out, err)
	}
	if d, err := c.Device(ctx, name); err != nil || d.Filter.Kind != "rules" {
		t.Errorf("enabled again: %+v, %v", d, err)
	}
	if routes, err := c.Routes(ctx); err != nil || len(routes) != 2 {
		t.Errorf("enabled again: routes %+v, %v", routes, err)
	}
	if fc, err := c.FrontCache(ctx); err != nil || fc.Stats.Permanent != 2 {
		t.Errorf("enabled again: front cache %+v, %v", fc, err)
	}
	if code, said := end(); code != 0 || said != "" {
		t.Errorf("serve ended with %d: %s", code, said)
	}
	if _, err := os.Lstat(socket); err == nil {
		t.Error("the socket is left behind")
	}
}

// An object that the kernel's verifier refuses: the caller of -F gets its log,
// nobody's file is left, and the former filter goes on.
func TestNetFilterRefusedByVerifier(t *testing.T) {
	leaktest.Check(t)
	w := testWire(t)
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir) // where logs of the verifier would be left
	socket := filepath.Join(dir, "s")
	serveOn(t, w.A, socket, "ports:\n  "+w.A.IfName+": {addresses: [192.0.2.1/24]}\n")
	good, err := filepath.Abs("../../filter/testdata/verdict.o")
	if err != nil {
		t.Fatal(err)
	}
	if out, _, err := command(t.Context(), "net", "--socket", socket, "-F"+good, "-i", w.A.IfName); err != nil || out != "" {
		t.Fatalf("%q, %v", out, err)
	}
	_, _, err = command(t.Context(), "net", "--socket", socket, "-F../../filter/testdata/bad.o", "-i", w.A.IfName)
	var own *control.Error
	if !errors.As(err, &own) || own.Kind != "verifier" || len(own.Log) == 0 || !strings.Contains(err.Error(), "invalid access to packet") {
		t.Errorf("got %v", err)
	}
	if f, err := client(t, socket).Filter(t.Context(), w.A.IfName); err != nil || f.Object != good {
		t.Errorf("the former filter does not go on: %+v, %v", f, err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// serves sees a kernel peer answered by the echo, taken by the discard and never
// answered, and a client of latmus answered on the peer's interface.
func serves(t *testing.T, h *netns.Host, c *control.Client) {
	t.Helper()
	dial := func(port uint16) net.Conn {
		conn, err := h.DialUDP(netip.AddrPort{}, netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), port))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	discard, echo := dial(9), dial(7)
	if _, err := discard.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	stacktest.Eventually(t, "discard takes it", func() bool {
		st, err := c.Statistics(t.Context(), true)
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(st.Sockets, func(s stats.Socket) bool { return s.Local.Port() == 9 && s.Received == 1 })
	})
	// An answer, and an error, would come before this one.
	buf := make([]byte, 16)
	if _, err := echo.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if err := echo.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if n, err := echo.Read(buf); err != nil || string(buf[:n]) != "hello" {
		t.Errorf("echo: %q, %v", buf[:n], err)
	}
	if err := discard.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := discard.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("discard: %q, %v", buf[:n], err)
	}
	r, err := latmusOn(t.Context(), h, "--addr 192.0.2.3/24 -E 192.0.2.1 --rtt -T 400ms")()
	if err != nil || r.Sent == 0 || r.Received == 0 || r.Received != r.Sent || r.BadCRC != 0 {
		t.Errorf("latmus: %d sent, %d received, %d bad, %v", r.Sent, r.Received, r.BadCRC, err)
	}
}

// evl-net's exit codes: 0 without arguments and for help, 1 for any failure.
func TestNetExitCodes(t *testing.T) {
	leaktest.Check(t)
	nosuch := filepath.Join(t.TempDir(), "nosuch")
	for args, want := range map[string]int{
		"":                            0,
		"-h":                          0,
		"--help":                      0,
		"-@":                          0,
		"-e":                          1,
		"-i eth0":                     1,
		"-z":                          1,
		"-ei":                         1,
		"eth0":                        1,
		"-ei eth0 extra":              1,
		"-ei eth0 -p many":            1,
		"-ei eth0 --socket " + nosuch: 1,
		"-n --socket " + nosuch:       1,
	} {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), self, append([]string{"net"}, strings.Fields(args)...)...)
		cmd.Env = append(os.Environ(), commandEnv+"=1")
		out, err := cmd.CombinedOutput()
		if got := cmd.ProcessState.ExitCode(); got != want {
			t.Errorf("net %s: exit %d, want %d (%v): %s", args, got, want, err, out)
		}
		if want == 1 && strings.Count(string(out), "\n") != 1 {
			t.Errorf("net %s: not one line: %s", args, out)
		}
	}
}

// The socket is named by the option, and else by the environment.
func TestNetSocket(t *testing.T) {
	leaktest.Check(t)
	t.Setenv(socketEnv, "/nosuch/by-environment")
	if _, _, err := command(t.Context(), "net", "-n"); err == nil || !strings.Contains(err.Error(), "/nosuch/by-environment: ") {
		t.Errorf("got %v", err)
	}
	if _, _, err := command(t.Context(), "net", "-n", "--socket", "/nosuch/by-option"); err == nil || !strings.Contains(err.Error(), "/nosuch/by-option: ") {
		t.Errorf("got %v", err)
	}
}
