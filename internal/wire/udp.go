package wire

import "encoding/binary"

// UDPHeaderLen in bytes (RFC 768).
const UDPHeaderLen = 8

// UDP is a parsed UDP header.
type UDP struct {
	SrcPort, DstPort uint16
	// Len of header and payload, bytes; it fits the bytes that were parsed.
	Len int
	// Checksum as on the wire; 0: the sender made none.
	Checksum uint16
}

// ParseUDP reads a header and checks its length against the bytes there are,
// which may be followed by padding. It does not verify the checksum.
func ParseUDP(b []byte) (h UDP, ok bool) {
	if len(b) < UDPHeaderLen {
		return h, false
	}
	x := binary.BigEndian.Uint64(b)
	h.SrcPort = uint16(x >> 48)
	h.DstPort = uint16(x >> 32)
	h.Len = int(uint16(x >> 16))
	h.Checksum = uint16(x)
	return h, h.Len >= UDPHeaderLen && h.Len <= len(b)
}

// UDPChecksumOK verifies the checksum of the datagram b, header included,
// whose length is the header's. A checksum of 0 means that there is none.
func UDPChecksumOK(b []byte, src, dst uint32) bool {
	if b[6] == 0 && b[7] == 0 {
		return true
	}
	return Fold(littleSum(b, littlePseudoSum(src, dst, ProtocolUDP, len(b)))) == 0xffff
}

// UDPChecksumPartial reports whether the checksum field holds the sum of the
// pseudo-header alone: what a kernel leaves for a device that will complete
// it, and what a virtual device hands on as it is.
func UDPChecksumPartial(b []byte, src, dst uint32) bool {
	return binary.BigEndian.Uint16(b[6:]) == Fold(PseudoSum(src, dst, ProtocolUDP, len(b)))
}

// PutUDP writes a header in front of the payload that already stands behind
// it: b is header and payload. The checksum is computed; a result of 0 is sent
// as 0xffff (RFC 768).
func PutUDP(b []byte, src, dst uint32, srcPort, dstPort uint16) {
	_ = b[7]
	x := uint64(srcPort)<<48 | uint64(dstPort)<<32 | uint64(uint16(len(b)))<<16
	binary.BigEndian.PutUint64(b, x)
	sum := ^Fold(littleSum(b, littlePseudoSum(src, dst, ProtocolUDP, len(b))))
	if sum == 0 {
		sum = 0xffff
	}
	binary.LittleEndian.PutUint16(b[6:], sum)
}

// PutUDPPartial is PutUDP for a device that completes checksums: the field gets
// the pseudo-header's sum, to which the device adds header and payload.
//
//oobnet:hot
func PutUDPPartial(b []byte, src, dst uint32, srcPort, dstPort uint16) {
	_ = b[7]
	sum := Fold(PseudoSum(src, dst, ProtocolUDP, len(b)))
	x := uint64(srcPort)<<48 | uint64(dstPort)<<32 | uint64(uint16(len(b)))<<16 | uint64(sum)
	binary.BigEndian.PutUint64(b, x)
}

// CompleteUDP does what a device would that completes checksums: in a frame whose
// checksum field holds the pseudo-header's sum, it puts the checksum there. What
// stands behind the datagram does not count. It reports false, and changes
// nothing, if UDPStart finds no datagram, or its length is wrong.
func CompleteUDP(frame []byte) bool {
	start, ok := UDPStart(frame)
	if !ok {
		return false
	}
	t := frame[start:]
	h, ok := ParseUDP(t)
	if !ok {
		return false
	}
	sum := ^Fold(littleSum(t[:h.Len], 0))
	if sum == 0 {
		sum = 0xffff
	}
	binary.LittleEndian.PutUint16(t[UDPChecksumAt:], sum)
	return true
}

// UDPChecksumAt is where the checksum stands in a UDP header (RFC 768), bytes.
const UDPChecksumAt = 6

// UDPStart finds the UDP header of an Ethernet frame, tagged once (802.1Q) or
// not, for a device that is to complete its checksum. It reports false if the
// frame is not UDP in unfragmented IPv4, or is cut short.
//
//oobnet:hot
func UDPStart(b []byte) (start int, ok bool) {
	at := EthernetHeaderLen
	if len(b) >= at+VLANTagLen && binary.BigEndian.Uint16(b[at-2:]) == TypeVLAN {
		at += VLANTagLen
	}
	if len(b) < at+IPv4HeaderLen+UDPHeaderLen || binary.BigEndian.Uint16(b[at-2:]) != TypeIPv4 {
		return 0, false
	}
	length := int(b[at]&15) * 4
	fragmented := binary.BigEndian.Uint16(b[at+6:])&0x3fff != 0 // more fragments, or an offset
	if b[at]>>4 != 4 || length < IPv4HeaderLen || b[at+9] != ProtocolUDP || fragmented || len(b) < at+length+UDPHeaderLen {
		return 0, false
	}
	return at + length, true
}
