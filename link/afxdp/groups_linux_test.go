package afxdp

import (
	"strings"
	"testing"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/netnstest"
	"github.com/oobnet/oobnet/link"
)

// TestGroups: the device is asked for the groups that are claimed, by IPv4 or
// by Ethernet address, and for no others afterwards.
func TestGroups(t *testing.T) {
	leaktest.Check(t)
	w := kernelPair(t, 1)
	l := openOn(t, w.A, nil, nil)
	has := func(mac string) bool {
		list, err := w.A.Exec("cat", "/proc/thread-self/net/dev_mcast")
		if err != nil {
			t.Skipf("no list of groups: %v", err)
		}
		return strings.Contains(string(list), mac)
	}
	const first, second, profinet = "01005e010203", "01005e040506", "010ecf000000"
	group := func(a ...byte) link.ClaimIPv4 { return link.ClaimIPv4{Addr: [4]byte(a)} }
	for _, c := range []struct {
		claims                  link.Claims
		first, second, profinet bool
	}{
		{link.Claims{IPv4: []link.ClaimIPv4{group(224, 1, 2, 3), group(192, 0, 2, 10)}}, true, false, false},
		// Another group, the same address.
		{link.Claims{IPv4: []link.ClaimIPv4{group(239, 129, 2, 3), group(239, 4, 5, 6)}}, true, true, false},
		{link.Claims{IPv4: []link.ClaimIPv4{group(239, 4, 5, 6), {VLAN: 5, Addr: [4]byte{239, 4, 5, 6}}}}, false, true, false},
		{link.Claims{Groups: []link.MAC{{1, 0x0e, 0xcf}, {1, 0x0e, 0xcf}}}, false, false, true},
		// By both kinds of claim, and then by one.
		{link.Claims{IPv4: []link.ClaimIPv4{group(239, 4, 5, 6)}, Groups: []link.MAC{{1, 0, 0x5e, 4, 5, 6}}}, false, true, false},
		{link.Claims{Groups: []link.MAC{{1, 0, 0x5e, 4, 5, 6}}}, false, true, false},
		{link.Claims{}, false, false, false},
	} {
		if err := l.Select(&c.claims); err != nil {
			t.Fatal(err)
		}
		if a, b, p := has(first), has(second), has(profinet); a != c.first || b != c.second || p != c.profinet {
			t.Errorf("claims %+v: joined %v, %v and %v, want %v, %v and %v", c.claims, a, b, p, c.first, c.second, c.profinet)
		}
	}
}

// TestPromiscuous: the device is in promiscuous mode while that is claimed, or
// somebody else wants it.
func TestPromiscuous(t *testing.T) {
	leaktest.Check(t)
	w := kernelPair(t, 1)
	needsVeth(t, w, "a card counts its own reasons")
	is := func() bool { return isPromiscuous(t, w.A) }
	l := openOn(t, w.A, nil, nil)
	for i, want := range []bool{false, true, true, false, true} {
		if err := l.Select(&link.Claims{Promiscuous: want}); err != nil {
			t.Fatal(err)
		}
		if got := is(); got != want {
			t.Errorf("step %d: promiscuous %v, want %v", i, got, want)
		}
	}
	// Claims that are refused change nothing.
	if err := l.Select(&link.Claims{VLANs: []uint16{0}}); err == nil || !is() {
		t.Errorf("refused claims: %v, promiscuous %v", err, is())
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if is() {
		t.Error("a closed link has left the device in promiscuous mode")
	}
	if out, err := w.A.Exec("ip", "link", "set", w.A.IfName, "promisc", "on"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	l = openOn(t, w.A, nil, &link.Claims{Promiscuous: true})
	if err := l.Select(nil); err != nil || !is() {
		t.Errorf("promiscuous mode of somebody else: %v, on %v", err, is())
	}
}

func isPromiscuous(t *testing.T, h *netnstest.Host) bool {
	t.Helper()
	out, err := h.Exec("ip", "-d", "-o", "link", "show", "dev", h.IfName)
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	_, count, found := strings.Cut(string(out), "promiscuity ")
	if !found {
		t.Skipf("ip does not tell: %s", out)
	}
	return !strings.HasPrefix(count, "0 ")
}
