package wire

import "encoding/binary"

// IPv4 header sizes and fields (RFC 791, section 3.1).
const (
	IPv4HeaderLen = 20
	// FlagDF and FlagMF as they stand in the 16 bits with the fragment offset.
	FlagDF         = 0x4000
	FlagMF         = 0x2000
	FragmentOffset = 0x1fff

	ProtocolICMP = 1
	ProtocolIGMP = 2
	ProtocolTCP  = 6
	ProtocolUDP  = 17
)

// IPv4 is a parsed IPv4 header. Addresses are numbers in host order.
type IPv4 struct {
	Src, Dst uint32
	// HeaderLen and TotalLen in bytes; TotalLen fits the packet that was parsed.
	HeaderLen, TotalLen int
	Protocol            uint8
	TTL, TOS            uint8
	// Fragment: the packet is not a whole datagram.
	Fragment bool
}

// IPv4Error says what is wrong with a packet.
type IPv4Error uint8

// What ParseIPv4 finds wrong.
const (
	IPv4OK IPv4Error = iota
	IPv4Truncated
	IPv4BadVersion
	IPv4BadHeaderLen
	IPv4BadTotalLen
	IPv4BadChecksum
)

// ParseIPv4 is IPv4.Parse for those who are not in a hurry.
func ParseIPv4(b []byte, verified bool) (h IPv4, err IPv4Error) {
	err = h.Parse(b, verified)
	return h, err
}

// Parse reads and checks the header of a packet, which may have padding behind
// it. The header's checksum is verified unless verified says that a device did.
// It fills in what the caller gives: a result of so many fields is copied, and
// a processor waits for the fields just written when it copies them as a whole.
func (h *IPv4) Parse(b []byte, verified bool) IPv4Error {
	if len(b) < IPv4HeaderLen {
		return IPv4Truncated
	}
	_ = b[19]
	if b[0]>>4 != 4 {
		return IPv4BadVersion
	}
	h.HeaderLen = int(b[0]&0xf) * 4
	if h.HeaderLen < IPv4HeaderLen || h.HeaderLen > len(b) {
		return IPv4BadHeaderLen
	}
	h.TotalLen = int(binary.BigEndian.Uint16(b[2:]))
	if h.TotalLen < h.HeaderLen || h.TotalLen > len(b) {
		return IPv4BadTotalLen
	}
	if !verified {
		var sum uint64
		if h.HeaderLen == IPv4HeaderLen {
			// The plain header, nearly every packet: three loads that cannot
			// carry out of 64 bits.
			sum = headerSum(b)
		} else {
			sum = Sum(b[:h.HeaderLen], 0)
		}
		if Fold(sum) != 0xffff {
			return IPv4BadChecksum
		}
	}
	h.TOS = b[1]
	h.Fragment = binary.BigEndian.Uint16(b[6:])&(FlagMF|FragmentOffset) != 0
	h.TTL = b[8]
	h.Protocol = b[9]
	h.Src = binary.BigEndian.Uint32(b[12:])
	h.Dst = binary.BigEndian.Uint32(b[16:])
	return IPv4OK
}

// headerSum sums the 20 bytes of a header without options.
func headerSum(b []byte) uint64 {
	x, y := binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])
	return x>>32 + x&0xffffffff + y>>32 + y&0xffffffff + uint64(binary.BigEndian.Uint32(b[16:]))
}

// PutIPv4 writes a header without options, for a whole datagram that must not
// be fragmented (its identification is then 0, RFC 6864, section 4.1), and
// returns its length. b must hold IPv4HeaderLen bytes.
func PutIPv4(b []byte, src, dst uint32, protocol, ttl, tos uint8, totalLen int) int {
	_ = b[19]
	first := uint64(0x45)<<56 | uint64(tos)<<48 | uint64(uint16(totalLen))<<32 | FlagDF
	rest := uint32(ttl)<<24 | uint32(protocol)<<16
	sum := first>>32 + first&0xffffffff + uint64(rest) + uint64(src) + uint64(dst)
	binary.BigEndian.PutUint64(b, first)
	binary.BigEndian.PutUint32(b[8:], rest|uint32(^Fold(sum)))
	binary.BigEndian.PutUint32(b[12:], src)
	binary.BigEndian.PutUint32(b[16:], dst)
	return IPv4HeaderLen
}

// MarkIPv4 sets the ECN bits (RFC 3168, section 5) of a header whose ECN is 0, and
// has the checksum follow (RFC 1624).
func MarkIPv4(b []byte, ecn uint8) {
	_ = b[11]
	b[1] |= ecn
	sum := uint64(^binary.BigEndian.Uint16(b[10:])) + uint64(ecn)
	binary.BigEndian.PutUint16(b[10:], ^Fold(sum))
}
