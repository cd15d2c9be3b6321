// Package arp is the front cache: destination address to everything needed to
// send an IPv4 packet at once, that is the port it leaves by, the source
// address, the ready Ethernet header and the MTU.
//
// The package speaks no ARP itself and starts no goroutine. The stack tells it
// what the in-band stage has learned of the neighbours, asks it which of them
// to probe, and reads it for each packet.
//
// # Two sides
//
// The packet side ([Cache.Lookup], [Entry.Valid], [Entry.Touch]) is wait-free,
// allocates nothing and reads no clock; any number of goroutines may use it.
// The control side is everything else; it takes a mutex inside, may be called
// from anywhere, and changes what the packet side sees one entry at a time, by
// single atomic stores.
//
// An [Entry] never changes but for two bits: that it holds, and that it was
// used. A change of anything else makes a new entry, publishes it in the place
// of the old one, and only then invalidates the old one. So a socket that
// keeps an entry looks at one word per packet, and when that says no, a new
// Lookup finds what is true now.
//
// # The states of a learned entry
//
//	                      Confirm, Learn
//	                   ┌─────────────────────┐
//	                   ▼                     │
//	Learn ────────▶ reachable ──────────▶ probing ──────────▶ gone (expired)
//	                 │  │   used, and 2/3    ▲ │   Reachable old, and
//	                 │  │   of Reachable old │ │   MaxProbes unanswered
//	                 │  │                    └─┘ one probe a second
//	                 │  └───────────────────────────────────▶ gone (expired)
//	                 │      unused, and Reachable old
//	                 └──────────────────────────────────────▶ gone (dropped, evicted)
//	                        Drop, DropPort, Revise, eviction
//
// Reachability is a property of the neighbour, the pair of port and next hop,
// and all entries behind one neighbour share it, and the neighbour's MAC
// address. "Used" means within Config.Idle. [Cache.Due] moves the time on: the
// stack calls it about once a second, and sends a unicast ARP request for each
// [Probe] that it returns. A live peer that is being sent to is thus confirmed
// before its entry grows old, and never costs a demotion.
//
// # Rules
//
//   - A permanent entry goes only with its port, its route, or another permanent
//     entry for the same destination. No ARP statement alters it; one that
//     contradicts it is counted as a conflict.
//   - Confirm creates nothing: an unsolicited ARP reply can refresh or correct a
//     learned entry, never add one.
//   - Multicast and broadcast entries have no neighbour: they do not grow old.
//   - The number of entries is bounded. When the cache is full, a new entry takes
//     the place of the one that is not permanent and has been unused for longest;
//     if all are permanent, it is refused with ENOSPC.
//   - Every entry is accounted for: Stats.Learned = Entries + Dropped + Expired +
//     Evicted.
package arp
