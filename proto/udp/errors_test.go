package udp_test

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/loopback"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

// TestConnRefused: a port unreachable is told to the connected socket once, by
// its next read or write, and wakes a read that waits.
func TestConnRefused(t *testing.T) {
	a, b := strangers(t, nil)
	c := dial(t, a, b.At(9), nil)
	_, err := c.Write([]byte("x")) // demoted, since nobody knows the peer yet
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Read(make([]byte, 10))
	wantError(t, err, "read", syscall.ECONNREFUSED)

	for range 3 {
		_, err := c.Write([]byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		stacktest.Eventually(t, "the next write is told", func() bool {
			before := c.Stats().Errors
			_, err = c.Write([]byte("x"))
			return err != nil || c.Stats().Errors != before
		})
		if err == nil {
			_, err = c.Write([]byte("x"))
		}
		wantError(t, err, "write", syscall.ECONNREFUSED)
		for c.SetReadDeadline(time.Now().Add(20*time.Millisecond)) == nil {
			if _, err = c.Read(make([]byte, 10)); !errors.Is(err, syscall.ECONNREFUSED) {
				break
			}
		}
		wantTimeout(t, err, "read")
	}

	// Somebody listens now: all is well again.
	y := listen(t, b, 9, nil)
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	receive(t, y, "hello", local(c))
}

// TestUnconnectedIsNotRefused: a server lives on when a client has gone.
func TestUnconnectedIsNotRefused(t *testing.T) {
	a, b := pair(t, nil)
	c := listen(t, a, 1000, nil)
	send(t, c, "x", b.At(9))
	stacktest.Eventually(t, "the error is counted", func() bool { return c.Stats().Errors == 1 })
	send(t, c, "y", b.At(9))
	c.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err := c.Read(nil)
	wantTimeout(t, err, "read")
}

// TestWriteErrors: each with the number that a kernel socket has.
func TestWriteErrors(t *testing.T) {
	to := netip.MustParseAddrPort
	for _, c := range []struct {
		name string
		cfg  udp.Config
		to   netip.AddrPort
		size int
		want error
	}{
		{"too long", udp.Config{}, to("10.0.0.2:9"), udp.MaxPayload + 1, syscall.EMSGSIZE},
		{"no route", udp.Config{}, to("192.0.2.1:9"), 1, syscall.ENETUNREACH},
		{"a miss that must not be", udp.Config{OnMiss: udp.MissFail}, to("10.0.0.99:9"), 1, syscall.EHOSTUNREACH},
		{"broadcast", udp.Config{}, to("255.255.255.255:9"), 1, syscall.EACCES},
		{"directed broadcast", udp.Config{}, to("10.0.0.255:9"), 1, syscall.EACCES},
		{"behind a gateway", udp.Config{DontRoute: true}, to("198.51.100.1:9"), 1, syscall.EMULTIHOP},
		{"IPv6", udp.Config{}, to("[2001:db8::1]:9"), 1, syscall.EAFNOSUPPORT},
		{"unspecified", udp.Config{}, to("0.0.0.0:9"), 1, syscall.EDESTADDRREQ},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := pair(t, nil)
			if err := a.Stack.AddRoute(netip.MustParsePrefix("198.51.100.0/24"), b.Addr, a.Port); err != nil {
				t.Fatal(err)
			}
			x := listen(t, a, 1000, &c.cfg)
			// Twice: what the first call learns must not let the second pass.
			for range 2 {
				n, err := x.WriteToUDPAddrPort(make([]byte, c.size), c.to)
				if n != 0 {
					t.Errorf("%d bytes written", n)
				}
				wantError(t, err, "write", c.want)
				if oe := err.(*net.OpError); oe.Addr.String() != c.to.String() || oe.Source.String() != "10.0.0.1:1000" {
					t.Errorf("error is about %v -> %v, want 10.0.0.1:1000 -> %v", oe.Source, oe.Addr, c.to)
				}
				n, err = x.WriteBatch([]udp.Message{{Buf: make([]byte, c.size), Addr: c.to}})
				if n != 0 {
					t.Errorf("%d messages written", n)
				}
				wantError(t, err, "write", c.want)
				if c.size == 1 {
					l, err := x.Reserve(1)
					if err != nil {
						t.Fatal(err)
					}
					wantError(t, l.SendTo(c.to), "write", c.want)
				}
			}
		})
	}
}

