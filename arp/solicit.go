package arp

// SolicitOption alters what the stack's Solicit does. Options are values, so
// that calls read Solicit(ctx, peer, arp.Permanent, arp.MayRoute).
type SolicitOption uint8

// Options of Solicit; EVL has flags of the same meaning.
const (
	// Permanent makes the entry permanent: it neither grows old nor follows
	// what ARP says later.
	Permanent SolicitOption = 1 << iota
	// MayRoute allows a peer behind a gateway: the gateway is solicited, and
	// the entry is for the peer. Without it such a peer is an error.
	MayRoute
)

// SolicitOptions are options taken together.
type SolicitOptions struct {
	Permanent bool
	MayRoute  bool
}

// JoinOptions takes options together. Unknown ones are ignored.
func JoinOptions(opts ...SolicitOption) SolicitOptions {
	var all SolicitOption
	for _, o := range opts {
		all |= o
	}
	return SolicitOptions{Permanent: all&Permanent != 0, MayRoute: all&MayRoute != 0}
}
