package stack_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/oobnet/oobnet/arp"
	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/stack"
)

// routes prints the table.
func routes(s *stack.Stack) (lines []string) {
	for _, r := range s.Routes() {
		line := fmt.Sprintf("%v %s", r.Dst, r.Port.Name())
		if r.Gateway.IsValid() {
			line += fmt.Sprintf(" via %v", r.Gateway)
		}
		if r.Connected {
			line += " connected"
		}
		lines = append(lines, line)
	}
	return lines
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// twoPorts is a host with an untagged port, and VLAN 20 with 10.0.20.1/24.
func twoPorts(t *testing.T) (*fakeLink, *stacktest.Host, *stack.Port) {
	t.Helper()
	l := newFakeLink(1)
	h := fakeHost(t, l, manual())
	p, err := h.Device.EnablePort(&stack.PortConfig{VLAN: 20, Addrs: prefixes("10.0.20.1/24", "10.0.21.1/24")})
	if err != nil {
		t.Fatal(err)
	}
	return l, h, p
}

func TestRoutes(t *testing.T) {
	leaktest.Check(t)
	_, h, vlan := twoPorts(t)
	s := h.Stack
	other, _ := stacktest.Pair(t, manual())
	add := func(dst, gateway string, via *stack.Port) error {
		var gw netip.Addr
		if gateway != "" {
			gw = addr(gateway)
		}
		return s.AddRoute(netip.MustParsePrefix(dst), gw, via)
	}
	for _, c := range []struct {
		name, dst, gateway string
		via                *stack.Port
		want               error
	}{
		{"IPv6", "2001:db8::/32", "", h.Port, syscall.EAFNOSUPPORT},
		{"an IPv6 gateway", "10.5.0.0/16", "fe80::1", h.Port, syscall.EAFNOSUPPORT},
		{"a gateway of another port", "10.5.0.0/16", "10.0.20.254", h.Port, syscall.ENETUNREACH},
		{"no port", "10.5.0.0/16", "10.0.0.254", nil, syscall.ENODEV},
		{"a port of another stack", "10.5.0.0/16", "10.0.0.254", other.Port, syscall.ENODEV},
	} {
		if err := add(c.dst, c.gateway, c.via); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	if err := s.AddRoute(netip.Prefix{}, netip.Addr{}, h.Port); !errors.Is(err, syscall.EAFNOSUPPORT) {
		t.Errorf("no destination: %v", err)
	}
	for _, r := range []struct {
		dst, gateway string
		via          *stack.Port
	}{
		{"0.0.0.0/0", "10.0.0.254", h.Port}, {"10.5.0.0/16", "10.0.21.254", vlan}, {"10.5.6.7/24", "", h.Port},
		{"10.5.0.0/16", "10.0.20.254", vlan}, // replaces
	} {
		if err := add(r.dst, r.gateway, r.via); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{
		"10.0.0.0/24 fake0 connected", "10.0.20.0/24 fake0.20 connected", "10.0.21.0/24 fake0.20 connected",
		"10.5.6.0/24 fake0", "10.5.0.0/16 fake0.20 via 10.0.20.254", "0.0.0.0/0 fake0 via 10.0.0.254",
	}
	if got := routes(s); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("routes\n%q, want\n%q", got, want)
	}
	for _, c := range []struct {
		dst, src string
		port     *stack.Port
		onLink   bool
	}{
		{"10.0.0.77", "10.0.0.1", h.Port, true}, {"10.0.20.7", "10.0.20.1", vlan, true}, {"10.0.21.7", "10.0.21.1", vlan, true},
		{"10.5.6.8", "10.0.0.1", h.Port, true}, {"10.5.7.8", "10.0.20.1", vlan, false}, {"8.8.8.8", "10.0.0.1", h.Port, false},
		{"239.1.1.1", "10.0.0.1", h.Port, false}, // the default route
	} {
		src, mtu, err := s.Source(addr(c.dst))
		port, err2 := s.RouteTo(addr(c.dst))
		if err != nil || err2 != nil || src != addr(c.src) || port != c.port || mtu != 1500 || s.OnLink(addr(c.dst)) != c.onLink {
			t.Errorf("%s: from %v on %v, on-link %v, %v, %v", c.dst, src, port.Name(), s.OnLink(addr(c.dst)), err, err2)
		}
	}
	if src, mtu, err := s.Source(ownAddr); src != ownAddr || mtu != 65535 || err != nil {
		t.Errorf("to ourselves: %v, %d, %v", src, mtu, err)
	}
	if err := s.RemoveRoute(netip.MustParsePrefix("10.5.9.9/16")); err != nil {
		t.Errorf("remove by another address of the network: %v", err)
	}
	for _, gone := range []string{"10.5.0.0/16", "10.0.0.0/24", "9.0.0.0/8"} {
		if err := s.RemoveRoute(netip.MustParsePrefix(gone)); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("remove %s, which nobody added: %v", gone, err)
		}
	}
	if err := s.RemoveRoute(netip.Prefix{}); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("remove no prefix: %v", err)
	}
	if err := h.Port.Disable(); err != nil {
		t.Fatal(err)
	}
	if got := routes(s); len(got) != 2 {
		t.Errorf("routes of a port that is no more: %q", got)
	}
	if _, err := s.RouteTo(addr("8.8.8.8")); !errors.Is(err, syscall.ENETUNREACH) {
		t.Errorf("no route: %v", err)
	}
	if err := add("10.6.0.0/16", "10.0.0.254", h.Port); !errors.Is(err, syscall.ENODEV) {
		t.Errorf("a route on a disabled port: %v", err)
	}
}

