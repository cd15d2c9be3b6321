package filter

import (
	"net/netip"
	"slices"
)

// reference decides straight from what Rule says: it knows nothing of classes
// and rows, and is the oracle for what does. It returns the number of the rule.
func reference(r *Rules, frame []byte, tci uint16, stripped bool) int {
	v := look(frame, tci, stripped)
	for i := range r.rules {
		if v.fits(&r.rules[i]) {
			return i
		}
	}
	return len(r.rules)
}

// view is what a frame has; nil: it has not.
type view struct {
	vlan, etherType, srcPort, dstPort *uint16
	srcMAC, dstMAC                    *[6]byte
	src, dst                          *netip.Addr
	protocol                          *uint8
}

func (v *view) fits(r *Rule) bool {
	in := func(value *uint16) func(Range) bool {
		return func(r Range) bool { return value != nil && r.Lo <= *value && *value <= r.Hi }
	}
	within := func(a *netip.Addr) func(netip.Prefix) bool {
		return func(p netip.Prefix) bool { return a != nil && p.Contains(*a) }
	}
	return some(r.VLANs, in(v.vlan)) && some(r.EtherTypes, same(v.etherType)) &&
		some(r.SrcMACs, same(v.srcMAC)) && some(r.DstMACs, same(v.dstMAC)) &&
		some(r.Src, within(v.src)) && some(r.Dst, within(v.dst)) &&
		some(r.Protocols, same(v.protocol)) &&
		some(r.SrcPorts, in(v.srcPort)) && some(r.DstPorts, in(v.dstPort))
}

func some[T any](entries []T, fit func(T) bool) bool {
	return len(entries) == 0 || slices.ContainsFunc(entries, fit)
}

func same[T comparable](value *T) func(T) bool {
	return func(entry T) bool { return value != nil && *value == entry }
}

func look(b []byte, tci uint16, stripped bool) (v view) {
	if len(b) < 14 {
		return v
	}
	v.dstMAC, v.srcMAC = (*[6]byte)(b[0:6]), (*[6]byte)(b[6:12])
	// What follows the addresses, with the stripped tag back in its place.
	rest := b[12:]
	if stripped {
		rest = append([]byte{0x81, 0x00, byte(tci >> 8), byte(tci)}, rest...)
	}
	number := func(at int) *uint16 {
		if len(rest) < at+2 {
			return nil
		}
		n := uint16(rest[at])<<8 | uint16(rest[at+1])
		return &n
	}
	sTag, id := false, uint16(0)
	if *number(0) == 0x88a8 {
		if number(4) == nil {
			return v
		}
		sTag, rest = true, rest[4:]
	}
	switch {
	case *number(0) == 0x8100:
		if number(4) == nil {
			return v
		}
		id = *number(2) % 4096
		v.vlan, rest = &id, rest[4:]
	case !sTag:
		v.vlan = &id
	}
	v.etherType, rest = number(0), rest[2:]
	if *v.etherType != 0x0800 || len(rest) < 20 || rest[0]/16 != 4 || rest[0]%16 < 5 {
		return v
	}
	src, dst := netip.AddrFrom4([4]byte(rest[12:16])), netip.AddrFrom4([4]byte(rest[16:20]))
	v.src, v.dst, v.protocol = &src, &dst, &rest[9]
	firstOrWhole := rest[6]%32 == 0 && rest[7] == 0
	header := int(rest[0]%16) * 4
	if rest[9] == 17 && firstOrWhole && len(rest) >= header+8 {
		v.srcPort, v.dstPort = number(header), number(header+2)
	}
	return v
}
