package main

import (
	"bufio"
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
	// firstAnswer is what a start may take, and maxStarts how many a busy machine gets
	// to show it.
	firstAnswer = 100 * time.Millisecond
	maxStarts   = 20
	// nobody is a user without rights of its own.
	nobody = 65534
)

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

// bench is the program on one end of a wire, and a kernel socket on the other.
type bench struct {
	wire           *netnstest.Wire
	conn           net.Conn // to the appliance
	program        string
	dir            string // writable for the appliance
	hosts, control string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{
		wire:    netnstest.NewPair(t, &netnstest.Config{AddrB: netip.MustParsePrefix("192.0.2.1/24")}),
		program: build(t), dir: t.TempDir(),
	}
	if err := os.Chmod(b.dir, 0o777); err != nil {
		t.Fatal(err)
	}
	b.hosts, b.control = filepath.Join(b.dir, "hosts"), filepath.Join(b.dir, "control.sock")
	var text strings.Builder
	fmt.Fprintln(&text, "# the hall\n::1 localhost")
	for name, addr := range hall {
		fmt.Fprintln(&text, addr, strings.TrimSuffix(name, "."))
	}
	if err := os.WriteFile(b.hosts, []byte(text.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	var err error
	if b.conn, err = b.wire.B.DialUDP(netip.AddrPort{}, netip.MustParseAddrPort("192.0.2.53:53")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.conn.Close() })
	// The kernel asks for an address once a second. What is measured is the
	// appliance.
	if err := b.wire.B.AddNeighbour(netip.MustParseAddr("192.0.2.53"), b.wire.A.MAC); err != nil {
		t.Fatal(err)
	}
	return b
}

// process is the program, running.
type process struct {
	*exec.Cmd
	log   *bufio.Reader
	said  strings.Builder
	ended bool
}

// start runs the program as the unit has it.
func (b *bench) start(t *testing.T, u unit) *process {
	t.Helper()
	p := &process{Cmd: u.command(t, b.program, "-i", b.wire.A.IfName, "-addr", "192.0.2.53/24", "-hosts", b.hosts, "-socket", b.control, "-metrics", "127.0.0.1:9153")}
	log, err := p.StderrPipe()
	if err == nil {
		p.log = bufio.NewReader(log)
		err = b.wire.A.DoErr(p.Start)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.end(); err != nil && t.Failed() {
			t.Log(err)
		}
	})
	return p
}

// firstLine of the log: the end of the process is the end of the wait.
func (p *process) firstLine() string {
	overdue := time.AfterFunc(patience, func() { p.Process.Kill() })
	defer overdue.Stop()
	line, _ := p.log.ReadString('\n') // without one, it says less
	p.said.WriteString(line)
	return line
}

// end ends the program, and says how it ended and what it said.
func (p *process) end() error {
	if p.ended {
		return nil
	}
	p.ended = true
	overdue := time.AfterFunc(patience, func() { p.Process.Kill() })
	defer overdue.Stop()
	// One that has ended by itself says so below.
	_ = p.Process.Signal(syscall.SIGTERM)
	_, _ = p.log.WriteTo(&p.said)
	if err := p.Wait(); err != nil {
		return fmt.Errorf("%w: %s", err, &p.said)
	}
	return nil
}

// TestUnprivileged runs it as the unit does: as nobody, with the unit's
// capabilities and families of sockets and no way to more; and asks for names
// through a kernel socket at the other end of the wire.
func TestUnprivileged(t *testing.T) {
	leaktest.Check(t)
	b := newBench(t)
	p := b.start(t, readUnit(t))
	askUntil(t, b.conn, "robot1.hall.")
	for name, addr := range hall {
		if r := ask(t, b.conn, name, dns.TypeA); len(r.Answer) != 1 || !strings.HasSuffix(r.Answer[0].String(), addr) || !r.Authoritative {
			t.Errorf("%s: %v", name, r)
		}
		if r := ask(t, b.conn, name, dns.TypeAAAA); r.Rcode != dns.RcodeSuccess || len(r.Answer) != 0 {
			t.Errorf("%s: %v", name, r)
		}
	}
	if r := ask(t, b.conn, "nobody.hall.", dns.TypeA); r.Rcode != dns.RcodeNameError {
		t.Errorf("a name that is not there: %v", r)
	}
	looks(t, b.wire.A, b.control)
	if err := p.end(); err != nil {
		t.Error(err)
	}
	if left, err := filepath.Glob(filepath.Join(b.dir, "*.sock")); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// A start is soon over. The best of several counts: others use the machine, too.
func TestFirstAnswer(t *testing.T) {
	leaktest.Check(t)
	b := newBench(t)
	best := patience
	for n := 0; n < maxStarts && best > firstAnswer; n++ {
		begun := time.Now()
		p := b.start(t, readUnit(t))
		best = min(best, askUntil(t, b.conn, "robot1.hall.").Sub(begun))
		if err := p.end(); err != nil {
			t.Error(err)
		}
	}
	t.Logf("first answer after %v", best)
	if best > firstAnswer {
		t.Errorf("the first answer takes %v at best, want at most %v", best, firstAnswer)
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
