package afxdp

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/filter"
	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/netnstest"
	"github.com/oobnet/oobnet/link"
)

var (
	prefixA   = netip.MustParsePrefix("192.0.2.1/24") // the kernel's, on the interface with the link
	prefixB   = netip.MustParsePrefix("192.0.2.2/24") // the peer's
	addrOurs  = netip.MustParseAddr("192.0.2.10")     // claimed
	claimOurs = &link.Claims{IPv4: []link.ClaimIPv4{{Addr: addrOurs.As4()}}}
)

func kernelPair(t testing.TB, queues int) *netnstest.Wire {
	w := netnstest.NewPair(t, &netnstest.Config{Queues: queues, AddrA: prefixA, AddrB: prefixB})
	takeAll(t, w)
	return w
}

// TestBesideKernel: the kernel's TCP, UDP and ICMP over the interface work
// while another address of the same subnet is answered here.
func TestBesideKernel(t *testing.T) {
	for _, mode := range []Mode{Native, Generic} {
		t.Run(mode.String(), func(t *testing.T) { testBesideKernel(t, mode) })
	}
}

func testBesideKernel(t *testing.T, mode Mode) {
	leaktest.Check(t)
	w := kernelPair(t, 1)
	b := newBench(t, w.A, &Config{Mode: mode}, claimOurs)
	stop := make(chan struct{})
	var echoed int
	var server, clients sync.WaitGroup
	server.Go(func() { echoed = b.echo(stop) })

	// At most an MTU a frame, and the kernel's own acknowledgements.
	const datagrams, megabytes, passed = 2000, 8, 8 << 20 / 1500
	for _, to := range []netip.AddrPort{netip.AddrPortFrom(addrOurs, 7), netip.AddrPortFrom(prefixA.Addr(), 7)} {
		if to.Addr() == prefixA.Addr() {
			kernelEcho(t, w.A, to)
		}
		clients.Go(func() { pingPong(t, w.B, to, datagrams) })
	}
	clients.Go(func() { transfer(t, w.A, w.B, prefixA.Addr(), megabytes<<20) })
	clients.Go(func() { transfer(t, w.B, w.A, prefixB.Addr(), megabytes<<20) })
	clients.Go(func() {
		if out, err := w.B.Exec("ping", "-c", "5", "-i", "0.02", "-W", "1", prefixA.Addr().String()); err != nil {
			t.Logf("ping: %v: %s", err, out)
			if !strings.Contains(err.Error(), "executable file not found") {
				t.Error("ICMP to the kernel does not work")
			}
		}
	})
	clients.Wait()
	close(stop)
	server.Wait()
	if s := b.FilterStats(); accepted(s) < datagrams || s.Verdicts[filter.Skip] < passed {
		t.Errorf("filter counters %+v after %d datagrams for us and %d MB for the kernel", s, datagrams, megabytes)
	}
	if echoed < datagrams {
		t.Errorf("%d frames echoed, want %d and ARP", echoed, datagrams)
	}
}

// kernelEcho echoes on a socket of the kernel's until the test ends.
func kernelEcho(t *testing.T, h *netnstest.Host, at netip.AddrPort) {
	t.Helper()
	c, err := h.ListenUDP(at)
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	t.Cleanup(func() {
		c.Close()
		running.Wait()
	})
	running.Go(func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := c.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			c.WriteToUDPAddrPort(buf[:n], from)
		}
	})
}

// pingPong sends datagrams one at a time and wants each back. A datagram may
// be lost where the kernel's queues overflow under the TCP load: few of them.
func pingPong(t *testing.T, h *netnstest.Host, to netip.AddrPort, n int) {
	c, err := h.DialUDP(netip.AddrPort{}, to)
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	got, lost := make([]byte, 2048), 0
	for i := range n {
		want := fmt.Appendf(nil, "datagram %d", i)
		for tries := 0; ; tries++ {
			if _, err := c.Write(want); err != nil {
				t.Errorf("%v: %v", to, err)
				return
			}
			c.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
			m, err := c.Read(got)
			for err == nil && !bytes.Equal(got[:m], want) {
				m, err = c.Read(got) // a late answer to an earlier one
			}
			if err == nil {
				break
			}
			if lost++; lost > n/20 || tries == 10 {
				t.Errorf("%v: %d of %d datagrams lost, the last by %v", to, lost, i, err)
				return
			}
		}
	}
}

