package stack

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"

	"github.com/oobnet/oobnet/arp"
	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/stack/internal/inband"
)

// Route is a line of the routing table.
type Route struct {
	Dst netip.Prefix
	// Gateway is not valid for a connected route.
	Gateway netip.Addr
	Port    *Port
	// Connected routes come and go with a port's addresses.
	Connected bool
}

// AddRoute sends what is for dst by a gateway on a port. A gateway that is not
// valid makes the route on-link. The same dst again replaces its route. Errors
// wrap EAFNOSUPPORT for what is not IPv4, ENETUNREACH for a gateway that no
// address of the port reaches, net.ErrClosed.
func (s *Stack) AddRoute(dst netip.Prefix, gateway netip.Addr, via *Port) error {
	if !dst.IsValid() || !dst.Addr().Is4() || gateway.IsValid() && !gateway.Is4() {
		return fmt.Errorf("stack: route to %v via %v: %w: want IPv4", dst, gateway, syscall.EAFNOSUPPORT)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.closedErr(); err != nil {
		return err
	}
	if via == nil || via.dev.stack != s || via.Disabled() {
		return fmt.Errorf("stack: route to %v: %w: the port is not enabled on this stack", dst, syscall.ENODEV)
	}
	if gateway.IsValid() && !slices.ContainsFunc(via.addrs, func(a netip.Prefix) bool { return a.Contains(gateway) }) {
		return fmt.Errorf("stack: route to %v: gateway %v is in no prefix of port %s: %w", dst, gateway, via.Name(), syscall.ENETUNREACH)
	}
	dst = dst.Masked()
	before := s.static
	s.static = append(slices.DeleteFunc(slices.Clone(before), func(r Route) bool { return r.Dst == dst }),
		Route{Dst: dst, Gateway: gateway, Port: via})
	if err := s.reroute(); err != nil {
		s.static = before
		return err
	}
	return nil
}

// RemoveRoute removes the route to dst that AddRoute made; ESRCH if there is
// none, net.ErrClosed.
func (s *Stack) RemoveRoute(dst netip.Prefix) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.closedErr(); err != nil {
		return err
	}
	dst = dst.Masked()
	i := slices.IndexFunc(s.static, func(r Route) bool { return r.Dst == dst })
	if i < 0 {
		return fmt.Errorf("stack: route to %v: none was added: %w", dst, syscall.ESRCH)
	}
	s.static = slices.Delete(slices.Clone(s.static), i, i+1)
	return s.reroute()
}

// Routes returns the routing table, the most specific first.
func (s *Stack) Routes() []Route { return slices.Clone(*s.routes.Load()) }

// reroute makes the table anew after any change of ports, addresses and
// routes, and revises all that was derived from it. Under the stack's mutex.
func (s *Stack) reroute() error {
	var routes []Route
	for _, p := range *s.ports.Load() {
		for _, a := range p.addrs {
			routes = append(routes, Route{Dst: a.Masked(), Port: p, Connected: true})
		}
	}
	s.static = slices.DeleteFunc(slices.Clone(s.static), func(r Route) bool { return r.Port.Disabled() })
	routes = append(routes, s.static...)
	slices.SortStableFunc(routes, func(a, b Route) int {
		return cmp.Or(cmp.Compare(b.Dst.Bits(), a.Dst.Bits()), a.Dst.Addr().Compare(b.Dst.Addr()), cmp.Compare(a.Port.id, b.Port.id))
	})
	inBand := make([]inband.Route, len(routes))
	for i, r := range routes {
		inBand[i] = inband.Route{Dst: r.Dst, Gateway: r.Gateway, Port: r.Port.id}
	}
	if err := s.inBand.SetRoutes(inBand); err != nil {
		return err
	}
	s.routes.Store(&routes)
	s.revise()
	return nil
}

// revise drops the front-cache entries that the routes do not bear out. It
// goes behind the change that it follows: what is learned later sees it.
func (s *Stack) revise() {
	s.front.Revise(func(e arp.Spec) (arp.Spec, bool) { return e, s.leads(e) })
}

