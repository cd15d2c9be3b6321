package vm

import (
	"errors"
	"fmt"
	"io/fs"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cilium/ebpf"
)

// Error numbers that helpers return, as Linux has them on all architectures.
const (
	eNOENT     = 2
	e2BIG      = 7
	eNOMEM     = 12
	eFAULT     = 14
	eBUSY      = 16
	eEXIST     = 17
	eINVAL     = 22
	eNOSPC     = 28
	eOPNOTSUPP = 95
	eACCES     = 13
)

// Flags of an update, and of maps (linux/bpf.h).
const (
	noExist = 1 // BPF_NOEXIST
	exist   = 2 // BPF_EXIST

	readOnlyProg  = 1 << 7 // BPF_F_RDONLY_PROG
	writeOnlyProg = 1 << 8 // BPF_F_WRONLY_PROG
)

// maxLPMData is the longest key of an LPM trie, bytes: LPM_DATA_SIZE_MAX.
const maxLPMData = 256

// Map is a map of a VM. Go code uses it by its methods, any goroutine and
// while programs run; keys and values are bytes as the program has them. The
// value of a per-CPU map is that of all CPUs, one after the other, each
// rounded up to 8 bytes. The values of a map of sockets or devices are numbers
// that Context.Redirect then shows, and those of a program array what
// VM.Program returns. An LPM trie shows its keys with the bits beyond the prefix
// cleared, where the kernel shows what was given.
type Map struct {
	name               string
	kind               ebpf.MapType
	number             int
	keySize, valueSize int
	stride             int // from value to value, bytes: a multiple of 8
	max                int
	cpus               int
	programs           int  // how many a program array can name
	readOnly, hidden   bool // for programs: BPF_F_RDONLY_PROG, BPF_F_WRONLY_PROG
	frozen             bool

	// slabs hold the values, by index or slot: one, or one for each CPU.
	// Programs write them, and Go code does (see memory.go).
	slabs [][]byte
	table *table // of hashes and LPM tries
	// lengths is the set of the prefix lengths that an LPM trie has ever held.
	// Written by updates and read by lookups of programs and Go code.
	lengths []atomic.Uint64
	// present tells which entries of an array of targets or programs are set.
	// Written by Go code, read by Runners.
	present []atomic.Uint32
	// mu keeps Go code that writes apart; programs do not take it.
	mu sync.Mutex
}

// newMap makes an empty map, and takes its size off what memory there is left.
func newMap(v *VM, name string, spec *ebpf.CollectionSpec, memory *int64) (*Map, error) {
	s := spec.Maps[name]
	m := &Map{name: name, kind: s.Type, number: len(v.maps), keySize: int(s.KeySize), valueSize: int(s.ValueSize),
		max: int(s.MaxEntries), cpus: v.cpus, readOnly: s.Flags&readOnlyProg != 0, hidden: s.Flags&writeOnlyProg != 0}
	if m.kind == ebpf.ProgramArray || m.kind == ebpf.XSKMap { // their sizes may be left out in C
		m.keySize, m.valueSize = 4, 4
	}
	if err := m.check(s); err != nil {
		return nil, err
	}
	m.stride = roundUp8(m.valueSize)
	slots, copies, overhead := int64(m.max), int64(1), int64(0)
	if m.perCPU() {
		copies = int64(m.cpus)
	}
	if m.hashed() {
		slots += int64(m.cpus) + 1
		overhead = int64(roundUp8(m.keySize)) + 32 // of a slot: its links, and twice a bucket
	}
	if !m.plain() && !m.hashed() {
		overhead = 4 // of an entry: whether it is set
	}
	if slots*int64(m.stride) > maxRegion {
		return nil, fmt.Errorf("its values take %d bytes, more than the %d of a map", slots*int64(m.stride), int64(maxRegion))
	}
	if size := slots * (copies*int64(m.stride) + overhead); size > *memory {
		return nil, fmt.Errorf("it takes %d bytes, and the maps of the program have %d left: lower max_entries, or raise Config.MapMemory", size, *memory)
	} else {
		*memory -= size
	}
	for range copies {
		m.slabs = append(m.slabs, slab(uint64(slots)*uint64(m.stride)))
	}
	if m.hashed() {
		m.table = newTable(m, m.max, m.cpus+1)
	}
	switch m.kind {
	case ebpf.LPMTrie:
		m.lengths = make([]atomic.Uint64, (m.keySize-4)*8/64+1)
	case ebpf.ProgramArray, ebpf.XSKMap, ebpf.DevMap:
		m.present = make([]atomic.Uint32, m.max)
	}
	return m, nil
}

