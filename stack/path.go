package stack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/oobnet/oobnet/arp"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/stack/internal/inband"
)

// SolicitTimeout is how long Solicit waits if its context has no deadline:
// EVL's ipv4_solicit_timeout.
const SolicitTimeout = 5 * time.Second

// Lookup returns the front-cache entry for an IPv4 address, a number in host
// order, or nil: a miss. It is wait-free. A sender may keep the entry for as
// long as its Valid says so, and calls its Touch when it sends.
func (s *Stack) Lookup(dst uint32) *arp.Entry { return s.front.Lookup(dst) }

// LookupVia is Lookup for a group: the entry by which its datagrams leave by a
// port that the sender has chosen.
func (s *Stack) LookupVia(p *Port, dst uint32) *arp.Entry { return s.front.LookupIn(p.id, dst) }

// MissVia is Miss for a sender whose LookupVia found nothing: dst is a group, or
// a broadcast address of the port. EADDRNOTAVAIL wrapped if it is none of these,
// or the port has no address; net.ErrClosed if the port is no more.
func (s *Stack) MissVia(p *Port, dst netip.Addr) (*arp.Entry, error) {
	h, err := p.hopTo(dst)
	if err != nil {
		return nil, err
	}
	spec := h.spec(dst, link.MAC{})
	spec.Scope = p.id
	return s.learn(spec)
}

// SourceVia is Source for a sender that has chosen a port for a group.
func (s *Stack) SourceVia(p *Port, dst netip.Addr) (src netip.Addr, mtu int, err error) {
	h, err := p.hopTo(dst)
	return h.src, p.mtu, err
}

// Many reports whether an address stands for many on the port: a multicast
// group, or a broadcast address there.
func (p *Port) Many(dst netip.Addr) bool {
	return dst.Is4() && (dst.IsMulticast() || dst == limitedBroadcast || p.local.Load().broadcasts(addr4(dst.As4())))
}

// FrontCache is the cache itself, for dumps and statistics. What goes into it
// is the stack's to say.
func (s *Stack) FrontCache() *arp.Cache { return s.front }

// Miss is for a sender whose Lookup found nothing. It returns an entry where
// none needs to be asked for (multicast, broadcast, a neighbour known already);
// nil without an error where the in-band stage has to resolve the address, or
// the address is this host's own: demote, or wait by Solicit. The error wraps
// ENETUNREACH if there is no route. It takes locks and allocates: the price of
// the first packet.
func (s *Stack) Miss(dst netip.Addr) (*arp.Entry, error) {
	if s.portOf(dst) != nil || dst.IsLoopback() {
		return nil, nil
	}
	h, err := s.hopTo(dst)
	if err != nil {
		return nil, unreachable(dst, err)
	}
	var mac link.MAC // stays zero for those that need none
	if h.kind == arp.Unicast {
		known, state, ok := s.inBand.Lookup(h.port.id, h.nextHop)
		if !ok || state != inband.Reachable && state != inband.Static {
			return nil, nil
		}
		mac = known
	}
	spec := h.spec(dst, mac)
	spec.Unconfirmed = true // the MAC is from memory, not from an answer
	e, err := s.learn(spec)
	if err != nil {
		// The cache is full of permanent entries: the packet goes in-band.
		return nil, nil
	}
	return e, nil
}

// learn adds an entry, unless its port has gone meanwhile (net.ErrClosed), or
// the way to its destination is another one by now (EAGAIN wrapped).
func (s *Stack) learn(spec arp.Spec) (*arp.Entry, error) {
	e, err := s.front.Learn(spec)
	switch {
	case err != nil:
		return nil, err
	case spec.Via.(*Port).Disabled():
		// Disable dropped the port's entries, perhaps before this one came.
		s.front.DropPort(spec.Via)
		return nil, net.ErrClosed
	case !s.leads(spec):
		// So did reroute with those that do not hold any more.
		s.revise()
		return nil, errMoved
	}
	return e, nil
}

// errMoved is for an entry that a change of routes or addresses overtook.
var errMoved = fmt.Errorf("stack: the routes changed meanwhile: try again: %w", syscall.EAGAIN)

// Outgoing is a datagram for the in-band stage to send.
type Outgoing struct {
	Protocol uint8
	// Src is a local address: see Source.
	Src, Dst netip.Addr
	// Via is the port that it leaves by, where Dst stands for Many there; nil:
	// the one that the routes say.
	Via      *Port
	TTL, TOS uint8 // TTL 0: the stack's
	// Priority is the PCP of its frames on a VLAN port, 0 to 7.
	Priority uint8
	// DontFragment refuses (EMSGSIZE) what is larger than the MTU.
	DontFragment bool
	// Transport is header and payload. It is the stack's from then on.
	Transport []byte
}

// Demote hands a datagram to the in-band stage's queue: what the fast stage
// cannot send, being too long or its destination unknown. It does not wait:
// ENOBUFS if the queue is full, ENETDOWN or ENODEV wrapped while the device on
// the way there is down or gone, net.ErrClosed after Close. What goes wrong
// later reaches Protocol.Error.
func (s *Stack) Demote(o *Outgoing) error {
	if err := s.faultOf(o); err != nil {
		return err
	}
	return s.keeper.send(o)
}

