package afxdp

import (
	"bytes"
	"net/netip"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/filter"
	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/netnstest"
	"github.com/oobnet/oobnet/link"
)

// TestVLAN takes frames of one VLAN, with the tag in place.
func TestVLAN(t *testing.T) {
	leaktest.Check(t)
	w := kernelPair(t, 1)
	b := newBench(t, w.A, nil, &link.Claims{IPv4: []link.ClaimIPv4{{VLAN: 5, Addr: addr4(10)}}})
	peer := newPacketPeer(t, w.B, suiteType)
	arp := append(arpTo(addr4(10)), make([]byte, 18)...) // no card need pad it
	other, ours := ethernet(etherTypeARP, arp, ctag(6)), ethernet(etherTypeARP, arp, ctag(5))
	for _, f := range [][]byte{other, ours} {
		if err := peer.Send(f); err != nil {
			t.Fatal(err)
		}
	}
	if got := b.receive(time.Second); !bytes.Equal(got, ours) {
		t.Errorf("received % x, want % x", got, ours)
	}
	if got := b.receive(20 * time.Millisecond); got != nil {
		t.Errorf("received % x too, of another VLAN", got)
	}
	// A full frame with its tag is four bytes longer, both ways.
	full := ethernet(etherTypeIPv4, append(ipv4(addr4(10), 0, 0), make([]byte, 1500-28)...), ctag(5))
	if err := peer.Send(full); err != nil {
		t.Fatal(err)
	}
	if got := b.receive(time.Second); !bytes.Equal(got, full) {
		t.Errorf("received %d bytes, want %d", len(got), len(full))
	}
	b.send(full)
	for deadline := time.Now().Add(time.Second); b.reclaim() == 0 && time.Now().Before(deadline); {
	}
	if s := b.q.Stats(); s.TXInvalid != 0 || s.TXDropped != 0 {
		t.Errorf("a full frame with a tag was refused: %+v", s)
	}
}

// TestVLANKernel talks to a VLAN interface of the kernel's. Its tags are in the
// frames if the peer's device inserts none; otherwise they travel beside them,
// over a wire without hardware to the end, and no XDP program sees them: then
// the frame is the kernel's, and must not come here without its tag.
func TestVLANKernel(t *testing.T) {
	for name, offloads := range map[string]netnstest.Offloads{"off": netnstest.OffloadsOffB, "on": netnstest.OffloadsOn} {
		t.Run("offloads "+name, func(t *testing.T) { testVLANKernel(t, offloads, 0) })
		t.Run("RXVLAN, offloads "+name, func(t *testing.T) { testVLANKernel(t, offloads, RXVLAN) })
	}
}

func testVLANKernel(t *testing.T, offloads netnstest.Offloads, with Features) {
	needsFeatures(t, with)
	w := netnstest.NewPair(t, &netnstest.Config{AddrA: prefixA, AddrB: prefixB, Offloads: offloads})
	if _, err := w.B.AddVLAN(5, netip.MustParsePrefix("198.51.100.2/24")); err != nil {
		t.Skipf("this kernel makes no VLAN interface: %v", err)
	}
	b := newBench(t, w.A, &Config{With: with}, &link.Claims{IPv4: []link.ClaimIPv4{{VLAN: 5, Addr: [4]byte{198, 51, 100, 10}}}})
	c, err := w.B.DialUDP(netip.AddrPort{}, netip.MustParseAddrPort("198.51.100.10:7"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	f := b.receive(time.Second)
	good := len(f) >= 18 && f[12] == 0x81 && f[13] == 0 && f[15] == 5 && f[16] == 8 && f[17] == 6
	beside := offloads == netnstest.OffloadsOn && with == 0 && f == nil && b.FilterStats().Verdicts[filter.Skip] > 0
	if !good && !beside {
		t.Errorf("want the kernel's ARP request on VLAN 5, got % x; filter %+v", f, b.FilterStats())
	}
	if beside {
		t.Log("tags that the peer's device is to insert are beside the frame")
	}
}

// TestVLANTagsKept: the device leaves tags in the frames while the link is
// open, and does what it did before afterwards.
func TestVLANTagsKept(t *testing.T) {
	w := kernelPair(t, 1)
	stripping := func(d *device) bool {
		v := ethtoolValue{cmd: unix.ETHTOOL_GFLAGS}
		if err := d.ethtool(unsafe.Pointer(&v)); err != nil {
			t.Skipf("the device has no ethtool flags: %v", err)
		}
		return v.data&ethFlagRXVLAN != 0
	}
	var d *device
	var err error
	w.A.Do(func() { d, err = findDevice(w.A.IfName) })
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	if !stripping(d) {
		t.Skip("the device strips no VLAN tags")
	}
	l := openOn(t, w.A, nil, nil)
	if stripping(d) {
		t.Error("an open link leaves the device stripping VLAN tags")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if !stripping(d) {
		t.Error("a closed link has not switched VLAN tag stripping on again")
	}
}

// TestVLANFilter: a device that filters is in promiscuous mode while claims name
// a VLAN, and no longer.
func TestVLANFilter(t *testing.T) {
	leaktest.Check(t)
	w := netnstest.NewPair(t, nil)
	needsVeth(t, w, "it has no filter, so that a pretended one shows")
	l := openOn(t, w.A, nil, nil)
	if l.dev.vlanFilter {
		t.Error("veth filters VLANs")
	}
	l.dev.vlanFilter = true
	for i, c := range []struct {
		claims link.Claims
		want   bool
	}{
		{link.Claims{EtherTypes: []link.ClaimEtherType{{EtherType: suiteType}}, IPv4: claimOurs.IPv4}, false},
		{link.Claims{EtherTypes: []link.ClaimEtherType{{EtherType: suiteType}, {VLAN: 5, EtherType: suiteType}}}, true},
		{link.Claims{Promiscuous: true}, true},
		{link.Claims{}, false},
		{link.Claims{IPv4: []link.ClaimIPv4{{VLAN: 5, Addr: addr4(1)}}}, true},
		{link.Claims{VLANs: []uint16{7}}, true},
		{link.Claims{}, false},
	} {
		if err := l.Select(&c.claims); err != nil {
			t.Fatal(err)
		}
		if got := isPromiscuous(t, w.A); got != c.want {
			t.Errorf("step %d, claims %+v: promiscuous %v, want %v", i, c.claims, got, c.want)
		}
	}
}