func (m *Map) check(s *ebpf.MapSpec) error {
	most := maxKeySize
	switch m.kind {
	case ebpf.Array, ebpf.PerCPUArray, ebpf.ProgramArray, ebpf.XSKMap, ebpf.DevMap, ebpf.DevMapHash:
		if m.keySize != 4 {
			return fmt.Errorf("keys of %d bytes: a %v has keys of 4", m.keySize, m.kind)
		}
		if (m.kind == ebpf.DevMap || m.kind == ebpf.DevMapHash) && m.valueSize != 4 && m.valueSize != 8 {
			return fmt.Errorf("values of %d bytes: a %v has values of 4, or 8 with a program", m.valueSize, m.kind)
		}
	case ebpf.Hash, ebpf.PerCPUHash, ebpf.LRUHash, ebpf.LRUCPUHash:
	case ebpf.LPMTrie:
		if most = 4 + maxLPMData; m.keySize < 5 {
			return fmt.Errorf("keys of %d bytes: that of an LPM trie has 4 for the length, and at least one", m.keySize)
		}
	default:
		return fmt.Errorf("type %v: the VM has arrays, hashes, LPM tries, program arrays and the targets of redirects: %w", m.kind, ErrUnsupported)
	}
	const mostEntries = 1 << 30
	if m.keySize < 1 || m.keySize > most || m.valueSize < 1 || m.max < 1 || m.max > mostEntries {
		return fmt.Errorf("%v: keys have 1 to %d bytes, values at least 1, and there are 1 to %d entries", s, most, mostEntries)
	}
	return nil
}

func (m *Map) isArray() bool { return m.kind == ebpf.Array || m.kind == ebpf.PerCPUArray }

func (m *Map) lru() bool { return m.kind == ebpf.LRUHash || m.kind == ebpf.LRUCPUHash }

func (m *Map) hashed() bool {
	switch m.kind {
	case ebpf.Hash, ebpf.PerCPUHash, ebpf.LRUHash, ebpf.LRUCPUHash, ebpf.LPMTrie, ebpf.DevMapHash:
		return true
	}
	return false
}

func (m *Map) perCPU() bool {
	return m.kind == ebpf.PerCPUArray || m.kind == ebpf.PerCPUHash || m.kind == ebpf.LRUCPUHash
}

// plain: programs may change the entries of the map.
func (m *Map) plain() bool {
	switch m.kind {
	case ebpf.ProgramArray, ebpf.XSKMap, ebpf.DevMap, ebpf.DevMapHash:
		return false
	}
	return true
}

// redirectKind of a map that redirects lead through; RedirectNone of others.
func (m *Map) redirectKind() RedirectKind {
	switch m.kind {
	case ebpf.XSKMap:
		return RedirectSocket
	case ebpf.DevMap, ebpf.DevMapHash:
		return RedirectMapping
	}
	return RedirectNone
}

// goSide is the number of Go code among the updaters.
func (m *Map) goSide() int { return m.cpus }

// address of the first value, for programs.
func (m *Map) address() uint64 { return uint64(regionValues+m.number) << regionShift }

// memory is what a program sees of the values as a CPU.
func (m *Map) memory(cpu int) (read, write []byte) {
	b := m.slabs[0]
	if m.perCPU() {
		b = m.slabs[cpu]
	}
	if m.kind == ebpf.ProgramArray {
		return nil, nil
	}
	if !m.hidden {
		read = b
	}
	if !m.readOnly && m.plain() {
		write = b
	}
	return read, write
}

