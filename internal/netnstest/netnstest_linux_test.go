package netnstest_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/netns"
	"github.com/oobnet/oobnet/internal/netnstest"
)

var (
	prefixA = netip.MustParsePrefix("10.77.0.1/24")
	prefixB = netip.MustParsePrefix("10.77.0.2/24")
	both    = &netnstest.Config{AddrA: prefixA, AddrB: prefixB}
)

const wait = 2 * time.Second // far over any wake-up, far under the test's timeout

func TestUDPBothWays(t *testing.T) {
	w := netnstest.NewPair(t, both)
	b, err := w.B.ListenUDP(netip.AddrPortFrom(prefixB.Addr(), 7))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	a, err := w.A.DialUDP(netip.AddrPort{}, netip.AddrPortFrom(prefixB.Addr(), 7))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	a.SetDeadline(time.Now().Add(wait))
	b.SetDeadline(time.Now().Add(wait))
	if _, err := a.Write([]byte("to B")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 64)
	n, from, err := b.ReadFromUDPAddrPort(buf)
	if err != nil || string(buf[:n]) != "to B" || from.Addr() != prefixA.Addr() {
		t.Fatalf("got %q from %v, %v", buf[:n], from, err)
	}
	if _, err := b.WriteToUDPAddrPort([]byte("to A"), from); err != nil {
		t.Fatal(err)
	}
	if n, err = a.Read(buf); err != nil || string(buf[:n]) != "to A" {
		t.Fatalf("got %q, %v", buf[:n], err)
	}
}

func TestConfigTakesEffect(t *testing.T) {
	mac := [6]byte{2, 1, 2, 3, 4, 5}
	w := netnstest.NewPair(t, &netnstest.Config{Queues: 3, MTU: 2000, MACA: mac})
	read := func(h *netnstest.Host) string {
		out, err := h.Exec("ip", "-d", "-o", "link", "show", "dev", h.IfName)
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	a, b := read(w.A), read(w.B)
	for _, want := range []string{"02:01:02:03:04:05", "mtu 2000", "numtxqueues 3", "numrxqueues 3", "LOWER_UP"} {
		if !strings.Contains(a, want) {
			t.Errorf("A has no %q: %s", want, a)
		}
	}
	for _, want := range []string{"02:00:5e:00:00:0b", "mtu 2000", "numtxqueues 3", "numrxqueues 3", "LOWER_UP"} {
		if !strings.Contains(b, want) {
			t.Errorf("B has no %q: %s", want, b)
		}
	}
	if w.A.IfIndex == 0 || w.A.MAC != mac || w.B.MAC != netns.DefaultMACB {
		t.Errorf("hosts say %+v and %+v", w.A, w.B)
	}
	if err := w.A.SetMTU(1200); err != nil {
		t.Error(err)
	}
	if err := w.A.SetMAC([6]byte{2, 5, 4, 3, 2, 1}); err != nil {
		t.Error(err)
	}
	if err := w.B.SetUp(false); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"02:05:04:03:02:01", "mtu 1200", "NO-CARRIER"} {
		if a = read(w.A); !strings.Contains(a, want) {
			t.Errorf("changed A has no %q: %s", want, a)
		}
	}
}

// udpFrame returns the first UDP frame that comes to the socket.
func udpFrame(t *testing.T, f *os.File) []byte {
	t.Helper()
	buf := make([]byte, 2048)
	f.SetReadDeadline(time.Now().Add(wait))
	for {
		n, err := f.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		if n >= 42 && buf[23] == syscall.IPPROTO_UDP {
			return buf[:n]
		}
	}
}

// checksumGood says whether the UDP checksum of an untagged frame without IP
// options is complete (RFC 768: all 16-bit words with the pseudo-header sum to 0xffff).
func checksumGood(frame []byte) bool {
	ip, udp := frame[14:34], frame[34:]
	sum := uint32(syscall.IPPROTO_UDP) + uint32(len(udp))
	for _, part := range [][]byte{ip[12:20], udp} {
		for len(part) > 1 {
			sum += uint32(binary.BigEndian.Uint16(part))
			part = part[2:]
		}
		if len(part) == 1 {
			sum += uint32(part[0]) << 8
		}
	}
	sum = sum&0xffff + sum>>16
	return sum&0xffff+sum>>16 == 0xffff
}

