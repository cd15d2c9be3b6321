package arp

import (
	"fmt"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/oobnet/oobnet/internal/table"
	"github.com/oobnet/oobnet/link"
)

// Defaults and limits of a Config.
const (
	// DefaultCapacity: 4096 entries of 64 bytes and their slots are half a
	// megabyte, and stay in a second-level cache.
	DefaultCapacity = 4096
	// MaxCapacity bounds what a wrong number in a config file can cost: an
	// entry with its slot, record and neighbour takes about 350 bytes, so
	// some 350 MB.
	MaxCapacity = 1 << 20
	// DefaultReachable is RFC 4861's REACHABLE_TIME (10), and gVisor's.
	DefaultReachable = 30 * time.Second
	// DefaultIdle: a controller that sends every few minutes keeps its entry.
	DefaultIdle = 10 * time.Minute
)

// evictScan bounds the entries that one eviction looks at: how many were used
// since the last Due and are passed over. Beyond, the next goes all the same.
const evictScan = 64

// Config of a cache; the zero value means the defaults.
type Config struct {
	// Capacity is the number of entries, permanent ones included: 0
	// (DefaultCapacity) to MaxCapacity.
	Capacity int
	// Reachable is for how long a learned entry holds after its neighbour was
	// last confirmed. 0: DefaultReachable.
	Reachable time.Duration
	// Idle is for how long after its last use an entry is kept fresh by
	// probes. 0: DefaultIdle.
	Idle time.Duration
	// Now is the clock. nil: time.Now. It is called by control methods, under
	// the cache's mutex.
	Now func() time.Time
}

// Stats of a cache since it was made.
type Stats struct {
	// Entries are there now; Permanent of them are permanent. Neighbors is
	// the number of pairs of port and next hop that they stand on.
	Entries   int `json:"entries"`
	Permanent int `json:"permanent"`
	Neighbors int `json:"neighbors"`
	Capacity  int `json:"capacity"`
	// Learned counts new entries, permanent ones included.
	Learned uint64 `json:"learned"`
	// Updated counts entries that another took the place of, for the same destination.
	Updated uint64 `json:"updated"`
	// Confirmed counts ARP statements about known neighbours, by Confirm or Learn.
	Confirmed uint64 `json:"confirmed"`
	// Dropped counts entries removed by Drop, DropPort and Revise.
	Dropped uint64 `json:"dropped"`
	// Expired counts learned entries whose neighbour was not confirmed in time.
	Expired uint64 `json:"expired"`
	// Evicted counts entries that made room for others.
	Evicted uint64 `json:"evicted"`
	// Full counts entries that found no room: all others were permanent.
	Full uint64 `json:"full"`
	// Conflicts counts ARP statements that contradict a permanent entry.
	Conflicts uint64 `json:"conflicts"`
	// Rejected counts calls with a MAC or IP address, or another field, that
	// cannot be right.
	Rejected uint64 `json:"rejected"`
	// Probes counts what Due returned.
	Probes uint64 `json:"probes"`
}

// Cache is the front cache. See the package documentation for its two sides.
type Cache struct {
	// table is read by senders, changed under mu.
	table     *table.Table[Entry]
	now       func() time.Time
	epoch     time.Time // zero of the times below
	capacity  int
	reachable int64 // ns
	idle      int64 // ns

	mu        sync.Mutex
	hops      map[hopKey]*neighbor
	evictable list // records of entries that are not permanent
	permanent list // records of the others
	stats     Stats
}

