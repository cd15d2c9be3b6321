package afxdp

import (
	"bufio"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	xlink "github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/netnstest"
	"github.com/oobnet/oobnet/link"
)

// childInterface tells a child of this test to open the interface of its
// namespace and wait to be killed.
const childInterface = "OOBNET_AFXDP_TEST_CHILD"

func TestMain(m *testing.M) {
	if name := os.Getenv(childInterface); name != "" {
		os.Exit(holdLink(name))
	}
	os.Exit(m.Run())
}

// holdLink opens, attaches and claims, says so, and waits.
func holdLink(name string) int {
	l, err := Open(name, nil)
	if err == nil {
		_, err = l.Attach(link.Layout{BufferSize: 2048, Queues: 1, RXBuffers: 64, TXBuffers: 64})
	}
	if err == nil {
		err = l.Select(claimOurs)
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	l.Queue(0).Fill([]uint32{0, 1, 2, 3})
	fmt.Println("holding")
	time.Sleep(time.Minute)
	return 1
}

// TestKilled kills a process that has the interface open: the interface works
// on, and the next process can have it.
func TestKilled(t *testing.T) {
	leaktest.Check(t)
	w := kernelPair(t, 1)
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childInterface+"="+w.A.IfName)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.A.DoErr(child.Start); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	if strings.TrimSpace(line) != "holding" {
		child.Process.Kill()
		child.Wait()
		t.Fatalf("the child says %q", line)
	}
	w.A.Do(func() {
		if _, err := Open(w.A.IfName, nil); !errors.Is(err, unix.EBUSY) || !strings.Contains(err.Error(), `"oobnet_select"`) {
			t.Errorf("Open beside another process: %v, want EBUSY and the program's name", err)
		}
	})
	child.Process.Kill()
	child.Wait()

	if w.Borrowed() {
		// What the killed process has switched off stays off.
		if out, err := w.A.Exec("ethtool", "-K", w.A.IfName, "rx-vlan-offload", "on"); err != nil {
			t.Logf("%v: %s", err, out)
		}
	}
	kernel := netip.AddrPortFrom(prefixA.Addr(), 7)
	kernelEcho(t, w.A, kernel)
	awaitEcho(t, w.B, kernel)
	pingPong(t, w.B, kernel, 100)
	b := newBench(t, w.A, nil, claimOurs)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() { defer close(done); b.echo(stop) }()
	pingPong(t, w.B, netip.AddrPortFrom(addrOurs, 7), 100)
	close(stop)
	<-done
}

// awaitEcho waits until datagrams are answered: a card that has lost its program
// negotiates again.
func awaitEcho(t *testing.T, h *netnstest.Host, to netip.AddrPort) {
	t.Helper()
	c, err := h.DialUDP(netip.AddrPort{}, to)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for deadline := time.Now().Add(cardWait); time.Now().Before(deadline); {
		_, _ = c.Write([]byte("there?"))
		c.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		if _, err := c.Read(make([]byte, 64)); err == nil {
			return
		}
	}
	t.Fatalf("%v does not answer within %v", to, cardWait)
}

