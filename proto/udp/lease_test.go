package udp_test

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"

	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

func TestReceive(t *testing.T) {
	a, b := pair(t, nil)
	x, y := listen(t, a, 1000, nil), listenOn(t, b.Stack, netip.AddrPortFrom(netip.Addr{}, 2000), nil)
	send(t, x, "first", b.At(2000))
	send(t, x, "", b.At(2000))
	first, err := y.Receive()
	if err != nil {
		t.Fatal(err)
	}
	empty, err := y.Receive()
	if err != nil {
		t.Fatal(err)
	}
	if string(first.Payload()) != "first" || first.From() != a.At(1000) || first.To() != b.Addr {
		t.Errorf("%q from %v to %v", first.Payload(), first.From(), first.To())
	}
	if len(empty.Payload()) != 0 || empty.From() != a.At(1000) {
		t.Errorf("%q from %v", empty.Payload(), empty.From())
	}
	if held := b.Device.Stats().Pool.RXHeld; held != 2 {
		t.Errorf("%d buffers held, want 2", held)
	}
	// In the order of their release, not of their coming.
	empty.Release()
	first.Payload()[0] = 'F' // the bytes are the application's
	if string(first.Payload()) != "First" {
		t.Errorf("%q after a change in place", first.Payload())
	}
	first.Release()
	first.Release() // does nothing
	if first.Payload() != nil || first.From().IsValid() || first.To().IsValid() {
		t.Error("a released datagram still shows something")
	}
	stacktest.AssertNothingHeld(t, b.Device)
	if st := y.Stats(); st.Held != 0 {
		t.Errorf("%d datagrams held", st.Held)
	}
}

// TestHeldBeyondClose: leases outlive the socket and hold the device, which
// says so, and closes when they have come back.
func TestHeldBeyondClose(t *testing.T) {
	a, b := pair(t, nil)
	x, y := listen(t, a, 1000, nil), listen(t, b, 2000, nil)
	send(t, x, "held", b.At(2000))
	d, err := y.Receive()
	if err != nil {
		t.Fatal(err)
	}
	l, err := y.Reserve(8)
	if err != nil {
		t.Fatal(err)
	}
	if err := y.Close(); err != nil {
		t.Fatal(err)
	}
	if string(d.Payload()) != "held" || len(l.Payload()) != 8 {
		t.Errorf("%q and %d bytes after Close", d.Payload(), len(l.Payload()))
	}
	if err := b.Device.Close(); !errors.Is(err, syscall.EBUSY) {
		t.Fatalf("close with two buffers held: %v", err)
	}
	if string(d.Payload()) != "held" {
		t.Errorf("%q after the device's Close", d.Payload())
	}
	d.Release()
	if err := b.Device.Close(); !errors.Is(err, syscall.EBUSY) {
		t.Fatalf("close with one buffer held: %v", err)
	}
	l.Discard()
	if err := b.Device.Close(); err != nil {
		t.Error(err)
	}
}

func TestReserve(t *testing.T) {
	a, b := pair(t, nil)
	x, y := listen(t, a, 1000, nil), listen(t, b, 2000, nil)
	c := dial(t, a, b.At(2000), nil)
	for _, size := range []int{0, 1, 18, 1472} {
		for _, from := range []*udp.Conn{x, c} {
			l, err := from.Reserve(size)
			if err != nil {
				t.Fatal(err)
			}
			if n := copy(l.Payload(), pattern(size)); n != size || len(l.Payload()) != size {
				t.Fatalf("room for %d bytes, want %d", len(l.Payload()), size)
			}
			if from == c {
				err = l.Send()
			} else {
				err = l.SendTo(b.At(2000))
			}
			if err != nil {
				t.Fatal(err)
			}
			receive(t, y, pattern(size), local(from))
			if l.Payload() != nil {
				t.Error("a lease that was sent still has its payload")
			}
			for _, err := range []error{l.SendTo(b.At(2000)), l.Send()} {
				wantError(t, err, "write", os.ErrInvalid)
			}
			l.Discard() // does nothing
		}
	}
	for _, size := range []int{-1, 1473, 1 << 30} {
		_, err := x.Reserve(size)
		wantError(t, err, "write", syscall.EMSGSIZE)
	}
}

// TestDiscard: what is not sent comes back, and the pool never runs dry.
func TestDiscard(t *testing.T) {
	a, b := pair(t, &stacktest.Options{Device: stack.DeviceConfig{PoolSize: 16}})
	x := listen(t, a, 1000, &udp.Config{NoWait: true, OnMiss: udp.MissFail})
	before := a.Device.Stats().Pool.Free
	for range 100 {
		l, err := x.Reserve(100)
		if err != nil {
			t.Fatal(err)
		}
		l.Discard()
		l.Discard()
		// A send that fails gives the buffer back too.
		if l, err = x.Reserve(100); err != nil {
			t.Fatal(err)
		}
		if err := l.SendTo(netip.MustParseAddrPort("10.0.0.99:1")); !errors.Is(err, syscall.EHOSTUNREACH) {
			t.Fatal(err)
		}
	}
	if after := a.Device.Stats().Pool.Free; after != before {
		t.Errorf("%d buffers free, were %d", after, before)
	}
	_ = b
}

// TestLeaseTakesTheSlowWay: a lease to somebody unknown goes in-band.
func TestLeaseTakesTheSlowWay(t *testing.T) {
	a, b := strangers(t, nil)
	x, y := listen(t, a, 1000, nil), listen(t, b, 2000, nil)
	l, err := x.Reserve(4)
	if err != nil {
		t.Fatal(err)
	}
	copy(l.Payload(), "slow")
	if err := l.SendTo(b.At(2000)); err != nil {
		t.Fatal(err)
	}
	receive(t, y, "slow", a.At(1000))
	if st := x.Stats(); st.Demoted != 1 {
		t.Errorf("%+v", st)
	}
}

// TestLeaseAfterClose: a socket that is closed sends nothing more.
func TestLeaseAfterClose(t *testing.T) {
	a, b := pair(t, nil)
	y := listen(t, b, 2000, nil)
	x := listen(t, a, 1000, nil)
	c := dial(t, a, b.At(2000), nil)
	l1, err1 := x.Reserve(4)
	l2, err2 := c.Reserve(4)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	x.Close()
	c.Close()
	wantError(t, l1.SendTo(b.At(2000)), "write", net.ErrClosed)
	wantError(t, l2.Send(), "write", net.ErrClosed)
	_, err := x.Reserve(4)
	wantError(t, err, "write", net.ErrClosed)
	nothing(t, y, listen(t, a, 0, nil))
}
