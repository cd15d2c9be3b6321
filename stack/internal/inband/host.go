package inband

import (
	"net/netip"

	"github.com/oobnet/oobnet/link"
)

// Host is what the stage asks of the stack. Its methods may be called on any
// goroutine, also that of the caller of a Stage method, with locks of the stage
// held: they must neither block nor call the stage. None is called after
// Stage.Close has returned.
type Host interface {
	// Output sends a frame on a port: destination MAC, EtherType, priority (of
	// Outgoing; 0 for the stage's own), and the network-layer packet in pieces,
	// which it copies before it returns. The host adds source MAC and VLAN tag. False: no buffer; the host counts it.
	// It is not called for a port after RemovePort has returned.
	Output(port uint32, dst link.MAC, etherType uint16, priority uint8, packet [][]byte) bool
	// Speaks says whether datagrams of an IPv4 protocol end in Datagram. Those
	// of others are answered with ICMP protocol unreachable; ICMP and IGMP are
	// the stage's own as long as the host does not speak them.
	Speaks(protocol uint8) bool
	// Datagram hands over an IPv4 datagram of a protocol that the host speaks:
	// received whole, reassembled, or looped back by Send. True: it is done
	// with, taken or counted as bad; false: nobody listens, and the stage
	// answers port unreachable where RFC 1122 says so (never for broadcast
	// and multicast, nor for a wrong checksum). The slices are the host's to keep.
	Datagram(d Datagram) bool
	// TransportError reports an ICMP error, or a failed resolution, about a
	// packet that this host sent from a port bound with BindErrors.
	TransportError(e TransportError)
	// Neighbor reports a change of a neighbour entry. The events of one
	// address come in order.
	Neighbor(e NeighborEvent)
}

// Datagram is an IPv4 datagram of a transport protocol.
type Datagram struct {
	Port     uint32
	Protocol uint8
	Src, Dst netip.Addr
	TTL, TOS uint8
	// Transport is the transport header and the payload. For UDP its length
	// is that of the UDP header's length field, which has been checked.
	Transport []byte
	// ChecksumVerified: the transport checksum is right. False: it has not
	// been looked at; on a port with PartialChecksum it can be the
	// pseudo-header's sum alone.
	ChecksumVerified bool
}

// ErrorKind says what an ICMP error said.
type ErrorKind uint8

// Kinds of transport errors.
const (
	// PortUnreachable: the host is there, nobody listens.
	PortUnreachable ErrorKind = iota + 1
	// HostUnreachable: a router said so, or nobody answered ARP.
	HostUnreachable
	// NetUnreachable: a router has no route.
	NetUnreachable
	// ProtocolUnreachable: the host does not speak the protocol.
	ProtocolUnreachable
	// PacketTooBig: fragmentation needed and DF set; see TransportError.MTU.
	PacketTooBig
)

func (k ErrorKind) String() string {
	switch k {
	case PortUnreachable:
		return "port unreachable"
	case HostUnreachable:
		return "host unreachable"
	case NetUnreachable:
		return "network unreachable"
	case ProtocolUnreachable:
		return "protocol unreachable"
	case PacketTooBig:
		return "packet too big"
	}
	return "unknown"
}

// TransportError is an error about a packet that this host sent. The ports in
// Local and Remote are zero for protocols other than UDP.
type TransportError struct {
	Port          uint32
	Protocol      uint8
	Local, Remote netip.AddrPort
	Kind          ErrorKind
	// MTU of the narrow link in bytes, IPv4 header included, with
	// PacketTooBig; 0: the router did not say.
	MTU int
}

// NeighborState is the state of a neighbour entry.
type NeighborState uint8

// States of a neighbour.
const (
	// Incomplete: the address is asked for. Seen by Lookup, never by Host.Neighbor.
	Incomplete NeighborState = iota + 1
	// Reachable: confirmed less than Config.ReachableTime ago.
	Reachable
	// Stale: the MAC is known but not confirmed lately; a packet to it starts
	// the confirmation at once.
	Stale
	// Static: set by SetStatic; neither ages nor learns.
	Static
	// Failed: nobody answers. The next packet asks again.
	Failed
	// Removed: the entry is gone, by RemoveNeighbor, by eviction or with its
	// port. Seen by Host.Neighbor, never by Lookup.
	Removed
)

func (s NeighborState) String() string {
	switch s {
	case Incomplete:
		return "incomplete"
	case Reachable:
		return "reachable"
	case Stale:
		return "stale"
	case Static:
		return "static"
	case Failed:
		return "failed"
	case Removed:
		return "removed"
	}
	return "unknown"
}

// NeighborEvent is a change of a neighbour entry. MAC is zero with Failed when
// none was ever known.
type NeighborEvent struct {
	Port  uint32
	Addr  netip.Addr
	MAC   link.MAC
	State NeighborState
}
