package stack_test

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/stack"
)

// TestGroupsAreReportedAgain: when the wire comes back, routers hear of the
// groups anew, and do not hear that they were left.
func TestGroupsAreReportedAgain(t *testing.T) {
	leaktest.Check(t)
	l := newFakeLink(1)
	h := fakeHost(t, l, nil)
	group := netip.MustParseAddr("239.1.2.3")
	if err := h.Port.JoinGroup(group); err != nil {
		t.Fatal(err)
	}
	// IGMPv3 records by kind (RFC 3376, section 4.2.12), by what they say of
	// our group: 2 and 4 that it is joined, 3 that it is left.
	reports := func() (joined, left int) {
		for _, b := range l.queues[0].wire() {
			eth, _ := wire.ParseEthernet(b)
			if eth.Type != wire.TypeIPv4 || b[eth.Len+9] != wire.ProtocolIGMP {
				continue
			}
			igmp := b[eth.Len+int(b[eth.Len]&15)*4:]
			if !bytes.Contains(igmp, group.AsSlice()) {
				continue
			}
			if igmp[0] == 0x22 && igmp[8] == 3 || igmp[0] == 0x17 {
				left++
			} else {
				joined++
			}
		}
		return joined, left
	}
	// Each report is made twice (the robustness variable).
	stacktest.Eventually(t, "the first reports", func() bool { n, _ := reports(); return n >= 2 })
	before, _ := reports()
	l.set(func() { l.state = link.Down })
	stacktest.Eventually(t, "the device is down", func() bool { return h.Device.Fault() != nil })
	l.set(func() { l.state = link.Up })
	stacktest.Eventually(t, "reports after it is up again", func() bool { n, _ := reports(); return n > before })
	if _, left := reports(); left != 0 {
		t.Errorf("%d times it was said that the group is left", left)
	}
	// What the stage knew of its neighbours it still knows, and it still hears
	// broadcasts.
	l.arrive(arpFrame(wire.ARPRequest, broadcast, ownAddr), 0, 0)
	stacktest.Eventually(t, "an answer to ARP", func() bool {
		for _, b := range l.queues[0].wire() {
			if eth, _ := wire.ParseEthernet(b); eth.Type == wire.TypeARP && b[eth.Len+7] == wire.ARPReply {
				return true
			}
		}
		return false
	})
}

// TestInBandFramesAreTagged: what the in-band stage sends on a VLAN port has the
// port's tag; the fragments of a datagram have the priority of who sent it.
func TestInBandFramesAreTagged(t *testing.T) {
	leaktest.Check(t)
	l := newFakeLink(1)
	h := fakeHost(t, l, nil)
	if _, err := h.Device.EnablePort(&stack.PortConfig{VLAN: 7, Addrs: []netip.Prefix{netip.MustParsePrefix("10.0.7.1/24")}}); err != nil {
		t.Fatal(err)
	}
	src, peer, stranger := netip.MustParseAddr("10.0.7.1"), netip.MustParseAddr("10.0.7.2"), netip.MustParseAddr("10.0.7.3")
	if err := h.Stack.SetNeighbor(peer, peerMAC); err != nil {
		t.Fatal(err)
	}
	for _, dst := range []netip.Addr{peer, stranger} {
		out := stack.Outgoing{Protocol: wire.ProtocolUDP, Src: src, Dst: dst, Priority: 5, Transport: make([]byte, 4000)}
		if err := h.Stack.Demote(&out); err != nil {
			t.Fatal(err)
		}
	}
	var fragments, requests int
	stacktest.Eventually(t, "three fragments to the one, ARP for the other", func() bool {
		fragments, requests = 0, 0
		for _, b := range l.queues[0].wire() {
			switch eth, _ := wire.ParseEthernet(b); {
			case eth.Type == wire.TypeIPv4 && [4]byte(b[eth.Len+16:]) == peer.As4():
				if eth.TCI != 5<<wire.PCPShift|7 {
					t.Errorf("a fragment with tag %#04x", eth.TCI)
				}
				fragments++
			case eth.Type == wire.TypeARP && [4]byte(b[eth.Len+24:]) == stranger.As4():
				if eth.TCI != 7 {
					t.Errorf("ARP with tag %#04x", eth.TCI)
				}
				requests++
			}
		}
		return fragments >= 3 && requests > 0
	})
	if fragments != 3 {
		t.Errorf("%d fragments", fragments)
	}
}
