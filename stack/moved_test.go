package stack

import (
	"errors"
	"net/netip"
	"syscall"
	"testing"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/loopback"
)

// TestLearnAfterReroute: whoever found the way to a destination, and was
// overtaken by a change of routes before it could tell the front cache, leaves
// nothing there: nobody else would take it out again.
func TestLearnAfterReroute(t *testing.T) {
	leaktest.Check(t)
	near, far, err := loopback.Pair(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close() // never attached
	s, err := New(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	d, err := s.Attach(near, nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := d.EnablePort(&PortConfig{Addrs: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}})
	if err != nil {
		t.Fatal(err)
	}
	route := func(prefix, gateway string) {
		t.Helper()
		if err := s.AddRoute(netip.MustParsePrefix(prefix), netip.MustParseAddr(gateway), p); err != nil {
			t.Fatal(err)
		}
	}
	dst := netip.MustParseAddr("192.0.2.7")
	route("0.0.0.0/0", "10.0.0.2")
	h, err := s.hopTo(dst)
	if err != nil {
		t.Fatal(err)
	}
	mac := link.MAC{2, 0, 0, 0, 0, 2}
	if _, err := s.learn(h.spec(dst, mac)); err != nil {
		t.Fatalf("learn a way that holds: %v", err)
	}
	route("192.0.2.0/24", "10.0.0.3")
	if _, err := s.learn(h.spec(dst, mac)); !errors.Is(err, syscall.EAGAIN) {
		t.Errorf("learn the former way: %v, want EAGAIN", err)
	}
	if e := s.Lookup(addr4(dst.As4())); e != nil {
		t.Errorf("the front cache sends to %v by %v", dst, netip.AddrFrom4(e.NextHop))
	}
}
