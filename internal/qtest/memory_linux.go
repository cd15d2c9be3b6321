package qtest

import (
	"fmt"
	"slices"
	"sync"
)

// The layout of the machine's RAM. Guest-physical address = offset in the RAM:
// there is no IOMMU, and all of it lies below the hole for PCI.
const (
	pageSize = 4096
	// interruptPage is where MSI and MSI-X messages are written to, a word for
	// each vector. Below 1 MiB lie holes for video memory and the BIOS.
	interruptPage = 1 << 20
	// firstFree is where what Memory gives out begins.
	firstFree = 2 << 20
)

// extents keeps which parts of the RAM are free, in order of address.
type extents struct {
	mu   sync.Mutex
	free []extent
	used []extent
}

type extent struct{ addr, size uint64 }

// take cuts size bytes off the first free extent that has them, aligned.
func (e *extents) take(size, align uint64) (addr uint64, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, f := range e.free {
		addr := (f.addr + align - 1) &^ (align - 1)
		if addr+size > f.addr+f.size {
			continue
		}
		parts := slices.DeleteFunc([]extent{{f.addr, addr - f.addr}, {addr + size, f.addr + f.size - addr - size}},
			func(p extent) bool { return p.size == 0 })
		e.free = slices.Replace(e.free, i, i+1, parts...)
		e.used = append(e.used, extent{addr, size})
		return addr, true
	}
	return 0, false
}

// put gives back what take gave, and joins it with its free neighbours.
func (e *extents) put(addr uint64) (extent, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	i := slices.IndexFunc(e.used, func(u extent) bool { return u.addr == addr })
	if i < 0 {
		return extent{}, false
	}
	back := e.used[i]
	e.used = slices.Delete(e.used, i, i+1)
	at := slices.IndexFunc(e.free, func(f extent) bool { return f.addr > addr })
	if at < 0 {
		at = len(e.free)
	}
	e.free = slices.Insert(e.free, at, back)
	for i := max(at-1, 0); i+1 < len(e.free); {
		if a, b := e.free[i], e.free[i+1]; a.addr+a.size == b.addr {
			e.free[i].size += b.size
			e.free = slices.Delete(e.free, i+1, i+2)
			continue
		}
		if i++; i > at {
			break
		}
	}
	return back, true
}

// Memory returns size bytes, zeroed, that the device reaches by DMA at iova: a
// page aligned, or 2 MiB where size is a multiple of that, as huge pages are.
// The bytes are gone when the test ends. The test fails if there are not that
// many: see [Config.RAM].
func (m *Machine) Memory(size int) (region []byte, iova uint64) {
	m.t.Helper()
	align, n := uint64(pageSize), (uint64(size)+pageSize-1)&^(pageSize-1)
	if const2M := uint64(2 << 20); n > 0 && n%const2M == 0 {
		align = const2M
	}
	addr, ok := m.extents.take(n, align)
	if size <= 0 || !ok {
		m.t.Fatalf("qtest: no %d bytes in %d of RAM: set Config.RAM", size, len(m.ram))
	}
	region = m.ram[addr : addr+uint64(size) : addr+uint64(size)]
	clear(region)
	return region, addr
}

// Free gives back what Memory returned as iova. The device must have stopped
// using it.
func (m *Machine) Free(iova uint64) error {
	if _, ok := m.extents.put(iova); !ok {
		return fmt.Errorf("qtest: no memory was given out at %#x", iova)
	}
	return nil
}

// RAM is the whole memory of the machine; the index is the guest-physical
// address.
func (m *Machine) RAM() []byte { return m.ram }