// transfer sends bytes over TCP from one kernel to the other, and compares.
func transfer(t *testing.T, server, client *netnstest.Host, at netip.Addr, size int) {
	var l net.Listener
	var c net.Conn
	err := server.DoErr(func() (err error) {
		l, err = net.Listen("tcp4", netip.AddrPortFrom(at, 0).String())
		return err
	})
	if err != nil {
		t.Error(err)
		return
	}
	defer l.Close()
	received := make(chan [sha256.Size]byte, 1)
	go func() {
		defer close(received)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(20 * time.Second))
		h := sha256.New()
		io.Copy(h, c)
		received <- [sha256.Size]byte(h.Sum(nil))
	}()
	// One address and a dialler without fallback: it dials on this thread.
	err = client.DoErr(func() (err error) {
		d := net.Dialer{Timeout: 5 * time.Second, FallbackDelay: -1}
		c, err = d.Dial("tcp4", l.Addr().String())
		return err
	})
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	data := bytes.Repeat([]byte("kernel traffic, undisturbed. "), size/29)
	if _, err := c.Write(data); err != nil {
		t.Errorf("TCP to %v: %v", at, err)
	}
	c.Close()
	if got := <-received; got != sha256.Sum256(data) {
		t.Errorf("TCP to %v: the content changed on the way", at)
	}
}

// TestReopen opens, uses and closes the interface again and again without a pause.
func TestReopen(t *testing.T) {
	leaktest.Check(t)
	w := kernelPair(t, 2)
	rounds := 50
	if w.Borrowed() {
		rounds = 4 // each of which interrupts the wire twice
	}
	var longest time.Duration
	for range rounds {
		start := time.Now()
		var l *Link
		var err error
		w.A.Do(func() { l, err = Open(w.A.IfName, nil) })
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Attach(link.Layout{BufferSize: 2048, Queues: 2, RXBuffers: 64, TXBuffers: 64}); err != nil {
			t.Fatal(err)
		}
		l.Queue(1).Fill([]uint32{64, 65})
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		longest = max(longest, time.Since(start))
	}
	t.Logf("longest of %d rounds: %v", rounds, longest)
}

// TestGone takes the other end's namespace, and with it the interface, away.
func TestGone(t *testing.T) {
	leaktest.Check(t)
	w := kernelPair(t, 1)
	needsVeth(t, w, "a card cannot be deleted")
	b := newBench(t, w.A, nil, claimOurs)
	ended := make(chan error, 1)
	go func() { ended <- b.q.WaitReceive(-1) }()
	time.Sleep(20 * time.Millisecond)
	if out, err := w.A.Exec("ip", "link", "del", w.A.IfName); err != nil {
		t.Skipf("no way to delete the interface: %v: %s", err, out)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, unix.ENODEV) {
			t.Errorf("WaitReceive: %v, want ENODEV", err)
		}
	case <-time.After(2 * time.Second):
		t.Fatal("WaitReceive sleeps on a removed interface")
	}
	if s := b.State(); s != link.Gone {
		t.Errorf("state %v, want gone", s)
	}
	start := time.Now()
	if err := b.q.WaitReceive(50 * time.Millisecond); !errors.Is(err, unix.ENODEV) || time.Since(start) < 40*time.Millisecond {
		t.Errorf("a later WaitReceive: %v after %v, want ENODEV after 50 ms: it must not spin", err, time.Since(start))
	}
	b.q.Send([]link.Frame{b.frame(make([]byte, 60))})
	if err := b.q.Flush(); !errors.Is(err, unix.ENODEV) {
		t.Errorf("Flush: %v, want ENODEV", err)
	}
	if err := b.q.WaitSend(-1); !errors.Is(err, unix.ENODEV) {
		t.Errorf("WaitSend: %v, want ENODEV", err)
	}
	if err := b.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// TestOffAndOn switches the interface itself off and on, not the peer.
