package udp

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/stack"
)

// SocketInfo describes an open socket.
type SocketInfo struct {
	Local  netip.AddrPort
	Remote netip.AddrPort // not valid: not connected
	// Quota is how many datagrams the socket may hold.
	Quota int
	Stats Stats
}

// Sockets lists the open sockets of a stack by local port, for statistics. It
// takes the lock under which sockets are opened, for as long as it takes to copy
// the list, and none that packets know of.
func Sockets(s *stack.Stack) []SocketInfo {
	p, ok := s.Protocol(stack.IPv4Number(wire.ProtocolUDP)).(*protocol)
	if !ok {
		return nil
	}
	conns := p.conns()
	slices.SortFunc(conns, func(a, b *Conn) int {
		return cmp.Or(cmp.Compare(a.local.Port(), b.local.Port()), a.local.Addr().Compare(b.local.Addr()), a.remote.Compare(b.remote))
	})
	list := make([]SocketInfo, len(conns))
	for i, c := range conns {
		list[i] = SocketInfo{Local: c.local, Remote: c.remote, Quota: int(c.quota.Load()), Stats: c.Stats()}
	}
	return list
}

// Totals sums up what the sockets of a stack have counted, those that are closed
// too: these figures never fall, but for Held. open is how many are open. It
// takes the lock that Sockets takes, and allocates nothing.
func Totals(s *stack.Stack) (st Stats, open int) {
	p, ok := s.Protocol(stack.IPv4Number(wire.ProtocolUDP)).(*protocol)
	if !ok {
		return st, 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	st = p.retired
	for _, conns := range p.ports {
		for _, c := range conns {
			own := c.Stats()
			st.add(&own)
			st.Held += own.Held
			open++
		}
	}
	return st, open
}

// add sums up what was counted; not what is held.
func (s *Stats) add(o *Stats) {
	s.Received += o.Received
	s.InBand += o.InBand
	s.Full += o.Full
	s.Truncated += o.Truncated
	s.Errors += o.Errors
	s.Demoted += o.Demoted
	s.TXTimesLost += o.TXTimesLost
}
