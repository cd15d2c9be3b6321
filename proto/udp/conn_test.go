package udp_test

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"runtime"
	"syscall"
	"testing"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/link/loopback"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

func TestEcho(t *testing.T) {
	a, b := strangers(t, nil)
	server := listen(t, b, 7, nil)
	client := dial(t, a, b.At(7), nil)
	done := make(chan error, 1)
	go func() {
		buf := make([]byte, 2000)
		for {
			n, from, err := server.ReadFromUDPAddrPort(buf)
			if err == nil {
				_, err = server.WriteToUDPAddrPort(buf[:n], from)
			}
			if err != nil {
				done <- err
				return
			}
		}
	}()
	buf := make([]byte, 2000)
	for i := range 1000 {
		want := []byte{byte(i), byte(i >> 8)}
		if _, err := client.Write(want); err != nil {
			t.Fatal(err)
		}
		n, err := client.Read(buf)
		if err != nil || !bytes.Equal(buf[:n], want) {
			t.Fatalf("echo %d: %x, %v", i, buf[:n], err)
		}
	}
	server.Close()
	wantError(t, <-done, "read", net.ErrClosed)
	// Only what went before the neighbours knew each other was slow.
	if st := a.Stack.Stats(); st.Demoted > 10 {
		t.Errorf("%d of 1000 datagrams were demoted", st.Demoted)
	}
}

// TestPacketConn uses the socket through the interface alone.
func TestPacketConn(t *testing.T) {
	a, b := pair(t, nil)
	var x, y net.PacketConn = listen(t, a, 1000, nil), listen(t, b, 2000, nil)
	if n, err := x.WriteTo([]byte("there"), y.LocalAddr()); n != 5 || err != nil {
		t.Fatal(n, err)
	}
	buf := make([]byte, 100)
	n, from, err := y.ReadFrom(buf)
	if err != nil || string(buf[:n]) != "there" || from.String() != "10.0.0.1:1000" {
		t.Fatalf("%q from %v, %v", buf[:n], from, err)
	}
	if _, ok := from.(*net.UDPAddr); !ok || from.Network() != "udp" {
		t.Errorf("sender is a %T of %s", from, from.Network())
	}
	if _, err := y.WriteTo([]byte("and back"), from); err != nil {
		t.Fatal(err)
	}
	if n, _, err = x.ReadFrom(buf); err != nil || string(buf[:n]) != "and back" {
		t.Fatalf("%q, %v", buf[:n], err)
	}
	if err := x.Close(); err != nil {
		t.Error(err)
	}
	wantError(t, x.Close(), "close", net.ErrClosed)
}

// TestConn uses a connected pair of sockets through the interface alone.
func TestConn(t *testing.T) {
	a, b := pair(t, nil)
	c, err := udp.Dial(a.Stack, a.At(1000), b.At(2000), nil)
	if err != nil {
		t.Fatal(err)
	}
	d, err := udp.Dial(b.Stack, b.At(2000), a.At(1000), nil)
	if err != nil {
		t.Fatal(err)
	}
	var x, y net.Conn = ready(c), ready(d)
	if x.LocalAddr().String() != y.RemoteAddr().String() || x.RemoteAddr().String() != y.LocalAddr().String() {
		t.Errorf("%v-%v and %v-%v", x.LocalAddr(), x.RemoteAddr(), y.LocalAddr(), y.RemoteAddr())
	}
	if _, err := x.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	if n, err := y.Read(buf); err != nil || string(buf[:n]) != "hello" {
		t.Fatalf("%q, %v", buf[:n], err)
	}
}

func TestUnconnectedHasNoRemote(t *testing.T) {
	a, _ := pair(t, nil)
	if r := listen(t, a, 0, nil).RemoteAddr(); r != nil {
		t.Errorf("remote address %v, want nil", r)
	}
}

// TestConnectedHearsItsPeerOnly: what others send to a connected socket goes
// to the one that is bound to the port, or nowhere.
func TestConnectedHearsItsPeerOnly(t *testing.T) {
	a, b := pair(t, nil)
	peer, stranger := listen(t, b, 2000, nil), listen(t, b, 3000, nil)
	shared := &udp.Config{ReusePort: true}
	bound := listen(t, a, 1000, shared)
	c, err := udp.Dial(a.Stack, a.At(1000), b.At(2000), shared)
	if err != nil {
		t.Fatal(err)
	}
	ready(c)
	send(t, stranger, "stranger", a.At(1000))
	send(t, peer, "peer", a.At(1000))
	receive(t, c, "peer", b.At(2000))
	receive(t, bound, "stranger", b.At(3000))
	c.Close()
	send(t, peer, "peer again", a.At(1000))
	receive(t, bound, "peer again", b.At(2000))
}

