package capture

import (
	"net/netip"

	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/stack"
)

// Expr says which frames are captured: what ParseExpr made of an expression. The
// zero value takes all. It is immutable; any goroutine may use it.
type Expr struct {
	text  string
	nodes []node // in the order of the text; a node's operands come before it
	root  int
	// late: it asks what became of the frame, which is known at the end of the
	// RX step only.
	late bool
}

// String returns the expression as it was written.
func (e *Expr) String() string { return e.text }

// node of an expression: an operator with its operands, or a term.
type node struct {
	kind nodeKind
	a, b int // operands
	side side
	// What a term compares with.
	lo, hi  uint32
	prefix  netip.Prefix
	mac     [6]byte
	outcome stack.Disposition
	reason  stack.Reason
	any     bool // any reason, any VLAN
}

type nodeKind uint8

const (
	kindAnd nodeKind = iota
	kindOr
	kindNot
	kindEtherType // lo
	kindProtocol  // lo, of IP
	kindVLAN      // lo, or any
	kindNet       // prefix, by side
	kindPort      // lo to hi, by side, of protocol any or b
	kindMAC       // mac, by side
	kindBroadcast
	kindMulticast
	kindLess     // length <= lo
	kindGreater  // length >= lo
	kindOutbound // sent, or to be
	kindInbound
	kindUnsent
	kindOutcome // outcome, with reason or any
	kindQueue   // lo
)

// side of a frame that a term looks at.
type side uint8

const (
	eitherSide side = iota
	sourceSide
	destinationSide
)

// subject is a frame that expressions look at.
type subject struct {
	h       *headers
	length  int
	queue   int
	kind    recordKind
	outcome stack.Outcome
}

// match reports whether the expression takes a frame. Its depth is that of the
// expression, which is bounded.
//
//oobnet:hot
func (e *Expr) match(s *subject) bool {
	return len(e.nodes) == 0 || e.eval(e.root, s)
}

//oobnet:hot
func (e *Expr) eval(i int, s *subject) bool {
	n := &e.nodes[i]
	switch n.kind {
	case kindAnd:
		return e.eval(n.a, s) && e.eval(n.b, s)
	case kindOr:
		return e.eval(n.a, s) || e.eval(n.b, s)
	case kindNot:
		return !e.eval(n.a, s)
	case kindLess:
		return s.length <= int(n.lo)
	case kindGreater:
		return s.length >= int(n.lo)
	case kindOutbound:
		return s.kind != kindReceived
	case kindInbound:
		return s.kind == kindReceived
	case kindUnsent:
		return s.kind == kindNotSent
	case kindQueue:
		return s.queue == int(n.lo)
	case kindOutcome:
		return s.kind == kindReceived && s.outcome.Disposition == n.outcome && (n.any || s.outcome.Reason == n.reason)
	}
	return s.h.ethernet && n.fits(s.h)
}

// fits is for the terms that ask for what stands in the frame.
//
//oobnet:hot
func (n *node) fits(h *headers) bool {
	switch n.kind {
	case kindEtherType:
		return uint32(h.typ) == n.lo
	case kindProtocol:
		return h.isIP && uint32(h.protocol) == n.lo
	case kindVLAN:
		return h.tags > 0 && (n.any || uint32(h.vlans[0]) == n.lo || h.tags > 1 && uint32(h.vlans[1]) == n.lo)
	case kindNet:
		return n.side != destinationSide && n.prefix.Contains(h.from) || n.side != sourceSide && n.prefix.Contains(h.to)
	case kindPort:
		if !h.ports || n.b != 0 && int(h.protocol) != n.b {
			return false
		}
		return n.side != destinationSide && n.between(h.srcPort) || n.side != sourceSide && n.between(h.dstPort)
	case kindMAC:
		return n.side != destinationSide && n.mac == h.src || n.side != sourceSide && n.mac == h.dst
	case kindBroadcast:
		return h.dst == wire.BroadcastMAC
	case kindMulticast:
		return h.dst[0]&1 != 0
	}
	return false
}

//oobnet:hot
func (n *node) between(port uint16) bool { return uint32(port) >= n.lo && uint32(port) <= n.hi }
