package arp

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/oobnet/oobnet/link"
	"pgregory.net/rapid"
)

// model is the cache's rules written down naively: plain maps, linear
// searches, no lists, no atomics.
type model struct {
	dsts map[netip.Addr]*modelEntry
	hops map[modelHop]*modelNeighbor
	now  int // s
}

type modelHop struct {
	via  Egress
	addr netip.Addr
}

type modelEntry struct {
	spec    Spec
	touched bool
	used    int // s
}

type modelNeighbor struct {
	mac                     link.MAC
	confirmed, probed, used int // s
	probes                  int
}

// Parameters of the model test, small, so that everything happens often.
const (
	modelReachable = 9
	modelIdle      = 15
	modelCapacity  = 7
	modelNever     = -1_000_000
)

func (s Spec) modelHop() modelHop { return modelHop{s.Via, s.NextHop} }

// learnedAt calls f for each learned entry of a neighbour.
func (m *model) learnedAt(h modelHop, f func(netip.Addr, *modelEntry)) {
	for d, e := range m.dsts {
		if !e.spec.Permanent && e.spec.Kind == Unicast && e.spec.modelHop() == h {
			f(d, e)
		}
	}
}

// tidy forgets neighbours without entries.
func (m *model) tidy() {
	for h := range m.hops {
		found := false
		for _, e := range m.dsts {
			found = found || e.spec.Kind == Unicast && e.spec.modelHop() == h
		}
		if !found {
			delete(m.hops, h)
		}
	}
}

// use notes a touched entry's use.
func (m *model) use(e *modelEntry) {
	if !e.touched {
		return
	}
	e.touched, e.used = false, m.now
	if n := m.hops[e.spec.modelHop()]; n != nil && e.spec.isLearned() {
		n.used = m.now
	}
}

func (m *model) state(h modelHop, mac link.MAC) {
	n := m.hops[h]
	if n == nil {
		return
	}
	n.confirmed, n.probes = m.now, 0
	if n.mac == mac {
		return
	}
	n.mac = mac
	m.learnedAt(h, func(_ netip.Addr, e *modelEntry) {
		m.use(e)
		e.spec.MAC = mac
	})
}

func (m *model) learn(s Spec) {
	h := s.modelHop()
	learned := s.Kind == Unicast && !s.Permanent
	if learned && m.hops[h] != nil {
		if !s.Unconfirmed {
			m.state(h, s.MAC)
		} else if m.hops[h].mac != (link.MAC{}) {
			s.MAC = m.hops[h].mac
		}
	}
	old, used := m.dsts[s.Dst], modelNever
	if old != nil && old.spec.Permanent && !s.Permanent {
		return
	}
	if old != nil {
		same := old.spec
		same.Unconfirmed = s.Unconfirmed
		if s == same {
			return
		}
		m.use(old)
		used = old.used
	}
	if s.Kind == Unicast {
		if m.hops[h] == nil {
			m.hops[h] = &modelNeighbor{confirmed: modelNever, probed: modelNever, used: modelNever}
		}
		n := m.hops[h]
		if learned && n.mac == (link.MAC{}) {
			n.mac, n.confirmed = s.MAC, m.now
			if s.Unconfirmed {
				n.confirmed -= modelReachable - modelReachable/3
			}
		}
		if learned { // a destination in use takes its use along to another neighbour
			n.used = max(n.used, used)
		}
	}
	s.Unconfirmed = false
	m.dsts[s.Dst] = &modelEntry{spec: s, used: used}
	m.tidy()
}

func (m *model) forget(h modelHop) {
	if n := m.hops[h]; n != nil {
		n.mac, n.confirmed, n.probes = link.MAC{}, modelNever, 0
	}
	m.learnedAt(h, func(d netip.Addr, _ *modelEntry) { delete(m.dsts, d) })
	m.tidy()
}

func (m *model) due() map[modelHop]Probe {
	for _, e := range m.dsts {
		m.use(e)
	}
	probes := map[modelHop]Probe{}
	for h, n := range m.hops {
		count := 0
		m.learnedAt(h, func(netip.Addr, *modelEntry) { count++ })
		if count == 0 {
			continue
		}
		age, inUse, mayProbe := m.now-n.confirmed, m.now-n.used <= modelIdle, m.now > n.probed
		switch {
		case age >= modelReachable && (!inUse || n.probes >= MaxProbes && mayProbe):
			m.forget(h)
		case inUse && mayProbe && age >= modelReachable-modelReachable/3:
			n.probed = m.now
			n.probes++
			probes[h] = Probe{Via: h.via, NextHop: h.addr, Src: ip("10.0.0.1"), MAC: n.mac}
		}
	}
	return probes
}

