package stack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/stack/internal/inband"
)

// inBandStage is all that the stack asks of its slow, complete stage. What
// implements it today is gVisor's netstack behind package inband; where a
// device shares the host's address, it can be the kernel.
type inBandStage interface {
	AddPort(inband.Port) error
	RemovePort(id uint32) error
	AddAddr(id uint32, a netip.Prefix) error
	RemoveAddr(id uint32, a netip.Prefix) error
	SetRoutes([]inband.Route) error
	JoinGroup(id uint32, group netip.Addr) error
	LeaveGroup(id uint32, group netip.Addr) error
	// Announce reports the groups anew.
	Announce(id uint32) error
	// Input takes a received frame, Send a datagram to send.
	Input(id uint32, frame []byte)
	Send(inband.Outgoing) error
	// Neighbours.
	Resolve(ctx context.Context, id uint32, addr netip.Addr) (link.MAC, error)
	Lookup(id uint32, addr netip.Addr) (link.MAC, inband.NeighborState, bool)
	Probe(id uint32, addr netip.Addr, mac link.MAC, src netip.Addr) bool
	SetStatic(id uint32, addr netip.Addr, mac link.MAC) error
	RemoveNeighbor(id uint32, addr netip.Addr) error
	// Ports whose errors reach Host.TransportError.
	BindErrors(protocol uint8, localPort uint16) error
	UnbindErrors(protocol uint8, localPort uint16) error
	Stats() inband.Stats
	Close() error
}

// BindErrors asks that ICMP errors about what a protocol sends from a local
// port reach its Error. It counts: as many UnbindErrors undo it.
func (s *Stack) BindErrors(protocol uint8, localPort uint16) error {
	return s.inBand.BindErrors(protocol, localPort)
}

// UnbindErrors undoes one BindErrors.
func (s *Stack) UnbindErrors(protocol uint8, localPort uint16) {
	if err := s.inBand.UnbindErrors(protocol, localPort); err != nil && !errors.Is(err, net.ErrClosed) {
		s.note(err)
	}
}

// inBandInput feeds the in-band stage with one demoted frame.
func (s *Stack) inBandInput(port uint32, frame []byte) {
	s.inBand.Input(port, frame)
	s.seeARP(port, frame)
}

// seeARP confirms front-cache entries by the answers to our probes. Only what
// says the same as the cache counts here; whether another MAC is to be
// believed, the in-band stage decides, and tells by an event. One that it will
// never believe, because the neighbour is permanent, the cache counts.
func (s *Stack) seeARP(port uint32, frame []byte) {
	h, ok := wire.ParseEthernet(frame)
	if !ok || h.Type != wire.TypeARP {
		return
	}
	a, ok := wire.ParseARP(frame[h.Len:])
	p := (*s.ports.Load())[port]
	if !ok || p == nil {
		return
	}
	sender := netAddr(a.SenderIP)
	switch mac, known := s.front.Neighbor(p, sender); {
	case !known || mac != a.SenderMAC:
		s.front.Dispute(p, sender, a.SenderMAC)
	case a.Op == wire.ARPReply && a.TargetMAC == p.mac && wire.MAC(frame) == p.mac:
		s.front.Confirm(p, sender, mac)
	}
}

// host is what the in-band stage sees of the stack.
type host struct{ s *Stack }

var _ inband.Host = host{}

// Output sends a frame of the in-band stage: through the TX list, never on the
// caller's thread, and only while the pool has more than the sockets' share.
func (h host) Output(port uint32, dst link.MAC, etherType uint16, priority uint8, packet [][]byte) bool {
	p := (*h.s.ports.Load())[port]
	if p == nil {
		return false
	}
	d := p.dev
	if d.fault.Load() != nil || !d.inBandMay() {
		d.inBandNoBuffer.Add(1)
		return false
	}
	f, err := d.Alloc()
	if err != nil {
		d.inBandNoBuffer.Add(1)
		return false
	}
	b := d.mem.Buffer(f.Index)[f.Off-HeaderRoom:]
	tci := p.vlan
	if tci != 0 {
		tci |= uint16(priority) << wire.PCPShift
	}
	n := wire.PutEthernet(b, dst, p.mac, tci, etherType)
	for _, piece := range packet {
		if n+len(piece) > len(b) {
			d.Free(f)
			d.inBandNoBuffer.Add(1)
			return false
		}
		n += copy(b[n:], piece)
	}
	for ; n < wire.MinFrame; n++ {
		b[n] = 0 // what the buffer held before is nobody's business
	}
	f.Off, f.Len = f.Off-HeaderRoom, uint16(n)
	d.tx[0].enqueueInBand(f, p)
	return true
}

// inBandMay reports whether the pool has more than the sockets' share, counting
// what is complete and was not taken back yet.
func (d *Device) inBandMay() bool {
	share := int(d.pool.size.Load()) / inBandShare
	if d.pool.free.Len() > share {
		return true
	}
	for _, t := range d.tx {
		t.tryReclaim()
	}
	return d.pool.left() > share
}

// Speaks: UDP is there whether a socket is or not.
func (h host) Speaks(number uint8) bool {
	return number == wire.ProtocolUDP || h.s.ipv4Protocols[number].Load() != nil
}

// Datagram hands a datagram to its protocol.
func (h host) Datagram(in inband.Datagram) bool {
	return h.s.deliverInBand(&Datagram{
		Port: (*h.s.ports.Load())[in.Port], Protocol: in.Protocol, Src: in.Src, Dst: in.Dst,
		TTL: in.TTL, TOS: in.TOS, Transport: in.Transport, Verified: in.ChecksumVerified,
	})
}

// deliverInBand hands a datagram to its protocol, if there is one.
func (s *Stack) deliverInBand(d *Datagram) bool {
	p := s.speaking(d.Protocol)
	if p == nil {
		return false
	}
	defer p.leave()
	took := p.ReceiveInBand(d)
	if d.dropped != 0 {
		s.inBandDropped[d.dropped-1].Add(1)
	}
	return took
}

// errnos of the kinds, as ip(7) and udp(7) have them.
var errnos = map[inband.ErrorKind]syscall.Errno{
	inband.PortUnreachable:     syscall.ECONNREFUSED,
	inband.HostUnreachable:     syscall.EHOSTUNREACH,
	inband.NetUnreachable:      syscall.ENETUNREACH,
	inband.ProtocolUnreachable: syscall.ENOPROTOOPT,
	inband.PacketTooBig:        syscall.EMSGSIZE,
}

// TransportError tells a protocol that a packet did not arrive.
func (h host) TransportError(e inband.TransportError) {
	if p := h.s.speaking(e.Protocol); p != nil {
		defer p.leave()
		p.Error(&TransportError{Protocol: e.Protocol, Local: e.Local, Remote: e.Remote, Errno: errnos[e.Kind]})
	}
}

// Neighbor passes an event on to the keeper: locks are held here.
func (h host) Neighbor(e inband.NeighborEvent) { h.s.keeper.neighbor(e) }

// unreachable describes why there is no way to an address.
func unreachable(dst netip.Addr, err error) error {
	return fmt.Errorf("stack: no way to %v: %w: enable a port with an address of that network, or add a route", dst, err)
}