func TestOffloadsDecideChecksums(t *testing.T) {
	for name, tc := range map[string]struct {
		offloads             netnstest.Offloads
		completeA, completeB bool
	}{
		"off at B": {netnstest.OffloadsOffB, false, true},
		"off":      {netnstest.OffloadsOff, true, true},
		"on":       {netnstest.OffloadsOn, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := netnstest.NewPair(t, &netnstest.Config{AddrA: prefixA, AddrB: prefixB, Offloads: tc.offloads})
			check := func(from, to *netnstest.Host, dst netip.Addr, complete bool) {
				raw, err := to.RawSocket(0x0800)
				if err != nil {
					t.Fatal(err)
				}
				defer raw.Close()
				c, err := from.DialUDP(netip.AddrPort{}, netip.AddrPortFrom(dst, 9))
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				if _, err := c.Write([]byte("checksum me")); err != nil {
					t.Fatal(err)
				}
				if frame := udpFrame(t, raw); checksumGood(frame) != complete {
					t.Errorf("from %s: checksum complete is %v, want %v: % x", from.IfName, !complete, complete, frame)
				}
			}
			check(w.A, w.B, prefixB.Addr(), tc.completeA)
			check(w.B, w.A, prefixA.Addr(), tc.completeB)
		})
	}
}

// A wire on which nobody speaks carries nothing: no router solicitation, no
// duplicate-address detection, no MLD report.
func TestQuiet(t *testing.T) {
	w := netnstest.NewPair(t, &netnstest.Config{AddrB: prefixB})
	raw, err := w.A.RawSocket(0)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	raw.SetReadDeadline(time.Now().Add(1500 * time.Millisecond)) // the first solicitation comes within 1 s
	buf := make([]byte, 2048)
	if n, err := raw.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("got %d bytes % x, %v", n, buf[:n], err)
	}
}

func TestRawSocketSends(t *testing.T) {
	w := netnstest.NewPair(t, nil)
	a, err := w.A.RawSocket(0x88b5)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := w.B.RawSocket(0x88b5)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	frame := append(append(append([]byte{}, w.B.MAC[:]...), w.A.MAC[:]...), 0x88, 0xb5)
	frame = append(frame, bytes.Repeat([]byte{0xa5}, 50)...)
	if _, err := a.Write(frame); err != nil {
		t.Fatal(err)
	}
	b.SetReadDeadline(time.Now().Add(wait))
	buf := make([]byte, 100)
	if n, err := b.Read(buf); err != nil || !bytes.Equal(buf[:n], frame) {
		t.Fatalf("got % x, %v", buf[:n], err)
	}
}

func TestRouteAndNeighbour(t *testing.T) {
	w := netnstest.NewPair(t, both)
	if err := w.B.AddRoute(netip.MustParsePrefix("10.99.0.0/16"), prefixA.Addr()); err != nil {
		t.Error(err)
	}
	if err := w.B.AddNeighbour(netip.MustParseAddr("10.77.0.9"), [6]byte{2, 9, 9, 9, 9, 9}); err != nil {
		t.Error(err)
	}
	for args, want := range map[string]string{
		"route": "10.99.0.0/16 via 10.77.0.1 dev peer0",
		"neigh": "10.77.0.9 dev peer0 lladdr 02:09:09:09:09:09 PERMANENT",
	} {
		out, err := w.B.Exec("ip", strings.Fields(args)...)
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("ip %s has no %q: %s%v", args, want, out, err)
		}
	}
}

