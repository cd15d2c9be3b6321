package afxdp

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	xlink "github.com/cilium/ebpf/link"

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

// filterMaps are what the program reads and counts in.
type filterMaps struct {
	ipv4     *ebpf.Map // ipv4Key -> 1
	types    *ebpf.Map // typeKey -> 1
	sockets  *ebpf.Map // XSKMAP: queue -> receive socket
	counters *ebpf.Map // per CPU: slot -> frames
}

func newFilterMaps(queues int) (*filterMaps, error) {
	m := &filterMaps{}
	for _, s := range []struct {
		to   **ebpf.Map
		spec ebpf.MapSpec
	}{
		{&m.ipv4, ebpf.MapSpec{Name: "oobnet_ipv4", Type: ebpf.Hash, KeySize: 8, ValueSize: 1, MaxEntries: 2 * MaxIPv4Claims}},
		{&m.types, ebpf.MapSpec{Name: "oobnet_types", Type: ebpf.Hash, KeySize: 4, ValueSize: 1, MaxEntries: 2 * MaxEtherTypeClaims}},
		{&m.sockets, ebpf.MapSpec{Name: "oobnet_sockets", Type: ebpf.XSKMap, KeySize: 4, ValueSize: 4, MaxEntries: uint32(queues)}},
		{&m.counters, ebpf.MapSpec{Name: "oobnet_counters", Type: ebpf.PerCPUArray, KeySize: 4, ValueSize: 8, MaxEntries: counterSlots}},
	} {
		made, err := ebpf.NewMap(&s.spec)
		if err != nil {
			m.close()
			return nil, fmt.Errorf("make the map %s: %w", s.spec.Name, err)
		}
		*s.to = made
	}
	return m, nil
}

func (m *filterMaps) close() {
	for _, e := range []*ebpf.Map{m.ipv4, m.types, m.sockets, m.counters} {
		e.Close() // nil-safe; nothing can be done about a failed close
	}
}

// filter is the program on the interface and the claims it works after. Its
// methods are for one goroutine at a time; the link's lock sees to that.
type filter struct {
	maps    *filterMaps
	program *ebpf.Program
	hook    xlink.Link // the bpf_link: closing it takes the program off
	has     features
	ipv4    map[ipv4Key]bool
	types   map[typeKey]bool
}

// newFilter makes a filter that passes everything. It is not on an interface yet.
func newFilter(queues int) (*filter, error) {
	maps, err := newFilterMaps(queues)
	if err != nil {
		return nil, err
	}
	program, err := loadProgram(features{}, maps)
	if err != nil {
		maps.close()
		return nil, err
	}
	return &filter{maps: maps, program: program}, nil
}

func (f *filter) close() error {
	var err error
	if f.hook != nil {
		err = f.hook.Close()
	}
	f.program.Close()
	f.maps.close()
	return err
}

// apply replaces the claims. New entries go in first, then the program that
// reads them, then the old entries go out: in between, the union is taken. If
// one of the first two steps fails, what was added goes out again.
func (f *filter) apply(c *link.Claims) error {
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
	if err := addKeys(f.maps.ipv4, f.ipv4, ipv4); err != nil {
		return err
	}
	if err := addKeys(f.maps.types, f.types, types); err != nil {
		return errors.Join(err, removeKeys(f.maps.ipv4, ipv4, f.ipv4))
	}
	if err := f.specialise(need); err != nil {
		return errors.Join(err, removeKeys(f.maps.ipv4, ipv4, f.ipv4), removeKeys(f.maps.types, types, f.types))
	}
	err := errors.Join(removeKeys(f.maps.ipv4, f.ipv4, ipv4), removeKeys(f.maps.types, f.types, types))
	f.ipv4, f.types = ipv4, types
	return err
}

// specialise puts the program for the needed features in the place of the old
// one, between two frames.
func (f *filter) specialise(need features) error {
	if need == f.has {
		return nil
	}
	program, err := loadProgram(need, f.maps)
	if err != nil {
		return err
	}
	if f.hook != nil {
		if err := f.hook.Update(program); err != nil {
			program.Close()
			return fmt.Errorf("replace the XDP program: %w", err)
		}
	}
	f.program.Close()
	f.program, f.has = program, need
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

// stats sums the verdicts of all CPUs.
func (f *filter) stats() (s FilterStats) {
	sum := func(slot uint32) (n uint64) {
		var perCPU []uint64
		if f.maps.counters.Lookup(slot, &perCPU) == nil {
			for _, v := range perCPU {
				n += v
			}
		}
		return n
	}
	return FilterStats{Accepted: sum(slotAccepted), Passed: sum(slotPassed)}
}
