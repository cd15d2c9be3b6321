package afxdp

import (
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/filter"
)

// kernelFilter is a filter.Filter in the kernel, with programs and maps of its
// own.
type kernelFilter struct {
	program *ebpf.Program // of collection
	hits    *ebpf.Map     // of collection; nil: the filter has no rules
	sockets string        // the map that is the link's own, "" for none

	mu         sync.Mutex // guards what follows, against users of a map
	collection *ebpf.Collection
}

// loadFilter gives a filter to the kernel. It is not on the interface yet.
func loadFilter(f filter.Filter, m *gateMaps) (*kernelFilter, error) {
	k, err := loadForm(f, true, m)
	// What wants more than the filter itself is done without.
	if errors.Is(err, errMarked) && (errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM)) {
		k, err = loadForm(f, false, m)
	}
	if err != nil {
		return nil, m.rx.explain(filter.ExplainLoad(err))
	}
	return k, nil
}

// errMarked is joined to the errors of programs that mark their redirects.
var errMarked = errors.New("with redirects told apart")

// loadForm loads a filter, with its redirects told apart if it may and needs to.
func loadForm(f filter.Filter, mark bool, m *gateMaps) (*kernelFilter, error) {
	x, err := f.XDP()
	if err != nil {
		return nil, err
	}
	if x == nil || x.Spec == nil {
		return nil, errors.New("the filter has no programs")
	}
	var options ebpf.CollectionOptions
	k, how := &kernelFilter{}, redirectUnknown
	if x.Actions && x.SocketMap != "" {
		if err := checkSocketMap(x, m.sockets); err != nil {
			return nil, err
		}
		k.sockets = x.SocketMap
		options.MapReplacements = map[string]*ebpf.Map{x.SocketMap: m.sockets}
		if how = redirectsOf(x); how == redirectMarked && !mark {
			how = redirectUnknown
		}
	}
	if how == redirectMarked {
		markRedirects(x, m)
	}
	if err := linkEntry(x, how, m); err != nil {
		return nil, err
	}
	m.rx.relicense(f, x.Spec.Programs[x.Entry])
	if err := m.rx.check(x.Spec.Programs[x.Entry]); err != nil {
		return nil, err
	}
	var c *ebpf.Collection
	err = m.rx.load(func() (err error) {
		c, err = ebpf.NewCollectionWithOptions(x.Spec, options)
		return err
	})
	if err != nil && how == redirectMarked {
		err = fmt.Errorf("%w: %w", errMarked, err)
	}
	if err != nil {
		return nil, fmt.Errorf("load the filter: %w", err)
	}
	k.program, k.hits, k.collection = c.Programs[x.Entry], c.Maps[x.RuleHits], c
	return k, nil
}

func (k *kernelFilter) close() {
	if k == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.collection.Close()
	k.collection = nil
}

// ruleHits sums the hits of each rule over all CPUs; nil if the filter has none.
func (k *kernelFilter) ruleHits() []uint64 {
	if k.hits == nil {
		return nil
	}
	hits := make([]uint64, k.hits.MaxEntries())
	var perCPU []uint64
	for i := range hits {
		if k.hits.Lookup(uint32(i), &perCPU) == nil {
			hits[i] = sum(perCPU)
		}
	}
	return hits
}

// lookUp returns a map of the filter's by name.
func (k *kernelFilter) lookUp(name string) (filter.Map, error) {
	m := k.collection.Maps[name]
	if m == nil || name == k.sockets {
		return nil, fmt.Errorf("%q: %w", name, filter.ErrNoMap)
	}
	return &kernelMap{filter: k, m: m}, nil
}

// kernelMap is a map of a filter in the kernel, for as long as the filter is set.
type kernelMap struct {
	filter *kernelFilter
	m      *ebpf.Map
}

// use runs f while the map is open.
func (m *kernelMap) use(f func() error) error {
	m.filter.mu.Lock()
	defer m.filter.mu.Unlock()
	if m.filter.collection == nil {
		return fmt.Errorf("afxdp: the filter of the map is no longer set: %w", net.ErrClosed)
	}
	return f()
}

// Lookup implements filter.Map.
func (m *kernelMap) Lookup(key []byte) (value []byte, err error) {
	err = m.use(func() error {
		if value, err = m.m.LookupBytes(key); err == nil && value == nil {
			err = fmt.Errorf("afxdp: no entry % x: %w", key, filter.ErrKeyNotExist)
		}
		return err
	})
	return value, err
}

// Update implements filter.Map.
func (m *kernelMap) Update(key, value []byte) error {
	return m.use(func() error {
		if !isPerCPU(m.m.Type()) {
			return m.m.Put(key, value)
		}
		values, err := m.perCPU(value)
		if err != nil {
			return err
		}
		return m.m.Put(key, values)
	})
}

// perCPU cuts a value of a per-CPU map into those of each CPU.
func (m *kernelMap) perCPU(value []byte) ([][]byte, error) {
	size := int(m.m.ValueSize())
	stride := (size + 7) &^ 7 // the kernel rounds each up to 8 bytes
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return nil, err
	}
	if len(value) != cpus*stride {
		return nil, fmt.Errorf("afxdp: a value of %d bytes: want %d for each of %d CPUs", len(value), stride, cpus)
	}
	values := make([][]byte, cpus)
	for i := range values {
		values[i] = value[i*stride:][:size]
	}
	return values, nil
}

func isPerCPU(t ebpf.MapType) bool {
	return t == ebpf.PerCPUArray || t == ebpf.PerCPUHash || t == ebpf.LRUCPUHash || t == ebpf.PerCPUCGroupStorage
}

// Delete implements filter.Map.
func (m *kernelMap) Delete(key []byte) error {
	return m.use(func() error { return m.m.Delete(key) })
}

// Each implements filter.Map. The map is not locked meanwhile: f may use it.
func (m *kernelMap) Each(f func(key, value []byte) bool) error {
	var key []byte
	// A key that is deleted under way makes the kernel begin again: the bound
	// ends that.
	for range m.m.MaxEntries() {
		var value []byte
		err := m.use(func() (err error) {
			var next []byte
			if next, err = m.next(key); err != nil || next == nil {
				key = nil
				return err
			}
			key = next
			value, err = m.m.LookupBytes(key)
			return err
		})
		if err != nil || key == nil {
			return err
		}
		if value != nil && !f(key, value) {
			return nil
		}
	}
	return nil
}

// next is the key after one, the first after nil; nil after the last.
func (m *kernelMap) next(key []byte) ([]byte, error) {
	if key == nil {
		return m.m.NextKeyBytes(nil)
	}
	return m.m.NextKeyBytes(key)
}
