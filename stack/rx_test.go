package stack_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

var (
	broadcast = wire.BroadcastMAC
	vlanNet   = netip.MustParsePrefix("10.0.1.1/24")
)

// fates of the frames that one look can tell. Where reason is delivered, the
// frame reaches the socket on port 7.
const delivered = stack.Reason(255)

var fates = []struct {
	name   string
	frame  []byte
	demote bool
	reason stack.Reason
}{
	{"datagram", packet{to: 7, payload: "x"}.frame(), false, delivered},
	{"empty datagram", packet{to: 7}.frame(), false, delivered},
	{"padding", append(packet{to: 7, payload: "x"}.frame(), make([]byte, 20)...), false, delivered},
	{"no checksum", with(func(b []byte) { b[40], b[41] = 0, 0 }), false, delivered},
	{"VLAN 100", packet{to: 7, tci: 100, dst: vlanNet.Addr()}.frame(), false, delivered},
	{"VLAN 100 with PCP", packet{to: 7, tci: 0xe000 | 100, dst: vlanNet.Addr()}.frame(), false, delivered},
	{"VLAN 100, the other port's address", packet{to: 7, tci: 100}.frame(), false, stack.ReasonForeignIPv4},
	{"priority tag", packet{to: 7, tci: 0xa000}.frame(), false, delivered},
	{"directed broadcast", packet{to: 7, dstMAC: broadcast, dst: netip.MustParseAddr("10.0.0.255")}.frame(), false, delivered},
	{"limited broadcast", packet{to: 7, dstMAC: broadcast, dst: netip.MustParseAddr("255.255.255.255")}.frame(), false, delivered},
	{"broadcast in a unicast frame", packet{to: 7, dst: netip.MustParseAddr("10.0.0.255")}.frame(), false, delivered},

	{"13 bytes", make([]byte, 13), false, stack.ReasonTruncated},
	{"tag cut off", packet{tci: 100}.frame()[:16], false, stack.ReasonTruncated},
	{"half an IPv4 header", packet{}.frame()[:24], false, stack.ReasonTruncated},
	{"another station", packet{dstMAC: link.MAC{2, 2, 2, 2, 2, 2}}.frame(), false, stack.ReasonForeignMAC},
	{"VLAN 101", packet{tci: 101}.frame(), false, stack.ReasonNoPort},
	{"VLAN 4095", packet{tci: 4095}.frame(), false, stack.ReasonNoPort},
	{"IPv6", with(func(b []byte) { b[12], b[13] = 0x86, 0xdd }), false, stack.ReasonEtherType},
	{"802.3 length", with(func(b []byte) { b[12], b[13] = 0, 46 }), false, stack.ReasonEtherType},
	{"two tags", with(func(b []byte) { copy(b[12:], "\x81\x00\x00\x64\x81\x00\x00\x64\x08\x00") }), false, stack.ReasonEtherType},
	{"service tag", with(func(b []byte) { copy(b[12:], "\x88\xa8\x00\x64") }), false, stack.ReasonEtherType},
	{"version 6", withHeader(func(ip []byte) { ip[0] = 0x65 }), false, stack.ReasonIPv4Header},
	{"header of 4 words", withHeader(func(ip []byte) { ip[0] = 0x44 }), false, stack.ReasonIPv4Header},
	{"total length too long", withHeader(func(ip []byte) { ip[2] = 0xff }), false, stack.ReasonIPv4Header},
	{"total length too short", withHeader(func(ip []byte) { ip[2], ip[3] = 0, 19 }), false, stack.ReasonIPv4Header},
	{"header's checksum", with(func(b []byte) { b[24] ^= 1 }), false, stack.ReasonIPv4Checksum},
	{"source in 127/8", packet{src: netip.MustParseAddr("127.0.0.1")}.frame(), false, stack.ReasonMartian},
	{"source in 0/8", packet{src: netip.MustParseAddr("0.0.0.0")}.frame(), false, stack.ReasonMartian},
	{"source a group", packet{src: netip.MustParseAddr("224.0.0.5")}.frame(), false, stack.ReasonMartian},
	{"source broadcast", packet{src: netip.MustParseAddr("255.255.255.255")}.frame(), false, stack.ReasonMartian},
	{"source our own", packet{src: ownAddr}.frame(), false, stack.ReasonMartian},
	{"source our network's broadcast", packet{src: netip.MustParseAddr("10.0.0.255")}.frame(), false, stack.ReasonMartian},
	{"destination in 127/8", packet{dst: netip.MustParseAddr("127.0.0.1")}.frame(), false, stack.ReasonMartian},
	{"destination in 0/8", packet{dst: netip.MustParseAddr("0.1.2.3")}.frame(), false, stack.ReasonMartian},
	{"unicast in a broadcast frame", packet{to: 7, dstMAC: broadcast}.frame(), false, stack.ReasonMartian},
	{"another host", packet{dst: netip.MustParseAddr("10.0.0.77")}.frame(), false, stack.ReasonForeignIPv4},
	{"the network's own number", packet{dst: netip.MustParseAddr("10.0.0.0")}.frame(), false, stack.ReasonForeignIPv4},
	{"a group that nobody joined", packet{dst: netip.MustParseAddr("239.1.2.3"), dstMAC: wire.MulticastMAC([4]byte{239, 1, 2, 3})}.frame(), false, stack.ReasonNotMember},
	{"UDP length over the packet", with(func(b []byte) { b[38]++ }), false, stack.ReasonUDPLength},
	{"UDP length under its header", with(func(b []byte) { b[38], b[39] = 0, 7 }), false, stack.ReasonUDPLength},
	{"5 bytes of UDP", withHeader(func(ip []byte) { ip[2], ip[3] = 0, 25 }), false, stack.ReasonUDPLength},
	{"UDP checksum", with(func(b []byte) { b[len(b)-1] ^= 1 }), false, stack.ReasonChecksum},
	{"broadcast that nobody hears", packet{to: 8, dstMAC: broadcast, dst: netip.MustParseAddr("10.0.0.255")}.frame(), false, stack.ReasonNoSocket},

	{"ARP request", arpFrame(wire.ARPRequest, broadcast, ownAddr), true, stack.ReasonARP},
	{"ICMP", withHeader(func(ip []byte) { ip[9] = wire.ProtocolICMP }), true, stack.ReasonInBandProtocol},
	{"protocol 99", withHeader(func(ip []byte) { ip[9] = 99 }), true, stack.ReasonInBandProtocol},
	{"first fragment", withHeader(func(ip []byte) { ip[6], ip[7] = 0x20, 0 }), true, stack.ReasonFragment},
	{"last fragment", withHeader(func(ip []byte) { ip[6], ip[7] = 0, 1 }), true, stack.ReasonFragment},
	{"options", withHeader(func(ip []byte) { ip[0] = 0x46 }), true, stack.ReasonOptions},
	{"a port that nobody has", packet{to: 8}.frame(), true, stack.ReasonNoSocket},
}

