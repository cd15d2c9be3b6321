package inband

import (
	"encoding/binary"
	"net/netip"
	"syscall"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/ports"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/waiter"
)

// udpHeaderSize is also what ICMP quotes of a transport header at least, RFC 792.
const udpHeaderSize = header.UDPMinimumSize

// markSent is in the packet mark of what Send writes, and from bit markPriority
// on its priority. The mark survives the loop back and fragmentation.
const (
	markSent     = 1
	markPriority = 8
)

// protocol is a transport protocol, which ends in Host.Datagram if the host
// speaks it. To gVisor it is a protocol without sockets, whose unknown
// destinations are its only ones.
type protocol struct {
	stage  *Stage
	number uint8
}

var _ stack.TransportProtocol = (*protocol)(nil)

// Number implements stack.TransportProtocol.
func (p *protocol) Number() tcpip.TransportProtocolNumber {
	return tcpip.TransportProtocolNumber(p.number)
}

// NewEndpoint implements stack.TransportProtocol: sockets are the fast stage's.
func (*protocol) NewEndpoint(tcpip.NetworkProtocolNumber, *waiter.Queue) (tcpip.Endpoint, tcpip.Error) {
	return nil, &tcpip.ErrNotSupported{}
}

// NewRawEndpoint implements stack.TransportProtocol.
func (*protocol) NewRawEndpoint(tcpip.NetworkProtocolNumber, *waiter.Queue) (tcpip.Endpoint, tcpip.Error) {
	return nil, &tcpip.ErrNotSupported{}
}

// MinimumPacketSize implements stack.TransportProtocol.
func (p *protocol) MinimumPacketSize() int {
	if p.number == protoUDP {
		return udpHeaderSize
	}
	return 1 // gVisor drops a packet without a transport header
}

// ParsePorts implements stack.TransportProtocol. v holds MinimumPacketSize
// bytes, or the 8 that ICMP quotes.
func (p *protocol) ParsePorts(v []byte) (src, dst uint16, err tcpip.Error) {
	if p.number != protoUDP {
		return 0, 0, nil
	}
	return binary.BigEndian.Uint16(v), binary.BigEndian.Uint16(v[2:]), nil
}

// Parse implements stack.TransportProtocol.
func (p *protocol) Parse(pkt *stack.PacketBuffer) bool {
	_, ok := pkt.TransportHeader().Consume(p.MinimumPacketSize())
	pkt.TransportProtocolNumber = p.Number()
	return ok
}

// HandleUnknownDestinationPacket implements stack.TransportProtocol. Unhandled
// makes gVisor answer port unreachable.
func (p *protocol) HandleUnknownDestinationPacket(_ stack.TransportEndpointID, pkt *stack.PacketBuffer) stack.UnknownDestinationPacketDisposition {
	if !p.stage.host.Speaks(p.number) {
		p.stage.notSpoken(pkt)
		return stack.UnknownDestinationPacketHandled
	}
	if p.stage.datagram(p.number, pkt) {
		return stack.UnknownDestinationPacketHandled
	}
	return stack.UnknownDestinationPacketUnhandled
}

// SetOption implements stack.TransportProtocol.
func (*protocol) SetOption(tcpip.SettableTransportProtocolOption) tcpip.Error {
	return &tcpip.ErrUnknownProtocolOption{}
}

// Option implements stack.TransportProtocol.
func (*protocol) Option(tcpip.GettableTransportProtocolOption) tcpip.Error {
	return &tcpip.ErrUnknownProtocolOption{}
}

// Close, Wait, Pause, Resume and Restore implement stack.TransportProtocol:
// there is no worker.
func (*protocol) Close()   {}
func (*protocol) Wait()    {}
func (*protocol) Pause()   {}
func (*protocol) Resume()  {}
func (*protocol) Restore() {}

