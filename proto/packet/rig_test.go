package packet_test

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/proto/packet"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

const (
	// patience bounds a call that must succeed; only a test that fails waits so long.
	patience = 20 * time.Second
	// etherCAT is the EtherType of the cyclic exchange (IEC 61158).
	etherCAT  = 0x88a4
	otherType = 0x88b5 // for experiments (IEEE 802)
	vlanID    = 100
)

var group = link.MAC{0x01, 0x01, 0x05, 0, 0, 1}

// pair is two hosts that know each other. At the end of the test their books
// add up, and no buffer is held or lost.
func pair(t testing.TB, o *stacktest.Options) (a, b *stacktest.Host) {
	t.Helper()
	leaktest.Check(t)
	a, b = stacktest.Pair(t, o)
	stacktest.Know(t, a, b)
	t.Cleanup(func() {
		for _, h := range []*stacktest.Host{a, b} {
			stacktest.AssertBooks(t, h.Device)
		}
	})
	return a, b
}

func manual() *stacktest.Options { return &stacktest.Options{Manual: true} }

// onVLAN enables a VLAN port on a host.
func onVLAN(t testing.TB, h *stacktest.Host, addr string) *stack.Port {
	t.Helper()
	p, err := h.Device.EnablePort(&stack.PortConfig{VLAN: vlanID, Addrs: []netip.Prefix{netip.MustParsePrefix(addr)}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// listen opens a socket that has deadlines, so that a test that is wrong fails
// and does not hang.
func listen(t testing.TB, p *stack.Port, proto uint16, cfg *packet.Config) *packet.Conn {
	t.Helper()
	c, err := packet.Listen(p, proto, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return ready(c)
}

func analyse(t testing.TB, d *stack.Device, cfg *packet.Config) *packet.Conn {
	t.Helper()
	c, err := packet.ListenDevice(d, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return ready(c)
}

func ready(c *packet.Conn) *packet.Conn {
	_ = c.SetDeadline(time.Now().Add(patience)) // a fresh socket takes any
	return c
}

// to is an address without anything else.
func to(mac link.MAC) packet.Addr { return packet.Addr{MAC: mac} }

func send(t testing.TB, c *packet.Conn, payload string, to packet.Addr) {
	t.Helper()
	if n, err := c.WriteToAddr([]byte(payload), to); err != nil || n != len(payload) {
		t.Fatalf("write to %v: %d, %v", &to, n, err)
	}
}

func sendFrame(t testing.TB, c *packet.Conn, frame []byte) {
	t.Helper()
	if n, err := c.WriteFrame(frame); err != nil || n != len(frame) {
		t.Fatalf("write of % x: %d, %v", frame[:min(len(frame), 20)], n, err)
	}
}

// receive reads one frame and wants it to begin so; the rest is padding.
func receive(t testing.TB, c *packet.Conn, want string) packet.Addr {
	t.Helper()
	b := make([]byte, 2000)
	n, from, err := c.ReadFromAddr(b)
	if err != nil {
		t.Fatal(err)
	}
	rest, ok := bytes.CutPrefix(b[:n], []byte(want))
	if !ok || len(bytes.Trim(rest, "\x00")) > 0 {
		t.Fatalf("read %.60q, want %.60q", b[:n], want)
	}
	return from
}

// empty checks that nothing waits for a socket of a manual host that has been polled.
func empty(t testing.TB, c *packet.Conn) {
	t.Helper()
	f, err := c.Stats(), c.SetReadDeadline(time.Unix(1, 0))
	if err != nil || f.Held != 0 {
		t.Errorf("%d frames wait, want none; %v", f.Held, err)
	}
	if _, _, err := c.ReadFromAddr(nil); err == nil {
		t.Error("a frame waits")
	}
	_ = c.SetReadDeadline(time.Now().Add(patience))
}

// udpPair are UDP sockets of two hosts, the first connected to the second.
func udpPair(t testing.TB, a, b *stacktest.Host) (x, y *udp.Conn) {
	t.Helper()
	y, err := udp.Listen(b.Stack, b.At(7), nil)
	if err != nil {
		t.Fatal(err)
	}
	if x, err = udp.Dial(a.Stack, netip.AddrPort{}, b.At(7), nil); err != nil {
		t.Fatal(err)
	}
	_, _ = x.SetDeadline(time.Now().Add(patience)), y.SetDeadline(time.Now().Add(patience))
	return x, y
}

// exchange sends a datagram by the one and reads it by the other.
func exchange(t testing.TB, x, y *udp.Conn, poll func()) {
	t.Helper()
	if _, err := x.Write([]byte("datagram")); err != nil {
		t.Fatal(err)
	}
	poll()
	b := make([]byte, 100)
	if n, err := y.Read(b); err != nil || string(b[:n]) != "datagram" {
		t.Fatalf("%q, %v", b[:n], err)
	}
}

// frame is a whole one, from a station that is nobody's.
func frame(dst link.MAC, tci, etherType uint16, payload string) []byte {
	b := make([]byte, wire.EthernetHeaderLen+wire.VLANTagLen+len(payload))
	n := wire.PutEthernet(b, dst, stranger, tci, etherType)
	return b[:n+copy(b[n:], payload)]
}

var stranger = link.MAC{2, 2, 2, 2, 2, 2}

// wantError checks an error as a caller would who asserts it directly.
func wantError(t testing.TB, err error, op string, want error) {
	t.Helper()
	oe, ok := err.(*net.OpError)
	if !ok {
		t.Errorf("error is a %T (%v), want *net.OpError", err, err)
		return
	}
	if oe.Op != op || oe.Net != "packet" {
		t.Errorf("error of %s %s, want %s packet: %v", oe.Op, oe.Net, op, err)
	}
	if !errors.Is(err, want) {
		t.Errorf("error %q, want one that is %q", err, want)
	}
	_ = err.(net.Error).Timeout() // callers assert this without unwrapping
	_ = err.Error()
}
