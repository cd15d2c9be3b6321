package ixgbemodel

import "encoding/binary"

// Protocols, and bits of a descriptor's packet type (7.1.6.2).
const (
	tcp           = 6
	udp           = 17
	sctp          = 132
	packetIPv4    = 1 << 4
	packetIPv4Ext = 1 << 5
	packetIPv6    = 1 << 6
	packetIPv6Ext = 1 << 7
	packetTCP     = 1 << 8
	packetUDP     = 1 << 9
	packetSCTP    = 1 << 10
	packetETQF    = 1 << 15 // the number of the filter in the bits of IPv4 and up
	minHeader     = 20      // bytes of an IPv4 header without options
	ipv6Header    = 40
	udpHeader     = 8
	tcpHeader     = 20
	etherTypeIP4  = 0x0800
	etherTypeIP6  = 0x86dd
)

// parsed is what the device makes of an IP packet in a frame.
type parsed struct {
	kind      uint32 // packet type
	addresses []byte // source, then destination; nil: not IP, or not whole
	header    []byte // of IPv4, nil for IPv6
	payload   []byte // behind all IP headers
	protocol  byte   // of the payload; 0: a fragment, or one that is not looked at
}

// parse looks at a frame.
func parse(f []byte) parsed {
	at := 14 + vlanRoom(f)
	if len(f) < at {
		return parsed{}
	}
	switch binary.BigEndian.Uint16(f[at-2:]) {
	case etherTypeIP4:
		return parse4(f[at:])
	case etherTypeIP6:
		return parse6(f[at:])
	}
	return parsed{}
}

func parse4(p []byte) parsed {
	if len(p) < minHeader {
		return parsed{}
	}
	n, total := int(p[0]&15)*4, int(binary.BigEndian.Uint16(p[2:]))
	if p[0]>>4 != 4 || n < minHeader || total < n || total > len(p) {
		return parsed{}
	}
	r := parsed{kind: packetIPv4, addresses: p[12:20], header: p[:n], payload: p[n:total], protocol: p[9]}
	if n > minHeader {
		r.kind = packetIPv4Ext
	}
	if binary.BigEndian.Uint16(p[6:])&0x3fff != 0 {
		r.protocol = 0
	}
	return r.transport()
}

// Extension headers of IPv6 that the device steps over, and that of fragments.
const (
	extHop      = 0
	extRouting  = 43
	extFragment = 44
	extOptions  = 60
)

func parse6(p []byte) parsed {
	if len(p) < ipv6Header || p[0]>>4 != 6 || int(binary.BigEndian.Uint16(p[4:])) > len(p)-ipv6Header {
		return parsed{}
	}
	r := parsed{kind: packetIPv6, addresses: p[8:40], protocol: p[6]}
	r.payload = p[ipv6Header:][:binary.BigEndian.Uint16(p[4:])]
	for r.protocol == extHop || r.protocol == extRouting || r.protocol == extOptions || r.protocol == extFragment {
		r.kind = packetIPv6Ext
		if r.protocol == extFragment || len(r.payload) < 8 || len(r.payload) < 8+int(r.payload[1])*8 {
			r.protocol = 0
			return r
		}
		r.protocol, r.payload = r.payload[0], r.payload[8+int(r.payload[1])*8:]
	}
	return r.transport()
}

// transport adds what the payload is.
func (p parsed) transport() parsed {
	switch {
	case p.protocol == udp && len(p.payload) >= udpHeader:
		p.kind |= packetUDP
	case p.protocol == tcp && len(p.payload) >= tcpHeader:
		p.kind |= packetTCP
	case p.protocol == sctp:
		p.kind |= packetSCTP
		p.protocol = 0
	default:
		p.protocol = 0
	}
	return p
}

// sum is the ones' complement sum of RFC 1071, folded, on top of start.
func sum(b []byte, start uint64) uint16 {
	for ; len(b) >= 2; b = b[2:] {
		start += uint64(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		start += uint64(b[0]) << 8
	}
	for start>>16 != 0 {
		start = start>>16 + start&0xffff
	}
	return uint16(start)
}

// pseudo is the sum over the pseudo-header, of IPv4 or IPv6.
func pseudo(addresses []byte, protocol byte, length int) uint64 {
	return uint64(sum(addresses, uint64(protocol)+uint64(length)))
}

// checked says what a device finds of a frame's checksums (7.1.11). One of UDP
// over IPv4 that is zero is none; the 82599 flags it bad, by an erratum.
func (p parsed) checked(chip Chip) uint32 {
	var status uint32
	if p.header != nil {
		status = rxIPCS
		if sum(p.header, 0) != 0xffff {
			status |= rxIPE
		}
	}
	if p.protocol == 0 {
		return status
	}
	if p.protocol == udp && p.header != nil && p.payload[udpSum]|p.payload[udpSum+1] == 0 && chip != Chip82599 {
		return status
	}
	status |= rxL4I
	if sum(p.payload, pseudo(p.addresses, p.protocol, len(p.payload))) != 0xffff {
		status |= rxL4E
	}
	return status
}

// complete puts a checksum, the complement of sum, at b; a UDP sum is never zero.
func complete(b []byte, sum uint16, isUDP bool) {
	sum = ^sum
	if sum == 0 && isUDP {
		sum = 0xffff
	}
	binary.BigEndian.PutUint16(b, sum)
}