func TestCapabilities(t *testing.T) {
	w := kernelPair(t, 2)
	driver, native := "veth", "native, copy"
	if w.Borrowed() {
		driver = "igb" // whose zero copy is for those who ask for it
	}
	for mode, want := range map[Mode]string{Auto: native, Native: native, Generic: "generic, copy"} {
		l := openOn(t, w.A, &Config{Mode: mode}, nil)
		if c := l.Capabilities(); c.Driver != driver || c.Mode != want || c.ZeroCopy || c.PartialChecksum == w.Borrowed() || !c.Pollable || c.MaxBufferSize != 4096 || c.RXHeadroom != 256 {
			t.Errorf("%v: %+v", mode, c)
		}
		if l.Queues() != 2 || l.MTU() != 1500 || l.MAC() != w.A.MAC || l.Name() != w.A.IfName {
			t.Errorf("%v: %d queues, MTU %d, MAC %x, name %q", mode, l.Queues(), l.MTU(), l.MAC(), l.Name())
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestOneQueue serves the second of two queues alone.
func TestOneQueue(t *testing.T) {
	w := kernelPair(t, 2)
	l := openOn(t, w.A, &Config{FirstQueue: 1, Queues: 1}, &link.Claims{EtherTypes: []link.ClaimEtherType{{EtherType: suiteType}}})
	if l.Queues() != 1 {
		t.Fatalf("%d queues", l.Queues())
	}
	mem, err := l.Attach(link.Layout{BufferSize: 2048, Queues: 1, RXBuffers: 64, TXBuffers: 64})
	if err != nil {
		t.Fatal(err)
	}
	peer := newPacketPeer(t, w.B, suiteType)
	frame := ethernet(suiteType, make([]byte, 60))
	f := link.Frame{Index: 64, Len: uint16(len(frame))}
	copy(mem.Bytes(f), frame)
	if l.Queue(0).Send([]link.Frame{f}) != 1 || l.Queue(0).Flush() != nil {
		t.Fatal("the queue does not send")
	}
	if _, err := peer.Receive(time.Second); err != nil {
		t.Errorf("sent on queue 1: %v", err)
	}
}

// TestErrors: each says what is wrong and wraps what the kernel said.
func TestErrors(t *testing.T) {
	leaktest.Check(t)
	w := kernelPair(t, 2)
	needsVeth(t, w, "what a card says is its driver's")
	for _, c := range []struct {
		name   string
		cfg    Config
		ifname string
		is     error
		says   string
	}{
		{"no interface", Config{}, "oobnone0", unix.ENODEV, "no such interface"},
		{"a long name", Config{}, "oob-with-a-long-name", unix.ENODEV, "no such interface"},
		{"not Ethernet", Config{}, "lo", errors.ErrUnsupported, "not an Ethernet"},
		{"queue out of range", Config{FirstQueue: 2, Queues: 1}, w.A.IfName, unix.EINVAL, "the interface has 2"},
		{"first queue out of range", Config{FirstQueue: 5}, w.A.IfName, unix.EINVAL, "the interface has 2"},
		{"too many queues", Config{Queues: 3}, w.A.IfName, unix.EINVAL, "the interface has 2"},
		{"no zero copy", Config{ZeroCopy: ZeroCopyRequire}, w.A.IfName, errors.ErrUnsupported, "veth"},
		{"zero copy in generic mode", Config{Mode: Generic, ZeroCopy: ZeroCopyRequire}, w.A.IfName, unix.EINVAL, "native"},
		{"no such mode", Config{Mode: 7}, w.A.IfName, unix.EINVAL, "mode 7"},
	} {
		w.A.Do(func() {
			l, err := Open(c.ifname, &c.cfg)
			if err == nil {
				l.Close()
			}
			if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) || !strings.HasPrefix(err.Error(), "afxdp: "+c.ifname+": ") {
				t.Errorf("%s: %v", c.name, err)
			}
		})
	}
}

func TestInTheWay(t *testing.T) {
	leaktest.Check(t)
	w := kernelPair(t, 1)
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "in_the_way", Type: ebpf.XDP, Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, xdpPass), asm.Return()}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for _, flags := range []xlink.XDPAttachFlags{xlink.XDPDriverMode, xlink.XDPGenericMode} {
		var hook xlink.Link
		w.A.Do(func() {
			hook, err = xlink.AttachXDP(xlink.XDPOptions{Program: p, Interface: w.A.IfIndex, Flags: flags})
		})
		if err != nil {
			t.Fatal(err)
		}
		w.A.Do(func() { _, err = Open(w.A.IfName, nil) })
		if err == nil || !strings.Contains(err.Error(), `"in_the_way"`) || !isInTheWay(err) {
			t.Errorf("flags %v: %v, want the name of the program in the way", flags, err)
		}
		hook.Close()
	}
}

func TestInterfaceDown(t *testing.T) {
	w := kernelPair(t, 1)
	if err := w.A.SetUp(false); err != nil {
		t.Fatal(err)
	}
	w.A.Do(func() {
		if _, err := Open(w.A.IfName, nil); !errors.Is(err, unix.ENETDOWN) {
			t.Errorf("Open: %v, want ENETDOWN", err)
		}
	})
}

