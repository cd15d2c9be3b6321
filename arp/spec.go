package arp

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"reflect"
	"syscall"

	"github.com/oobnet/oobnet/link"
)

// Spec describes an entry to be. Two Specs are equal (==) when they describe
// the same entry.
type Spec struct {
	Dst     netip.Addr // IPv4
	NextHop netip.Addr // IPv4; the zero value stands for Dst: on-link
	Src     netip.Addr // IPv4; the port's address to send from
	Via     Egress
	MAC     link.MAC // of the next hop; zero for multicast and broadcast: made from Dst
	VLAN    uint16   // 802.1Q tag control information; 0: untagged
	SrcMAC  link.MAC // the port's own
	MTU     uint16   // longest IPv4 packet, bytes; at least MinMTU
	Kind    Kind
	// Scope sets an entry of a multicast or broadcast destination apart for
	// senders that ask for it by LookupIn: groups are on every port, and a
	// sender may want one of its own. 0: for everyone else.
	Scope uint32
	// Permanent entries are the operator's word; see the package's rules.
	Permanent bool
	// Unconfirmed says that the MAC address comes from memory, not from an
	// ARP answer just seen: the neighbour does not become younger by it, and
	// one that the cache has not known is probed as soon as it is used.
	Unconfirmed bool
}

// MinMTU is the least MTU that IPv4 allows, bytes (RFC 791, 3.2).
const MinMTU = 68

// Values of the Ethernet header (IEEE 802.3, 802.1Q).
const (
	etherTypeIPv4 = 0x0800
	etherTypeVLAN = 0x8100
	groupBit      = 0x01 // of the first byte: the address stands for many stations
)

var broadcastMAC = link.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// complete fills in what may be left out and checks the rest. Errors wrap
// EAFNOSUPPORT for an address that is not IPv4, EINVAL for anything else.
func (s Spec) complete() (Spec, error) {
	if !s.NextHop.IsValid() {
		s.NextHop = s.Dst
	}
	for _, a := range []*netip.Addr{&s.Dst, &s.NextHop, &s.Src} {
		*a = a.Unmap()
		if !a.Is4() {
			return s, fmt.Errorf("arp: entry for %v via %v from %v: not all are IPv4 addresses: %w",
				s.Dst, s.NextHop, s.Src, syscall.EAFNOSUPPORT)
		}
	}
	if s.MAC == (link.MAC{}) {
		s.MAC = groupMAC(s.Kind, s.Dst)
	}
	if what := s.fault(); what != "" {
		return s, fmt.Errorf("arp: entry for %v: %s: %w", s.Dst, what, syscall.EINVAL)
	}
	return s, nil
}

// fault says what is wrong with a spec whose addresses are IPv4; "": nothing.
func (s *Spec) fault() string {
	switch {
	case s.Kind > Broadcast:
		return "no such kind"
	case isNil(s.Via):
		return "no port"
	case !hashable(s.Via):
		return "the port's type cannot be compared: pass a pointer"
	case s.Dst.IsUnspecified() || s.NextHop.IsUnspecified():
		return "destination or next hop is 0.0.0.0"
	case s.Kind == Multicast && !s.Dst.IsMulticast():
		return "not a multicast address"
	case s.Kind == Unicast && s.Scope != 0:
		return "only groups have a scope"
	case s.Kind == Unicast && s.Dst.IsMulticast():
		return "a multicast address has no neighbour"
	case s.Kind == Unicast && !stationMAC(s.MAC):
		return fmt.Sprintf("%s is not the MAC address of one station", macString(s.MAC))
	case s.SrcMAC[0]&groupBit != 0:
		return fmt.Sprintf("source %s is not the MAC address of one station", macString(s.SrcMAC))
	case s.MTU < MinMTU:
		return fmt.Sprintf("MTU %d: want at least %d", s.MTU, MinMTU)
	}
	return ""
}

// entry makes the entry that a complete spec describes, not yet published.
func (s Spec) entry() *Entry {
	e := &Entry{
		Via: s.Via, Dst: s.Dst.As4(), NextHop: s.NextHop.As4(), Src: s.Src.As4(),
		MTU: s.MTU, Kind: s.Kind, permanent: s.Permanent,
	}
	h := append(e.Header[:0], s.MAC[:]...)
	h = append(h, s.SrcMAC[:]...)
	if s.VLAN != 0 {
		h = binary.BigEndian.AppendUint16(h, etherTypeVLAN)
		h = binary.BigEndian.AppendUint16(h, s.VLAN)
	}
	h = binary.BigEndian.AppendUint16(h, etherTypeIPv4)
	e.HeaderLen = uint8(len(h))
	e.flags.Store(flagHolds)
	return e
}

// groupMAC is the MAC address that a group's IPv4 address stands for; none for
// unicast.
func groupMAC(k Kind, dst netip.Addr) link.MAC {
	switch k {
	case Multicast: // 01:00:5e and the low 23 bits (RFC 1112, 6.4)
		a := dst.As4()
		return link.MAC{0x01, 0x00, 0x5e, a[1] & 0x7f, a[2], a[3]}
	case Broadcast:
		return broadcastMAC
	}
	return link.MAC{}
}

// stationMAC reports whether a MAC address can be one neighbour's. An ARP
// answer that says otherwise is not to be believed (RFC 1812, 3.3.2).
func stationMAC(m link.MAC) bool { return m != link.MAC{} && m[0]&groupBit == 0 }

// hashable reports whether the port can be compared and be a map key without a panic.
func hashable(via Egress) bool { return reflect.ValueOf(via).Comparable() }

// number is an IPv4 address as the table and Lookup take it: big-endian.
func number(a [4]byte) uint32 { return binary.BigEndian.Uint32(a[:]) }

func macString(m link.MAC) string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// isNil also sees the nil pointer that an interface hides: its Name would panic.
func isNil(via Egress) bool {
	if via == nil {
		return true
	}
	v := reflect.ValueOf(via)
	return v.Kind() == reflect.Pointer && v.IsNil()
}