func TestMsg(t *testing.T) {
	a, b := pair(t, nil)
	x, y := listen(t, a, 1000, nil), listen(t, b, 2000, nil)
	if n, oobn, err := x.WriteMsgUDPAddrPort([]byte("0123456789"), nil, b.At(2000)); n != 10 || oobn != 0 || err != nil {
		t.Fatal(n, oobn, err)
	}
	buf := make([]byte, 4)
	n, oobn, flags, from, err := y.ReadMsgUDPAddrPort(buf, make([]byte, 8))
	if n != 4 || oobn != 0 || flags != 0x20 || from != a.At(1000) || err != nil || string(buf) != "0123" {
		t.Errorf("%d bytes %q, %d, flags %#x from %v, %v", n, buf, oobn, flags, from, err)
	}
	if st := y.Stats(); st.Truncated != 1 || st.Received != 1 || st.Held != 0 {
		t.Errorf("counted %+v", st)
	}
	_, _, err = x.WriteMsgUDPAddrPort(nil, []byte{1}, b.At(2000))
	wantError(t, err, "write", syscall.EINVAL)
	_, _, err = x.WriteMsgUDPAddrPort(nil, nil, netip.AddrPort{})
	wantError(t, err, "write", syscall.ENOTCONN)

	c := dial(t, a, b.At(2000), nil)
	if n, _, err := c.WriteMsgUDPAddrPort([]byte("peer"), nil, netip.AddrPort{}); n != 4 || err != nil {
		t.Fatal(n, err)
	}
	big := make([]byte, 100)
	if n, _, flags, _, err := y.ReadMsgUDPAddrPort(big, nil); n != 4 || flags != 0 || err != nil {
		t.Error(n, flags, err)
	}
}

// TestTruncation: what does not fit is gone, and the next datagram whole.
func TestTruncation(t *testing.T) {
	a, b := pair(t, nil)
	x, y := listen(t, a, 0, nil), listen(t, b, 2000, nil)
	send(t, x, "long enough", b.At(2000))
	send(t, x, "next", b.At(2000))
	buf := make([]byte, 4)
	if n, err := y.Read(buf); n != 4 || err != nil || string(buf) != "long" {
		t.Errorf("%d, %q, %v", n, buf, err)
	}
	receive(t, y, "next", local(x))
}

// TestSizes: every length near an edge arrives as it was sent; the empty
// datagram is one too.
func TestSizes(t *testing.T) {
	a, b := pair(t, nil)
	x, y := listen(t, a, 0, nil), listen(t, b, 2000, nil)
	for _, n := range []int{0, 1, 2, 17, 18, 19, 1471, 1472} {
		send(t, x, pattern(n), b.At(2000))
		receive(t, y, pattern(n), local(x))
	}
	if st := y.Stats(); st.InBand != 0 || st.Received != 8 {
		t.Errorf("all of them fit into a frame, counted %+v", st)
	}
}

// TestMapped: addresses as net.IP has them are IPv4.
func TestMapped(t *testing.T) {
	a, b := pair(t, nil)
	mapped := func(h *stacktest.Host, port uint16) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom16(h.Addr.As16()), port)
	}
	x := listenOn(t, a.Stack, mapped(a, 1000), nil)
	y, err := udp.Dial(b.Stack, mapped(b, 2000), mapped(a, 1000), nil)
	if err != nil {
		t.Fatal(err)
	}
	ready(y)
	if local(x) != a.At(1000) || y.RemoteAddr().String() != "10.0.0.1:1000" {
		t.Errorf("local %v, remote %v: want plain IPv4", local(x), y.RemoteAddr())
	}
	send(t, x, "mapped", mapped(b, 2000))
	receive(t, y, "mapped", a.At(1000))
	if _, err := x.WriteTo([]byte("udpaddr"), &net.UDPAddr{IP: net.IPv4(10, 0, 0, 2), Port: 2000}); err != nil {
		t.Fatal(err)
	}
	receive(t, y, "udpaddr", a.At(1000))
	if n, err := x.WriteBatch([]udp.Message{{Buf: []byte("batch"), Addr: mapped(b, 2000)}}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	receive(t, y, "batch", a.At(1000))
	l, err := x.Reserve(5)
	if err != nil {
		t.Fatal(err)
	}
	copy(l.Payload(), "lease")
	if err := l.SendTo(mapped(b, 2000)); err != nil {
		t.Fatal(err)
	}
	receive(t, y, "lease", a.At(1000))
}

