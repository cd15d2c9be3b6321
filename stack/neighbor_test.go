package stack_test

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"

	"github.com/oobnet/oobnet/arp"
	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/stacktest"
)

// A neighbour that is forgotten takes what is behind it along, permanent or
// learned, and can be found again.
func TestRemoveNeighbor(t *testing.T) {
	leaktest.Check(t)
	a, b := stacktest.Pair(t, nil)
	behind := netip.MustParseAddr("198.51.100.1")
	if err := a.Stack.AddRoute(netip.MustParsePrefix("198.51.100.0/24"), b.Addr, a.Port); err != nil {
		t.Fatal(err)
	}
	for _, opts := range [][]arp.SolicitOption{{arp.MayRoute}, {arp.MayRoute, arp.Permanent}} {
		for _, peer := range []netip.Addr{b.Addr, behind} {
			if err := a.Stack.Solicit(t.Context(), peer, opts...); err != nil {
				t.Fatal(err)
			}
		}
		if n := a.Stack.FrontCache().Stats().Entries; n != 2 {
			t.Fatalf("%d entries", n)
		}
		if err := a.Stack.RemoveNeighbor(b.Addr); err != nil {
			t.Error(err)
		}
		if st := a.Stack.FrontCache().Stats(); st.Entries != 0 || st.Permanent != 0 {
			t.Errorf("left: %+v", st)
		}
		if err := a.Stack.RemoveNeighbor(b.Addr); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("again: %v", err)
		}
	}
	for _, bad := range []netip.Addr{{}, netip.MustParseAddr("2001:db8::1")} {
		if err := a.Stack.RemoveNeighbor(bad); !errors.Is(err, syscall.EAFNOSUPPORT) {
			t.Errorf("%v: %v", bad, err)
		}
	}
	if err := a.Stack.Close(); err != nil {
		t.Fatal(err)
	}
	if err := a.Stack.RemoveNeighbor(b.Addr); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}
