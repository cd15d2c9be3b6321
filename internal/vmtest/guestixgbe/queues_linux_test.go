package guestixgbe

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/netnstest"
)

// flows are how many differ by their ports: enough for each queue to have some.
const flows = 64

// TestQueues spreads flows over one queue and more, by RSS.
func TestQueues(t *testing.T) {
	leaktest.Check(t)
	r := newRig(t)
	for _, n := range []int{1, 2} { // the driver wants a processor for each
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			r.ethtool("-L", "combined", fmt.Sprint(n))
			r.waitUp()
			r.ethtool("-N", "rx-flow-hash", "udp4", "sdfn")
			before := r.statistics()
			got := spread(t, r)
			after := r.statistics()
			var sum uint64
			var used int
			for i := range n {
				name := fmt.Sprintf("rx_queue_%d_packets", i)
				if d := after[name] - before[name]; d > 0 {
					sum, used = sum+d, used+1
				}
			}
			if sum < got || used != n {
				t.Errorf("%d of %d datagrams on %d of %d queues", sum, got, used, n)
			}
			r.exchange(t, r.A, r.B, peerAddr.Addr(), 1500)
			r.exchange(t, r.B, r.A, cardAddr.Addr(), 1500)
		})
	}
	// All of them to one queue, by the table.
	r.ethtool("-X", "weight", "0", "1")
	before := r.statistics()
	got := spread(t, r)
	if d := r.statistics()["rx_queue_1_packets"] - before["rx_queue_1_packets"]; d < got {
		t.Errorf("%d of %d datagrams on queue 1, to which the table leads", d, got)
	}
	r.ethtool("-X", "default")
}

// spread sends a datagram of each flow to the card, and returns how many came.
func spread(t *testing.T, r *rig) (got uint64) {
	t.Helper()
	server, err := r.A.ListenUDP(netip.AddrPortFrom(cardAddr.Addr(), 4003))
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	b := make([]byte, 64)
	for i := range flows {
		c, err := r.B.DialUDP(netip.AddrPortFrom(peerAddr.Addr(), uint16(10000+i)), netip.AddrPortFrom(cardAddr.Addr(), 4003))
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Write([]byte("flow"))
		c.Close()
		if err != nil {
			t.Fatal(err)
		}
		if err := server.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if _, err := server.Read(b); err != nil {
			t.Fatalf("flow %d: %v", i, err)
		}
		got++
	}
	return got
}

// TestVLAN carries traffic over a VLAN, with the card's handling of tags and
// without, and wants frames of other VLANs kept out.
func TestVLAN(t *testing.T) {
	leaktest.Check(t)
	r := newRig(t)
	ours, theirs := netip.MustParsePrefix("10.98.0.1/24"), netip.MustParsePrefix("10.98.0.2/24")
	for _, end := range []struct {
		h *netnstest.Host
		p netip.Prefix
	}{{r.A, ours}, {r.B, theirs}} {
		if _, err := end.h.AddVLAN(5, end.p); err != nil {
			t.Fatal(err)
		}
	}
	for _, state := range []string{"on", "off", "on"} {
		r.ethtool("-K", "rxvlan", state, "txvlan", state)
		r.waitUp()
		r.exchange(t, r.A, r.B, theirs.Addr(), 1500)
		r.exchange(t, r.B, r.A, ours.Addr(), 1500)
		r.exchange(t, r.A, r.B, peerAddr.Addr(), 1500)
	}
	if out := r.ethtool("-k"); !strings.Contains(out, "rx-vlan-filter: on") {
		t.Fatalf("the card filters no VLANs:\n%s", out)
	}
	// Foreign tags are dropped by the card: nothing counts them as received.
	before := r.statistics()
	send := raw(t, r.B)
	for id, count := range map[byte]int{5: 10, 6: 20} {
		f := frame(r.A.MAC, r.B.MAC, 64, "")
		copy(f[12:], []byte{0x81, 0, 0, id, etherType >> 8, etherType & 0xff})
		for range count {
			if _, err := send.Write(f); err != nil {
				t.Fatal(err)
			}
		}
	}
	r.ping(3, 56)
	after := r.statistics()
	if d := after["rx_packets"] - before["rx_packets"]; d < 13 || d >= 20 {
		t.Errorf("%d frames received, want the 10 of VLAN 5 and some of ping, not the 20 of VLAN 6", d)
	}
}
