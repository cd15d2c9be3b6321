package udp_test

import (
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"testing"

	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

// trunk gives both hosts ports of VLANs on the wire: host i of VLAN v is
// 10.0.v.i, beside the untagged 10.0.0.i.
func trunk(t *testing.T, a, b *stacktest.Host, vlans ...uint16) (onA, onB map[uint16]*stack.Port) {
	t.Helper()
	onA, onB = map[uint16]*stack.Port{0: a.Port}, map[uint16]*stack.Port{0: b.Port}
	for _, vlan := range vlans {
		onA[vlan] = enable(t, a, vlan, netip.PrefixFrom(at(vlan, 1, 0).Addr(), 24))
		onB[vlan] = enable(t, b, vlan, netip.PrefixFrom(at(vlan, 2, 0).Addr(), 24))
	}
	return onA, onB
}

func enable(t *testing.T, h *stacktest.Host, vlan uint16, a netip.Prefix) *stack.Port {
	t.Helper()
	p, err := h.Device.EnablePort(&stack.PortConfig{VLAN: vlan, Addrs: []netip.Prefix{a}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func at(vlan uint16, host byte, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(vlan), host}), port)
}

// member is a socket that has joined the group on one port.
func member(t *testing.T, h *stacktest.Host, p *stack.Port, port uint16) *udp.Conn {
	t.Helper()
	c := listenOn(t, h.Stack, netip.AddrPortFrom(netip.Addr{}, port), &udp.Config{ReusePort: true})
	if err := c.JoinGroup(group, p); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestManyLeaveByTheSocketsPort: groups are on every port of a trunk; a
// datagram leaves by the port whose address the socket has, whatever others
// have sent to the same group before, or by the one that it asks for.
func TestManyLeaveByTheSocketsPort(t *testing.T) {
	a, b := pair(t, nil)
	onA, onB := trunk(t, a, b, 7, 8)
	members := map[uint16]*udp.Conn{}
	for vlan, p := range onB {
		members[vlan] = member(t, b, p, 5000)
	}
	to := netip.AddrPortFrom(group, 5000)
	socks := map[uint16]*udp.Conn{}
	for vlan := range onA {
		socks[vlan] = listenOn(t, a.Stack, at(vlan, 1, 1000), nil)
	}
	for _, size := range []int{3, 5000} { // in a frame, and in fragments
		for vlan, x := range socks {
			send(t, x, pattern(size), to)
			receive(t, members[vlan], pattern(size), at(vlan, 1, 1000))
		}
	}
	dialled, err := udp.Dial(a.Stack, at(8, 1, 0), to, nil)
	if err != nil {
		t.Fatal(err)
	}
	unbound := listenOn(t, a.Stack, netip.AddrPortFrom(netip.Addr{}, 1001), &udp.Config{MulticastPort: onA[7]})
	for range 2 {
		if _, err := ready(dialled).Write([]byte("dialled")); err != nil {
			t.Fatal(err)
		}
		receive(t, members[8], "dialled", local(dialled))
	}
	for _, size := range []int{3, 5000} {
		send(t, unbound, pattern(size), to)
		receive(t, members[7], pattern(size), at(7, 1, 1001))
	}
	for _, c := range []*udp.Conn{unbound, dialled} {
		if err := c.SetMulticastPort(onA[0]); err != nil {
			t.Fatal(err)
		}
	}
	send(t, unbound, "asked", to)
	receive(t, members[0], "asked", at(0, 1, 1001))
	if _, err := dialled.Write([]byte("asked")); err != nil {
		t.Fatal(err)
	}
	receive(t, members[0], "asked", local(dialled))

	wantError(t, unbound.SetMulticastPort(onB[7]), "set", syscall.EINVAL)
	if _, err := udp.Listen(a.Stack, netip.AddrPort{}, &udp.Config{MulticastPort: onB[7]}); err == nil {
		t.Error("another stack's port was taken")
	}
	if err := onA[8].Disable(); err != nil {
		t.Fatal(err)
	}
	if err := unbound.SetMulticastPort(onA[8]); err != nil {
		t.Fatal(err)
	}
	_, err = unbound.WriteToUDPAddrPort([]byte("x"), to)
	wantError(t, err, "write", net.ErrClosed)
	for vlan, m := range members {
		if st := m.Stats(); st.Held != 0 {
			t.Errorf("the member on VLAN %d: %+v", vlan, st)
		}
	}
}

// TestBroadcastLeavesByTheSocketsPort, that to all and that of a network which
// two ports have.
func TestBroadcastLeavesByTheSocketsPort(t *testing.T) {
	a, b := pair(t, nil)
	trunk(t, a, b, 7, 8)
	enable(t, a, 9, netip.MustParsePrefix("10.0.8.101/24"))
	enable(t, b, 9, netip.MustParsePrefix("10.0.8.102/24"))
	y := listenOn(t, b.Stack, netip.MustParseAddrPort("0.0.0.0:6000"), nil)
	for vlan, from := range map[uint16]netip.AddrPort{0: at(0, 1, 1000), 7: at(7, 1, 1000), 8: at(8, 1, 1000), 9: at(8, 101, 1000)} {
		x := listenOn(t, a.Stack, from, &udp.Config{Broadcast: true, Priority: 3})
		dsts := []string{"255.255.255.255:6000"}
		if vlan >= 8 {
			dsts = append(dsts, "10.0.8.255:6000")
		}
		for _, to := range append(dsts, dsts...) {
			send(t, x, "all", netip.MustParseAddrPort(to))
			d, err := y.Receive()
			if err != nil {
				t.Fatal(err)
			}
			if tci := udp.TCI(&d); d.From() != from || tci&0xfff != vlan || vlan != 0 && tci>>13 != 3 {
				t.Errorf("VLAN %d to %s: from %v, tag %#04x", vlan, to, d.From(), tci)
			}
			d.Release()
		}
	}
}

// TestPortsOfATrunk: what leaves by one port is counted there and nowhere else,
// and the priority of the socket, as it is at the moment, is in every tag.
func TestPortsOfATrunk(t *testing.T) {
	a, b := pair(t, nil)
	onA, onB := trunk(t, a, b, 7, 8)
	for vlan := range onA {
		for _, side := range []struct{ from, to *stacktest.Host }{{a, b}, {b, a}} {
			peer := byte(2)
			if side.from == b {
				peer = 1
			}
			if err := side.from.Stack.SetNeighbor(at(vlan, peer, 0).Addr(), side.to.Link.MAC()); err != nil {
				t.Fatal(err)
			}
		}
	}
	x := listenOn(t, a.Stack, netip.MustParseAddrPort("0.0.0.0:1000"), nil)
	n := uint64(0)
	for _, vlan := range []uint16{7, 8} {
		y := listenOn(t, b.Stack, at(vlan, 2, 2000), nil)
		others := counts(onA, vlan) + counts(onB, vlan)
		before, beforeB := onA[vlan].Stats(), onB[vlan].Stats()
		n = 0
		for _, priority := range []int{0, 6, 1} {
			if err := x.SetPriority(priority); err != nil {
				t.Fatal(err)
			}
			to := at(vlan, 2, 2000)
			ms := []udp.Message{{Buf: []byte("1"), Addr: to}, {Buf: []byte("2"), Addr: to}, {Buf: []byte("3"), Addr: to}}
			if sent, err := x.WriteBatch(ms); sent != 3 || err != nil {
				t.Fatal(sent, err)
			}
			lease, err := x.Reserve(1)
			if err != nil {
				t.Fatal(err)
			}
			lease.Payload()[0] = '4'
			if err := lease.SendTo(to); err != nil {
				t.Fatal(err)
			}
			send(t, x, "5", to)
			for i := range 5 {
				d, err := y.Receive()
				if err != nil {
					t.Fatal(err)
				}
				if string(d.Payload()) != fmt.Sprint(i+1) || udp.TCI(&d) != uint16(priority)<<13|vlan {
					t.Errorf("datagram %d at priority %d: %q, tag %#04x", i+1, priority, d.Payload(), udp.TCI(&d))
				}
				d.Release()
				n++
			}
		}
		stacktest.Eventually(t, "the counts", func() bool {
			return onA[vlan].Stats().TXPackets == before.TXPackets+n && onB[vlan].Stats().RXPackets == beforeB.RXPackets+n
		})
		if now := counts(onA, vlan) + counts(onB, vlan); now != others {
			t.Errorf("other ports count %d frames more", now-others)
		}
	}
	if st := x.Stats(); st.Demoted != 0 {
		t.Errorf("%d datagrams were slow", st.Demoted)
	}
}

// counts are the frames of all ports but one.
func counts(ports map[uint16]*stack.Port, but uint16) (n uint64) {
	for vlan, p := range ports {
		if vlan != but {
			n += p.Stats().RXPackets + p.Stats().TXPackets
		}
	}
	return n
}

// TestDSCP is in what is sent, fast and slow, and can be read.
func TestDSCP(t *testing.T) {
	a, b := pair(t, nil)
	y := listen(t, b, 2000, nil)
	x := listen(t, a, 1000, &udp.Config{DSCP: 46})
	want := func(dscp int) {
		t.Helper()
		for _, size := range []int{3, 4000} {
			send(t, x, pattern(size), b.At(2000))
			d, err := y.Receive()
			if err != nil {
				t.Fatal(err)
			}
			if d.DSCP() != dscp || len(d.Payload()) != size {
				t.Errorf("%d bytes with DSCP %d, want %d with %d", len(d.Payload()), d.DSCP(), size, dscp)
			}
			d.Release()
			if d.DSCP() != 0 {
				t.Error("a DSCP after the release")
			}
		}
		send(t, x, "batch", b.At(2000))
		ms := []udp.Message{{Buf: make([]byte, 10)}}
		if n, err := y.ReadBatch(ms); n != 1 || err != nil || ms[0].DSCP != dscp {
			t.Errorf("%d, %v, %+v", n, err, ms[0])
		}
	}
	want(46)
	for _, dscp := range []int{0, 63} {
		if err := x.SetDSCP(dscp); err != nil {
			t.Fatal(err)
		}
		want(dscp)
	}
	wantError(t, x.SetDSCP(64), "set", syscall.EINVAL)
	wantError(t, x.SetDSCP(-1), "set", syscall.EINVAL)
	if _, err := udp.Listen(a.Stack, netip.AddrPort{}, &udp.Config{DSCP: 64}); err == nil {
		t.Error("DSCP 64 was taken")
	}
}

// TestMulticastLoop: members on the sender's own stack hear it if it says so,
// on the port that it leaves by, and no more of it than they have room for.
func TestMulticastLoop(t *testing.T) {
	a, b := pair(t, nil)
	onA, _ := trunk(t, a, b, 7)
	own, other, far := member(t, a, a.Port, 5000), member(t, a, onA[7], 5000), member(t, b, b.Port, 5000)
	heard := make(chan string, 10)
	h := listenOn(t, a.Stack, netip.AddrPortFrom(netip.Addr{}, 5000), &udp.Config{ReusePort: true, Handler: func(d udp.Datagram) {
		heard <- string(d.Payload())
		d.Release()
	}})
	if err := h.JoinGroup(group, a.Port); err != nil {
		t.Fatal(err)
	}
	x := listen(t, a, 1000, nil)
	to := netip.AddrPortFrom(group, 5000)
	send(t, x, "only far", to)
	receive(t, far, "only far", a.At(1000))
	x.SetMulticastLoop(true)
	each := func(size int, send func(payload string)) {
		t.Helper()
		send(pattern(size))
		receive(t, own, pattern(size), a.At(1000)) // and not what went before
		receive(t, far, pattern(size), a.At(1000))
		if s := <-heard; s != pattern(size) {
			t.Errorf("the handler heard %s", brief([]byte(s)))
		}
	}
	for _, size := range []int{0, 3, 1472, 1473, 20000} {
		each(size, func(payload string) { send(t, x, payload, to) })
	}
	each(10, func(payload string) {
		if n, err := x.WriteBatch([]udp.Message{{Buf: []byte(payload), Addr: to}}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	})
	each(11, func(payload string) {
		lease, err := x.Reserve(len(payload))
		if err != nil {
			t.Fatal(err)
		}
		copy(lease.Payload(), payload)
		if err := lease.SendTo(to); err != nil {
			t.Fatal(err)
		}
	})
	// A member with room for two gets two.
	if err := own.SetReadBuffer(2 * 4096); err != nil {
		t.Fatal(err)
	}
	for range 8 {
		send(t, x, "flood", to)
		<-heard
	}
	stacktest.Eventually(t, "the rest finds it full", func() bool { return own.Stats().Full == 6 })
	for range 2 {
		receive(t, own, "flood", a.At(1000))
	}
	if st := other.Stats(); st.Received != 0 {
		t.Errorf("the member on the other port: %+v", st)
	}
	x.SetMulticastLoop(false)
	send(t, x, "off", to)
	receive(t, far, "flood", a.At(1000))
	x.SetMulticastLoop(true)
	send(t, x, "on again", to)
	receive(t, own, "on again", a.At(1000))
}

// TestECN is each message's own, in batches, on the slow way too, and can be read.
func TestECN(t *testing.T) {
	a, b := pair(t, nil)
	y := listen(t, b, 2000, nil)
	x := listen(t, a, 1000, &udp.Config{DSCP: 46})
	stacktest.Know(t, a, b)
	var out []udp.Message
	for i := range 16 {
		size := []int{3, 1400, 4000}[i%3] // the last one is fragmented
		out = append(out, udp.Message{Buf: []byte(pattern(size)), Addr: b.At(2000), ECN: i % 4})
	}
	if n, err := x.WriteBatch(out); n != len(out) || err != nil {
		t.Fatal(n, err)
	}
	// The fast ones and the slow ones overtake each other.
	count := map[[2]int]int{}
	for i := range out {
		var size, ecn, dscp int
		if i%2 == 0 {
			d, err := y.Receive()
			if err != nil {
				t.Fatal(err)
			}
			size, ecn, dscp = len(d.Payload()), d.ECN(), d.DSCP()
			d.Release()
		} else {
			m := udp.Message{Buf: make([]byte, 5000)}
			if err := y.ReadMsg(&m); err != nil {
				t.Fatal(err)
			}
			size, ecn, dscp = m.N, m.ECN, m.DSCP
		}
		if dscp != 46 {
			t.Errorf("DSCP %d", dscp)
		}
		count[[2]int{size, ecn}]++
	}
	for _, m := range out {
		count[[2]int{len(m.Buf), m.ECN}]--
	}
	for what, n := range count {
		if n != 0 {
			t.Errorf("%d bytes with ECN %d: %d too many", what[0], what[1], n)
		}
	}
}
