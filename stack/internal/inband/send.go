package inband

import (
	"hash/maphash"
	"net/netip"
	"syscall"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// idBuckets is the number of identification counters. Destinations share them
// by hash, so that a busy one does not wrap the counter of the others.
const idBuckets = 256

// maxTransport is what fits behind an IPv4 header without options, bytes.
const maxTransport = 65535 - header.IPv4MinimumSize

// Outgoing is a datagram to send.
type Outgoing struct {
	// Port it has to leave by; 0: as the routes say.
	Port     uint32
	Protocol uint8
	// Src is an address of the port.
	Src, Dst netip.Addr
	TTL, TOS uint8 // TTL 0: Config.TTL
	// Priority of its frames, for Host.Output.
	Priority uint8
	// DontFragment sets DF, and refuses what is larger than the MTU.
	DontFragment bool
	// Transport is the transport header, with its checksum, and the payload.
	// It is copied.
	Transport []byte
}

// Send sends a datagram: it asks for the next hop's MAC if it has to, cuts
// what is larger than the MTU, and loops back what is for an own address. Nil
// means that it is on its way or waits for ARP, at most 3 s; what goes wrong
// later is told by Host.TransportError to those who used BindErrors.
//
// Errors: EMSGSIZE (over the MTU with DontFragment, or over 65 515 bytes),
// ENETUNREACH (no route), EADDRNOTAVAIL (Src is not ours), ENETDOWN (no such
// port), ENOBUFS (no buffer, or 256 datagrams wait for this next hop), EINVAL.
// After an ENOBUFS some fragments may have left.
func (s *Stage) Send(d Outgoing) error {
	if err := s.begin("send"); err != nil {
		return err
	}
	defer s.calls.leave()
	err := s.send(d)
	if err != nil {
		s.n.sendErrors.Add(1)
		return err
	}
	s.n.sends.Add(1)
	return nil
}

func (s *Stage) send(d Outgoing) error {
	switch {
	case !d.Dst.Is4() || !d.Src.Is4() || d.Dst.IsUnspecified():
		return wrap("send to", d.Dst, syscall.EINVAL)
	case len(d.Transport) > maxTransport:
		return wrap("send to", d.Dst, syscall.EMSGSIZE)
	case d.Port != 0 && s.port(d.Port) == nil:
		return wrap("send by port", d.Port, syscall.ENETDOWN)
	case s.owner(d.Src) == nil:
		return wrap("send from", d.Src, syscall.EADDRNOTAVAIL)
	}
	if s.owner(d.Dst) != nil {
		d.Port = 0 // gVisor loops back by any port only if none is asked for
	}
	route, err := s.gs.FindRoute(tcpip.NICID(d.Port), toAddr(d.Src), toAddr(d.Dst), ipv4.ProtocolNumber, false)
	if err != nil {
		return wrap("send to", d.Dst, errnoOf(err))
	}
	defer route.Release()
	if route.Loop() != stack.PacketLoop {
		if err := s.admit(route, d); err != nil {
			return err
		}
	}
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: s.packet(d), Mark: markSent | uint32(d.Priority)<<markPriority})
	defer pkt.DecRef()
	if err := route.WriteHeaderIncludedPacket(pkt); err != nil {
		return wrap("send to", d.Dst, errnoOf(err))
	}
	return nil
}

// admit checks a datagram against the port that it leaves by.
func (s *Stage) admit(route *stack.Route, d Outgoing) error {
	p := s.port(uint32(route.NICID()))
	if p == nil {
		return wrap("send by port", route.NICID(), syscall.ENETDOWN)
	}
	if d.DontFragment && header.IPv4MinimumSize+len(d.Transport) > int(p.ep.MTU()) {
		return wrap("send to", d.Dst, syscall.EMSGSIZE)
	}
	if hop := hopOf(route); !p.isGroup(hop) && !s.neighbors.admit(neighborKey{p.ID, hop}) {
		return wrap("send to", d.Dst, syscall.ENOBUFS)
	}
	return nil
}

// hopOf is the neighbour that a route sends to.
func hopOf(route *stack.Route) netip.Addr {
	if gateway := route.NextHop(); gateway.BitLen() != 0 {
		return fromAddr(gateway)
	}
	return fromAddr(route.RemoteAddress())
}

// packet builds the IPv4 header, and copies the transport behind it. The
// header is ours because gVisor draws identifications at random, so that two
// fragmented datagrams on the way can have the same; gVisor sets the checksum.
func (s *Stage) packet(d Outgoing) buffer.Buffer {
	fields := header.IPv4Fields{
		TotalLength: uint16(header.IPv4MinimumSize + len(d.Transport)),
		TTL:         d.TTL,
		TOS:         d.TOS,
		Protocol:    d.Protocol,
		SrcAddr:     toAddr(d.Src),
		DstAddr:     toAddr(d.Dst),
	}
	if fields.TTL == 0 {
		fields.TTL = s.cfg.TTL
	}
	if d.DontFragment {
		fields.Flags = header.IPv4FlagDontFragment // RFC 6864: the ID has no meaning then
	} else {
		fields.ID = s.nextID(d)
	}
	h := make(header.IPv4, header.IPv4MinimumSize)
	h.Encode(&fields)
	b := buffer.MakeWithData(h)
	if len(d.Transport) > 0 {
		_ = b.Append(buffer.NewViewWithData(d.Transport))
	}
	return b
}

// nextID returns an identification that recurs for the same source,
// destination and protocol after 65 535 datagrams at the earliest (fewer if
// others share the counter). Not zero: gVisor would replace it by a random one.
func (s *Stage) nextID(d Outgoing) uint16 {
	type flow struct {
		src, dst netip.Addr
		protocol uint8
	}
	n := &s.ids[maphash.Comparable(s.idSeed, flow{d.Src, d.Dst, d.Protocol})%idBuckets]
	for {
		if id := uint16(n.Add(1)); id != 0 {
			return id
		}
	}
}
