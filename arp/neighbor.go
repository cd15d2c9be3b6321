package arp

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/oobnet/oobnet/link"
)

const (
	// MaxProbes is how many probes must have gone unanswered before an entry
	// in use expires, however old: so that a stack that was stopped for a
	// while, or is late with Due, asks before it forgets. RFC 4861's
	// MAX_UNICAST_SOLICIT (10).
	MaxProbes = 3
	// ProbeInterval between two probes of one neighbour: RFC 4861's
	// RETRANS_TIMER (10). ARP requests must not come more often (RFC 1122, 2.3.2.1).
	ProbeInterval = time.Second
)

// Probe asks the stack to confirm a neighbour: send an ARP request for NextHop
// to MAC, and call Confirm when it is answered.
type Probe struct {
	Via     Egress
	NextHop netip.Addr
	Src     netip.Addr // sender protocol address
	MAC     link.MAC
}

// hopKey names a neighbour.
type hopKey struct {
	via  Egress
	addr [4]byte
}

// makeHopKey reports false for what can be no neighbour's.
func makeHopKey(via Egress, addr netip.Addr) (hopKey, bool) {
	addr = addr.Unmap()
	if !addr.Is4() || via == nil || !hashable(via) {
		return hopKey{}, false
	}
	return hopKey{via, addr.As4()}, true
}

func (s *Spec) hopKey() hopKey { return hopKey{s.Via, s.NextHop.As4()} }

// isLearned reports whether the entry has its MAC address from its neighbour.
func (s *Spec) isLearned() bool { return s.Kind == Unicast && !s.Permanent }

// neighbor is a next hop on a port, shared by the unicast entries that go by
// way of it. All of these that are not permanent have its MAC address.
// Guarded by the cache's mutex.
type neighbor struct {
	key hopKey
	// mac as ARP last stated it; zero: it has not.
	mac link.MAC
	// learned are the records of its entries that are not permanent.
	learned list
	// permanent counts its permanent entries by the MAC address that they
	// have, so that one look tells whether a statement contradicts any.
	permanent map[link.MAC]int
	// conflictMAC is the last one that contradicted a permanent entry; zero: none.
	conflictMAC link.MAC
	// confirmed, probed, used are the times, clock ns or never, of the last
	// statement, the last probe, and the last use of a learned entry.
	confirmed, probed, used int64
	// probes since the last statement.
	probes int
}

// neighbor returns the next hop of a complete unicast spec, which it makes if
// need be, and sees to it that a learned spec's hop has a MAC address.
func (c *Cache) neighbor(spec Spec, now int64) *neighbor {
	key := spec.hopKey()
	n := c.hops[key]
	if n == nil {
		n = &neighbor{key: key, learned: list{which: byHop}, confirmed: never, probed: never, used: never}
		c.hops[key] = n
	}
	if n.mac == (link.MAC{}) && !spec.Permanent {
		n.mac = spec.MAC
		n.confirmed = now
		if spec.Unconfirmed {
			n.confirmed -= c.probeAge()
		}
	}
	return n
}

// probeAge is the age of a confirmation at which a neighbour in use is probed, ns.
func (c *Cache) probeAge() int64 { return c.reachable - c.reachable/3 }

// join enters a record that will have an entry of the spec.
func (n *neighbor) join(r *record, spec Spec) {
	r.hop = n
	if !spec.Permanent {
		n.learned.pushFront(r)
		n.used = max(n.used, r.used)
		return
	}
	if n.permanent == nil {
		n.permanent = make(map[link.MAC]int, 1)
	}
	n.permanent[spec.MAC]++
}

// leave undoes join; the record still has its entry.
func (n *neighbor) leave(r *record) {
	r.hop = nil
	if !r.entry.permanent {
		n.learned.remove(r)
		return
	}
	mac := r.entry.MAC()
	if n.permanent[mac]--; n.permanent[mac] == 0 {
		delete(n.permanent, mac)
	}
}

func (n *neighbor) empty() bool { return n.learned.n == 0 && len(n.permanent) == 0 }

// contradicts reports whether a permanent entry has another MAC address.
func (n *neighbor) contradicts(mac link.MAC) bool {
	return len(n.permanent) > 1 || len(n.permanent) == 1 && n.permanent[mac] == 0
}

// Confirm tells that a neighbour has been heard: an ARP answer, or whatever
// else proves that it can be reached under this MAC address. Its learned
// entries are fresh again; if the address is another than before, they are
// replaced. Permanent entries keep theirs, and one conflict is counted. An
// unknown neighbour stays unknown.
func (c *Cache) Confirm(via Egress, nextHop netip.Addr, mac link.MAC) {
	key, ok := makeHopKey(via, nextHop)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !ok || !stationMAC(mac) {
		c.stats.Rejected++
		return
	}
	if n := c.hops[key]; n != nil {
		c.state(n, mac, c.clock())
	}
}