// notSpoken answers protocol unreachable, as gVisor does for a protocol that it
// was not told of.
func (s *Stage) notSpoken(pkt *stack.PacketBuffer) {
	s.n.unknownProtocol.Add(1)
	if pkt.Mark&markSent != 0 || pkt.PktType != tcpip.PacketHost {
		return // to ourselves, who know; or to many
	}
	whole := stack.PayloadSince(pkt.NetworkHeader())
	defer whole.Release()
	s.sendICMPError(uint32(pkt.NICID), header.IPv4(pkt.NetworkHeader().Slice()), whole.AsSlice(),
		header.ICMPv4DstUnreachable, header.ICMPv4ProtoUnreachable)
}

// datagram gives a packet to the host. False: port unreachable is due.
func (s *Stage) datagram(number uint8, pkt *stack.PacketBuffer) bool {
	ip := header.IPv4(pkt.NetworkHeader().Slice())
	d := Datagram{
		Port:             uint32(pkt.NICID),
		Protocol:         number,
		Src:              fromAddr(ip.SourceAddress()),
		Dst:              fromAddr(ip.DestinationAddress()),
		TTL:              ip.TTL(),
		ChecksumVerified: pkt.RXChecksumValidated,
	}
	d.TOS, _ = ip.TOS()
	manyReceivers := pkt.NetworkPacketInfo.LocalAddressBroadcast || d.Dst.IsMulticast()
	if manyReceivers && pkt.Mark&markSent != 0 {
		return true // gVisor loops broadcasts back; the fast stage does not
	}
	buf := stack.BufferSince(pkt.TransportHeader())
	d.Transport = buf.Flatten()
	buf.Release()
	if number == protoUDP && !trimUDP(&d) {
		s.n.udpMalformed.Add(1)
		return true
	}
	if s.host.Datagram(d) {
		s.n.datagrams.Add(1)
		return true
	}
	// A corrupt datagram must not cause an error to whoever is named in it.
	if number == protoUDP && !d.ChecksumVerified && !s.goodUDP(d) {
		s.n.udpChecksum.Add(1)
		return true
	}
	s.n.unclaimed.Add(1)
	return manyReceivers || pkt.PktType != tcpip.PacketHost
}

// trimUDP checks the length field and cuts the datagram to it.
func trimUDP(d *Datagram) bool {
	if len(d.Transport) < udpHeaderSize {
		return false
	}
	n := int(binary.BigEndian.Uint16(d.Transport[4:]))
	if n < udpHeaderSize || n > len(d.Transport) {
		return false
	}
	d.Transport = d.Transport[:n:n]
	return true
}

// goodUDP verifies the checksum of a trimmed datagram.
func (s *Stage) goodUDP(d Datagram) bool {
	h := header.UDP(d.Transport)
	if h.Checksum() == 0 {
		return true // the sender made none
	}
	pseudo := header.PseudoHeaderChecksum(header.UDPProtocolNumber, toAddr(d.Src), toAddr(d.Dst), uint16(len(d.Transport)))
	if p := s.port(d.Port); p != nil && p.PartialChecksum && h.Checksum() == pseudo {
		return true
	}
	// The checksum of the whole transport covers the field itself: all ones.
	return h.CalculateChecksum(sum(h.Payload(), pseudo)) == 0xffff
}

type bindKey struct {
	protocol uint8
	port     uint16
}

// binding is what gVisor finds when an ICMP error quotes a local port. It also
// gets the port's datagrams, and treats them as if it were not there.
type binding struct {
	stage    *Stage
	protocol uint8
	refs     int // Stage.mu
}

var _ stack.TransportEndpoint = (*binding)(nil)