func TestVLAN(t *testing.T) {
	w := netnstest.NewPair(t, both)
	name, err := w.B.AddVLAN(5, netip.MustParsePrefix("10.5.0.2/24"))
	if errors.Is(err, syscall.EOPNOTSUPP) {
		t.Skipf("this kernel has no VLAN interfaces: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	out, err := w.B.Exec("ip", "-br", "addr")
	if err != nil || !strings.Contains(string(out), name+"@peer0") {
		t.Errorf("no %s: %s%v", name, out, err)
	}
}

func thread() string {
	ns, _ := os.Readlink("/proc/thread-self/ns/net")
	return ns
}

func TestDoEntersAndLeaves(t *testing.T) {
	w := netnstest.NewPair(t, nil)
	home := thread()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				var a, b string
				w.A.Do(func() { a = thread(); w.B.Do(func() { b = thread() }) })
				if a == home || b == home || a == b {
					t.Errorf("home %s, A %s, B %s", home, a, b)
				}
			}
		})
	}
	wg.Wait()
	tasks, _ := filepath.Glob("/proc/self/task/*/ns/net")
	for _, task := range tasks {
		if ns, err := os.Readlink(task); err == nil && ns != home {
			t.Errorf("%s stayed in %s", task, ns)
		}
	}
}

func TestDoPropagates(t *testing.T) {
	w := netnstest.NewPair(t, nil)
	func() {
		defer func() {
			if err, ok := recover().(error); !ok || !strings.Contains(err.Error(), "on purpose") {
				t.Errorf("recovered %v", err)
			}
		}()
		w.A.Do(func() { panic("on purpose") })
	}()
	exited := make(chan bool)
	go func() {
		after := false
		defer func() { exited <- !after }()
		w.A.Do(runtime.Goexit)
		after = true
	}()
	if !<-exited {
		t.Error("Goexit ended at the border of the namespace")
	}
	if err := w.A.DoErr(func() error { return io.EOF }); !errors.Is(err, io.EOF) {
		t.Errorf("DoErr returned %v", err)
	}
}

func TestSysctlNames(t *testing.T) {
	w := netnstest.NewPair(t, nil)
	if err := w.B.Sysctl("net.ipv4.ip_forward", "1"); err != nil {
		t.Error(err)
	}
	out, err := w.B.Exec("cat", "/proc/sys/net/ipv4/ip_forward")
	if err != nil || strings.TrimSpace(string(out)) != "1" {
		t.Errorf("ip_forward is %q, %v", out, err)
	}
	if err := w.B.Sysctl("net.ipv4.no_such", "1"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("unknown name: %v", err)
	}
}

func TestCloseRemovesAll(t *testing.T) {
	netnstest.RequireRoot(t)
	w, err := netns.Make(nil)
	if err != nil {
		t.Fatal(err)
	}
	a, b := w.A, w.B
	for _, h := range []*netns.Host{a, b} {
		if _, err := os.Stat(filepath.Join(netns.Dir, h.Namespace)); err != nil {
			t.Error(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if err := w.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	for _, h := range []*netns.Host{a, b} {
		if _, err := os.Stat(filepath.Join(netns.Dir, h.Namespace)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", h.Namespace, err)
		}
		if err := h.DoErr(func() error { return nil }); err == nil {
			t.Error("entered a namespace that is gone")
		}
	}
}

func TestCloseReportsHeldNamespace(t *testing.T) {
	netnstest.RequireRoot(t)
	w, err := netns.Make(nil)
	if err != nil {
		t.Fatal(err)
	}
	held, err := os.Open(filepath.Join(netns.Dir, w.A.Namespace))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if err := w.Close(); err == nil || !strings.Contains(err.Error(), "still held") {
		t.Errorf("Close returned %v", err)
	}
}

func TestMakeRemovesStale(t *testing.T) {
	netnstest.RequireRoot(t)
	// No process has a number over the kernel's limit of 2^22.
	path := filepath.Join(netns.Dir, "oobnet-99999999-1")
	if err := os.WriteFile(path, nil, 0o444); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(path)
	netnstest.NewPair(t, nil)
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a dead process's namespace is left: %v", err)
	}
}

func BenchmarkMake(b *testing.B) {
	netnstest.RequireRoot(b)
	for b.Loop() {
		w, err := netns.Make(both)
		if err != nil {
			b.Fatal(err)
		}
		if err := w.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