// TestAddressMistakes: addresses of the wrong kind, and calls that are not for
// this kind of socket.
func TestAddressMistakes(t *testing.T) {
	a, b := pair(t, nil)
	x := listen(t, a, 1000, nil)
	_, err := x.Write([]byte("x"))
	wantError(t, err, "write", syscall.ENOTCONN)
	_, err = x.WriteTo(nil, &net.TCPAddr{})
	wantError(t, err, "write", syscall.EINVAL)
	_, err = x.WriteTo(nil, nil)
	wantError(t, err, "write", syscall.EINVAL)
	_, err = x.WriteTo(nil, (*net.UDPAddr)(nil))
	wantError(t, err, "write", syscall.EDESTADDRREQ)
	_, err = x.WriteBatch([]udp.Message{{}})
	wantError(t, err, "write", syscall.EDESTADDRREQ)
	l, err := x.Reserve(1)
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, l.Send(), "write", syscall.ENOTCONN)

	c := dial(t, a, b.At(9), nil)
	_, err = c.WriteToUDPAddrPort(nil, b.At(9))
	wantError(t, err, "write", net.ErrWriteToConnected)
	_, err = c.WriteTo(nil, net.UDPAddrFromAddrPort(b.At(9)))
	wantError(t, err, "write", net.ErrWriteToConnected)
	_, _, err = c.WriteMsgUDPAddrPort(nil, nil, b.At(9))
	wantError(t, err, "write", net.ErrWriteToConnected)
	for range 2 { // the second call is not the batch that the first was
		_, err = c.WriteBatch([]udp.Message{{Addr: b.At(9)}})
		wantError(t, err, "write", net.ErrWriteToConnected)
	}
	if l, err = c.Reserve(1); err != nil {
		t.Fatal(err)
	}
	wantError(t, l.SendTo(b.At(9)), "write", net.ErrWriteToConnected)
}

// TestNoBuffer: without waiting, an empty pool is ENOBUFS.
func TestNoBuffer(t *testing.T) {
	for name, write := range writers {
		t.Run(name, func(t *testing.T) {
			c, to, free := drained(t, &udp.Config{NoWait: true})
			err := write(c, to)
			wantError(t, err, "write", syscall.ENOBUFS)
			if err.(net.Error).Timeout() {
				t.Error("an empty pool is a timeout")
			}
			free()
			if err := write(c, to); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestLinkDown: the first calls that see it fail with ENETDOWN, and it passes.
func TestLinkDown(t *testing.T) {
	a, b := pair(t, nil)
	c, y := listen(t, a, 1000, nil), listen(t, b, 2000, nil)
	send(t, c, "before", b.At(2000))
	receive(t, y, "before", a.At(1000))
	wire := a.Link.(*loopback.Link)
	wire.SetState(link.Down)
	_, err := c.WriteToUDPAddrPort([]byte("lost"), b.At(2000))
	wantError(t, err, "write", syscall.ENETDOWN)
	n, err := c.WriteBatch([]udp.Message{{Buf: []byte("lost"), Addr: b.At(2000)}})
	wantError(t, err, "write", syscall.ENETDOWN)
	if n != 0 {
		t.Errorf("%d messages sent over a wire that is down", n)
	}
	wire.SetState(link.Up)
	stacktest.Eventually(t, "the wire is back", func() bool {
		_, err := c.WriteToUDPAddrPort([]byte("after"), b.At(2000))
		return err == nil
	})
	receive(t, y, "after", a.At(1000))
}

// TestBatchCountsWhatLeft: a doorbell that fails is an error about the first
// message that it was for.
func TestBatchCountsWhatLeft(t *testing.T) {
	a, b := pair(t, &stacktest.Options{Manual: true})
	c := listen(t, a, 1000, nil)
	a.Link.(*loopback.Link).SetState(link.Down)
	ms := make([]udp.Message, 3)
	for i := range ms {
		ms[i] = udp.Message{Buf: []byte("x"), Addr: b.At(2000)}
	}
	n, err := c.WriteBatch(ms)
	wantError(t, err, "write", syscall.ENETDOWN)
	if n != 0 {
		t.Errorf("%d messages sent over a wire that is down", n)
	}
}

// TestPortDisabled: without its port a socket has no way out.
func TestPortDisabled(t *testing.T) {
	a, b := pair(t, nil)
	c := dial(t, a, b.At(9), nil)
	if _, err := c.Write(nil); err != nil {
		t.Fatal(err)
	}
	if err := a.Port.Disable(); err != nil {
		t.Fatal(err)
	}
	_, err := c.Write(nil)
	if errors.Is(err, syscall.ECONNREFUSED) {
		_, err = c.Write(nil) // about the first one
	}
	wantError(t, err, "write", syscall.ENETUNREACH)
	if _, err := a.Device.EnablePort(&stack.PortConfig{Addrs: []netip.Prefix{netip.PrefixFrom(a.Addr, 24)}}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(nil); err != nil {
		t.Error(err)
	}
}

// TestSilentNeighbour: what ARP finds nobody for comes back as EHOSTUNREACH.
func TestSilentNeighbour(t *testing.T) {
	leaktest.Check(t)
	a, _ := stacktest.Pair(t, nil)
	c := listen(t, a, 1000, &udp.Config{OnMiss: udp.MissWait})
	_, err := c.WriteToUDPAddrPort(nil, netip.MustParseAddrPort("10.0.0.99:9"))
	wantError(t, err, "write", syscall.EHOSTUNREACH)

	d := dial(t, a, netip.MustParseAddrPort("10.0.0.98:9"), nil)
	if _, err := d.Write(nil); err != nil {
		t.Fatal(err)
	}
	_, err = d.Read(nil)
	wantError(t, err, "read", syscall.EHOSTUNREACH)
}
