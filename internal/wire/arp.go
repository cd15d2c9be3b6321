package wire

import "encoding/binary"

// ARPLen is the length of an ARP packet for IPv4 over Ethernet, bytes (RFC 826).
const ARPLen = 28

// ARP operations.
const (
	ARPRequest = 1
	ARPReply   = 2
)

// ARP is a parsed ARP packet for IPv4 over Ethernet. Addresses of the network
// layer are numbers in host order.
type ARP struct {
	Op        uint16
	SenderMAC [6]byte
	SenderIP  uint32
	TargetMAC [6]byte
	TargetIP  uint32
}

// ParseARP reads an ARP packet, and reports false for one that is short or of
// other address families.
func ParseARP(b []byte) (a ARP, ok bool) {
	if len(b) < ARPLen || binary.BigEndian.Uint64(b)>>16 != 0x0001_0800_0604 {
		return a, false
	}
	a.Op = binary.BigEndian.Uint16(b[6:])
	a.SenderMAC = [6]byte(b[8:14])
	a.SenderIP = binary.BigEndian.Uint32(b[14:])
	a.TargetMAC = [6]byte(b[18:24])
	a.TargetIP = binary.BigEndian.Uint32(b[24:])
	return a, true
}

// PutARP writes an ARP packet. b must hold ARPLen bytes.
func PutARP(b []byte, a ARP) int {
	_ = b[ARPLen-1]
	binary.BigEndian.PutUint64(b, 0x0001_0800_0604<<16|uint64(a.Op))
	copy(b[8:], a.SenderMAC[:])
	binary.BigEndian.PutUint32(b[14:], a.SenderIP)
	copy(b[18:], a.TargetMAC[:])
	binary.BigEndian.PutUint32(b[24:], a.TargetIP)
	return ARPLen
}