// faultOf is the fault of the device that a datagram leaves by. Own addresses
// need none; where there is no route, the in-band stage says so.
func (s *Stack) faultOf(o *Outgoing) error {
	if s.portOf(o.Dst) != nil || o.Dst.IsLoopback() {
		return nil
	}
	if h, err := s.hopOf(o); err == nil {
		return h.port.dev.Fault()
	}
	return nil
}

// Source is the address that a datagram to dst leaves from, and the MTU of the
// port. The error wraps ENETUNREACH if there is no route. Own addresses send
// to themselves.
func (s *Stack) Source(dst netip.Addr) (src netip.Addr, mtu int, err error) {
	if s.portOf(dst) != nil || dst.IsLoopback() {
		return dst, maxIPv4, nil
	}
	h, err := s.hopTo(dst)
	if err != nil {
		return netip.Addr{}, 0, unreachable(dst, err)
	}
	return h.src, h.port.mtu, nil
}

// maxIPv4 is the longest IPv4 packet, bytes.
const maxIPv4 = 65535

// OnLink reports whether dst is a neighbour: no gateway is on the way.
func (s *Stack) OnLink(dst netip.Addr) bool {
	h, err := s.hopTo(dst)
	return err == nil && h.nextHop == dst
}

// Local reports whether an address is one of this stack's.
func (s *Stack) Local(a netip.Addr) bool { return a.Is4() && s.portOf(a) != nil }

// PortOf returns the enabled port that has the address, or nil.
func (s *Stack) PortOf(a netip.Addr) *Port {
	if !a.Is4() {
		return nil
	}
	return s.portOf(a)
}

// RouteTo returns the port that a datagram to dst leaves by; ENETUNREACH
// wrapped if there is no route.
func (s *Stack) RouteTo(dst netip.Addr) (*Port, error) {
	h, err := s.hopTo(dst)
	if err != nil {
		return nil, unreachable(dst, err)
	}
	return h.port, nil
}

// Solicit asks for the address of a peer by ARP and puts it into the front
// cache, so that the first packet to it is fast already. With arp.Permanent
// the entry stays until its port goes; with arp.MayRoute the peer may be
// behind a gateway, which is asked for in its place.
//
// It waits for as long as the context allows, SolicitTimeout if the context
// has no deadline. Errors wrap EAFNOSUPPORT (not IPv4), ENODEV (no port on a
// route to the peer), EMULTIHOP (behind a gateway, without arp.MayRoute),
// ETIMEDOUT (no answer), ENOSPC (the front cache is full of permanent
// entries), or are the context's. Source: EVL, evl_net_solicit().
func (s *Stack) Solicit(ctx context.Context, peer netip.Addr, opts ...arp.SolicitOption) error {
	fail := func(err error) error { return fmt.Errorf("stack: solicit %v: %w", peer, err) }
	if !peer.Is4() {
		return fail(fmt.Errorf("%w: want IPv4", syscall.EAFNOSUPPORT))
	}
	if s.isClosed() {
		return fail(errStackClosed)
	}
	h, err := s.hopTo(peer)
	if err != nil || s.portOf(peer) != nil {
		return fail(fmt.Errorf("no port leads there: %w: enable one with an address of that network, or add a route", syscall.ENODEV))
	}
	o := arp.JoinOptions(opts...)
	if h.nextHop != peer && !o.MayRoute {
		return fail(fmt.Errorf("it is behind gateway %v, and arp.MayRoute was not given: %w", h.nextHop, errMultihop))
	}
	spec := h.spec(peer, link.MAC{})
	spec.Permanent = o.Permanent
	if h.kind == arp.Unicast {
		if spec.MAC, err = s.resolve(ctx, h); err != nil {
			return fail(err)
		}
	}
	if o.Permanent && h.kind == arp.Unicast {
		if err := s.inBand.SetStatic(h.port.id, h.nextHop, spec.MAC); err != nil {
			return fail(err)
		}
	}
	if _, err := s.learn(spec); err != nil {
		return fail(err)
	}
	return nil
}

// resolve asks for the next hop's address until the context or the time is up.
func (s *Stack) resolve(ctx context.Context, h hop) (link.MAC, error) {
	if _, limited := ctx.Deadline(); !limited {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, SolicitTimeout)
		defer cancel()
	}
	mac, err := s.inBand.Resolve(ctx, h.port.id, h.nextHop)
	switch {
	case err == nil:
		return mac, nil
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, syscall.EHOSTUNREACH):
		return mac, fmt.Errorf("no answer to ARP on %s: %w", h.port.Name(), syscall.ETIMEDOUT)
	case ctx.Err() != nil:
		return mac, fmt.Errorf("no answer to ARP on %s: %w", h.port.Name(), context.Cause(ctx))
	}
	return mac, err
}

// SetNeighbor makes a permanent entry for a peer on a port by hand, as a
// static table does. Errors as Solicit has them, but for the waiting.
func (s *Stack) SetNeighbor(peer netip.Addr, mac link.MAC) error {
	if !peer.Is4() {
		return fmt.Errorf("stack: neighbour %v: %w: want IPv4", peer, syscall.EAFNOSUPPORT)
	}
	h, err := s.hopTo(peer)
	if err != nil || h.kind != arp.Unicast || h.nextHop != peer {
		return fmt.Errorf("stack: neighbour %v: no port is on its network: %w", peer, syscall.ENODEV)
	}
	if err := s.inBand.SetStatic(h.port.id, peer, mac); err != nil {
		return err
	}
	spec := h.spec(peer, mac)
	spec.Permanent = true
	_, err = s.learn(spec)
	return err
}