// TestAnyAddress: a socket on no address in particular answers from the one
// that the route has.
func TestAnyAddress(t *testing.T) {
	a, b := pair(t, nil)
	for _, any := range []netip.AddrPort{netip.AddrPortFrom(netip.IPv4Unspecified(), 2000), netip.AddrPortFrom(netip.Addr{}, 2000)} {
		x, y := listen(t, a, 0, nil), listenOn(t, b.Stack, any, nil)
		if !local(y).Addr().IsUnspecified() || local(y).Port() != 2000 {
			t.Errorf("listening on %v", local(y))
		}
		send(t, x, "hello", b.At(2000))
		receive(t, y, "hello", local(x))
		send(t, y, "back", local(x))
		receive(t, x, "back", b.At(2000))
		y.Close()
	}
}

// TestOrder: a flow's datagrams come in the order they were sent, each once,
// whatever priority and way of sending.
func TestOrder(t *testing.T) {
	a, b := pair(t, nil)
	const n = 20000
	y := listen(t, b, 2000, &udp.Config{Queue: 512})
	x := dial(t, a, b.At(2000), &udp.Config{Priority: 3})
	go func() {
		buf := make([]byte, 4)
		for i := 0; i < n; i++ {
			// As many under way as the reader may hold, no more.
			for int(y.Stats().Received)+128 < i || y.Stats().Held > 64 {
				runtime.Gosched()
			}
			buf[0], buf[1], buf[2] = byte(i), byte(i>>8), byte(i>>16)
			if i%3 == 0 {
				if k, err := x.WriteBatch([]udp.Message{{Buf: buf}}); k != 1 || err != nil {
					return
				}
			} else if _, err := x.Write(buf); err != nil {
				return
			}
		}
	}()
	buf := make([]byte, 100)
	for i := range n {
		k, err := y.Read(buf)
		if err != nil {
			t.Fatalf("after %d of %d: %v (%+v)", i, n, err, y.Stats())
		}
		if got := int(buf[0]) | int(buf[1])<<8 | int(buf[2])<<16; k != 4 || got != i {
			t.Fatalf("datagram %d came as number %d", got, i)
		}
	}
}

func TestDeviceComesAndGoes(t *testing.T) {
	leaktest.Check(t)
	s, err := stack.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	// A socket that is there before the first device, with a reader asleep.
	c := listenOn(t, s, netip.AddrPortFrom(netip.Addr{}, 2000), nil)
	for round := range 3 {
		got := make(chan string, 1)
		go func() {
			buf := make([]byte, 100)
			n, _, err := c.ReadFromUDPAddrPort(buf)
			if err != nil {
				got <- err.Error()
				return
			}
			got <- string(buf[:n])
		}()
		la, lb, err := loopback.Pair(nil)
		if err != nil {
			t.Fatal(err)
		}
		d, err := s.Attach(la, nil)
		if err != nil {
			t.Fatal(err)
		}
		prefix := netip.MustParsePrefix("10.0.0.1/24")
		if _, err := d.EnablePort(&stack.PortConfig{Addrs: []netip.Prefix{prefix}}); err != nil {
			t.Fatal(err)
		}
		t.Run("", func(t *testing.T) {
			b := stacktest.On(t, lb, netip.MustParsePrefix("10.0.0.2/24"), nil)
			x := dial(t, b, netip.AddrPortFrom(prefix.Addr(), 2000), nil)
			if _, err := x.Write([]byte("hello")); err != nil {
				t.Fatal(err)
			}
			if g := <-got; g != "hello" {
				t.Errorf("round %d: %s", round, g)
			}
			// What waits for a reader when the device goes, goes with it.
			if _, err := x.Write([]byte("late")); err != nil {
				t.Fatal(err)
			}
			stacktest.Eventually(t, "it waits", func() bool { return c.Stats().Held == 1 })
			if err := d.Close(); err != nil {
				t.Error(err)
			}
			if held := c.Stats().Held; held != 0 {
				t.Errorf("%d datagrams of a device that is gone", held)
			}
		})
	}
	if _, err := c.WriteToUDPAddrPort(nil, netip.MustParseAddrPort("10.0.0.2:1")); !errors.Is(err, syscall.ENETUNREACH) {
		t.Errorf("without a device: %v", err)
	}
}