// BindErrors has ICMP errors and failed resolutions about packets from a local
// port reported to Host.TransportError, whatever the local address. Bindings
// are counted. A protocol other than UDP has no ports: bind port 0. Errors:
// EPROTONOSUPPORT for ICMP and IGMP.
func (s *Stage) BindErrors(protocol uint8, localPort uint16) error {
	if err := s.begin("bind errors"); err != nil {
		return err
	}
	defer s.calls.leave()
	s.mu.Lock()
	defer s.mu.Unlock()
	key := bindKey{protocol, localPort}
	if b := s.bound[key]; b != nil {
		b.refs++
		return nil
	}
	if s.gs.TransportProtocolInstance(tcpip.TransportProtocolNumber(protocol)) == nil {
		return wrap("bind errors of protocol", protocol, syscall.EPROTONOSUPPORT)
	}
	b := &binding{stage: s, protocol: protocol, refs: 1}
	err := s.gs.RegisterTransportEndpoint([]tcpip.NetworkProtocolNumber{ipv4.ProtocolNumber},
		tcpip.TransportProtocolNumber(protocol), stack.TransportEndpointID{LocalPort: localPort}, b, ports.Flags{}, 0)
	if err != nil {
		return wrap("bind errors of port", localPort, errnoOf(err))
	}
	s.bound[key] = b
	return nil
}

// UnbindErrors undoes one BindErrors: ENOENT without one.
func (s *Stage) UnbindErrors(protocol uint8, localPort uint16) error {
	if err := s.begin("unbind errors"); err != nil {
		return err
	}
	defer s.calls.leave()
	s.mu.Lock()
	defer s.mu.Unlock()
	key := bindKey{protocol, localPort}
	b := s.bound[key]
	if b == nil {
		return wrap("unbind errors of port", localPort, syscall.ENOENT)
	}
	if b.refs--; b.refs > 0 {
		return nil
	}
	s.gs.UnregisterTransportEndpoint([]tcpip.NetworkProtocolNumber{ipv4.ProtocolNumber},
		tcpip.TransportProtocolNumber(protocol), stack.TransportEndpointID{LocalPort: localPort}, b, ports.Flags{}, 0)
	delete(s.bound, key)
	return nil
}

// HandlePacket implements stack.TransportEndpoint.
func (b *binding) HandlePacket(_ stack.TransportEndpointID, pkt *stack.PacketBuffer) {
	if !b.stage.datagram(b.protocol, pkt) {
		b.stage.rejecter.SendRejectionError(pkt, stack.RejectIPv4WithICMPPortUnreachable, true)
	}
}

// HandleError implements stack.TransportEndpoint. gVisor passes the kind and
// the packet, which is either the whole ICMP message or, after a failed
// resolution, our own packet; who sent what to whom is in the quoted header.
func (b *binding) HandleError(e stack.TransportError, pkt *stack.PacketBuffer) {
	whole := pkt.ToView()
	defer whole.Release()
	outer := len(pkt.NetworkHeader().Slice()) + len(pkt.TransportHeader().Slice())
	quoted := header.IPv4(whole.AsSlice()[outer:])
	transport, ok := pkt.Data().PullUp(udpHeaderSize)
	if !ok || len(quoted) < header.IPv4MinimumSize {
		return
	}
	report := TransportError{Port: uint32(pkt.NICID), Protocol: b.protocol, Kind: kindOf(e.Kind())}
	var local, remote uint16
	if b.protocol == protoUDP {
		local, remote = binary.BigEndian.Uint16(transport), binary.BigEndian.Uint16(transport[2:])
	}
	report.Local = netip.AddrPortFrom(fromAddr(quoted.SourceAddress()), local)
	report.Remote = netip.AddrPortFrom(fromAddr(quoted.DestinationAddress()), remote)
	if n := e.Info(); report.Kind == PacketTooBig && n > 0 {
		report.MTU = int(n) + header.IPv4MinimumSize // gVisor has taken the header off
	}
	b.stage.host.TransportError(report)
}

// Abort and Wait implement stack.TransportEndpoint: there is nothing to stop.
func (*binding) Abort() {}
func (*binding) Wait()  {}

func kindOf(k stack.TransportErrorKind) ErrorKind {
	switch k {
	case stack.PacketTooBigTransportError:
		return PacketTooBig
	case stack.DestinationPortUnreachableTransportError:
		return PortUnreachable
	case stack.DestinationNetworkUnreachableTransportError:
		return NetUnreachable
	case stack.DestinationProtoUnreachableTransportError:
		return ProtocolUnreachable
	}
	return HostUnreachable // also host down, host isolated, source route failed
}
