package arp

import (
	"errors"
	"net/netip"
	"syscall"
	"testing"
)

// TestScope: one group on two ports, and for everyone else: three entries that
// know nothing of each other.
func TestScope(t *testing.T) {
	c, err := NewCache(Config{})
	if err != nil {
		t.Fatal(err)
	}
	group := netip.MustParseAddr("239.1.2.3")
	dst := number(group.As4())
	ports := []*port{{"any"}, {"one"}, {"two"}}
	var entries []*Entry
	for scope, p := range ports {
		e, err := c.Learn(Spec{
			Dst: group, Src: netip.MustParseAddr("10.0.0.1"), Via: p, SrcMAC: [6]byte{2}, MTU: 1500, Kind: Multicast, Scope: uint32(scope),
		})
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, e)
	}
	found := func() (n int) {
		for scope, e := range entries {
			switch got := c.LookupIn(uint32(scope), dst); {
			case got == e:
				n++
			case got != nil:
				t.Errorf("scope %d: an entry by port %s", scope, got.Via.Name())
			}
		}
		return n
	}
	if n := found(); n != 3 || c.Lookup(dst) != entries[0] || c.LookupIn(9, dst) != nil {
		t.Errorf("%d of three entries", n)
	}
	scoped := 0
	for _, i := range c.Dump() {
		if i.Scoped {
			scoped++
		}
	}
	if scoped != 2 {
		t.Errorf("%d entries of the dump are scoped", scoped)
	}
	// A revision keeps the scope, and what leaves it alone keeps the entry.
	c.Revise(func(s Spec) (Spec, bool) {
		s.Scope += 7
		return s, s.Via.Name() != "one"
	})
	if n := found(); n != 2 || entries[1].Valid() || !entries[2].Valid() {
		t.Errorf("%d entries after one was dropped", n)
	}
	c.DropPort(ports[2])
	if n := found(); n != 1 || c.Stats().Entries != 1 {
		t.Errorf("%d entries after a port went", n)
	}
	_, err = c.Learn(Spec{
		Dst: netip.MustParseAddr("10.0.0.2"), Src: netip.MustParseAddr("10.0.0.1"), Via: ports[1], MAC: [6]byte{2, 1}, SrcMAC: [6]byte{2}, MTU: 1500, Scope: 1,
	})
	if !errors.Is(err, syscall.EINVAL) {
		t.Errorf("a neighbour with a scope: %v", err)
	}
}