// NewCache makes an empty cache. An error names the field that is out of range.
func NewCache(cfg Config) (*Cache, error) {
	switch {
	case cfg.Capacity < 0 || cfg.Capacity > MaxCapacity:
		return nil, fmt.Errorf("arp: capacity %d: want 1 to %d, or 0 for %d: %w", cfg.Capacity, MaxCapacity, DefaultCapacity, syscall.EINVAL)
	case cfg.Reachable < 0:
		return nil, fmt.Errorf("arp: reachable time %v: want more than 0, or 0 for %v: %w", cfg.Reachable, DefaultReachable, syscall.EINVAL)
	case cfg.Idle < 0:
		return nil, fmt.Errorf("arp: idle time %v: want more than 0, or 0 for %v: %w", cfg.Idle, DefaultIdle, syscall.EINVAL)
	}
	c := &Cache{
		now:       cfg.Now,
		capacity:  orDefault(cfg.Capacity, DefaultCapacity),
		reachable: int64(orDefault(cfg.Reachable, DefaultReachable)),
		idle:      int64(orDefault(cfg.Idle, DefaultIdle)),
		hops:      make(map[hopKey]*neighbor),
		evictable: list{which: byUse},
		permanent: list{which: byUse},
	}
	if c.now == nil {
		c.now = time.Now
	}
	c.epoch = c.now()
	// A large cache grows into its size: most never fill.
	c.table = table.New[Entry](min(c.capacity, DefaultCapacity))
	return c, nil
}

func orDefault[T int | time.Duration](v, def T) T {
	if v == 0 {
		return def
	}
	return v
}

// Lookup returns the entry for a destination, an IPv4 address as a big-endian
// number (10.0.0.1 is 0x0a000001), or nil: a miss. It is wait-free and
// allocates nothing. Who sends with the entry calls its Touch.
func (c *Cache) Lookup(dst uint32) *Entry { return c.LookupIn(0, dst) }

// LookupIn is Lookup for an entry with a scope (Spec.Scope). There is no other
// in its place: nil is a miss, whatever Lookup knows.
func (c *Cache) LookupIn(scope, dst uint32) *Entry { return c.table.Get(makeKey(scope, dst)) }

func makeKey(scope, dst uint32) table.Key { return table.Key{Hi: uint64(scope), Lo: uint64(dst)} }

// Learn adds an entry or replaces the one for the same destination, and
// returns the one that holds now. The same as before stays the same object.
//
// A learned (not permanent) unicast spec is an ARP statement about its next
// hop, unless Unconfirmed: see Confirm for what it does to the entries of the
// same neighbour. If there is a permanent entry for the destination, that one
// stays and is returned.
//
// Errors wrap EINVAL or EAFNOSUPPORT for a spec that cannot be right, ENOSPC
// when the cache is full of permanent entries.
func (c *Cache) Learn(spec Spec) (*Entry, error) {
	spec, err := spec.complete()
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.stats.Rejected++
		return nil, err
	}
	now := c.clock()
	hop := c.hops[spec.hopKey()]
	if hop != nil && spec.isLearned() {
		if !spec.Unconfirmed {
			c.state(hop, spec.MAC, now)
		} else if hop.mac != (link.MAC{}) {
			spec.MAC = hop.mac
		}
	}
	old := c.LookupIn(spec.Scope, number(spec.Dst.As4()))
	if old == nil {
		return c.add(spec, now)
	}
	if old.permanent && !spec.Permanent {
		// That the neighbour contradicts its own permanent entries has been
		// counted; here another neighbour claims to be on the way.
		if old.rec.hop != hop && old.MAC() != spec.MAC {
			c.stats.Conflicts++
		}
		return old, nil
	}
	return c.change(old.rec, spec, now), nil
}

// DropPort removes all entries that leave by a port, permanent ones included:
// the port has been disabled.
func (c *Cache) DropPort(via Egress) {
	if !hashable(via) {
		return // no entry can have it
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.table.All() {
		if e.Via == via {
			c.remove(e.rec)
			c.stats.Dropped++
		}
	}
}

// Stats returns the counters.
func (c *Cache) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Entries = c.table.Len()
	s.Permanent = c.permanent.n
	s.Neighbors = len(c.hops)
	s.Capacity = c.capacity
	return s
}

// clock is the time on the cache's own scale, ns.
func (c *Cache) clock() int64 { return c.scale(c.now()) }

func (c *Cache) scale(t time.Time) int64 { return int64(t.Sub(c.epoch)) }