// TestGroupsWithoutRoute leave by the first port that has an address.
func TestGroupsWithoutRoute(t *testing.T) {
	leaktest.Check(t)
	_, h, vlan := twoPorts(t)
	for _, dst := range []string{"239.1.1.1", "255.255.255.255"} {
		if p, err := h.Stack.RouteTo(addr(dst)); p != h.Port || err != nil {
			t.Errorf("%s: %v, %v", dst, p, err)
		}
	}
	if err := h.Port.RemoveAddr(ownNet); err != nil {
		t.Fatal(err)
	}
	if p, err := h.Stack.RouteTo(addr("239.1.1.1")); p != vlan || err != nil {
		t.Errorf("the first port has no address: %v, %v", p, err)
	}
	e, err := h.Stack.Miss(addr("239.1.1.1"))
	if err != nil || e == nil || e.Kind != arp.Multicast {
		t.Fatalf("a group needs nobody's answer: %+v, %v", e, err)
	}
	if mac := e.MAC(); mac != wire.MulticastMAC([4]byte{239, 1, 1, 1}) || e.HeaderLen != 18 {
		t.Errorf("the group's entry: MAC % x, header of %d bytes", mac, e.HeaderLen)
	}
}

// TestEntriesFollowTheRoutes: an entry that a change of routes or addresses
// makes wrong is invalid at once; the others stay.
func TestEntriesFollowTheRoutes(t *testing.T) {
	leaktest.Check(t)
	_, h, vlan := twoPorts(t)
	s := h.Stack
	if err := s.AddRoute(netip.MustParsePrefix("10.5.0.0/16"), addr("10.0.0.254"), h.Port); err != nil {
		t.Fatal(err)
	}
	for peer, mac := range map[string]link.MAC{"10.0.0.254": {2, 0, 0, 0, 0, 1}, "10.0.20.254": {2, 0, 0, 0, 0, 2}} {
		if err := s.SetNeighbor(addr(peer), mac); err != nil {
			t.Fatal(err)
		}
	}
	miss := func(dst string) *arp.Entry {
		t.Helper()
		e, err := s.Miss(addr(dst))
		if err != nil || e == nil {
			t.Fatalf("%s: %v, %v", dst, e, err)
		}
		if s.Lookup(num(addr(dst))) != e || !e.Valid() {
			t.Fatalf("%s: the entry is not in the cache", dst)
		}
		return e
	}
	far, near, gateway := miss("10.5.1.1"), miss("239.1.1.1"), s.Lookup(num(addr("10.0.20.254")))
	if far.Via != arp.Egress(h.Port) || far.NextHop != addr("10.0.0.254").As4() || far.MAC() != (link.MAC{2, 0, 0, 0, 0, 1}) {
		t.Errorf("by a gateway: %+v", far)
	}
	if err := s.AddRoute(netip.MustParsePrefix("10.5.0.0/16"), addr("10.0.20.254"), vlan); err != nil {
		t.Fatal(err)
	}
	if far.Valid() || s.Lookup(num(addr("10.5.1.1"))) != nil {
		t.Error("the route leads elsewhere, and the entry holds")
	}
	if !near.Valid() || !gateway.Valid() {
		t.Error("entries went that had nothing to do with it")
	}
	far = miss("10.5.1.1")
	if far.Via != arp.Egress(vlan) || far.HeaderLen != 18 || far.Src != addr("10.0.20.1").As4() {
		t.Errorf("by the other gateway: %+v", far)
	}
	if err := s.RemoveRoute(netip.MustParsePrefix("10.5.0.0/16")); err != nil {
		t.Fatal(err)
	}
	if far.Valid() {
		t.Error("the route is gone, and the entry holds")
	}
	if _, err := s.Miss(addr("10.5.1.1")); !errors.Is(err, syscall.ENETUNREACH) {
		t.Errorf("no route: %v", err)
	}
	if err := vlan.Disable(); err != nil {
		t.Fatal(err)
	}
	if gateway.Valid() {
		t.Error("the port is gone, and its neighbour's entry holds")
	}
}

