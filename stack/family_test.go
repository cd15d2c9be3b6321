package stack_test

import (
	"errors"
	"net/netip"
	"syscall"
	"testing"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/stack"
)

// TestNotIPv4 asks for the way to what has none: an error, not a panic.
func TestNotIPv4(t *testing.T) {
	leaktest.Check(t)
	a, _ := stacktest.Pair(t, nil)
	for _, dst := range []netip.Addr{{}, netip.IPv6Unspecified(), netip.IPv6LinkLocalAllNodes(), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("::ffff:10.0.0.2")} {
		for name, ask := range map[string]func() error{
			"Miss":        func() error { _, err := a.Stack.Miss(dst); return err },
			"Source":      func() error { _, _, err := a.Stack.Source(dst); return err },
			"RouteTo":     func() error { _, err := a.Stack.RouteTo(dst); return err },
			"SetNeighbor": func() error { return a.Stack.SetNeighbor(dst, a.Link.MAC()) },
			"Solicit":     func() error { return a.Stack.Solicit(t.Context(), dst) },
		} {
			if err := ask(); !errors.Is(err, syscall.EAFNOSUPPORT) {
				t.Errorf("%s of %v: %v, want EAFNOSUPPORT", name, dst, err)
			}
		}
		if a.Stack.Local(dst) || a.Stack.OnLink(dst) || a.Stack.PortOf(dst) != nil {
			t.Errorf("%v is ours, or on our wire", dst)
		}
		// The refusal comes from the in-band stage, which counts it.
		before := a.Stack.Stats().DemotedErrors
		if err := a.Stack.Demote(&stack.Outgoing{Protocol: 17, Src: a.Addr, Dst: dst, Transport: make([]byte, 8)}); err != nil {
			t.Errorf("Demote to %v: %v", dst, err)
		}
		stacktest.Eventually(t, "the refusal counted", func() bool { return a.Stack.Stats().DemotedErrors == before+1 })
	}
}
