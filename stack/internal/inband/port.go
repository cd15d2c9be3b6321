package inband

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"sync/atomic"
	"syscall"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/oobnet/oobnet/link"
)

// Port is an out-of-band port as the stage sees it.
type Port struct {
	// ID names the port, 1 to 1<<31-1.
	ID uint32
	// Name is for errors only.
	Name string
	// MAC is the port's unicast address.
	MAC link.MAC
	// MTU is the largest IPv4 packet, bytes: 68 (RFC 791) to 65 535.
	MTU int
	// Addrs are the port's IPv4 addresses with the lengths of their networks.
	Addrs []netip.Prefix
	// PartialChecksum: a UDP checksum that equals the pseudo-header's sum is
	// as good as a right one (link.Capabilities.PartialChecksum).
	PartialChecksum bool
}

// Route says where a destination is reached.
type Route struct {
	Dst netip.Prefix
	// Gateway is the next hop; invalid: the destination is on the link.
	Gateway netip.Addr
	Port    uint32
}

const (
	minMTU = header.IPv4MinimumMTU
	maxMTU = math.MaxUint16
)

// port is a Port at work.
type port struct {
	Port
	ep *endpoint
	// local is replaced whole under Stage.mu and read by Input.
	local atomic.Pointer[localSet]
}

// localSet is what a port accepts.
type localSet struct {
	addrs  []netip.Prefix
	groups map[netip.Addr]int // joins
}

func (l *localSet) owns(a netip.Addr) bool {
	return slices.ContainsFunc(l.addrs, func(p netip.Prefix) bool { return p.Addr() == a })
}

// broadcast says whether a is a broadcast address on this port.
func (l *localSet) broadcast(a netip.Addr) bool {
	return a == broadcastAddr || slices.ContainsFunc(l.addrs, func(p netip.Prefix) bool { return a == lastOf(p) })
}

// accepts says whether a packet to a is for us.
func (l *localSet) accepts(a netip.Addr) bool {
	return l.owns(a) || l.broadcast(a) || l.groups[a] > 0 || a == allSystemsAddr
}

var (
	broadcastAddr  = netip.AddrFrom4([4]byte{255, 255, 255, 255})
	allSystemsAddr = netip.AddrFrom4([4]byte{224, 0, 0, 1}) // every host is a member: RFC 1112
)

// lastOf is the directed broadcast address of a network; networks of one or
// two addresses have none (RFC 3021), which the zero Addr stands for.
func lastOf(p netip.Prefix) netip.Addr {
	if p.Bits() > 30 {
		return netip.Addr{}
	}
	b := p.Addr().As4()
	for i := range b {
		host := min(max((i+1)*8-p.Bits(), 0), 8)
		b[i] |= byte(1<<host - 1)
	}
	return netip.AddrFrom4(b)
}

func checkAddr(p netip.Prefix) bool {
	return p.IsValid() && p.Addr().Is4() && !p.Addr().IsUnspecified() && !p.Addr().IsMulticast() && p.Addr() != broadcastAddr
}

// unicast says whether a MAC can be that of one station.
func unicast(mac link.MAC) bool { return mac[0]&1 == 0 && mac != link.MAC{} }

