// Package wire reads and writes the headers of the frames that oobnet carries.
//
// Everything here works on bytes in network order and allocates nothing. A
// parser checks every length before it reads; a function documented to need n
// bytes panics only if its caller hands it fewer, which a frame from the wire
// cannot bring about.
//
// Before working on this package read RFC 791 (IPv4), RFC 768 (UDP), RFC 826
// (ARP), RFC 1071 (the checksum) and IEEE 802.1Q (VLAN tags).
package wire

import "encoding/binary"

// Sizes of headers and frames, bytes.
const (
	EthernetHeaderLen = 14
	VLANTagLen        = 4
	// MinFrame is the shortest Ethernet frame without its check sequence.
	MinFrame = 60
)

// EtherTypes.
const (
	TypeIPv4 = 0x0800
	TypeARP  = 0x0806
	TypeVLAN = 0x8100 // IEEE 802.1Q C-tag
	TypeQinQ = 0x88a8 // IEEE 802.1ad S-tag
)

// VIDMask takes the VLAN id out of a tag's control information; the priority
// code point (PCP) is in the three bits above PCPShift.
const (
	VIDMask  = 0x0fff
	PCPShift = 13
)

// BroadcastMAC is the address of all stations.
var BroadcastMAC = [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// Ethernet is a parsed Ethernet header.
type Ethernet struct {
	// Type of the payload: behind the tag, if there is one.
	Type uint16
	// TCI of the outer C-tag; meaningful if Tagged.
	TCI    uint16
	Tagged bool
	// Len is the offset of the payload.
	Len int
}

// ParseEthernet reads the header of a frame, one C-tag included. A second tag
// is left in Type, for whoever wants to look further. It reports false for a
// frame too short for its header.
func ParseEthernet(b []byte) (h Ethernet, ok bool) {
	if len(b) < EthernetHeaderLen {
		return h, false
	}
	h.Type = binary.BigEndian.Uint16(b[12:])
	h.Len = EthernetHeaderLen
	if h.Type == TypeVLAN {
		if len(b) < EthernetHeaderLen+VLANTagLen {
			return h, false
		}
		h.Tagged = true
		h.TCI = binary.BigEndian.Uint16(b[14:])
		h.Type = binary.BigEndian.Uint16(b[16:])
		h.Len += VLANTagLen
	}
	return h, true
}

// FilterVLAN returns the VLAN id by which filters select a frame (EVL's rule):
// that of its C-tag, or of the C-tag behind an S-tag. It reports false for a
// frame without one.
func FilterVLAN(b []byte) (id uint16, ok bool) {
	at := 12
	if len(b) >= at+VLANTagLen+2 && binary.BigEndian.Uint16(b[at:]) == TypeQinQ {
		at += VLANTagLen
	}
	if len(b) < at+VLANTagLen+2 || binary.BigEndian.Uint16(b[at:]) != TypeVLAN {
		return 0, false
	}
	return binary.BigEndian.Uint16(b[at+2:]) & VIDMask, true
}

// PutEthernet writes a header into b, tagged if tci is not 0, and returns its
// length. b must hold EthernetHeaderLen+VLANTagLen bytes.
func PutEthernet(b []byte, dst, src [6]byte, tci, etherType uint16) int {
	_ = b[EthernetHeaderLen+VLANTagLen-1]
	copy(b, dst[:])
	copy(b[6:], src[:])
	if tci == 0 {
		binary.BigEndian.PutUint16(b[12:], etherType)
		return EthernetHeaderLen
	}
	binary.BigEndian.PutUint16(b[12:], TypeVLAN)
	binary.BigEndian.PutUint16(b[14:], tci)
	binary.BigEndian.PutUint16(b[16:], etherType)
	return EthernetHeaderLen + VLANTagLen
}

// InsertTag puts a C-tag behind the addresses of the frame that stands at off in
// buf, length bytes of it, and returns where it stands then. It moves the
// addresses to the front, or what follows them to the back, as there is room. It
// reports false, and changes nothing, if there is none at either end, or no whole
// header.
func InsertTag(buf []byte, off, length int, tci uint16) (newOff, newLength int, ok bool) {
	const addresses = 2 * 6
	switch {
	case length < EthernetHeaderLen || off < 0 || off+length > len(buf):
		return off, length, false
	case off >= VLANTagLen:
		off -= VLANTagLen
		copy(buf[off:], buf[off+VLANTagLen:][:addresses])
	case off+length+VLANTagLen <= len(buf):
		rest := buf[off+addresses : off+length+VLANTagLen]
		copy(rest[VLANTagLen:], rest)
	default:
		return off, length, false
	}
	binary.BigEndian.PutUint16(buf[off+addresses:], TypeVLAN)
	binary.BigEndian.PutUint16(buf[off+addresses+2:], tci)
	return off, length + VLANTagLen, true
}

// MAC reads the Ethernet address at the start of b.
func MAC(b []byte) [6]byte { return [6]byte(b[:6]) }

// MAC48 reads the Ethernet address at the start of b, which must hold 8 bytes,
// as a number: comparing two numbers is cheaper than comparing six bytes.
func MAC48(b []byte) uint64 { return binary.BigEndian.Uint64(b) >> 16 }

// MulticastMAC is where IPv4 multicast to a group goes (RFC 1112, section 6.4).
func MulticastMAC(group [4]byte) [6]byte {
	return [6]byte{0x01, 0x00, 0x5e, group[1] & 0x7f, group[2], group[3]}
}
