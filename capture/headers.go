package capture

import (
	"encoding/binary"
	"net/netip"

	"github.com/oobnet/oobnet/internal/wire"
)

// EtherTypes and protocol numbers beyond those that the stack speaks.
const (
	typeIPv6       = 0x86dd
	protocolICMPv6 = 58
	protocolSCTP   = 132
	ipv6HeaderLen  = 40
)

// headers are what expressions and text say of a frame: the first wins, where
// there are several. What a frame is too short for stays zero.
type headers struct {
	ethernet bool // it is long enough for a header
	dst, src [6]byte
	// vlans, the outermost first, and how many there are of them.
	vlans   [2]uint16
	tags    int
	tci     uint16 // of the outermost tag
	typ     uint16 // of the payload behind all tags
	payload int    // where that begins

	// from, to and protocol of an IPv4, IPv6 or ARP packet.
	from, to netip.Addr
	protocol uint8
	isIP     bool
	// transport is where the transport header begins; 0: it is not there, as
	// in a fragment but the first.
	transport        int
	fragment         bool
	ports            bool
	srcPort, dstPort uint16
}

// parse reads the headers of a frame. The tag that a device has stripped is
// told beside it.
//
//oobnet:hot
func (h *headers) parse(b []byte, tci uint16, stripped bool) {
	*h = headers{}
	if len(b) < wire.EthernetHeaderLen {
		return
	}
	h.ethernet = true
	copy(h.dst[:], b)
	copy(h.src[:], b[6:])
	if stripped {
		h.tag(tci)
	}
	at := 2 * 6
	h.typ = binary.BigEndian.Uint16(b[at:])
	for (h.typ == wire.TypeVLAN || h.typ == wire.TypeQinQ) && len(b) >= at+wire.VLANTagLen+2 {
		h.tag(binary.BigEndian.Uint16(b[at+2:]))
		at += wire.VLANTagLen
		h.typ = binary.BigEndian.Uint16(b[at:])
	}
	h.payload = at + 2
	switch h.typ {
	case wire.TypeIPv4:
		h.ipv4(b[h.payload:])
	case typeIPv6:
		h.ipv6(b[h.payload:])
	case wire.TypeARP:
		if a, ok := wire.ParseARP(b[h.payload:]); ok {
			h.from, h.to = addr4(a.SenderIP), addr4(a.TargetIP)
		}
	}
}

//oobnet:hot
func (h *headers) tag(tci uint16) {
	if h.tags == 0 {
		h.tci = tci
	}
	if h.tags < len(h.vlans) {
		h.vlans[h.tags] = tci & wire.VIDMask
		h.tags++
	}
}

//oobnet:hot
func (h *headers) ipv4(b []byte) {
	if len(b) < wire.IPv4HeaderLen || b[0]>>4 != 4 {
		return
	}
	h.isIP = true
	h.protocol = b[9]
	h.from, h.to = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
	frag := binary.BigEndian.Uint16(b[6:])
	h.fragment = frag&(wire.FragmentOffset|wire.FlagMF) != 0
	if frag&wire.FragmentOffset == 0 {
		h.readPorts(b, int(b[0]&0xf)*4)
	}
}

// ipv6 reads no extension headers: what has some has no ports here.
//
//oobnet:hot
func (h *headers) ipv6(b []byte) {
	if len(b) < ipv6HeaderLen || b[0]>>4 != 6 {
		return
	}
	h.isIP = true
	h.protocol = b[6]
	h.from, h.to = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
	h.readPorts(b, ipv6HeaderLen)
}

// readPorts of the packet b, whose transport header begins at n.
//
//oobnet:hot
func (h *headers) readPorts(b []byte, n int) {
	if n < wire.IPv4HeaderLen || len(b) < n {
		return
	}
	h.transport = h.payload + n
	switch h.protocol {
	case wire.ProtocolUDP, wire.ProtocolTCP, protocolSCTP:
		if len(b) >= n+4 {
			h.ports = true
			h.srcPort, h.dstPort = binary.BigEndian.Uint16(b[n:]), binary.BigEndian.Uint16(b[n+2:])
		}
	}
}

//oobnet:hot
func addr4(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}
