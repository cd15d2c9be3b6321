package oracle

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"

	"github.com/oobnet/oobnet/filter"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

// The VLAN of these tests, and who is there. Not every kernel has 8021q: but in
// TestVLANKernel its end of the wire is a packet socket.
const (
	vlanID       = 100
	otherVLANID  = 200
	vlanPriority = 5
	vlanDSCP     = 46 // expedited forwarding (RFC 3246)
)

var (
	vlanOurs   = netip.MustParsePrefix("198.51.100.10/24")
	vlanTheirs = netip.MustParseAddr("198.51.100.2")
	vlanOther  = netip.MustParsePrefix("203.0.113.10/24")
)

// tagged is a datagram of the peer in a frame of a VLAN.
func tagged(b *bed, tci uint16, to netip.AddrPort, payload string) []byte {
	src, dst := binary.BigEndian.Uint32(vlanTheirs.AsSlice()), binary.BigEndian.Uint32(to.Addr().AsSlice())
	packet := make([]byte, wire.IPv4HeaderLen+wire.UDPHeaderLen+len(payload))
	copy(packet[wire.IPv4HeaderLen+wire.UDPHeaderLen:], payload)
	wire.PutIPv4(packet, src, dst, wire.ProtocolUDP, 64, 0, len(packet))
	wire.PutUDP(packet[wire.IPv4HeaderLen:], src, dst, 7, to.Port())
	return ethernet(b.Link.MAC(), b.peer.MAC, packet, wire.TypeVLAN, tci, wire.TypeIPv4)
}

// TestVLANPort: a port of a VLAN has addresses, answers and counters of its
// own, on the device that it shares; what leaves has the socket's priority in
// its tag, and its DSCP.
func TestVLANPort(t *testing.T) {
	b := makeBed(t, nil)
	port, err := b.Device.EnablePort(&stack.PortConfig{VLAN: vlanID, Addrs: []netip.Prefix{vlanOurs}})
	if err != nil {
		t.Fatal(err)
	}
	other, err := b.Device.EnablePort(&stack.PortConfig{VLAN: otherVLANID, Addrs: []netip.Prefix{vlanOther}})
	if err != nil {
		t.Fatal(err)
	}
	peer := rawSocket(t, b.peer, 0)

	// ARP, as the in-band stage answers it, on the VLAN.
	question := make([]byte, 28)
	wire.PutARP(question, wire.ARP{
		Op: wire.ARPRequest, SenderMAC: b.peer.MAC, SenderIP: binary.BigEndian.Uint32(vlanTheirs.AsSlice()),
		TargetIP: binary.BigEndian.Uint32(vlanOurs.Addr().AsSlice()),
	})
	peer.send(padded(ethernet(wire.BroadcastMAC, b.peer.MAC, question, wire.TypeVLAN, vlanID, wire.TypeARP)))
	for {
		frame := peer.receive(wire.TypeARP)
		if !isTag(frame[12:]) {
			continue // of the untagged port, or of the kernel beside us
		}
		if id := binary.BigEndian.Uint16(frame[14:]) & wire.VIDMask; id != vlanID {
			t.Fatalf("an answer on VLAN %d", id)
		}
		if a, ok := wire.ParseARP(frame[18:]); !ok || a.Op == wire.ARPReply && a.SenderMAC != b.Link.MAC() {
			t.Fatalf("answer % x", frame)
		} else if a.Op == wire.ARPReply {
			break
		}
	}

	if err := b.Stack.SetNeighbor(vlanTheirs, b.peer.MAC); err != nil {
		t.Fatal(err)
	}
	c := b.listen(netip.AddrPortFrom(netip.Addr{}, echoPort), &udp.Config{Priority: vlanPriority, DSCP: vlanDSCP})
	serve(t, c)
	const payload = "a datagram on its VLAN"
	before, beforeOther := port.Stats(), other.Stats()
	// One VLAN's address on another, or without a tag, is nobody's.
	to := netip.AddrPortFrom(vlanOurs.Addr(), echoPort)
	peer.send(tagged(b, otherVLANID, to, "on the other VLAN"))
	peer.send(tagged(b, 300, to, "on a VLAN without a port"))
	peer.send(tagged(b, 3<<13|vlanID, to, payload))
	frame := peer.receive(wire.TypeIPv4)
	want := ethernet(b.peer.MAC, b.Link.MAC(), nil, wire.TypeVLAN, vlanPriority<<13|vlanID, wire.TypeIPv4)
	if string(frame[:len(want)]) != string(want) {
		t.Errorf("the answer begins with % x, want % x", frame[:len(want)], want)
	}
	h, fault := wire.ParseIPv4(frame[len(want):], false)
	if fault != wire.IPv4OK || h.TOS != vlanDSCP<<2 || h.Src != binary.BigEndian.Uint32(vlanOurs.Addr().AsSlice()) {
		t.Errorf("header %+v", h)
	}
	if got := string(frame[len(want)+28:][:len(payload)]); got != payload {
		t.Errorf("the answer says %q", got)
	}
	stacktest.Eventually(t, "each port counting its own", func() bool {
		now, nowOther := port.Stats(), other.Stats()
		return now.RXPackets-before.RXPackets == 1 && now.TXPackets-before.TXPackets == 1 &&
			nowOther.RXPackets-beforeOther.RXPackets <= 1 && nowOther.TXPackets == beforeOther.TXPackets
	})

	// EVL's default: what is of an enabled VLAN is ours, and nothing else.
	byVLAN, err := filter.NewRules(filter.VLAN)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Device.SetFilter(byVLAN); err != nil {
		t.Fatal(err)
	}
	peer.send(tagged(b, vlanID, to, payload))
	if frame := peer.receive(wire.TypeIPv4); binary.BigEndian.Uint16(frame[14:])&wire.VIDMask != vlanID {
		t.Errorf("the answer behind the filter: % x", frame)
	}
	// What the filter leaves is the kernel's beside us; without one it is the
	// in-band stage's, which knows our sockets.
	if c := kernelDial(t, b.peer, b.At(echoPort)); b.xdp == nil {
		exchange(t, c, []byte("untagged"))
	} else if try(c, []byte("untagged")) {
		t.Error("an untagged datagram was answered through a filter by VLAN")
	}
	st := b.Device.Stats().Filter
	if st.VLANAccepted == 0 || st.Verdicts[filter.VLAN] <= st.VLANAccepted {
		t.Errorf("%+v", st)
	}
	if err := b.Device.SetFilter(nil); err != nil {
		t.Fatal(err)
	}
	exchange(t, kernelDial(t, b.peer, b.At(echoPort)), []byte("untagged again"))
}

