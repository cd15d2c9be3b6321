package inband

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/oobnet/oobnet/link"
)

const ethernetSize = header.EthernetMinimumSize

var broadcastMAC = link.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// Input takes an Ethernet frame, without VLAN tag, that came in on a port and
// is for us: our MAC, broadcast or multicast. It is copied before Input
// returns. Whatever follows from it that needs no waiting happens on the
// caller's goroutine, calls of the Host included. After Close it does nothing.
func (s *Stage) Input(id uint32, frame []byte) {
	if !s.calls.enter() {
		return
	}
	defer s.calls.leave()
	s.n.frames.Add(1)
	p := s.port(id)
	if p == nil {
		s.n.noPort.Add(1)
		return
	}
	if len(frame) < ethernetSize {
		s.n.short.Add(1)
		return
	}
	var kind tcpip.PacketType
	switch dst := link.MAC(frame[:6]); {
	case dst == p.MAC:
		kind = tcpip.PacketHost
	case dst == broadcastMAC:
		kind = tcpip.PacketBroadcast
	case dst[0]&1 != 0:
		kind = tcpip.PacketMulticast
	default:
		s.n.foreign.Add(1) // gVisor would take it
		return
	}
	switch packet := frame[ethernetSize:]; tcpip.NetworkProtocolNumber(binary.BigEndian.Uint16(frame[12:])) {
	case header.IPv4ProtocolNumber:
		s.inputIPv4(p, kind, packet)
	case header.ARPProtocolNumber:
		s.inputARP(p, kind, packet)
	default:
		s.n.unknownEtherType.Add(1)
	}
}

// deliver hands a copy of a packet to gVisor.
func (s *Stage) deliver(p *port, proto tcpip.NetworkProtocolNumber, kind tcpip.PacketType, packet []byte) {
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(packet)})
	pkt.PktType = kind
	p.ep.deliver(uint16(proto), pkt)
}

func (s *Stage) inputIPv4(p *port, kind tcpip.PacketType, packet []byte) {
	h, ok := validIPv4(packet)
	if !ok {
		s.n.ipMalformed.Add(1)
		return
	}
	src, dst := fromAddr(h.SourceAddress()), fromAddr(h.DestinationAddress())
	local := p.local.Load()
	switch {
	case src.IsLoopback() || dst.IsLoopback():
		s.n.martian.Add(1) // gVisor would drop it too, but with a line on standard error
		return
	case !local.accepts(dst):
		s.n.ipNotForUs.Add(1)
		return
	case kind != tcpip.PacketHost && local.owns(dst):
		s.n.martian.Add(1) // RFC 1122, 3.3.6: unicast in a link-layer broadcast
		return
	}
	packet = packet[:h.TotalLength()]
	if !h.More() && h.FragmentOffset() == 0 {
		s.n.delivered.Add(1)
		s.deliverIPv4(p, kind, packet)
		return
	}
	s.n.fragments.Add(1)
	if whole := s.reassembler.add(p.ID, h, packet[h.HeaderLength():]); whole != nil {
		s.deliverIPv4(p, kind, whole)
	}
}

// deliverIPv4 hands a whole packet to gVisor, which would answer every echo
// request: also one to a broadcast address, with which a stranger can have all
// stations answer a third (RFC 1122, 3.2.2.6, allows silence), and also one
// from a neighbour that cannot be resolved, at the cost of memory for each
// until that is found out.
func (s *Stage) deliverIPv4(p *port, kind tcpip.PacketType, packet []byte) {
	h := header.IPv4(packet)
	if isOwn(h.Protocol()) && s.host.Speaks(h.Protocol()) {
		s.overridden(p, h, packet[h.HeaderLength():])
		return
	}
	icmp := packet[h.HeaderLength():]
	if h.Protocol() == protoICMP && len(icmp) > 0 && header.ICMPv4Type(icmp[0]) == header.ICMPv4Echo {
		toOne := kind == tcpip.PacketHost && p.local.Load().owns(fromAddr(h.DestinationAddress()))
		if !toOne || !s.admitReply(p, h.SourceAddress()) {
			s.n.echoIgnored.Add(1)
			return
		}
	}
	s.deliver(p, header.IPv4ProtocolNumber, kind, packet)
}

