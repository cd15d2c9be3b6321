package stack_test

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link/loopback"
	"github.com/oobnet/oobnet/stack"
)

func TestRegisterRefuses(t *testing.T) {
	leaktest.Check(t)
	a, _ := stacktest.Pair(t, nil)
	s, p := a.Stack, newTestProtocol(nil)
	for _, number := range []uint8{wire.ProtocolICMP, wire.ProtocolIGMP, wire.ProtocolTCP} {
		if err := s.RegisterProtocol(stack.IPv4Number(number), p); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("protocol %d: %v", number, err)
		}
	}
	for _, et := range []uint16{wire.TypeIPv4, wire.TypeARP, wire.TypeVLAN, wire.TypeQinQ, 0, 46, 1500, 0x05ff} {
		if err := s.RegisterProtocol(stack.EtherType(et), p); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("EtherType %#04x: %v", et, err)
		}
	}
	if len(p.attached) != 0 {
		t.Error("a refused protocol was told of devices")
	}
	for range 2 {
		err := s.RegisterProtocol(stack.IPv4Number(99), p)
		err2 := s.RegisterProtocol(stack.EtherType(testEtherType), p)
		if s.Protocol(stack.IPv4Number(99)) != stack.Protocol(p) {
			t.Error("it is not there")
		}
		if err == nil && err2 == nil {
			continue
		}
		if !errors.Is(err, syscall.EADDRINUSE) || !errors.Is(err2, syscall.EADDRINUSE) {
			t.Errorf("a second time: %v, %v", err, err2)
		}
	}
	if s.Protocol(stack.IPv4Number(100)) != nil {
		t.Error("a protocol that nobody registered")
	}
}

