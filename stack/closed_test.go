package stack_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/link/loopback"
	"github.com/oobnet/oobnet/stack"
)

// Each call that comes after Close says so, and what to do.
func TestAfterClose(t *testing.T) {
	leaktest.Check(t)
	s, err := stack.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	l, err := loopback.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	d, err := s.Attach(l, nil)
	if err != nil {
		t.Fatal(err)
	}
	net24, peer := netip.MustParsePrefix("192.0.2.1/24"), netip.MustParseAddr("192.0.2.2")
	p, err := d.EnablePort(&stack.PortConfig{Addrs: []netip.Prefix{net24}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	spare, err := loopback.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer spare.Close()
	for name, call := range map[string]func() error{
		"Attach":      func() error { _, err := s.Attach(spare, nil); return err },
		"EnablePort":  func() error { _, err := d.EnablePort(&stack.PortConfig{VLAN: 5}); return err },
		"AddRoute":    func() error { return s.AddRoute(netip.MustParsePrefix("10.0.0.0/8"), peer, p) },
		"RemoveRoute": func() error { return s.RemoveRoute(netip.MustParsePrefix("10.0.0.0/8")) },
		"Solicit":     func() error { return s.Solicit(context.Background(), peer) },
	} {
		switch err := call(); {
		case !errors.Is(err, net.ErrClosed):
			t.Errorf("%s: %v, want net.ErrClosed", name, err)
		case !strings.Contains(err.Error(), "the stack is closed"):
			t.Errorf("%s: %q does not say what is closed", name, err)
		}
	}
}

func TestAttachNothing(t *testing.T) {
	leaktest.Check(t)
	s, err := stack.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Attach(nil, nil); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("error %v, want EINVAL", err)
	}
}

// A caller that gives up by a cause of its own reads it, and which wire was asked.
func TestSolicitGivenUp(t *testing.T) {
	leaktest.Check(t)
	s, err := stack.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	a, b, err := loopback.Pair(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	d, err := s.Attach(a, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.EnablePort(&stack.PortConfig{Addrs: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}}); err != nil {
		t.Fatal(err)
	}
	cause := errors.New("the operator went home")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(cause)
	err = s.Solicit(ctx, netip.MustParseAddr("192.0.2.2"))
	if !errors.Is(err, cause) || !strings.Contains(err.Error(), "on "+a.Name()) {
		t.Errorf("error %v, want %q on %s", err, cause, a.Name())
	}
}