// leads reports whether an entry is the way to its destination.
func (s *Stack) leads(e arp.Spec) bool {
	h, err := s.hopTo(e.Dst)
	if e.Scope != 0 {
		h, err = e.Via.(*Port).hopTo(e.Dst)
	}
	return err == nil && h.port == e.Via && h.nextHop == e.NextHop && h.src == e.Src && h.kind == e.Kind && h.port.mtu == int(e.MTU)
}

// hop is the way to a destination.
type hop struct {
	port         *Port
	src, nextHop netip.Addr
	kind         arp.Kind
}

// hopTo finds the way to dst. It reads what the control path publishes, and
// may be called by any goroutine. ENETUNREACH if there is none, EAFNOSUPPORT if
// dst is not IPv4.
func (s *Stack) hopTo(dst netip.Addr) (hop, error) {
	if !dst.Is4() {
		return hop{}, syscall.EAFNOSUPPORT
	}
	for _, r := range *s.routes.Load() {
		if !r.Dst.Contains(dst) {
			continue
		}
		h := hop{port: r.Port, nextHop: dst, kind: kindOf(dst, r)}
		if r.Gateway.IsValid() {
			h.nextHop = r.Gateway
		}
		var ok bool
		if h.src, ok = r.Port.source(h.nextHop); ok {
			return h, nil
		}
	}
	if dst.IsMulticast() || dst == limitedBroadcast {
		// Without a route these go out by the first port with an address, as
		// if there were a default route there.
		for _, r := range *s.routes.Load() {
			if src, ok := r.Port.source(dst); ok && r.Connected && r.Port == s.firstPort() {
				return hop{port: r.Port, src: src, nextHop: dst, kind: kindOf(dst, Route{})}, nil
			}
		}
	}
	return hop{}, syscall.ENETUNREACH
}

// hopTo is the way from the port to many: no route has a say.
func (p *Port) hopTo(dst netip.Addr) (hop, error) {
	if p.Disabled() {
		return hop{}, net.ErrClosed
	}
	src, ok := p.source(dst)
	if !ok || !p.Many(dst) {
		return hop{}, fmt.Errorf("stack: %v is no group of port %s, or the port has no address: %w", dst, p.Name(), syscall.EADDRNOTAVAIL)
	}
	h := hop{port: p, src: src, nextHop: dst, kind: arp.Broadcast}
	if dst.IsMulticast() {
		h.kind = arp.Multicast
	}
	return h, nil
}

// hopOf is the way of a datagram.
func (s *Stack) hopOf(o *Outgoing) (hop, error) {
	if o.Via != nil && o.Via.Many(o.Dst) {
		return o.Via.hopTo(o.Dst)
	}
	return s.hopTo(o.Dst)
}

var limitedBroadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

func kindOf(dst netip.Addr, r Route) arp.Kind {
	switch {
	case dst.IsMulticast():
		return arp.Multicast
	case dst == limitedBroadcast,
		r.Connected && addr4(dst.As4()) == broadcastOf(r.Dst) && r.Dst.Bits() < 31:
		return arp.Broadcast
	}
	return arp.Unicast
}

// firstPort is the enabled port with an address that was made first.
func (s *Stack) firstPort() (first *Port) {
	for _, p := range *s.ports.Load() {
		if len(p.local.Load().addrs) > 0 && (first == nil || p.id < first.id) {
			first = p
		}
	}
	return first
}

// source is the address to send from: the one whose prefix the next hop is in,
// else the first.
func (p *Port) source(nextHop netip.Addr) (netip.Addr, bool) {
	l := p.local.Load()
	if len(l.addrs) == 0 {
		return netip.Addr{}, false
	}
	n := addr4(nextHop.As4())
	for _, a := range l.addrs {
		if n&a.mask == a.addr&a.mask {
			return netAddr(a.addr), true
		}
	}
	return netAddr(l.addrs[0].addr), true
}

// spec describes the front-cache entry of a hop; mac is the next hop's.
func (h hop) spec(dst netip.Addr, mac link.MAC) arp.Spec {
	return arp.Spec{
		Dst: dst, NextHop: h.nextHop, Src: h.src, Via: h.port, MAC: mac, VLAN: h.port.vlan & wire.VIDMask,
		SrcMAC: h.port.mac, MTU: uint16(h.port.mtu), Kind: h.kind,
	}
}