func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(1000, 0)
		c, err := NewCache(Config{Capacity: modelCapacity, Reachable: modelReachable * time.Second,
			Idle: modelIdle * time.Second, Now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		m := &model{dsts: map[netip.Addr]*modelEntry{}, hops: map[modelHop]*modelNeighbor{}}
		host := rapid.Custom(func(t *rapid.T) netip.Addr {
			return ip(fmt.Sprintf("10.0.0.%d", rapid.IntRange(2, 11).Draw(t, "host")))
		})
		via := rapid.SampledFrom([]Egress{eth0, eth1})
		mac := rapid.SampledFrom([]link.MAC{macA, macB})
		spec := rapid.Custom(func(t *rapid.T) Spec {
			s := onlink("10.0.0.2", mac.Draw(t, "mac"))
			s.Dst, s.Via = host.Draw(t, "dst"), via.Draw(t, "via")
			s.MTU = rapid.SampledFrom([]uint16{1500, 9000}).Draw(t, "mtu")
			s.Permanent = rapid.IntRange(0, 4).Draw(t, "permanent") == 0
			s.Unconfirmed = rapid.IntRange(0, 3).Draw(t, "unconfirmed") == 0
			switch rapid.IntRange(0, 5).Draw(t, "kind") {
			case 0:
				s.Kind, s.MAC = Broadcast, broadcastMAC
				s.NextHop = s.Dst
			case 1, 2:
				s.NextHop = ip("10.0.0.2")
			default:
				s.NextHop = s.Dst
			}
			return s
		})
		t.Repeat(map[string]func(*rapid.T){
			"learn": func(t *rapid.T) {
				s := spec.Draw(t, "spec")
				room := c.Stats()
				_, err := c.Learn(s)
				if m.dsts[s.Dst] == nil && room.Entries == modelCapacity {
					if room.Permanent == modelCapacity {
						if err == nil {
							t.Fatal("learned into a cache full of permanent entries")
						}
						m.stateOf(s)
						return
					}
					m.stateOf(s)
					evicted(t, c, m)
				}
				if err != nil {
					t.Fatal(err)
				}
				m.learn(s)
			},
			"confirm": func(t *rapid.T) {
				v, h, a := via.Draw(t, "via"), host.Draw(t, "hop"), mac.Draw(t, "mac")
				c.Confirm(v, h, a)
				m.state(modelHop{v, h}, a)
			},
			"drop": func(t *rapid.T) {
				v, h := via.Draw(t, "via"), host.Draw(t, "hop")
				c.Drop(v, h)
				m.forget(modelHop{v, h})
			},
			"drop port": func(t *rapid.T) {
				v := via.Draw(t, "via")
				c.DropPort(v)
				for d, e := range m.dsts {
					if e.spec.Via == v {
						delete(m.dsts, d)
					}
				}
				m.tidy()
			},
			"send": func(t *rapid.T) {
				d := host.Draw(t, "dst")
				e := c.Lookup(number(d.As4()))
				if (e != nil) != (m.dsts[d] != nil) {
					t.Fatalf("Lookup(%v) = %v, the model has %v", d, e, m.dsts[d])
				}
				if e != nil {
					e.Touch()
					m.dsts[d].touched = true
				}
			},
			"second": func(t *rapid.T) {
				now = now.Add(time.Second)
				m.now++
				got, want := c.Due(now), m.due()
				if len(got) != len(want) {
					t.Fatalf("probes %v, want %v", got, want)
				}
				for _, p := range got {
					if p != want[modelHop{p.Via, p.NextHop}] {
						t.Fatalf("probe %v is not in %v", p, want)
					}
				}
			},
			"": func(t *rapid.T) { agree(t, c, m) },
		})
	})
}

// stateOf is the effect that a learned spec has on its neighbour even when
// there is no room for it, and before an entry is evicted.
func (m *model) stateOf(s Spec) {
	if s.Kind == Unicast && !s.Permanent && !s.Unconfirmed {
		m.state(s.modelHop(), s.MAC)
	}
}

// evicted finds the one entry that the cache has evicted, judges the choice
// and follows it.
func evicted(t *rapid.T, c *Cache, m *model) {
	var gone *modelEntry
	untouched := 0
	for d, e := range m.dsts {
		if !e.spec.Permanent && !e.touched {
			untouched++
		}
		if c.Lookup(number(d.As4())) == nil {
			if gone != nil {
				t.Fatalf("more than one entry was evicted: %v and %v", gone.spec.Dst, d)
			}
			gone = e
		}
	}
	switch {
	case gone == nil:
		t.Fatal("nothing was evicted from a full cache")
	case gone.spec.Permanent:
		t.Fatalf("the permanent entry %v was evicted", gone.spec.Dst)
	case gone.touched && untouched > 0:
		t.Fatalf("%v was evicted, which is in use, though others are not", gone.spec.Dst)
	}
	delete(m.dsts, gone.spec.Dst)
	// The eviction has turned marks into times, of as many as it looked at:
	// take over which.
	for d, e := range m.dsts {
		if e.touched && c.Lookup(number(d.As4())).flags.Load()&flagUsed == 0 {
			m.use(e)
		}
	}
	m.use(gone) // if touched: looked at, passed over, and then taken after all
	m.tidy()
}

func agree(t *rapid.T, c *Cache, m *model) {
	audit(t, c)
	s := c.Stats()
	if s.Entries != len(m.dsts) || s.Neighbors != len(m.hops) {
		t.Fatalf("%d entries and %d neighbours, want %d and %d", s.Entries, s.Neighbors, len(m.dsts), len(m.hops))
	}
	for d, want := range m.dsts {
		e := c.Lookup(number(d.As4()))
		if e == nil {
			t.Fatalf("%v is missing", d)
		}
		if got := e.spec(); got != want.spec {
			t.Fatalf("%v\n got %+v\nwant %+v", d, got, want.spec)
		}
	}
}