// Dispute tells that somebody claims a neighbour's address under this MAC
// address, and is not believed, or not yet. If a permanent entry says another,
// the conflict is counted and shows in the dump; nothing else changes.
func (c *Cache) Dispute(via Egress, nextHop netip.Addr, mac link.MAC) {
	key, ok := makeHopKey(via, nextHop)
	if !ok || !stationMAC(mac) {
		return // nobody can claim that
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := c.hops[key]; n != nil {
		c.dispute(n, mac)
	}
}

// dispute counts a claim that contradicts a permanent entry.
func (c *Cache) dispute(n *neighbor, mac link.MAC) {
	if n.contradicts(mac) {
		c.stats.Conflicts++
		n.conflictMAC = mac
	}
}

// state takes an ARP statement about a neighbour. Constant time, unless the
// address changes: then linear in the neighbour's learned entries.
func (c *Cache) state(n *neighbor, mac link.MAC, now int64) {
	c.stats.Confirmed++
	c.dispute(n, mac)
	n.confirmed = now
	n.probes = 0
	c.setMAC(n, mac, now)
}

// setMAC replaces the learned entries of a neighbour if its address is another.
func (c *Cache) setMAC(n *neighbor, mac link.MAC, now int64) {
	if n.mac == mac {
		return
	}
	n.mac = mac
	n.learned.each(func(r *record) {
		c.harvest(r, now)
		old := r.entry
		spec := old.spec()
		spec.MAC = mac
		r.entry = spec.entry()
		r.entry.rec = r
		c.publish(old, r.entry)
	})
}

// Drop removes the learned entries of a neighbour: it is stale, or has failed,
// or is gone.
func (c *Cache) Drop(via Egress, nextHop netip.Addr) {
	key, ok := makeHopKey(via, nextHop)
	if !ok {
		return // no entry can have it
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := c.hops[key]; n != nil {
		c.stats.Dropped += c.forget(n)
	}
}

// forget removes the learned entries of a neighbour, and what ARP said of it,
// and returns how many entries these were.
func (c *Cache) forget(n *neighbor) uint64 {
	count := n.learned.n
	n.mac, n.confirmed, n.probes = link.MAC{}, never, 0
	n.learned.each(c.remove)
	return uint64(count)
}

// Due moves the time on: it notes which entries were used since the last call,
// expires learned entries whose neighbour was not confirmed in time, and
// returns the neighbours that need a probe, each at most once a
// ProbeInterval, ordered by address. Call it about once a second, with the
// time of the cache's clock; it costs a pass over all entries.
func (c *Cache) Due(now time.Time) []Probe {
	probes := c.due(c.scale(now))
	slices.SortFunc(probes, func(a, b Probe) int {
		return cmp.Or(a.NextHop.Compare(b.NextHop), cmp.Compare(a.Via.Name(), b.Via.Name()))
	})
	return probes
}

func (c *Cache) due(now int64) (probes []Probe) {
	c.mu.Lock()
	defer c.mu.Unlock()
	// From the back, so that those used keep their order at the front.
	for r := c.evictable.tail; r != nil; {
		prev := r.link[byUse].prev
		c.harvest(r, now)
		r = prev
	}
	c.permanent.each(func(r *record) { c.harvest(r, now) })
	for _, n := range c.hops {
		switch {
		case n.learned.n == 0:
		case c.expired(n, now):
			c.stats.Expired += c.forget(n)
		case c.wantsProbe(n, now):
			n.probed = now
			n.probes++
			c.stats.Probes++
			src := netip.AddrFrom4(n.learned.head.entry.Src)
			probes = append(probes, Probe{Via: n.key.via, NextHop: netip.AddrFrom4(n.key.addr), Src: src, MAC: n.mac})
		}
	}
	return probes
}

// inUse reports whether a learned entry of the neighbour was used lately.
func (c *Cache) inUse(n *neighbor, now int64) bool {
	return n.used != never && now-n.used <= c.idle
}

// expired reports whether the neighbour's learned entries have lost their
// ground: unused, and old; or in use, old, and silent when asked.
func (c *Cache) expired(n *neighbor, now int64) bool {
	if now-n.confirmed < c.reachable {
		return false
	}
	silent := n.probes >= MaxProbes && now-n.probed >= int64(ProbeInterval)
	return silent || !c.inUse(n, now)
}

func (c *Cache) wantsProbe(n *neighbor, now int64) bool {
	return c.inUse(n, now) && now-n.confirmed >= c.probeAge() && now-n.probed >= int64(ProbeInterval)
}