// add makes room for, and publishes, the first entry of a destination.
func (c *Cache) add(spec Spec, now int64) (*Entry, error) {
	if c.table.Len() >= c.capacity && !c.evict(now) {
		c.stats.Full++
		return nil, fmt.Errorf("arp: entry for %v: all %d entries are permanent, remove some or raise the capacity: %w",
			spec.Dst, c.capacity, syscall.ENOSPC)
	}
	r := &record{used: never, scope: spec.Scope}
	r.entry = c.attach(r, spec, now)
	c.put(r.entry)
	c.stats.Learned++
	return r.entry, nil
}

// change gives a destination another entry, if it is another, and returns the
// one that holds.
func (c *Cache) change(r *record, spec Spec, now int64) *Entry {
	old, hop := r.entry, r.hop
	same := old.spec()
	same.Unconfirmed = spec.Unconfirmed
	if spec == same {
		return old
	}
	c.harvest(r, now)
	c.detach(r)
	r.entry = c.attach(r, spec, now)
	c.prune(hop)
	c.publish(old, r.entry)
	return r.entry
}

// publish puts an entry in the place of another, then invalidates that one: a
// sender that sees it invalid finds the new one.
func (c *Cache) publish(old, e *Entry) {
	c.put(e)
	old.invalidate()
	c.stats.Updated++
}

func (c *Cache) put(e *Entry) { c.table.Put(makeKey(e.rec.scope, number(e.Dst)), e) }

// remove takes a destination out.
func (c *Cache) remove(r *record) {
	c.table.Delete(makeKey(r.scope, number(r.entry.Dst)))
	r.entry.invalidate()
	hop := r.hop
	c.detach(r)
	c.prune(hop)
}

// attach makes the entry of a spec and enters its record in the lists and at
// its neighbour.
func (c *Cache) attach(r *record, spec Spec, now int64) *Entry {
	if spec.Kind == Unicast {
		hop := c.neighbor(spec, now)
		if !spec.Permanent {
			spec.MAC = hop.mac
		}
		hop.join(r, spec)
	}
	e := spec.entry()
	e.rec = r
	if e.permanent {
		c.permanent.pushFront(r)
	} else {
		c.evictable.pushFront(r)
	}
	return e
}

// detach undoes attach; it leaves the neighbour, which may be empty now.
func (c *Cache) detach(r *record) {
	if r.entry.permanent {
		c.permanent.remove(r)
	} else {
		c.evictable.remove(r)
	}
	if r.hop != nil {
		r.hop.leave(r)
	}
}

// prune forgets a neighbour that has no entry left, so that there are never
// more neighbours than entries.
func (c *Cache) prune(hop *neighbor) {
	if hop != nil && hop.empty() {
		delete(c.hops, hop.key)
	}
}

// evict removes the entry that is not permanent and has been unused for
// longest, and reports whether there was one. Those used since the last Due
// go to the front of the list on the way.
func (c *Cache) evict(now int64) bool {
	for range evictScan {
		if r := c.evictable.tail; r == nil || !c.harvest(r, now) {
			break
		}
	}
	r := c.evictable.tail
	if r == nil {
		return false
	}
	c.remove(r)
	c.stats.Evicted++
	return true
}

// harvest turns a record's used flag into a time, and reports whether it was set.
func (c *Cache) harvest(r *record, now int64) bool {
	if !r.entry.takeUsed() {
		return false
	}
	r.used = now
	if r.entry.permanent {
		return true
	}
	c.evictable.moveToFront(r)
	if r.hop != nil {
		r.hop.used = max(r.hop.used, now)
	}
	return true
}

// Neighbor returns the MAC address that a next hop is known under: its own
// permanent entry's, else the one that ARP last stated.
func (c *Cache) Neighbor(via Egress, nextHop netip.Addr) (mac link.MAC, known bool) {
	key, ok := makeHopKey(via, nextHop)
	if !ok {
		return link.MAC{}, false
	}
	if e := c.Lookup(number(key.addr)); e != nil && e.permanent && e.Via == via && e.NextHop == key.addr {
		return e.MAC(), true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	hop := c.hops[key]
	if hop == nil || hop.mac == (link.MAC{}) {
		return link.MAC{}, false
	}
	return hop.mac, true
}
