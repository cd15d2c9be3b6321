package arp

import "github.com/oobnet/oobnet/link"

// Revise recomputes every entry after a change of routes, addresses, MAC
// addresses, VLANs or MTUs. f gets the spec of each, in no order, and returns
// what it is to be now, or false to drop it, permanent or not. An entry whose
// spec comes back unchanged stays the same object and stays valid; a changed
// one is replaced. Dst, Scope and Permanent cannot be changed: what f does to
// them is ignored, as is Unconfirmed.
//
// A learned entry that moves to another neighbour takes the MAC address that
// the cache knows of that neighbour. If the cache knows none, f must have
// given one, other than the old one, which was the former neighbour's;
// otherwise the entry is dropped. A spec that cannot be right is dropped and
// counted as Rejected as well.
//
// f runs under the cache's mutex, so that no entry escapes the revision: it
// must not call the cache's control methods, nor wait for anyone who does.
func (c *Cache) Revise(f func(Spec) (Spec, bool)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clock()
	for _, r := range c.records() {
		spec, ok := f(r.entry.spec())
		if ok {
			ok = c.revise(r, spec, now)
		}
		if !ok {
			c.remove(r)
			c.stats.Dropped++
		}
	}
}

// records returns all records: the lists change while they are walked.
func (c *Cache) records() []*record {
	all := make([]*record, 0, c.table.Len())
	gather := func(r *record) { all = append(all, r) }
	c.permanent.each(gather)
	c.evictable.each(gather)
	return all
}

// revise gives a record the entry of a spec that f returned, and reports
// whether there can be one.
func (c *Cache) revise(r *record, spec Spec, now int64) bool {
	old := r.entry.spec()
	spec.Dst, spec.Scope, spec.Permanent, spec.Unconfirmed = old.Dst, old.Scope, old.Permanent, false
	if spec.Kind != old.Kind && spec.MAC == old.MAC {
		spec.MAC = link.MAC{} // that was the other kind's
	}
	spec, err := spec.complete()
	if err != nil {
		c.stats.Rejected++
		return false
	}
	if spec.isLearned() {
		target := c.hops[spec.hopKey()]
		switch {
		case target != nil && target == r.hop:
			c.setMAC(target, spec.MAC, now)
		case target != nil && target.mac != (link.MAC{}):
			spec.MAC = target.mac
		case spec.MAC == old.MAC:
			return false
		default:
			spec.Unconfirmed = true // f's word, not ARP's
		}
	}
	c.change(r, spec, now)
	return true
}