// AddPort adds a port with its addresses and starts it: EEXIST, EINVAL.
func (s *Stage) AddPort(p Port) error {
	if err := s.begin("add port"); err != nil {
		return err
	}
	defer s.calls.leave()
	if p.ID == 0 || p.ID > math.MaxInt32 || p.MTU < minMTU || p.MTU > maxMTU || !unicast(p.MAC) {
		return wrap("add port", fmt.Sprintf("%d (%s), MTU %d, MAC %x", p.ID, p.Name, p.MTU, p.MAC), syscall.EINVAL)
	}
	for _, a := range p.Addrs {
		if !checkAddr(a) {
			return wrap("add port "+p.Name+": address", a, syscall.EINVAL)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.port(p.ID) != nil {
		return wrap("add port", p.ID, syscall.EEXIST)
	}
	n := &port{Port: p, ep: &endpoint{port: p.ID, mac: tcpip.LinkAddress(p.MAC[:]), host: s.cfg.Host, gate: newGate()}}
	n.ep.mtu.Store(uint32(p.MTU))
	n.local.Store(&localSet{})
	s.neighbors.addPort(p.ID)
	if err := s.gs.CreateNIC(tcpip.NICID(p.ID), n.ep); err != nil {
		s.neighbors.removePort(p.ID)
		return wrap("add port", p.ID, errnoOf(err))
	}
	s.setPort(p.ID, n)
	for _, a := range p.Addrs {
		if err := s.addAddr(n, a); err != nil {
			s.removePort(n)
			return err
		}
	}
	return nil
}

// RemovePort removes a port with its addresses, routes and neighbours. After
// it Host.Output is not called for the port. ENODEV.
func (s *Stage) RemovePort(id uint32) error {
	return s.withPort("remove port", id, func(p *port) error {
		s.removePort(p)
		return nil
	})
}

func (s *Stage) removePort(p *port) {
	s.setPort(p.ID, nil)
	s.gs.RemoveNIC(tcpip.NICID(p.ID)) // the port is known: it cannot fail
	p.ep.gate.close()
	s.reassembler.dropPort(p.ID)
	s.neighbors.removePort(p.ID)
	s.routes = slices.DeleteFunc(s.routes, func(r Route) bool { return r.Port == p.ID })
	s.installRoutes()
}

// setPort replaces the map of ports. s.mu is held.
func (s *Stage) setPort(id uint32, p *port) {
	next := make(map[uint32]*port)
	for k, v := range *s.ports.Load() {
		next[k] = v
	}
	if p == nil {
		delete(next, id)
	} else {
		next[id] = p
	}
	s.ports.Store(&next)
}

// withPort runs f with a port and s.mu held: ENODEV without the port.
func (s *Stage) withPort(op string, id uint32, f func(*port) error) error {
	if err := s.begin(op); err != nil {
		return err
	}
	defer s.calls.leave()
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.port(id)
	if p == nil {
		return wrap(op, id, syscall.ENODEV)
	}
	return f(p)
}

// SetMTU changes a port's MTU for what is sent from now on: ENODEV, EINVAL.
func (s *Stage) SetMTU(id uint32, mtu int) error {
	return s.withPort("set MTU", id, func(p *port) error {
		if mtu < minMTU || mtu > maxMTU {
			return wrap("set MTU "+p.Name, mtu, syscall.EINVAL)
		}
		p.ep.SetMTU(uint32(mtu))
		return nil
	})
}

// AddAddr gives a port an address: ENODEV, EINVAL, EEXIST.
func (s *Stage) AddAddr(id uint32, a netip.Prefix) error {
	return s.withPort("add address", id, func(p *port) error {
		if !checkAddr(a) {
			return wrap("add address", a, syscall.EINVAL)
		}
		return s.addAddr(p, a)
	})
}

func (s *Stage) addAddr(p *port, a netip.Prefix) error {
	if p.local.Load().owns(a.Addr()) {
		return wrap("add address", a, syscall.EEXIST)
	}
	err := s.gs.AddProtocolAddress(tcpip.NICID(p.ID), tcpip.ProtocolAddress{
		Protocol:          ipv4.ProtocolNumber,
		AddressWithPrefix: tcpip.AddressWithPrefix{Address: toAddr(a.Addr()), PrefixLen: a.Bits()},
	}, stack.AddressProperties{})
	if err != nil {
		return wrap("add address", a, errnoOf(err))
	}
	p.change(func(l *localSet) { l.addrs = append(l.addrs, a) })
	s.installRoutes()
	return nil
}

// RemoveAddr takes an address from a port: ENODEV, EADDRNOTAVAIL.
func (s *Stage) RemoveAddr(id uint32, a netip.Prefix) error {
	return s.withPort("remove address", id, func(p *port) error {
		if !slices.Contains(p.local.Load().addrs, a) {
			return wrap("remove address", a, syscall.EADDRNOTAVAIL)
		}
		if err := s.gs.RemoveAddress(tcpip.NICID(p.ID), toAddr(a.Addr())); err != nil {
			return wrap("remove address", a, errnoOf(err))
		}
		p.change(func(l *localSet) {
			l.addrs = slices.DeleteFunc(l.addrs, func(q netip.Prefix) bool { return q == a })
		})
		s.installRoutes()
		return nil
	})
}

// change replaces the set with a changed copy.
func (p *port) change(f func(*localSet)) {
	old := p.local.Load()
	l := &localSet{addrs: slices.Clone(old.addrs), groups: make(map[netip.Addr]int)}
	for k, v := range old.groups {
		l.groups[k] = v
	}
	f(l)
	p.local.Store(l)
}

// SetRoutes replaces all routes. The longest match wins, and of equals the
// first. The networks of the ports' addresses are always routed, behind given
// routes of the same length. EINVAL; ENODEV for a port that is not there.
func (s *Stage) SetRoutes(routes []Route) error {
	if err := s.begin("set routes"); err != nil {
		return err
	}
	defer s.calls.leave()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range routes {
		if !r.Dst.IsValid() || !r.Dst.Addr().Is4() || (r.Gateway.IsValid() && !r.Gateway.Is4()) {
			return wrap("set routes", r.Dst, syscall.EINVAL)
		}
		if s.port(r.Port) == nil {
			return wrap("set routes: "+r.Dst.String()+" by port", r.Port, syscall.ENODEV)
		}
	}
	s.routes = slices.Clone(routes)
	s.installRoutes()
	return nil
}

// installRoutes tells gVisor, which sorts by prefix length and keeps the order
// of equals. s.mu is held.
func (s *Stage) installRoutes() {
	var table []tcpip.Route
	add := func(r Route) {
		dst := tcpip.AddressWithPrefix{Address: toAddr(r.Dst.Addr()), PrefixLen: r.Dst.Bits()}
		t := tcpip.Route{Destination: dst.Subnet(), NIC: tcpip.NICID(r.Port)}
		if r.Gateway.IsValid() {
			t.Gateway = toAddr(r.Gateway)
		}
		table = append(table, t)
	}
	for _, r := range s.routes {
		add(r)
	}
	for id, p := range *s.ports.Load() {
		for _, a := range p.local.Load().addrs {
			add(Route{Dst: a, Port: id})
		}
	}
	s.gs.SetRouteTable(table)
}

// JoinGroup joins a multicast group on a port; IGMP reports it. Joins are
// counted. ENODEV, EINVAL.
func (s *Stage) JoinGroup(id uint32, group netip.Addr) error {
	return s.withPort("join", id, func(p *port) error {
		if !group.Is4() || !group.IsMulticast() {
			return wrap("join", group, syscall.EINVAL)
		}
		if err := s.gs.JoinGroup(ipv4.ProtocolNumber, tcpip.NICID(id), toAddr(group)); err != nil {
			return wrap("join", group, errnoOf(err))
		}
		p.change(func(l *localSet) { l.groups[group]++ })
		return nil
	})
}

// Announce reports the groups of a port anew, as if they had just been joined:
// for a wire that was away. ENODEV.
func (s *Stage) Announce(id uint32) error {
	return s.withPort("announce", id, func(p *port) error {
		ep, err := s.gs.GetNetworkEndpoint(tcpip.NICID(id), ipv4.ProtocolNumber)
		if err != nil {
			return wrap("announce groups of port", id, errnoOf(err))
		}
		// Switching the endpoint, not the interface: neighbours stay. Nobody
		// needs to hear that the groups were left for a moment.
		p.ep.muted.Store(true)
		ep.Disable()
		p.ep.muted.Store(false)
		if err := ep.Enable(); err != nil {
			return wrap("announce groups of port", id, errnoOf(err))
		}
		return nil
	})
}

// LeaveGroup undoes one JoinGroup; with the last, IGMP says so. ENODEV,
// EADDRNOTAVAIL for a group that was not joined.
func (s *Stage) LeaveGroup(id uint32, group netip.Addr) error {
	return s.withPort("leave", id, func(p *port) error {
		if p.local.Load().groups[group] == 0 {
			return wrap("leave", group, syscall.EADDRNOTAVAIL)
		}
		if err := s.gs.LeaveGroup(ipv4.ProtocolNumber, tcpip.NICID(id), toAddr(group)); err != nil {
			return wrap("leave", group, errnoOf(err))
		}
		p.change(func(l *localSet) {
			if l.groups[group]--; l.groups[group] == 0 {
				delete(l.groups, group)
			}
		})
		return nil
	})
}
