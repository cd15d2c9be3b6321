package afxdp

import (
	"encoding/binary"

	"github.com/oobnet/oobnet/link"
)

// Sizes and numbers of the headers that the program reads, bytes.
const (
	ethernetHeader = 14 // two addresses and an EtherType
	addresses      = 12 // the two of them
	vlanTag        = 4  // tag control information and the next EtherType
	ipv4Header     = 20 // without options; the destination ends it
	arpHeader      = 28 // for IPv4 over Ethernet (RFC 826)

	ipv4Destination = 16 // offset in the IPv4 header
	arpTarget       = 24 // offset of the target protocol address

	etherTypeIPv4 = 0x0800
	etherTypeARP  = 0x0806
	etherTypeVLAN = 0x8100 // 802.1Q
	etherTypeSTag = 0x88a8 // 802.1ad

	// arpSpaces are the first four bytes of ARP for IPv4 over Ethernet
	// (hardware and protocol type), arpLengths the next two (address lengths).
	arpSpaces  = 0x0001_0800
	arpLengths = 0x0604
)

// Decide reports whether the program that a link puts on its interface takes
// the frame under the claims. It is the program's specification: tests compare
// the two. It reads any bytes without panicking.
func Decide(c *link.Claims, frame []byte) bool {
	if len(frame) < ethernetHeader {
		return false
	}
	etherType := binary.BigEndian.Uint16(frame[12:])
	l3 := frame[ethernetHeader:]
	var vlan uint16
	if etherType == etherTypeVLAN {
		if len(l3) < vlanTag {
			return false
		}
		vlan = binary.BigEndian.Uint16(l3) & 0xfff
		etherType = binary.BigEndian.Uint16(l3[2:])
		l3 = l3[vlanTag:]
	}
	if addr, ok := selectedAddress(etherType, l3); ok {
		for _, i := range c.IPv4 {
			if i.VLAN == vlan && i.Addr == addr {
				return true
			}
		}
	}
	for _, e := range c.EtherTypes {
		if e.VLAN == vlan && (e.EtherType == etherType || e.EtherType == link.AllEtherTypes) {
			return true
		}
	}
	return false
}

// selectedAddress is the address by which an IPv4 or ARP packet is claimed.
func selectedAddress(etherType uint16, l3 []byte) (addr [4]byte, ok bool) {
	switch {
	case etherType == etherTypeIPv4 && len(l3) >= ipv4Header:
		return [4]byte(l3[ipv4Destination:]), true
	case etherType == etherTypeARP && len(l3) >= arpHeader &&
		binary.BigEndian.Uint32(l3) == arpSpaces && binary.BigEndian.Uint16(l3[4:]) == arpLengths:
		return [4]byte(l3[arpTarget:]), true
	}
	return addr, false
}
