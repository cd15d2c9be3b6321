package stack

import (
	"encoding/binary"
	"net/netip"

	"github.com/oobnet/oobnet/internal/table"
)

// martianSource: addresses that no host may send from (RFC 1122, section
// 3.2.1.3): this host, loopback, groups and the broadcast address.
//
//oobnet:hot
func martianSource(src uint32) bool {
	return src>>24 == 0 || src>>24 == 127 || src >= 0xe0000000
}

// localSet is what a port answers to. It is immutable and replaced as a whole.
type localSet struct {
	// first is the address of most ports, and of most packets; noAddr: there
	// is none.
	first  uint64
	addrs  []localAddr
	groups *table.Table[struct{}]
}

// noAddr equals no address.
const noAddr = 1 << 32

// localAddr is an own address with the mask of its prefix, and the broadcast
// address there, 0 if the prefix has none.
type localAddr struct{ addr, mask, broadcast uint32 }

// own is a scan: a port has few addresses (MaxAddrs).
//
//oobnet:hot
func (l *localSet) own(a uint32) bool {
	for i := range l.addrs {
		if l.addrs[i].addr == a {
			return true
		}
	}
	return false
}

// ownOrBroadcast: besides an own address, the broadcast address of a network
// here; neither is any other host's to send from.
//
//oobnet:hot
func (l *localSet) ownOrBroadcast(a uint32) bool {
	for i := range l.addrs {
		if l.addrs[i].addr == a || l.addrs[i].broadcast == a {
			return true
		}
	}
	return false
}

// broadcasts: a is the broadcast address of a network here.
func (l *localSet) broadcasts(a uint32) bool {
	for i := range l.addrs {
		if l.addrs[i].broadcast == a && a != 0 {
			return true
		}
	}
	return false
}

// destination says whether a packet to dst, in a frame to cast, is ours.
//
//oobnet:hot
func (l *localSet) destination(dst uint32, frame Cast) (cast Cast, why Reason, ours bool) {
	for i := range l.addrs {
		if l.addrs[i].addr == dst {
			// A unicast packet in a broadcast frame is nobody's (RFC 1122,
			// section 3.3.6).
			return Unicast, ReasonMartian, frame == Unicast
		}
		if l.addrs[i].broadcast == dst && dst != 0 {
			return Broadcast, 0, true
		}
	}
	switch {
	case dst == 0xffffffff:
		return Broadcast, 0, true
	case dst>>28 == 0xe:
		if l.groups.Get(groupKey(dst)) != nil {
			return Multicast, 0, true
		}
		return Multicast, ReasonNotMember, false
	case dst>>24 == 127 || dst>>24 == 0:
		return Unicast, ReasonMartian, false
	}
	return Unicast, ReasonForeignIPv4, false
}

func groupKey(group uint32) table.Key { return table.Key{Lo: uint64(group)} }

// addr4 turns four bytes into a number in host order, netAddr turns it back.
func addr4(b [4]byte) uint32 { return binary.BigEndian.Uint32(b[:]) }

func netAddr(a uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(a >> 24), byte(a >> 16), byte(a >> 8), byte(a)})
}

// allHosts is the group that every host is in (RFC 1112, section 4).
var allHosts = netip.AddrFrom4([4]byte{224, 0, 0, 1})

// publishLocal shows the RX step the port's addresses and groups.
func (p *Port) publishLocal() {
	l := &localSet{first: noAddr, groups: table.New[struct{}](len(p.groups) + 1)}
	for _, a := range p.addrs {
		l.addrs = append(l.addrs, localAddr{addr: addr4(a.Addr().As4()), mask: ^(^uint32(0) >> a.Bits()), broadcast: broadcastOf(a)})
	}
	member := new(struct{})
	if len(l.addrs) > 0 {
		l.first = uint64(l.addrs[0].addr)
	}
	l.groups.Put(groupKey(addr4(allHosts.As4())), member)
	for g := range p.groups {
		l.groups.Put(groupKey(addr4(g.As4())), member)
	}
	p.local.Store(l)
}

// broadcastOf is the directed broadcast address of a prefix, 0 where there is
// none (RFC 3021 for /31).
func broadcastOf(a netip.Prefix) uint32 {
	if a.Bits() > 30 {
		return 0
	}
	return addr4(a.Addr().As4()) | ^uint32(0)>>a.Bits()
}
