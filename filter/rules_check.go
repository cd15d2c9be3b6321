package filter

import (
	"fmt"
	"net/netip"
)

const (
	// maxVLAN is the highest VLAN id: 4095 is reserved (IEEE 802.1Q, 9.6).
	maxVLAN = 4094
	// minEtherType is the lowest EtherType: smaller numbers in its place are
	// the length of an 802.3 frame (IEEE 802.3, 3.2.6).
	minEtherType = 0x0600
)

func (v Verdict) valid() bool { return v >= 0 && v < Verdicts }

// check looks whether the rule can be, adds its entries to those of the rules
// before it, and clears the bits of its prefixes that do not count.
func (r *Rule) check(entries *[dimensions]int) error {
	if !r.Verdict.valid() {
		return fmt.Errorf("Verdict: %w", invalid("%v does not exist: it is drop, accept, skip or vlan", r.Verdict))
	}
	for d, n := range [dimensions]int{
		dimVLAN: len(r.VLANs), dimEtherType: len(r.EtherTypes),
		dimSrcMAC: len(r.SrcMACs), dimDstMAC: len(r.DstMACs),
		dimSrc: len(r.Src), dimDst: len(r.Dst), dimProtocol: len(r.Protocols),
		dimSrcPort: len(r.SrcPorts), dimDstPort: len(r.DstPorts),
	} {
		if entries[d] += n; entries[d] > MaxEntries {
			return fmt.Errorf("%v: %w", dimension(d), invalid("more than %d entries up to here: join them to ranges or prefixes", MaxEntries))
		}
	}
	if err := checkAll(dimVLAN, r.VLANs, checkVLAN); err != nil {
		return err
	}
	if err := checkAll(dimEtherType, r.EtherTypes, checkEtherType); err != nil {
		return err
	}
	if err := checkAll(dimSrcPort, r.SrcPorts, checkRange); err != nil {
		return err
	}
	if err := checkAll(dimDstPort, r.DstPorts, checkRange); err != nil {
		return err
	}
	if err := checkAll(dimSrc, r.Src, checkPrefix); err != nil {
		return err
	}
	if err := checkAll(dimDst, r.Dst, checkPrefix); err != nil {
		return err
	}
	for _, prefixes := range [][]netip.Prefix{r.Src, r.Dst} {
		for i, p := range prefixes {
			prefixes[i] = p.Masked()
		}
	}
	return nil
}

func checkAll[T any](d dimension, entries []T, check func(T) error) error {
	for i, e := range entries {
		if err := check(e); err != nil {
			return fmt.Errorf("%v[%d]: %w", d, i, err)
		}
	}
	return nil
}

func checkRange(r Range) error {
	if r.Lo > r.Hi {
		return invalid("%d-%d ends before it begins", r.Lo, r.Hi)
	}
	return nil
}

func checkVLAN(r Range) error {
	if r.Lo > maxVLAN || r.Hi > maxVLAN {
		return invalid("VLAN id %d: at most %d, 0 for untagged", max(r.Lo, r.Hi), maxVLAN)
	}
	return checkRange(r)
}

func checkEtherType(t uint16) error {
	if t < minEtherType {
		return invalid("%#04x is a length, an EtherType is at least %#04x", t, minEtherType)
	}
	return nil
}

func checkPrefix(p netip.Prefix) error {
	if !p.IsValid() || !p.Addr().Is4() {
		return invalid("%v is no IPv4 prefix", p)
	}
	return nil
}
