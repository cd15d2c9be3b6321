package stack_test

import (
	"errors"
	"net/netip"
	"syscall"
	"testing"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/stack"
)

// TestRefusedClaimLeavesNothing: what the link refuses to claim is not the
// port's: a second try is the first again.
func TestRefusedClaimLeavesNothing(t *testing.T) {
	leaktest.Check(t)
	l := newFakeLink(1)
	s, err := stack.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	d, err := s.Attach(l, nil)
	if err != nil {
		t.Fatal(err)
	}
	first := netip.MustParsePrefix("10.0.0.1/24")
	p, err := d.EnablePort(&stack.PortConfig{Addrs: []netip.Prefix{first}})
	if err != nil {
		t.Fatal(err)
	}
	group, second := netip.MustParseAddr("239.1.2.3"), netip.MustParsePrefix("10.0.1.1/24")
	l.set(func() { l.selectErr = syscall.ENOSPC })
	if err := p.JoinGroup(group); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("join: %v, want ENOSPC", err)
	}
	if err := p.AddAddr(second); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("add an address: %v, want ENOSPC", err)
	}
	l.set(func() { l.selectErr = nil })
	if err := p.LeaveGroup(group); !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Errorf("leave a group whose join failed: %v, want EADDRNOTAVAIL", err)
	}
	if a := p.Addrs(); len(a) != 1 || a[0] != first {
		t.Errorf("addresses %v, want %v alone", a, first)
	}
	if s.Local(second.Addr()) || len(s.Routes()) != 1 {
		t.Errorf("the address is local: %v; routes: %v", s.Local(second.Addr()), s.Routes())
	}
	if err := p.JoinGroup(group); err != nil {
		t.Errorf("join again: %v", err)
	}
	if err := p.AddAddr(second); err != nil {
		t.Errorf("add the address again: %v", err)
	}
}
