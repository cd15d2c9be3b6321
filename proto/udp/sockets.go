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