// put writes a value; fresh says that the slot held another key's before.
//
//oobnet:hot
func (m *Map) put(slot uint32, value []byte, who int, fresh bool) {
	at := int(slot) * m.stride
	switch {
	case !m.perCPU():
		copyShared(m.slabs[0][at:][:m.valueSize], value)
	case who == m.goSide():
		for cpu := range m.slabs {
			copyShared(m.slabs[cpu][at:][:m.valueSize], value[cpu*m.stride:])
		}
	default:
		if fresh { // as in the kernel, the others start from zero
			for cpu := range m.slabs {
				if cpu != who {
					clearShared(m.slabs[cpu][at:][:m.stride])
				}
			}
		}
		copyShared(m.slabs[who][at:][:m.valueSize], value)
	}
}

// get copies a value, of all CPUs if it is one of each.
func (m *Map) get(slot uint32) []byte {
	at := int(slot) * m.stride
	if !m.perCPU() {
		b := make([]byte, m.valueSize)
		copyShared(b, m.slabs[0][at:])
		return b
	}
	b := make([]byte, m.cpus*m.stride)
	for cpu := range m.slabs {
		copyShared(b[cpu*m.stride:][:m.valueSize], m.slabs[cpu][at:])
	}
	return b
}

// Name of the map in the object.
func (m *Map) Name() string { return m.name }

// Type of the map.
func (m *Map) Type() ebpf.MapType { return m.kind }

// KeySize is the size of a key, bytes.
func (m *Map) KeySize() int { return m.keySize }

// ValueSize is the size of a value, bytes: of one CPU, without padding.
func (m *Map) ValueSize() int { return m.valueSize }

// MaxEntries is how many entries the map can hold.
func (m *Map) MaxEntries() int { return m.max }

// keyError and the like: one wording for all kinds.
func (m *Map) keyError(key []byte) error {
	if len(key) != m.keySize {
		return fmt.Errorf("vm: map %s: key of %d bytes: it has keys of %d", m.name, len(key), m.keySize)
	}
	return nil
}

func (m *Map) missing(key []byte) error {
	return fmt.Errorf("vm: map %s: key %x: %w", m.name, key, ebpf.ErrKeyNotExist)
}

var errFull = errors.New("the map is full")

// fill sets the initial contents.
func (m *Map) fill(v *VM, spec *ebpf.CollectionSpec) error {
	m.programs = len(v.programs)
	for _, kv := range spec.Maps[m.name].Contents {
		key, err := encode(kv.Key)
		if err != nil {
			return err
		}
		if name, ok := kv.Value.(string); ok && m.kind == ebpf.ProgramArray {
			if kv.Value, err = v.Program(name); err != nil {
				return err
			}
		}
		value, err := encode(kv.Value)
		if err != nil {
			return err
		}
		if m.perCPU() && len(value) == m.valueSize { // one value for all CPUs
			one := make([]byte, m.stride)
			copy(one, value)
			value = slices.Repeat(one, m.cpus)
		}
		if err := m.Update(key, value); err != nil {
			return err
		}
	}
	for name, variable := range spec.Variables {
		if variable.SectionName != m.name || variable.Value == nil {
			continue
		}
		if !m.isArray() || m.perCPU() || uint64(variable.Offset)+uint64(len(variable.Value)) > uint64(m.valueSize) {
			return fmt.Errorf("variable %s lies outside of it", name)
		}
		copy(m.slabs[0][variable.Offset:], variable.Value)
	}
	m.frozen = m.readOnly
	return nil
}

// frozenError: what the kernel's frozen maps say.
func (m *Map) frozenError() error {
	return fmt.Errorf("vm: map %s is constant: set the variable before the program is made: %w", m.name, fs.ErrPermission)
}

// longest is the highest prefix length up to n that an LPM trie has held; -1:
// none.
//
//oobnet:hot
func (m *Map) longest(n int) int {
	for i := n / 64; i >= 0; i-- {
		w := m.lengths[i].Load()
		if i == n/64 {
			w &= 1<<(n%64+1) - 1 // all of them for 63: 1<<64 is 0
		}
		if w != 0 {
			return i*64 + bits.Len64(w) - 1
		}
	}
	return -1
}