func TestSolicit(t *testing.T) {
	leaktest.Check(t)
	a, b := stacktest.Pair(t, nil)
	s := a.Stack
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := s.AddRoute(netip.MustParsePrefix("10.5.0.0/16"), b.Addr, a.Port); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		peer string
		want error
	}{
		{"fe80::1", syscall.EAFNOSUPPORT}, {"9.9.9.9", syscall.ENODEV}, {a.Addr.String(), syscall.ENODEV}, {"10.5.1.1", syscall.EMULTIHOP},
	} {
		if err := s.Solicit(ctx, addr(c.peer)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.peer, err, c.want)
		}
	}
	short, done := context.WithTimeout(ctx, 50*time.Millisecond)
	defer done()
	if err := s.Solicit(short, addr("10.0.0.200")); !errors.Is(err, syscall.ETIMEDOUT) {
		t.Errorf("nobody there: %v", err)
	}
	gone, leave := context.WithCancel(ctx)
	leave()
	if err := s.Solicit(gone, addr("10.0.0.201")); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := s.Solicit(ctx, b.Addr); err != nil {
		t.Fatal(err)
	}
	if e := s.Lookup(num(b.Addr)); e == nil || e.MAC() != b.Link.MAC() {
		t.Errorf("the peer's entry: %+v", e)
	}
	if err := s.Solicit(ctx, addr("10.5.1.1"), arp.MayRoute, arp.Permanent); err != nil {
		t.Fatal(err)
	}
	if e := s.Lookup(num(addr("10.5.1.1"))); e == nil || e.MAC() != b.Link.MAC() || e.NextHop != b.Addr.As4() {
		t.Errorf("the entry behind the gateway: %+v", e)
	}
	if err := s.Solicit(ctx, addr("255.255.255.255")); err != nil {
		t.Errorf("broadcast needs no answer: %v", err)
	}
	if err := s.SetNeighbor(addr("9.9.9.9"), b.Link.MAC()); !errors.Is(err, syscall.ENODEV) {
		t.Errorf("a neighbour on no network: %v", err)
	}
	stacktest.AssertBooks(t, a.Device)
	stacktest.AssertBooks(t, b.Device)
}