// overridden gives the host a datagram of a protocol that would be the stage's
// own: gVisor must not see it, and nobody is told if it is not wanted.
func (s *Stage) overridden(p *port, h header.IPv4, transport []byte) {
	d := Datagram{
		Port: p.ID, Protocol: h.Protocol(), Src: fromAddr(h.SourceAddress()), Dst: fromAddr(h.DestinationAddress()),
		TTL: h.TTL(), Transport: slices.Clone(transport),
	}
	d.TOS, _ = h.TOS()
	if s.host.Datagram(d) {
		s.n.datagrams.Add(1)
		return
	}
	s.n.unclaimed.Add(1)
}

// admitReply counts an answer towards the neighbour that it will go to.
func (s *Stage) admitReply(p *port, to tcpip.Address) bool {
	route, err := s.gs.FindRoute(tcpip.NICID(p.ID), tcpip.Address{}, to, header.IPv4ProtocolNumber, false)
	if err != nil {
		return false // there is no way back
	}
	defer route.Release()
	return s.neighbors.admit(neighborKey{uint32(route.NICID()), hopOf(route)})
}

// validIPv4 checks version, lengths and header checksum. The result is the
// header with its options.
func validIPv4(packet []byte) (header.IPv4, bool) {
	h := header.IPv4(packet)
	if !h.IsValid(len(packet)) || !header.IPv4(packet[:h.HeaderLength()]).IsChecksumValid() {
		return nil, false
	}
	return h[:h.HeaderLength()], true
}

// reassemblyTimedOut tells the sender of a datagram that part of it is missing:
// RFC 1122, 3.3.2. first is fragment zero, header and payload.
func (s *Stage) reassemblyTimedOut(port uint32, first []byte) {
	h, ok := validIPv4(first)
	if !ok {
		return
	}
	if s.sendICMPError(port, h, first, header.ICMPv4TimeExceeded, header.ICMPv4ReassemblyTimeout) {
		s.n.timeExceeded.Add(1)
	}
}

// sendICMPError tells the sender of a packet what has become of it, and reports
// whether it did: errors go to and from one station only, none is about a
// (possible) error, and there are not too many.
func (s *Stage) sendICMPError(port uint32, h header.IPv4, packet []byte, kind header.ICMPv4Type, code header.ICMPv4Code) bool {
	src, dst := fromAddr(h.DestinationAddress()), fromAddr(h.SourceAddress())
	if p := s.port(port); p == nil || !p.local.Load().owns(src) || dst.IsMulticast() || dst.IsUnspecified() ||
		p.local.Load().broadcast(dst) || h.Protocol() == protoICMP || !s.gs.AllowICMPMessage() {
		return false
	}
	// RFC 1812, 4.3.2.3: as much as fits into 576 bytes.
	quoted := packet[:min(len(packet), 576-header.IPv4MinimumSize-header.ICMPv4MinimumSize)]
	msg := make([]byte, header.ICMPv4MinimumSize, header.ICMPv4MinimumSize+len(quoted))
	icmp := header.ICMPv4(msg)
	icmp.SetType(kind)
	icmp.SetCode(code)
	msg = append(msg, quoted...)
	header.ICMPv4(msg).SetChecksum(^sum(msg, 0))
	return s.send(Outgoing{Port: port, Protocol: protoICMP, Src: src, Dst: dst, Transport: msg}) == nil
}

// sum is the ones' complement sum of b and of what was summed before it.
func sum(b []byte, before uint16) uint16 { return checksum.Checksum(b, before) }

// isGroup says whether packets to an address need no ARP.
func (p *port) isGroup(a netip.Addr) bool { return a.IsMulticast() || p.local.Load().broadcast(a) }
