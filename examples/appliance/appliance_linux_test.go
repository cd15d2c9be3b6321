package main

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/oobnet/oobnet/control"
	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/netnstest"
)

const (
	// patience is how long a test waits for what must come.
	patience = 20 * time.Second
	// maxBinary is what the stripped program may have, bytes.
	maxBinary = 15 << 20
	// nobody is a user without rights of its own.
	nobody = 65534
)

// Capabilities of the unit, by their numbers (linux/capability.h): NET_ADMIN,
// NET_RAW, IPC_LOCK, BPF.
var capabilities = []uintptr{12, 13, 14, 39}

var hall = map[string]string{"robot1.hall.": "192.0.2.101", "press.hall.": "192.0.2.102"}

// build makes the program as README says.
func build(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "appliance")
	c := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, ".")
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// Whoever runs it need not be who built it.
	for dir := filepath.Dir(program); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return program
}

func TestSize(t *testing.T) {
	info, err := os.Stat(build(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%.1f MB", float64(info.Size())/1e6)
	if info.Size() > maxBinary {
		t.Errorf("%d bytes, want at most %d", info.Size(), maxBinary)
	}
}

// TestUnprivileged runs it as the unit does, as nobody with four capabilities, and
// asks for names through a kernel socket at the other end of the wire.
func TestUnprivileged(t *testing.T) {
	leaktest.Check(t)
	client := netip.MustParsePrefix("192.0.2.1/24")
	w := netnstest.NewPair(t, &netnstest.Config{AddrB: client})
	program, dir := build(t), t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	hosts := filepath.Join(dir, "hosts")
	var text strings.Builder
	fmt.Fprintln(&text, "# the hall\n::1 localhost")
	for name, addr := range hall {
		fmt.Fprintln(&text, addr, strings.TrimSuffix(name, "."))
	}
	if err := os.WriteFile(hosts, []byte(text.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "control.sock")
	c := exec.Command(program, "-i", w.A.IfName, "-addr", "192.0.2.53/24", "-hosts", hosts, "-socket", socket, "-metrics", "127.0.0.1:9153")
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}, AmbientCaps: capabilities, Pdeathsig: syscall.SIGKILL}
	conn, err := w.B.DialUDP(netip.AddrPort{}, netip.MustParseAddrPort("192.0.2.53:53"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()

	// The kernel asks for an address once a second. What is measured is the
	// appliance.
	if err := w.B.AddNeighbour(netip.MustParseAddr("192.0.2.53"), w.A.MAC); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := w.A.DoErr(c.Start); err != nil {
		t.Fatal(err)
	}
	ended := false
	end := func() {
		if ended {
			return
		}
		ended = true
		if err := c.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		if err := c.Wait(); err != nil {
			t.Errorf("%v: %s", err, &out)
		}
	}
	defer end()

	first := askUntil(t, conn, "robot1.hall.")
	t.Logf("first answer after %v", first.Sub(start))
	for name, addr := range hall {
		if r := ask(t, conn, name, dns.TypeA); len(r.Answer) != 1 || !strings.HasSuffix(r.Answer[0].String(), addr) || !r.Authoritative {
			t.Errorf("%s: %v", name, r)
		}
		if r := ask(t, conn, name, dns.TypeAAAA); r.Rcode != dns.RcodeSuccess || len(r.Answer) != 0 {
			t.Errorf("%s: %v", name, r)
		}
	}
	if r := ask(t, conn, "nobody.hall.", dns.TypeA); r.Rcode != dns.RcodeNameError {
		t.Errorf("a name that is not there: %v", r)
	}
	looks(t, w.A, socket)
	end()
	if left, err := filepath.Glob(filepath.Join(dir, "*.sock")); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// askUntil asks until there is an answer, and returns when that was.
func askUntil(t *testing.T, conn net.Conn, name string) time.Time {
	t.Helper()
	q, err := new(dns.Msg).SetQuestion(name, dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 512)
	for end := time.Now().Add(patience); time.Now().Before(end); {
		// Until it has come up nobody has the address: no error is for good.
		if _, err := conn.Write(q); err != nil {
			time.Sleep(time.Millisecond)
			continue
		}
		if err := conn.SetReadDeadline(time.Now().Add(5 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(b); err == nil {
			return time.Now()
		}
	}
	t.Fatalf("no answer in %v", patience)
	return time.Time{}
}

func ask(t *testing.T, conn net.Conn, name string, kind uint16) *dns.Msg {
	t.Helper()
	client := &dns.Client{Timeout: patience}
	r, _, err := client.ExchangeWithConn(new(dns.Msg).SetQuestion(name, kind), &dns.Conn{Conn: conn})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return r
}

// looks sees that it can be managed and watched.
func looks(t *testing.T, home *netnstest.Host, socket string) {
	t.Helper()
	c, err := control.Dial(socket)
	if err != nil {
		t.Fatal(err)
	}
	devices, err := c.Devices(t.Context())
	if err != nil || len(devices) != 1 {
		t.Errorf("devices %+v, %v", devices, err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	var page bytes.Buffer
	if err := home.DoErr(func() error {
		// Dialed here, where the namespace is the appliance's.
		conn, err := net.Dial("tcp", "127.0.0.1:9153")
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		r, err := http.NewRequest(http.MethodGet, "http://appliance/metrics", http.NoBody)
		if err != nil {
			return err
		}
		r.Close = true
		if err := r.Write(conn); err != nil {
			return err
		}
		_, err = page.ReadFrom(conn)
		return err
	}); err != nil {
		t.Error(err)
	}
	if !strings.Contains(page.String(), `oobnet_protocol_received_datagrams_total`) && !strings.Contains(page.String(), "oobnet_device_receive_packets_total") {
		t.Errorf("metrics: %.500s", page.String())
	}
}
