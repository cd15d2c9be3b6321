package afxdp

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/oobnet/oobnet/link"
)

// Keys as the program has them on its stack.
type (
	ipv4Key [8]byte // VLAN 2 bytes in host order, zero 2, address 4
	typeKey [4]byte // VLAN 2 bytes in host order, EtherType 2 as on the wire
)

func keyOfIPv4(c link.ClaimIPv4) (k ipv4Key) {
	binary.NativeEndian.PutUint16(k[0:], c.VLAN)
	copy(k[4:], c.Addr[:])
	return k
}

func keyOfType(c link.ClaimEtherType) (k typeKey) {
	binary.NativeEndian.PutUint16(k[0:], c.VLAN)
	binary.BigEndian.PutUint16(k[2:], c.EtherType)
	return k
}

// vlanBits has a bit for each VLAN id whose port is enabled.
type vlanBits [(maxVLAN + 1 + vlanWord) / vlanWord]uint64

// vlanWord is how many ids one word of the bits holds.
const vlanWord = 64

func bitsOf(ids []uint16) (b vlanBits) {
	for _, id := range ids {
		b[id/vlanWord] |= 1 << (id % vlanWord)
	}
	return b
}

// apply replaces the claims. New entries go in first, then the program that
// reads them, then the old entries go out: in between, the union is taken. If
// one of the first two steps fails, what was added goes out again.
func (g *gate) apply(c *link.Claims) error {
	ipv4, types := make(map[ipv4Key]bool, len(c.IPv4)), make(map[typeKey]bool, len(c.EtherTypes))
	need := features{ipv4: len(c.IPv4) > 0}
	for _, i := range c.IPv4 {
		ipv4[keyOfIPv4(i)] = true
	}
	for _, e := range c.EtherTypes {
		types[keyOfType(e)] = true
		need.etherTypes = need.etherTypes || e.EtherType != link.AllEtherTypes
		need.allTypes = need.allTypes || e.EtherType == link.AllEtherTypes
	}
	if err := addKeys(g.maps.ipv4, g.ipv4, ipv4); err != nil {
		return err
	}
	if err := addKeys(g.maps.types, g.types, types); err != nil {
		return errors.Join(err, removeKeys(g.maps.ipv4, ipv4, g.ipv4))
	}
	if err := g.specialise(need); err != nil {
		return errors.Join(err, removeKeys(g.maps.ipv4, ipv4, g.ipv4), removeKeys(g.maps.types, types, g.types))
	}
	err := errors.Join(removeKeys(g.maps.ipv4, g.ipv4, ipv4), removeKeys(g.maps.types, g.types, types))
	g.ipv4, g.types = ipv4, types
	return errors.Join(err, g.enableVLANs(bitsOf(c.VLANs)))
}

// enableVLANs writes the words that differ.
func (g *gate) enableVLANs(bits vlanBits) error {
	for i, word := range bits {
		if word == g.vlans[i] {
			continue
		}
		if err := g.maps.vlans.Put(uint32(i), word); err != nil {
			return fmt.Errorf("enable VLANs: %w", err)
		}
		g.vlans[i] = word
	}
	return nil
}

// addKeys puts in what next has and last has not, all of it or nothing.
func addKeys[K comparable](m *ebpf.Map, last, next map[K]bool) error {
	for k := range next {
		if last[k] {
			continue
		}
		if err := m.Put(k, uint8(1)); err != nil {
			return errors.Join(fmt.Errorf("claim %v: %w", k, err), removeKeys(m, next, last))
		}
	}
	return nil
}

// removeKeys takes out what last has and next has not.
func removeKeys[K comparable](m *ebpf.Map, last, next map[K]bool) error {
	var errs []error
	for k := range last {
		if next[k] {
			continue
		}
		if err := m.Delete(k); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			errs = append(errs, fmt.Errorf("give up the claim %v: %w", k, err))
		}
	}
	return errors.Join(errs...)
}