// TestFateOfAFrame sends each kind alone, and finds it in the one place where
// it is to be counted.
func TestFateOfAFrame(t *testing.T) {
	leaktest.Check(t)
	l := newFakeLink(1)
	h := fakeHost(t, l, manual())
	if _, err := h.Device.EnablePort(&stack.PortConfig{VLAN: 100, Addrs: []netip.Prefix{vlanNet}}); err != nil {
		t.Fatal(err)
	}
	c := listen(t, h, netip.AddrPortFrom(netip.Addr{}, 7), nil)
	defer c.Close()
	var before stack.RXStats
	for _, f := range fates {
		if !l.arrive(f.frame, 0, 0) {
			t.Fatal("no buffer for the frame")
		}
		if n := h.Poll(); n != 1 {
			t.Fatalf("%s: %d frames received", f.name, n)
		}
		now := h.Device.Stats().RX
		want := before
		want.Packets++
		want.Bytes += uint64(len(f.frame))
		switch {
		case f.reason == delivered:
			want.Delivered++
		case f.demote:
			want.Demoted[f.reason]++
		default:
			want.Dropped[f.reason]++
		}
		if now != want {
			t.Errorf("%s: delivered %d, dropped %v, demoted %v; before it %d, %v, %v", f.name,
				now.Delivered, now.Dropped.Map(), now.Demoted.Map(), before.Delivered, before.Dropped.Map(), before.Demoted.Map())
		}
		before = now
		if f.reason == delivered {
			if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
				t.Fatal(err)
			}
			if _, _, err := c.ReadFromUDPAddrPort(make([]byte, 64)); err != nil {
				t.Errorf("%s: %v", f.name, err)
			}
		}
	}
	ports := h.Port.Stats()
	if ports.RXPackets == 0 || ports.RXPackets >= before.Packets {
		t.Errorf("the port counts %d of %d frames: those of other VLANs are not its own", ports.RXPackets, before.Packets)
	}
	stacktest.AssertBooks(t, h.Device)
	stacktest.AssertNothingHeld(t, h.Device)
}

