package stacktest_test

import (
	"testing"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/stacktest"
)

func TestPair(t *testing.T) {
	leaktest.Check(t)
	a, b := stacktest.Pair(t, nil)
	stacktest.Know(t, a, b)
	if a.Addr != stacktest.AddrA || b.Addr != stacktest.AddrB {
		t.Fatalf("addresses %v and %v", a.Addr, b.Addr)
	}
	if !a.Stack.Local(a.Addr) || a.Stack.Local(b.Addr) || !a.Stack.OnLink(b.Addr) {
		t.Error("the hosts are not neighbours")
	}
	stacktest.AssertBooks(t, a.Device)
	stacktest.AssertNothingHeld(t, b.Device)
}

func TestManual(t *testing.T) {
	leaktest.Check(t)
	a, _ := stacktest.Pair(t, &stacktest.Options{Manual: true, NoPort: true})
	if a.Port != nil || len(a.Device.Threads()) != 0 {
		t.Error("a port or threads that were not asked for")
	}
	if n := a.Poll(); n != 0 {
		t.Errorf("%d frames out of nowhere", n)
	}
}