func TestOffAndOn(t *testing.T) {
	leaktest.Check(t)
	w := kernelPair(t, 1)
	b := newBench(t, w.A, nil, claimOurs)
	peer := newPacketPeer(t, w.B, suiteType)
	frame := ethernet(suiteType, make([]byte, 50))
	if err := w.A.SetUp(false); err != nil {
		t.Fatal(err)
	}
	if s := b.State(); s != link.Down {
		t.Errorf("state %v, want down", s)
	}
	b.q.Send([]link.Frame{b.frame(frame)})
	if err := b.q.Flush(); !errors.Is(err, unix.ENETDOWN) {
		t.Errorf("Flush: %v, want ENETDOWN", err)
	}
	if err := b.q.WaitReceive(30 * time.Millisecond); err != nil {
		t.Errorf("WaitReceive while down: %v", err)
	}
	if err := w.A.SetUp(true); err != nil {
		t.Fatal(err)
	}
	if err := w.A.WaitUp(cardWait); err != nil {
		t.Fatal(err)
	}
	if err := b.q.Flush(); err != nil {
		t.Errorf("Flush: %v", err)
	}
	if got, err := peer.Receive(time.Second); err != nil || !bytes.Equal(got, frame) {
		t.Errorf("the frame that waited: % x, %v", got, err)
	}
	pong := make(chan struct{})
	stop := make(chan struct{})
	go func() { defer close(pong); b.echo(stop) }()
	pingPong(t, w.B, netip.AddrPortFrom(addrOurs, 7), 10)
	close(stop)
	<-pong
}

// TestDropped counts what the device loses: the peer takes no frame over its MTU.
func TestDropped(t *testing.T) {
	leaktest.Check(t)
	w := kernelPair(t, 1)
	needsVeth(t, w, "a card sends what its MTU does not allow, or drops it by itself")
	b := newBench(t, w.A, nil, claimOurs)
	// The link knows the MTU of Open; the interface now takes less.
	if err := w.A.SetMTU(1000); err != nil {
		t.Fatal(err)
	}
	if err := w.B.SetMTU(1000); err != nil {
		t.Fatal(err)
	}
	long, short := ethernet(suiteType, make([]byte, 1400)), ethernet(suiteType, make([]byte, 100))
	const n = 40 // more than one call's worth
	var frames []link.Frame
	for i := range n {
		frames = append(frames, b.frame([][]byte{long, short}[i%2]))
	}
	if b.q.Send(frames) != n {
		t.Fatal("Send did not take all")
	}
	if err := b.q.Flush(); err != nil {
		t.Error(err)
	}
	back := 0
	for deadline := time.Now().Add(time.Second); back < n && time.Now().Before(deadline); {
		back += b.reclaim()
	}
	if s := b.q.Stats(); back != n || s.TXDropped != n/2 || s.TXInvalid != 0 {
		t.Errorf("%d of %d buffers back, counters %+v, want %d dropped", back, n, s, n/2)
	}
}

// TestWakeRace wakes a receiver at any moment: no wake-up may be lost.
func TestWakeRace(t *testing.T) {
	leaktest.Check(t)
	w := kernelPair(t, 1)
	b := newBench(t, w.A, nil, &link.Claims{})
	const n = 20_000
	ack := make(chan struct{})
	go func() {
		defer close(ack)
		for range n {
			if err := b.q.WaitReceive(-1); err != nil {
				t.Error(err)
				return
			}
			ack <- struct{}{}
		}
	}()
	const limit = 20 * time.Second // of one: all of them take as long on a busy machine
	timeout := time.NewTimer(limit)
	defer timeout.Stop()
	for i := range n {
		timeout.Reset(limit)
		for range i % 512 { // move the Wake through the receiver's way to sleep
			_ = i
		}
		b.q.Wake()
		select {
		case <-ack:
		case <-timeout.C:
			t.Fatalf("wake-up %d was lost", i)
		}
	}
	<-ack
}