// TestEachReasonIsReached: whatever a reason is made for can happen. Those
// that one look does not tell have a test of their own below.
func TestEachReasonIsReached(t *testing.T) {
	reached := map[stack.Reason]bool{stack.ReasonSocketFull: true, stack.ReasonInBandFull: true, stack.ReasonClosed: true}
	for _, a := range actions {
		reached[a.dropped], reached[a.demoted] = true, true
	}
	for _, f := range fates {
		reached[f.reason] = true
	}
	names := map[string]bool{}
	for r := range len(stack.Reasons{}) {
		reason := stack.Reason(r)
		if !reached[reason] {
			t.Errorf("%v is not reached", reason)
		}
		if reason.String() == "" || names[reason.String()] {
			t.Errorf("reason %d has no name of its own: %q", r, reason)
		}
		names[reason.String()] = true
	}
	if got := stack.Reason(200).String(); got != "reason(200)" {
		t.Errorf("an unknown reason is %q", got)
	}
	rs := stack.Reasons{stack.ReasonARP: 2, stack.ReasonClosed: 3}
	if rs.Total() != 5 || fmt.Sprint(rs.Map()) != "map[arp:2 closed:3]" {
		t.Errorf("total %d of %v", rs.Total(), rs.Map())
	}
}

func TestSocketFull(t *testing.T) {
	leaktest.Check(t)
	l := newFakeLink(1)
	h := fakeHost(t, l, manual())
	c := listen(t, h, h.At(7), &udp.Config{Queue: 3})
	defer c.Close()
	for range 5 {
		l.arrive(packet{to: 7}.frame(), 0, 0)
	}
	h.Poll()
	if rx := h.Device.Stats().RX; rx.Delivered != 3 || rx.Dropped[stack.ReasonSocketFull] != 2 {
		t.Errorf("delivered %d, dropped %v", rx.Delivered, rx.Dropped.Map())
	}
	if held := h.Device.Stats().Pool.RXHeld; held != 3 {
		t.Errorf("%d buffers are held, want 3", held)
	}
	stacktest.AssertBooks(t, h.Device)
}

// TestInBandFull floods the slow stage: it loses frames, and each is counted.
func TestInBandFull(t *testing.T) {
	leaktest.Check(t)
	l := newFakeLink(1)
	h := fakeHost(t, l, manual())
	frame := arpFrame(wire.ARPRequest, broadcast, ownAddr)
	stacktest.Eventually(t, "the queue to the in-band stage is full", func() bool {
		for l.arrive(frame, 0, 0) {
		}
		h.Poll()
		return h.Device.Stats().RX.Dropped[stack.ReasonInBandFull] > 0
	})
	rx := h.Device.Stats().RX
	if rx.Demoted[stack.ReasonARP]+rx.Dropped[stack.ReasonInBandFull] != rx.Packets {
		t.Errorf("%d received, demoted %v, dropped %v", rx.Packets, rx.Demoted.Map(), rx.Dropped.Map())
	}
}

// TestSocketClosedOnTheWay: a handler closes another socket after the batch's
// sockets were found, and before its packet is delivered.
func TestSocketClosedOnTheWay(t *testing.T) {
	leaktest.Check(t)
	l := newFakeLink(1)
	h := fakeHost(t, l, manual())
	victim := listen(t, h, h.At(8), nil)
	closer := listen(t, h, h.At(7), &udp.Config{Handler: func(d udp.Datagram) {
		d.Release()
		victim.Close()
	}})
	defer closer.Close()
	l.arrive(packet{to: 7}.frame(), 0, 0)
	l.arrive(packet{to: 8}.frame(), 0, 0)
	h.Poll()
	if rx := h.Device.Stats().RX; rx.Delivered != 1 || rx.Dropped[stack.ReasonClosed] != 1 {
		t.Errorf("delivered %d, dropped %v", rx.Delivered, rx.Dropped.Map())
	}
	stacktest.AssertBooks(t, h.Device)
	stacktest.AssertNothingHeld(t, h.Device)
}

