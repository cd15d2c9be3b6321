package ixgbemodel

import (
	"encoding/binary"
)

// Protocols of IPv4, and bits of MRQC and of a descriptor's packet type
// (7.1.2.8, 7.1.6.2).
const (
	tcp          = 6
	udp          = 17
	mrqcTCP4     = 1 << 16
	mrqcIPv4     = 1 << 17
	mrqcUDP4     = 1 << 22
	rssTCP4      = 1
	rssIPv4      = 2
	rssUDP4      = 7
	packetIPv4   = 1 << 4
	packetTCP    = 1 << 8
	packetUDP    = 1 << 9
	minHeader    = 20 // bytes of an IPv4 header without options
	udpHeader    = 8
	tcpHeader    = 20
	etherTypeIP4 = 0x0800
)

// ipv4 returns the header and the payload of an IPv4 packet in a frame, nil if
// there is none that is whole.
func ipv4(f []byte) (header, payload []byte) {
	at := 14 + vlanRoom(f)
	if len(f) < at+minHeader || binary.BigEndian.Uint16(f[at-2:]) != etherTypeIP4 {
		return nil, nil
	}
	p := f[at:]
	n, total := int(p[0]&15)*4, int(binary.BigEndian.Uint16(p[2:]))
	if p[0]>>4 != 4 || n < minHeader || total < n || total > len(p) {
		return nil, nil
	}
	return p[:n], p[n:total]
}

func fragment(header []byte) bool { return binary.BigEndian.Uint16(header[6:])&0x3fff != 0 }

// transport returns the protocol if its header is there and can be looked at.
func transport(header, payload []byte) byte {
	switch p := header[9]; {
	case fragment(header):
		return 0
	case p == udp && len(payload) >= udpHeader, p == tcp && len(payload) >= tcpHeader:
		return p
	}
	return 0
}

// steer finds the hash, the packet type and the queue of a frame. IPv4 alone is
// hashed.
func (d *Device) steer(f []byte) (hash, kind, queue uint32) {
	header, payload := ipv4(f)
	if header == nil {
		return 0, 0, 0
	}
	kind = packetIPv4
	protocol := transport(header, payload)
	switch protocol {
	case tcp:
		kind |= packetTCP
	case udp:
		kind |= packetUDP
	}
	control := *d.reg(regMRQC)
	if control&0xf != 1 {
		return 0, kind, 0
	}
	input := append([]byte{}, header[12:20]...)
	var rss uint32
	switch {
	case protocol == tcp && control&mrqcTCP4 != 0:
		rss, input = rssTCP4, append(input, payload[:4]...)
	case protocol == udp && control&mrqcUDP4 != 0:
		rss, input = rssUDP4, append(input, payload[:4]...)
	case control&mrqcIPv4 != 0:
		rss = rssIPv4
	default:
		return 0, kind, 0
	}
	hash = d.toeplitz(input)
	entry := hash & 127
	queue = *d.reg(regRETA + entry&^3) >> (8 * (entry & 3)) & 15
	if *d.reg(regRXCSUM)&rxcsumPCSD == 0 {
		return 0, kind, queue
	}
	return hash, kind | rss, queue
}

// toeplitz is the hash of 7.1.2.8.1, by the key in RSSRK.
func (d *Device) toeplitz(input []byte) uint32 {
	var key [40]byte
	for i := range uint32(10) {
		binary.LittleEndian.PutUint32(key[4*i:], *d.reg(regRSSRK + 4*i))
	}
	window := binary.BigEndian.Uint64(key[:])
	var hash uint32
	for i, b := range input {
		for bit := 7; bit >= 0; bit-- {
			if b>>bit&1 != 0 {
				hash ^= uint32(window >> 32)
			}
			window <<= 1
		}
		if i+8 < len(key) {
			window |= uint64(key[i+8])
		}
	}
	return hash
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

// pseudo is the sum over the pseudo-header.
func pseudo(header []byte, length int) uint64 {
	return uint64(sum(header[12:20], uint64(header[9])+uint64(length)))
}

// checked says what the device finds of a frame's checksums (7.1.11). A UDP
// checksum of zero is flagged bad, as an erratum of the 82599 has it.
func (d *Device) checked(f []byte) uint32 {
	header, payload := ipv4(f)
	if header == nil {
		return 0
	}
	status := uint32(rxIPCS)
	if sum(header, 0) != 0xffff {
		status |= rxIPE
	}
	if transport(header, payload) == 0 {
		return status
	}
	status |= rxL4I
	if sum(payload, pseudo(header, len(payload))) != 0xffff {
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
