// Package inband is the in-band stage: everything that the fast stage does not
// finish itself. It carries ARP, ICMP, IGMP, fragments in both directions, IPv4
// options, UDP that nobody claims, and sends that wait for an address or need
// to be cut to the MTU.
//
// The work is done by gVisor's netstack, and no other package imports it. The
// stage speaks bytes and net/netip to its [Host], the stack. It may allocate,
// lock and keep timers; it starts no goroutine of its own but those of running
// timers.
//
// # How it hangs together
//
// One gVisor interface stands for each port. [Stage.Input] checks a frame
// (input.go, arp.go), puts fragments together (reassembly.go) and hands packets
// to gVisor, on the caller's goroutine. gVisor answers ARP, ICMP and IGMP by
// itself, through endpoint.go to [Host.Output]. UDP ends in transport.go, which
// gives it to [Host.Datagram] without a gVisor socket between: its receive
// queue does not count empty datagrams, so that a remote could grow it without
// bound. Which protocols end there the host says, by
// [Host.Speaks]; the others are answered with protocol unreachable. [Stage.Send] (send.go) writes the IPv4 header itself, so that each
// datagram that may be fragmented has its own identification. Neighbour events
// are mirrored in neighbor.go, where Lookup and Resolve read them.
//
// # Why reassembly is ours
//
// gVisor's own reassembly neither counts a timeout nor lets its memory bound be
// set, and writes to the process's log on an accounting race. Everything else
// about a fragmented datagram is gVisor's: it sees the whole packet.
//
// # Bounds
//
//   - Reassembly: Config.ReassemblyMemory (4 MiB) in all, the oldest datagram
//     goes first; Config.ReassemblyTimeout (30 s) a datagram.
//   - Neighbours: 512 learned entries a port, the least recently used goes
//     first (gVisor's); static entries do not count.
//   - Packets that wait for an address: 256 a neighbour and 64 neighbours a
//     port (gVisor's); the 257th Send to a neighbour gets ENOBUFS.
//   - ICMP errors: 1000 a second with bursts of 50, over all ports (gVisor's
//     defaults, which are Linux's). Echo requests are all answered, but for
//     those to broadcast and multicast addresses, as on Linux.
//
// # ARP and its liars
//
// A request for one of our addresses is answered and teaches the sender's
// address as Stale, to be confirmed before it is trusted. If the entry exists
// with another MAC, a request replaces the MAC and makes the entry Stale: so a
// neighbour that got a new card is found at once, and so can a liar on the same
// wire divert traffic until the next confirmation. An unsolicited reply never
// creates an entry; one that contradicts a Reachable entry does not replace its
// MAC, but makes it Stale, which has it confirmed by a unicast probe to the old
// MAC. Neither touches a static entry: the contradiction is counted in
// Stats.ARPStaticConflicts.
package inband