// TestDeviceVerdicts: who verified a checksum is believed, for good and for bad.
func TestDeviceVerdicts(t *testing.T) {
	leaktest.Check(t)
	l := newFakeLink(1)
	h := fakeHost(t, l, manual())
	c := listen(t, h, h.At(7), nil)
	defer c.Close()
	good := packet{to: 7, payload: "payload"}.frame()
	wrong := with(func(b []byte) { b[24] ^= 1; b[len(b)-1] ^= 1 }) // both checksums
	for _, v := range []struct {
		name  string
		frame []byte
		flags link.Flags
		ok    bool
	}{
		{"good, not looked at", good, 0, true}, {"good, found good", good, link.FlagChecksumGood, true},
		{"good, found bad", good, link.FlagChecksumBad, false}, {"wrong, found good", wrong, link.FlagChecksumGood, true},
		{"good, contradicting itself", good, link.FlagChecksumGood | link.FlagChecksumBad, false},
	} {
		before := h.Device.Stats().RX.Delivered
		l.arrive(v.frame, v.flags, 0)
		h.Poll()
		if got := h.Device.Stats().RX.Delivered == before+1; got != v.ok {
			t.Errorf("%s: delivered %v", v.name, got)
		}
	}
	if n := h.Device.Stats().RX.Dropped[stack.ReasonChecksum]; n != 2 {
		t.Errorf("%d dropped for the checksum, want 2", n)
	}
	stacktest.AssertBooks(t, h.Device)
}

// TestPartialChecksum is accepted where the link's peer is virtual, and there only.
func TestPartialChecksum(t *testing.T) {
	for _, virtual := range []bool{false, true} {
		t.Run(fmt.Sprintf("virtual=%v", virtual), func(t *testing.T) {
			leaktest.Check(t)
			l := newFakeLink(1)
			l.caps.PartialChecksum = virtual
			h := fakeHost(t, l, manual())
			c := listen(t, h, h.At(7), nil)
			defer c.Close()
			b := packet{to: 7, payload: "payload"}.frame()
			binary.BigEndian.PutUint16(b[40:], wire.Fold(wire.PseudoSum(num(peerAddr), num(ownAddr), wire.ProtocolUDP, len(b)-34)))
			l.arrive(b, 0, 0)
			h.Poll()
			rx := h.Device.Stats().RX
			if virtual && (rx.Delivered != 1 || rx.PartialChecksum != 1) || !virtual && rx.Dropped[stack.ReasonChecksum] != 1 {
				t.Errorf("delivered %d, partial %d, dropped %v", rx.Delivered, rx.PartialChecksum, rx.Dropped.Map())
			}
		})
	}
}

// TestStrippedTag: the tag that a device took out counts as the outer one.
func TestStrippedTag(t *testing.T) {
	leaktest.Check(t)
	l := newFakeLink(1)
	h := fakeHost(t, l, &stacktest.Options{Manual: true, Port: stack.PortConfig{VLAN: 100}})
	c := listen(t, h, h.At(7), nil)
	defer c.Close()
	for _, f := range []struct {
		frame []byte
		vlan  uint16
		want  stack.Reason
	}{
		{packet{to: 7}.frame(), 100, delivered},
		{packet{to: 7}.frame(), 0xe000 | 100, delivered},
		{packet{to: 7}.frame(), 101, stack.ReasonNoPort},
		{packet{to: 7}.frame(), 0, stack.ReasonNoPort},
		{packet{to: 7, tci: 100}.frame(), 100, stack.ReasonEtherType}, // a tag behind the tag
	} {
		before := h.Device.Stats().RX
		l.arrive(f.frame, link.FlagVLANStripped, f.vlan)
		h.Poll()
		now := h.Device.Stats().RX
		if f.want == delivered && now.Delivered != before.Delivered+1 || f.want != delivered && now.Dropped[f.want] != before.Dropped[f.want]+1 {
			t.Errorf("VLAN %#x, want %v: delivered %d, dropped %v", f.vlan, f.want, now.Delivered-before.Delivered, now.Dropped.Map())
		}
	}
	stacktest.AssertBooks(t, h.Device)
}
