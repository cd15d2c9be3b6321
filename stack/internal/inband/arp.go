package inband

import (
	"encoding/binary"
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/oobnet/oobnet/link"
)

// ARP for IPv4 over Ethernet, RFC 826. Before working on this file read also
// RFC 5227, "IPv4 Address Conflict Detection".
const (
	arpSize     = 28
	arpEthernet = 1 // hardware type

	arpRequest = 1
	arpReply   = 2
)

type arpPacket struct {
	op                 uint16
	senderMAC          link.MAC
	targetMAC          link.MAC
	senderIP, targetIP netip.Addr
}

// parseARP reads a packet; false if it is not ARP for IPv4 over Ethernet.
func parseARP(b []byte) (a arpPacket, ok bool) {
	if len(b) < arpSize || binary.BigEndian.Uint16(b) != arpEthernet ||
		binary.BigEndian.Uint16(b[2:]) != uint16(header.IPv4ProtocolNumber) || b[4] != 6 || b[5] != 4 {
		return a, false
	}
	a.op = binary.BigEndian.Uint16(b[6:])
	copy(a.senderMAC[:], b[8:])
	a.senderIP = netip.AddrFrom4([4]byte(b[14:18]))
	copy(a.targetMAC[:], b[18:])
	a.targetIP = netip.AddrFrom4([4]byte(b[24:28]))
	return a, a.op == arpRequest || a.op == arpReply
}

// bytes builds the packet. The target MAC of a request stays zero.
func (a *arpPacket) bytes() []byte {
	b := make([]byte, 0, arpSize)
	b = binary.BigEndian.AppendUint16(b, arpEthernet)
	b = binary.BigEndian.AppendUint16(b, uint16(header.IPv4ProtocolNumber))
	b = append(b, 6, 4)
	b = binary.BigEndian.AppendUint16(b, a.op)
	b = append(b, a.senderMAC[:]...)
	b = append(b, a.senderIP.AsSlice()...)
	b = append(b, a.targetMAC[:]...)
	return append(b, a.targetIP.AsSlice()...)
}

// inputARP keeps from gVisor what would spoil its neighbour cache, which
// learns from every request, and answers to broadcast addresses.
func (s *Stage) inputARP(p *port, kind tcpip.PacketType, packet []byte) {
	a, ok := parseARP(packet)
	local := p.local.Load()
	switch {
	case !ok, !unicast(a.senderMAC), a.senderMAC == p.MAC,
		a.senderIP.IsMulticast(), a.senderIP.IsLoopback(), local.broadcast(a.senderIP):
		s.n.arpInvalid.Add(1)
		return
	case local.owns(a.senderIP):
		s.n.arpConflicts.Add(1) // somebody else claims our address
		return
	case a.op == arpRequest && !local.owns(a.targetIP):
		s.n.arpNotForUs.Add(1)
		return
	case a.senderIP.IsUnspecified():
		s.answerProbe(p, a)
		return
	}
	mac, state, _ := s.Lookup(p.ID, a.senderIP)
	if state == Static && mac != a.senderMAC {
		s.n.arpStaticConflicts.Add(1)
	}
	s.n.delivered.Add(1)
	s.deliver(p, header.ARPProtocolNumber, kind, packet)
}

// answerProbe tells who probes for our address (RFC 5227) that it is taken. A
// probe has no sender address: there is nothing to learn from it.
func (s *Stage) answerProbe(p *port, a arpPacket) {
	s.n.arpProbes.Add(1)
	if a.op != arpRequest {
		return
	}
	reply := arpPacket{op: arpReply, senderMAC: p.MAC, senderIP: a.targetIP, targetMAC: a.senderMAC, targetIP: a.senderIP}
	p.ep.output(a.senderMAC, uint16(header.ARPProtocolNumber), 0, [][]byte{reply.bytes()}) // without a buffer the host counts it
}

// Probe sends one ARP request to a neighbour's MAC, from src, an address of
// the port. The answer makes a Reachable entry last for another
// Config.ReachableTime, and any other but Static or Failed Reachable; without
// an answer nothing changes. False: no such port or address, or no buffer.
func (s *Stage) Probe(id uint32, addr netip.Addr, mac link.MAC, src netip.Addr) bool {
	if !s.calls.enter() {
		return false
	}
	defer s.calls.leave()
	p := s.port(id)
	if p == nil || !addr.Is4() || !p.local.Load().owns(src) {
		return false
	}
	request := arpPacket{op: arpRequest, senderMAC: p.MAC, senderIP: src, targetIP: addr}
	return p.ep.output(mac, uint16(header.ARPProtocolNumber), 0, [][]byte{request.bytes()}) == nil
}