// TestVLANKernel: the kernel's own VLAN interface at the other end: ARP, datagrams
// of all sizes, pings and a group, with the tag, beside those without.
func TestVLANKernel(t *testing.T) {
	b := makeBed(t, nil)
	tagged, err := b.peer.AddVLAN(vlanID, netip.PrefixFrom(vlanTheirs, vlanOurs.Bits()))
	if errors.Is(err, syscall.EOPNOTSUPP) {
		t.Skipf("needs a kernel with 8021q: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	port, err := b.Device.EnablePort(&stack.PortConfig{VLAN: vlanID, Addrs: []netip.Prefix{vlanOurs}})
	if err != nil {
		t.Fatal(err)
	}
	// A socket for both ports, and each kind of sender.
	c := b.listen(netip.AddrPortFrom(netip.IPv4Unspecified(), echoPort), nil)
	serve(t, c)
	kernelEcho(t, b.peer, netip.AddrPortFrom(vlanTheirs, echoPort))
	kernelEcho(t, b.peer, at(theirs, echoPort))
	b.solicit(vlanTheirs)
	if mac, _ := b.Stack.FrontCache().Neighbor(port, vlanTheirs); mac != b.peer.MAC {
		t.Errorf("%s is known as %x, and is %x", tagged, mac, b.peer.MAC)
	}
	b.solicit(theirs.Addr())
	onVLAN := b.dial(netip.AddrPortFrom(vlanTheirs, echoPort), &udp.Config{Priority: vlanPriority})
	untagged := b.dial(at(theirs, echoPort), nil)
	kernelOnVLAN := kernelDial(t, b.peer, at(vlanOurs, echoPort))
	kernelUntagged := kernelDial(t, b.peer, at(ours, echoPort))
	before, others := port.Stats(), b.Port.Stats()
	slow := uint64(0)
	for _, size := range sizes {
		for _, s := range []net.Conn{onVLAN, untagged, kernelOnVLAN, kernelUntagged} {
			exchange(t, s, pattern(size))
		}
		if !fits(size) {
			slow += 4 // what we send, and what we answer
		}
	}
	if got := b.demotedSends(); got != slow {
		t.Errorf("%d datagrams went in-band, want %d", got, slow)
	}
	now, othersNow := port.Stats(), b.Port.Stats()
	if tagged, not := now.RXPackets-before.RXPackets, othersNow.RXPackets-others.RXPackets; tagged < 2*uint64(len(sizes)) || not < 2*uint64(len(sizes)) {
		t.Errorf("%d packets on the VLAN, %d beside it, want %d and more", tagged, not, 2*len(sizes))
	}

	pinger := pingSocket(t, b.peer, vlanOurs.Addr())
	for i, size := range []int{0, 64, 1472, 4000} {
		ping(t, pinger, i, size)
	}

	// The kernel's group is on its VLAN interface alone.
	const groupPort = 5000
	vlan := *b.peer
	vlan.IfName = tagged
	member := kernelJoin(t, &vlan, group, groupPort)
	multicast := b.listen(netip.AddrPortFrom(vlanOurs.Addr(), 0), nil)
	for _, size := range []int{1, 1472, 3000} {
		if _, err := multicast.WriteToUDPAddrPort(pattern(size), netip.AddrPortFrom(group, groupPort)); err != nil {
			t.Fatal(err)
		}
		expect(t, member, pattern(size))
	}
}
