package afxdp

import (
	"fmt"

	"github.com/cilium/ebpf"
	xlink "github.com/cilium/ebpf/link"

	"github.com/oobnet/oobnet/filter"
)

// gateMaps are what the programs of a gate read and count in, whichever is on
// the interface.
type gateMaps struct {
	ipv4     *ebpf.Map // ipv4Key -> 1
	types    *ebpf.Map // typeKey -> 1
	vlans    *ebpf.Map // VLAN id / 64 -> a word of vlanBits
	sockets  *ebpf.Map // XSKMAP: queue -> receive socket
	counters *ebpf.Map // per CPU: slot -> frames, and a mark

	rx *rxMetadata // what they learn of frames beside their bytes; nil: nothing
}

func newGateMaps(queues int) (*gateMaps, error) {
	m := &gateMaps{}
	for _, s := range []struct {
		to   **ebpf.Map
		spec ebpf.MapSpec
	}{
		{&m.ipv4, ebpf.MapSpec{Name: "oobnet_ipv4", Type: ebpf.Hash, KeySize: 8, ValueSize: 1, MaxEntries: 2 * MaxIPv4Claims}},
		{&m.types, ebpf.MapSpec{Name: "oobnet_types", Type: ebpf.Hash, KeySize: 4, ValueSize: 1, MaxEntries: 2 * MaxEtherTypeClaims}},
		{&m.vlans, ebpf.MapSpec{Name: "oobnet_vlans", Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: uint32(len(vlanBits{}))}},
		{&m.sockets, ebpf.MapSpec{Name: "oobnet_sockets", Type: ebpf.XSKMap, KeySize: 4, ValueSize: 4, MaxEntries: uint32(queues)}},
		{&m.counters, ebpf.MapSpec{Name: "oobnet_counters", Type: ebpf.PerCPUArray, KeySize: 4, ValueSize: 8, MaxEntries: usedSlots}},
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

func (m *gateMaps) close() {
	for _, e := range []*ebpf.Map{m.ipv4, m.types, m.vlans, m.sockets, m.counters} {
		e.Close() // nil-safe; nothing can be done about a failed close
	}
}

// gate is what stands on the interface: one of three programs. Its methods are
// for one goroutine at a time; the link's lock sees to that.
type gate struct {
	maps *gateMaps
	hook xlink.Link // the bpf_link: closing it takes the program off

	// The programs, by rank: the first that applies is on the hook.
	aside     *ebpf.Program // while off
	off       bool
	filter    *kernelFilter // while there is one
	selection *ebpf.Program // of the claims

	// The claims that the selection works after.
	has   features
	ipv4  map[ipv4Key]bool
	types map[typeKey]bool
	vlans vlanBits
}

// newGate makes a gate that passes everything. It is not on an interface yet.
func newGate(queues int, rx *rxMetadata) (_ *gate, err error) {
	g := &gate{}
	if g.maps, err = newGateMaps(queues); err != nil {
		return nil, err
	}
	g.maps.rx = rx
	if g.aside, err = loadAside(); err == nil {
		g.selection, err = loadProgram(features{}, g.maps)
	}
	if err != nil {
		_ = g.close() // nothing is on an interface
		return nil, err
	}
	return g, nil
}

func (g *gate) close() error {
	var err error
	if g.hook != nil {
		err = g.hook.Close()
	}
	g.filter.close()
	g.selection.Close()
	g.aside.Close()
	g.maps.close()
	return err
}

// program is the one that is, or has to be, on the hook.
func (g *gate) program() *ebpf.Program {
	switch {
	case g.off:
		return g.aside
	case g.filter != nil:
		return g.filter.program
	}
	return g.selection
}

// update puts the program that has to be there on the hook, in the place of
// the former, between two frames: the kernel exchanges one pointer, a queue at
// a time.
func (g *gate) update() error {
	if g.hook == nil {
		return nil
	}
	if err := g.hook.Update(g.program()); err != nil {
		return fmt.Errorf("replace the XDP program: %w", err)
	}
	return nil
}

// specialise makes the program for the needed features the selection.
func (g *gate) specialise(need features) error {
	if need == g.has {
		return nil
	}
	program, err := loadProgram(need, g.maps)
	if err != nil {
		return err
	}
	former := g.selection
	g.selection = program
	if err := g.update(); err != nil {
		g.selection = former
		program.Close()
		return err
	}
	former.Close()
	g.has = need
	return nil
}

// setFilter puts a filter in the place of the former, nil the claims. It owns
// the new one if it succeeds.
func (g *gate) setFilter(f *kernelFilter) error {
	former := g.filter
	g.filter = f
	if err := g.update(); err != nil {
		g.filter = former
		return err
	}
	former.close()
	return nil
}

func (g *gate) divert(on bool) error {
	former := g.off
	g.off = !on
	if err := g.update(); err != nil {
		g.off = former
		return err
	}
	return nil
}

// stats sums the counters of all CPUs.
func (g *gate) stats() (s filter.Stats) {
	var n [counterSlots]uint64
	var perCPU []uint64
	for slot := range n {
		if g.maps.counters.Lookup(uint32(slot), &perCPU) == nil {
			n[slot] = sum(perCPU)
		}
	}
	s.Verdicts = [filter.Verdicts]uint64{
		filter.Drop:   n[slotDrop],
		filter.Accept: n[slotAccept],
		filter.Skip:   n[slotSkip],
		filter.VLAN:   n[slotVLANAccept] + n[slotVLANSkip],
	}
	s.VLANAccepted = n[slotVLANAccept]
	s.Errors = n[slotError]
	s.TX = n[slotTX]
	s.Redirect = n[slotRedirect]
	if g.filter != nil {
		s.Rules = g.filter.ruleHits()
	}
	return s
}

func sum(perCPU []uint64) (n uint64) {
	for _, v := range perCPU {
		n += v
	}
	return n
}
