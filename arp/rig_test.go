package arp

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/oobnet/oobnet/link"
)

// port is an Egress for tests.
type port struct{ name string }

func (p *port) Name() string { return p.name }

var (
	eth0, eth1 = &port{"eth0"}, &port{"eth1"}

	macA = link.MAC{2, 0, 0, 0, 0, 0xa}
	macB = link.MAC{2, 0, 0, 0, 0, 0xb}
	macP = link.MAC{2, 0, 0, 0, 0, 1} // the port's own
)

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

func num(s string) uint32 { return number(ip(s).As4()) }

// onlink is the spec of a learned neighbour.
func onlink(dst string, mac link.MAC) Spec {
	return Spec{Dst: ip(dst), Src: ip("10.0.0.1"), Via: eth0, MAC: mac, SrcMAC: macP, MTU: 1500}
}

// behind is the spec of a learned destination behind a gateway.
func behind(dst, gateway string, mac link.MAC) Spec {
	s := onlink(dst, mac)
	s.NextHop = ip(gateway)
	return s
}

func permanent(s Spec) Spec {
	s.Permanent = true
	return s
}

// rig is a cache with a clock that the test moves.
type rig struct {
	*Cache
	t   *testing.T
	now time.Time
}

func newRig(t *testing.T, cfg Config) *rig {
	r := &rig{t: t, now: time.Unix(1_000_000, 0)}
	cfg.Now = func() time.Time { return r.now }
	c, err := NewCache(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.Cache = c
	t.Cleanup(func() { audit(t, c) })
	return r
}

func (r *rig) learn(s Spec) *Entry {
	r.t.Helper()
	e, err := r.Learn(s)
	if err != nil {
		r.t.Fatal(err)
	}
	if got := r.Lookup(number(s.Dst.As4())); got != e {
		r.t.Fatalf("Lookup(%v) = %p, want the entry %p that Learn returned", s.Dst, got, e)
	}
	return e
}

// pass moves the clock on in seconds, with a Due each, and collects the probes.
func (r *rig) pass(seconds int) (probes []Probe) {
	for range seconds {
		r.now = r.now.Add(time.Second)
		probes = append(probes, r.Due(r.now)...)
	}
	return probes
}

func (r *rig) wantStats(want string) {
	r.t.Helper()
	s := r.Stats()
	got := fmt.Sprintf("entries %d permanent %d neighbors %d learned %d updated %d confirmed %d dropped %d expired %d evicted %d full %d conflicts %d rejected %d",
		s.Entries, s.Permanent, s.Neighbors, s.Learned, s.Updated, s.Confirmed, s.Dropped, s.Expired, s.Evicted, s.Full, s.Conflicts, s.Rejected)
	if got != want {
		r.t.Errorf("stats\n got %s\nwant %s", got, want)
	}
}

// fataler is what *testing.T and *rapid.T have in common here.
type fataler interface {
	Helper()
	Fatalf(string, ...any)
}

// audit checks that the structures of the control side agree with the table.
func audit(t fataler, c *Cache) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	learned, permanent := 0, map[*neighbor]int{}
	for k, e := range c.table.All() {
		r := e.rec
		switch {
		case r.entry != e:
			t.Fatalf("%v: the record has another entry than the table", e.Dst)
		case !e.Valid():
			t.Fatalf("%v: in the table, but not valid", e.Dst)
		case k.Lo != uint64(number(e.Dst)):
			t.Fatalf("%v stands at %#x", e.Dst, k.Lo)
		case (r.hop != nil) != (e.Kind == Unicast):
			t.Fatalf("%v: %v with neighbour %v", e.Dst, e.Kind, r.hop)
		}
		if r.hop == nil {
			continue
		}
		if r.hop.key != (hopKey{e.Via, e.NextHop}) || c.hops[r.hop.key] != r.hop {
			t.Fatalf("%v: wrong neighbour", e.Dst)
		}
		if e.permanent {
			permanent[r.hop]++
		} else if learned++; e.MAC() != r.hop.mac {
			t.Fatalf("%v: MAC %x, its neighbour has %x", e.Dst, e.MAC(), r.hop.mac)
		}
	}
	for _, n := range c.hops {
		for _, count := range n.permanent {
			permanent[n] -= count
		}
		if permanent[n] != 0 {
			t.Fatalf("neighbour %v: count of permanent entries is off by %d", n.key.addr, permanent[n])
		}
		if n.empty() {
			t.Fatalf("neighbour %v has no entry", n.key.addr)
		}
		learned -= n.learned.n
	}
	if learned != 0 {
		t.Fatalf("the neighbours' lists are off by %d learned entries", learned)
	}
	s := c.stats
	if n := c.table.Len(); c.evictable.n+c.permanent.n != n || n > c.capacity {
		t.Fatalf("%d evictable, %d permanent, %d in the table, capacity %d", c.evictable.n, c.permanent.n, n, c.capacity)
	}
	if s.Learned != uint64(c.table.Len())+s.Dropped+s.Expired+s.Evicted {
		t.Fatalf("entries are unaccounted for: %+v, %d there", s, c.table.Len())
	}
}
