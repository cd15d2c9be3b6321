package arp

import (
	"net/netip"
	"sync/atomic"
	"unsafe"

	"github.com/oobnet/oobnet/link"
)

// Egress is the port that an entry leaves by; *stack.Port implements it. Its
// dynamic type must be comparable, as pointers are: ports are told apart by ==.
type Egress interface {
	// Name is how the port is called in dumps.
	Name() string
}

// Kind says what sort of destination an entry is for.
type Kind uint8

// Kinds of destinations.
const (
	Unicast   Kind = iota
	Multicast      // 224.0.0.0/4: the MAC address is made of the IPv4 address (RFC 1112, 6.4)
	Broadcast      // limited or directed: ff:ff:ff:ff:ff:ff
)

// kindNames are the texts of the kinds, in dumps and JSON.
var kindNames = [...]string{"unicast", "multicast", "broadcast"}

func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "unknown"
}

// MaxHeaderLen is the longest ready header, bytes: two addresses of 6, an
// 802.1Q tag of 4, an EtherType of 2.
const MaxHeaderLen = 6 + 6 + 4 + 2

// Entry is all that is needed to send to one destination. It is immutable but
// for its two flags, so any goroutine may read it and keep it; it is made by a
// [Cache] alone. It fills one cache line.
type Entry struct {
	// Via is the port to send on.
	Via Egress
	// rec is the control side's record of the destination.
	rec *record
	// flags: the control side clears flagHolds and takes flagUsed; senders
	// set flagUsed.
	flags atomic.Uint32
	// Dst is the destination, NextHop the neighbour on the way to it (Dst
	// itself if on-link), Src the source address to send from.
	Dst, NextHop, Src [4]byte
	// MTU is the longest IPv4 packet that leaves unfragmented, bytes.
	MTU uint16
	// Header is the Ethernet header, of which HeaderLen bytes count:
	// destination, source, 802.1Q tag if there is one, EtherType 0x0800.
	Header    [MaxHeaderLen]byte
	HeaderLen uint8 // 14 or 18
	Kind      Kind
	permanent bool
}

// cacheLine of amd64 and of most arm64, bytes. An allocation of this size is
// aligned to it.
const cacheLine = 64

const _ = uint(cacheLine - unsafe.Sizeof(Entry{}))

const (
	flagHolds = 1 << iota // the cache has it, as it is
	flagUsed              // sent with since the last Due
)

// Valid reports whether the entry still holds: one atomic load. An entry that
// has ceased to hold never holds again; a Lookup finds its successor, if any.
func (e *Entry) Valid() bool { return e.flags.Load()&flagHolds != 0 }

// Touch marks the entry as used, which keeps it from expiry and eviction.
// It writes only if no one has since the last Due, so that senders on several
// cores do not fight over the cache line.
func (e *Entry) Touch() {
	if e.flags.Load()&flagUsed == 0 {
		e.flags.Or(flagUsed)
	}
}

// MAC is the destination's Ethernet address: the first six bytes of the header.
func (e *Entry) MAC() link.MAC { return link.MAC(e.Header[:6]) }

// Permanent reports whether the entry is safe from ARP, age and eviction.
func (e *Entry) Permanent() bool { return e.permanent }

// invalidate tells everyone who kept the entry to look again.
func (e *Entry) invalidate() { e.flags.And(^uint32(flagHolds)) }

// takeUsed reports whether the entry was used since the last call.
func (e *Entry) takeUsed() bool {
	// Most entries are idle most of the time: look before the locked write.
	return e.flags.Load()&flagUsed != 0 && e.flags.And(^uint32(flagUsed))&flagUsed != 0
}

// spec turns the entry back into what it was made of.
func (e *Entry) spec() Spec {
	s := Spec{
		Dst: netip.AddrFrom4(e.Dst), NextHop: netip.AddrFrom4(e.NextHop), Src: netip.AddrFrom4(e.Src),
		Via: e.Via, MAC: e.MAC(), SrcMAC: link.MAC(e.Header[6:12]),
		MTU: e.MTU, Kind: e.Kind, Scope: e.rec.scope, Permanent: e.permanent,
	}
	if e.HeaderLen == MaxHeaderLen {
		s.VLAN = uint16(e.Header[14])<<8 | uint16(e.Header[15])
	}
	return s
}
