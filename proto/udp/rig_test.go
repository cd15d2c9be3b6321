package udp_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

// patience bounds a call that must succeed; only a test that fails waits so long.
const patience = 20 * time.Second

// pair is two hosts that know each other: what they send is fast.
func pair(t testing.TB, o *stacktest.Options) (a, b *stacktest.Host) {
	t.Helper()
	a, b = strangers(t, o)
	stacktest.Know(t, a, b)
	return a, b
}

// strangers are two hosts that have to ask for each other's address. At the
// end of the test their books add up, and no buffer is held or lost.
func strangers(t testing.TB, o *stacktest.Options) (a, b *stacktest.Host) {
	t.Helper()
	leaktest.Check(t)
	a, b = stacktest.Pair(t, o)
	t.Cleanup(func() {
		for _, h := range []*stacktest.Host{a, b} {
			stacktest.AssertBooks(t, h.Device)
		}
	})
	return a, b
}

func listen(t testing.TB, h *stacktest.Host, port uint16, cfg *udp.Config) *udp.Conn {
	t.Helper()
	return listenOn(t, h.Stack, h.At(port), cfg)
}

func listenOn(t testing.TB, s *stack.Stack, at netip.AddrPort, cfg *udp.Config) *udp.Conn {
	t.Helper()
	c, err := udp.Listen(s, at, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return ready(c)
}

func dial(t testing.TB, h *stacktest.Host, remote netip.AddrPort, cfg *udp.Config) *udp.Conn {
	t.Helper()
	c, err := udp.Dial(h.Stack, netip.AddrPort{}, remote, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return ready(c)
}

// ready gives a socket deadlines, so that a test that is wrong fails and does
// not hang.
func ready(c *udp.Conn) *udp.Conn {
	_ = c.SetDeadline(time.Now().Add(patience)) // a fresh socket takes any
	return c
}

// local is where a socket is bound.
func local(c *udp.Conn) netip.AddrPort { return c.LocalAddr().(*net.UDPAddr).AddrPort() }

func send(t testing.TB, c *udp.Conn, payload string, to netip.AddrPort) {
	t.Helper()
	if n, err := c.WriteToUDPAddrPort([]byte(payload), to); err != nil || n != len(payload) {
		t.Fatalf("write to %v: %d, %v", to, n, err)
	}
}

// receive reads one datagram and checks it. The zero from is any.
func receive(t testing.TB, c *udp.Conn, want string, from netip.AddrPort) {
	t.Helper()
	b := make([]byte, udp.MaxPayload)
	n, got, err := c.ReadFromUDPAddrPort(b)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b[:n], []byte(want)) {
		t.Fatalf("read %s, want %s", brief(b[:n]), brief([]byte(want)))
	}
	if from.IsValid() && got != from {
		t.Fatalf("from %v, want %v", got, from)
	}
}

func brief(b []byte) string {
	if len(b) > 40 {
		return fmt.Sprintf("%q... (%d bytes)", b[:40], len(b))
	}
	return fmt.Sprintf("%q", b)
}

// nothing checks that no datagram waits for the socket. It sends one through,
// after which all that was on its way has come.
func nothing(t testing.TB, c *udp.Conn, from *udp.Conn) {
	t.Helper()
	send(t, from, "nothing before this", local(c))
	receive(t, c, "nothing before this", netip.AddrPort{})
}

// wantError checks an error as a caller would who asserts it directly. Any
// goroutine may call it.
func wantError(t testing.TB, err error, op string, want error) {
	t.Helper()
	oe, ok := err.(*net.OpError)
	if !ok {
		t.Errorf("error is a %T (%v), want *net.OpError", err, err)
		return
	}
	if oe.Op != op || oe.Net != "udp" {
		t.Errorf("error of %s %s, want %s udp: %v", oe.Op, oe.Net, op, err)
	}
	if !errors.Is(err, want) {
		t.Errorf("error %q, want one that is %q", err, want)
	}
	_ = err.(net.Error).Timeout() // callers assert this without unwrapping
}

// pattern is n bytes that tell their place.
func pattern(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return string(b)
}