// TestProtocolLife: told of devices that are there and of those that come,
// asked to give up what it holds of one that goes, and closed once.
func TestProtocolLife(t *testing.T) {
	leaktest.Check(t)
	a, _ := stacktest.Pair(t, nil)
	p := newTestProtocol(nil)
	if err := a.Stack.RegisterProtocol(stack.EtherType(testEtherType), p); err != nil {
		t.Fatal(err)
	}
	l, err := loopback.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	d, err := a.Stack.Attach(l, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(p.attached, []*stack.Device{a.Device, d}) {
		t.Errorf("told of %v", p.attached)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(p.purged, []*stack.Device{d}) {
		t.Errorf("asked to purge %v", p.purged)
	}
	for range 2 {
		if err := a.Stack.Close(); err != nil {
			t.Error(err)
		}
	}
	if p.closed != 1 {
		t.Errorf("closed %d times", p.closed)
	}
}

// TestPacketOfAProtocol: what the stack found in a packet is what was sent.
func TestPacketOfAProtocol(t *testing.T) {
	leaktest.Check(t)
	l := newFakeLink(1)
	h := fakeHost(t, l, manual())
	vlan, err := h.Device.EnablePort(&stack.PortConfig{VLAN: 100, Addrs: prefixes("10.0.1.1/24")})
	if err != nil {
		t.Fatal(err)
	}
	group := netip.MustParseAddr("239.1.2.3")
	if err := h.Port.JoinGroup(group); err != nil {
		t.Fatal(err)
	}
	var got []stack.Packet
	var bytes [][]byte
	see := newTestProtocol(func(b *stack.Batch) {
		for _, p := range b.Packets {
			if b.Device != h.Device || h.Device.Packet(p.Frame.Index) != p || b.Share < 1 {
				t.Error("the batch is not of this device")
			}
			got = append(got, *p)
			bytes = append(bytes, slices.Clone(b.Transport(p)))
		}
	})
	for _, err := range []error{h.Stack.RegisterProtocol(stack.IPv4Number(99), see), h.Stack.RegisterProtocol(stack.EtherType(testEtherType), see)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	tagged := packet{proto: 99, tci: 0x6000 | 100, dst: vlan.Addrs()[0].Addr(), payload: "tagged"}.frame()
	many := packet{proto: 99, dst: group, dstMAC: wire.MulticastMAC(group.As4()), payload: "many"}.frame()
	many[15], many[22] = 0x2c, 3 // TOS and TTL
	resum(many)
	raw := packet{dstMAC: broadcast}.frame()[:40]
	binary.BigEndian.PutUint16(raw[12:], testEtherType)
	for _, f := range [][]byte{append(tagged, 1, 2, 3), many, raw} {
		l.arrive(f, 0, 0)
	}
	h.Poll()
	if len(got) != 3 {
		t.Fatalf("%d packets", len(got))
	}
	type facts struct {
		port     *stack.Port
		src, dst uint32
		off, len uint16
		tci      uint16
		cast     stack.Cast
		ttl, tos uint8
	}
	for i, want := range []facts{
		{vlan, num(peerAddr), num(addr("10.0.1.1")), 38, 14, 0x6064, stack.Unicast, 64, 0},
		{h.Port, num(peerAddr), num(group), 34, 12, 0, stack.Multicast, 3, 0x2c},
		{h.Port, 0, 0, 14, 26, 0, stack.Broadcast, 0, 0},
	} {
		p := got[i]
		if is := (facts{p.Port, p.Src, p.Dst, p.Offset, p.Len, p.TCI, p.Cast, p.TTL, p.TOS}); is != want {
			t.Errorf("packet %d: %+v, want %+v", i, is, want)
		}
	}
	if !strings.HasSuffix(string(bytes[0]), "tagged") || !strings.HasSuffix(string(bytes[1]), "many") {
		t.Errorf("payloads %q", bytes)
	}
	if n := h.Device.Stats().RX.Dropped[stack.ReasonNoSocket]; n != 3 {
		t.Errorf("%d packets that the protocol left alone were dropped, want 3", n)
	}
}

// TestRuns: packets of one protocol that come together are one call, and their
// order is the wire's.
func TestRuns(t *testing.T) {
	leaktest.Check(t)
	l := newFakeLink(1)
	h := fakeHost(t, l, manual())
	var calls []int
	count := func(sign int) *testProtocol {
		return newTestProtocol(func(b *stack.Batch) {
			calls = append(calls, sign*len(b.Packets))
			for i, p := range b.Packets {
				if i > 0 && b.Transport(p)[8] != b.Transport(b.Packets[i-1])[8]+1 {
					t.Error("out of order")
				}
			}
		})
	}
	for number, p := range map[uint8]*testProtocol{99: count(1), 98: count(-1)} {
		if err := h.Stack.RegisterProtocol(stack.IPv4Number(number), p); err != nil {
			t.Fatal(err)
		}
	}
	for i, proto := range []uint8{99, 99, 99, 98, 98, 99} {
		l.arrive(packet{proto: proto, payload: string(rune(i))}.frame(), 0, 0)
		if i == 1 {
			l.arrive(make([]byte, 5), 0, 0) // settled at once, and no end of the run
		}
	}
	h.Poll()
	if !slices.Equal(calls, []int{3, -2, 1}) {
		t.Errorf("calls %v, want 3 packets, 2 of the other, 1", calls)
	}
	stacktest.AssertBooks(t, h.Device)
}

// TestSharedBuffer has several owners; the last brings it home.
func TestSharedBuffer(t *testing.T) {
	leaktest.Check(t)
	l := newFakeLink(1)
	h := fakeHost(t, l, manual())
	var index uint32
	p := newTestProtocol(func(b *stack.Batch) {
		b.Packets[0].Take()
		index = b.Packets[0].Frame.Index
		b.Device.Share(index, 3)
	})
	if err := h.Stack.RegisterProtocol(stack.IPv4Number(99), p); err != nil {
		t.Fatal(err)
	}
	l.arrive(packet{proto: 99}.frame(), 0, 0)
	h.Poll()
	for left := 3; left > 0; left-- {
		if held := h.Device.Stats().Pool.RXHeld; held != 1 {
			t.Errorf("%d buffers are held with %d owners", held, left)
		}
		h.Device.ReleaseShared(index)
	}
	if held := h.Device.Stats().Pool.RXHeld; held != 0 {
		t.Errorf("%d buffers are held by nobody", held)
	}
}

// TestOwnProtocol: what an application's own protocol sends in-band reaches
// its peer's by the fast stage.
func TestOwnProtocol(t *testing.T) {
	leaktest.Check(t)
	a, b := stacktest.Pair(t, nil)
	stacktest.Know(t, a, b)
	const number = 99
	got := make(chan string, 1)
	p := newTestProtocol(func(batch *stack.Batch) { got <- string(batch.Transport(batch.Packets[0])) })
	if err := b.Stack.RegisterProtocol(stack.IPv4Number(number), p); err != nil {
		t.Fatal(err)
	}
	if err := a.Stack.Demote(&stack.Outgoing{Protocol: number, Src: a.Addr, Dst: b.Addr, Transport: []byte("hello")}); err != nil {
		t.Fatal(err)
	}
	select {
	case s := <-got:
		if s != "hello" {
			t.Errorf("%.20q arrived", s)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("nothing arrived")
	}
	stacktest.AssertBooks(t, b.Device)
}

// TestSendErrors reach the protocol: what the in-band stage refuses, and what
// a peer answers.
func TestSendErrors(t *testing.T) {
	leaktest.Check(t)
	a, b := stacktest.Pair(t, nil)
	stacktest.Know(t, a, b)
	p := newTestProtocol(nil)
	if err := a.Stack.RegisterProtocol(stack.IPv4Number(wire.ProtocolUDP), p); err != nil {
		t.Fatal(err)
	}
	if err := a.Stack.BindErrors(wire.ProtocolUDP, 5000); err != nil {
		t.Fatal(err)
	}
	defer a.Stack.UnbindErrors(wire.ProtocolUDP, 5000)
	datagram := func(size int) []byte {
		t := make([]byte, 8+size)
		wire.PutUDP(t, num(a.Addr), num(b.Addr), 5000, 6000)
		return t
	}
	for _, c := range []struct {
		what string
		out  stack.Outgoing
		want syscall.Errno
	}{
		{"too long for one frame, with DF", stack.Outgoing{DontFragment: true, Transport: datagram(3000)}, syscall.EMSGSIZE},
		{"no socket there", stack.Outgoing{Transport: datagram(3)}, syscall.ECONNREFUSED},
	} {
		c.out.Protocol, c.out.Src, c.out.Dst = wire.ProtocolUDP, a.Addr, b.Addr
		if err := a.Stack.Demote(&c.out); err != nil {
			t.Fatal(err)
		}
		select {
		case e := <-p.errors:
			if e.Errno != c.want || e.Local != a.At(5000) || e.Remote != b.At(6000) || e.Protocol != wire.ProtocolUDP {
				t.Errorf("%s: %+v, want %v", c.what, e, c.want)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%s: no error", c.what)
		}
	}
	if st := a.Stack.Stats(); st.DemotedErrors != 1 {
		t.Errorf("%d errors counted, want 1: the other is the peer's", st.DemotedErrors)
	}
	if err := a.Stack.Close(); err != nil {
		t.Fatal(err)
	}
	if err := a.Stack.Demote(&stack.Outgoing{Dst: b.Addr}); err == nil {
		t.Error("a closed stack takes a datagram")
	}
}