func TestMTU(t *testing.T) {
	w := netnstest.NewPair(t, &netnstest.Config{MTU: 9000})
	needsVeth(t, w, "what a card takes is its driver's")
	open := func(cfg *Config) (l *Link, err error) {
		w.A.Do(func() { l, err = Open(w.A.IfName, cfg) })
		return l, err
	}
	if _, err := open(nil); !errors.Is(err, unix.ERANGE) || !strings.Contains(err.Error(), "MTU 9000") {
		t.Errorf("Open: %v, want ERANGE and the MTU", err)
	}
	// Ours is small enough now, the peer's is not.
	if err := w.A.SetMTU(1500); err != nil {
		t.Fatal(err)
	}
	if _, err := open(nil); !errors.Is(err, unix.ERANGE) || !strings.Contains(err.Error(), "generic") {
		t.Errorf("Open beside a peer of MTU 9000: %v, want ERANGE and the way out", err)
	}
	l, err := open(&Config{Mode: Generic})
	if err != nil {
		t.Fatalf("the way out: %v", err)
	}
	defer l.Close()
	if _, err := l.Attach(link.Layout{BufferSize: 8192, Queues: 1, RXBuffers: 64, TXBuffers: 64}); !errors.Is(err, link.ErrNotSupported) {
		t.Errorf("Attach with buffers of 8192: %v, want ErrNotSupported", err)
	}
	if err := w.A.SetMTU(1500 + 1000); err != nil {
		t.Fatal(err)
	}
	m, err := open(&Config{Mode: Generic})
	if err == nil {
		m.Close()
	}
	l.Close()
	if m, err = open(&Config{Mode: Generic}); err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if _, err := m.Attach(link.Layout{BufferSize: 2048, Queues: 1, RXBuffers: 64, TXBuffers: 64}); !errors.Is(err, unix.ERANGE) {
		t.Errorf("Attach with buffers too small for the MTU: %v, want ERANGE", err)
	}
}

// TestQueueBusy binds a foreign socket to the queue first.
func TestQueueBusy(t *testing.T) {
	w := kernelPair(t, 1)
	l := openOn(t, w.A, nil, nil)
	other := foreignSocket(t, w.A)
	start := time.Now()
	_, err := l.Attach(link.Layout{BufferSize: 2048, Queues: 1, RXBuffers: 64, TXBuffers: 64})
	if !errors.Is(err, unix.EBUSY) || !strings.Contains(err.Error(), "another AF_XDP socket") {
		t.Errorf("Attach: %v, want EBUSY", err)
	}
	if took := time.Since(start); took > 2*releaseWait {
		t.Errorf("Attach took %v to see that the queue is busy", took)
	}
	unix.Close(other)
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// foreignSocket is an AF_XDP socket bound to queue 0, with nothing mapped.
func foreignSocket(t *testing.T, h *netnstest.Host) int {
	t.Helper()
	var fd int
	var err error
	h.Do(func() { fd, err = newSocket() })
	if err != nil {
		t.Fatal(err)
	}
	mem, err := unix.Mmap(-1, 0, 64*4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(mem) })
	if err := registerUMEM(fd, mem, 4096, 0); err != nil {
		t.Fatal(err)
	}
	size := uint32(64)
	for _, option := range []int{unix.XDP_UMEM_FILL_RING, unix.XDP_UMEM_COMPLETION_RING, unix.XDP_RX_RING} {
		if err := setSocketOption(fd, option, &size); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Bind(fd, &unix.SockaddrXDP{Ifindex: uint32(h.IfIndex), Flags: unix.XDP_COPY}); err != nil {
		t.Fatal(err)
	}
	return fd
}

func TestRelease(t *testing.T) {
	for release, ok := range map[string]bool{
		"6.18.44-fc": true, "5.15.0": true, "5.15-rc1": true, "5.14.21": false, "4.19.0": false, "10.1": true, "5.4.0-150-generic": false, "odd": true,
	} {
		if err := checkRelease(release); (err == nil) != ok {
			t.Errorf("%s: %v", release, err)
		} else if err != nil && (!errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "5.15")) {
			t.Errorf("%s: %v", release, err)
		}
	}
}

func TestBadClaims(t *testing.T) {
	w := kernelPair(t, 1)
	l := openOn(t, w.A, nil, claimOurs)
	for _, c := range []*link.Claims{
		{IPv4: []link.ClaimIPv4{{VLAN: 4095}}},
		{EtherTypes: []link.ClaimEtherType{{VLAN: 4095}}},
		{IPv4: make([]link.ClaimIPv4, MaxIPv4Claims+1)},
		{EtherTypes: make([]link.ClaimEtherType, MaxEtherTypeClaims+1)},
		{VLANs: []uint16{5, 0}},
		{VLANs: []uint16{4095}},
		{Groups: []link.MAC{{0x02, 0, 0, 0, 0, 1}}},
		{Groups: make([]link.MAC, MaxGroups+1)},
	} {
		if err := l.Select(c); err == nil {
			t.Errorf("Select of %d and %d claims worked", len(c.IPv4), len(c.EtherTypes))
		}
	}
	var v uint8
	if err := l.gate.maps.ipv4.Lookup(keyOfIPv4(claimOurs.IPv4[0]), &v); err != nil {
		t.Errorf("a refused Select took the former claims away: %v", err)
	}
}
