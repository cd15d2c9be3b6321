package kernel

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/offheap"
	"github.com/oobnet/oobnet/link/vfio/internal/bus"
)

// firstIOVA is where our addresses begin: above what firmware and the interrupt
// window of x86 (0xfee00000) take of the first 4 GiB.
const firstIOVA = 1 << 32

// place takes addresses off the free ranges: from firstIOVA up where there are
// any, else below. Large extents are aligned for large pages of the IOMMU.
func (g *group) place(size uint64) (uint64, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	align := uint64(iommuPages)
	if size >= offheap.HugePageSize {
		align = offheap.HugePageSize
	}
	// Below 1 MiB lies what old devices were given by firmware.
	for _, lowest := range []uint64{firstIOVA, 1 << 20} {
		for i, r := range g.free {
			at := (max(r.start, lowest) + align - 1) &^ (align - 1)
			if at < r.start || at > r.end || r.end-at < size-1 || at+size > bus.MaxIOVA {
				continue
			}
			g.cut(i, at, size)
			return at, nil
		}
	}
	return 0, fmt.Errorf("no %d bytes of address space are left below %#x: %w", size, uint64(bus.MaxIOVA), unix.ENOSPC)
}

// cut takes size addresses at at out of free range i, which has them.
func (g *group) cut(i int, at, size uint64) {
	r := g.free[i]
	var rest []iovaRange
	if at > r.start {
		rest = append(rest, iovaRange{r.start, at - 1})
	}
	if last := at + size - 1; last < r.end {
		rest = append(rest, iovaRange{last + 1, r.end})
	}
	g.free = slices.Replace(g.free, i, i+1, rest...)
}

// put gives addresses back, for the next function that is opened while another of
// the group stays. Nothing may be mapped there any more.
func (g *group) put(at, size uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	r := iovaRange{at, at + size - 1}
	i, _ := slices.BinarySearchFunc(g.free, at, func(f iovaRange, at uint64) int {
		if f.start < at {
			return -1
		}
		return 1
	})
	if i < len(g.free) && g.free[i].start == r.end+1 {
		r.end = g.free[i].end
		g.free = slices.Delete(g.free, i, i+1)
	}
	if i > 0 && g.free[i-1].end+1 == r.start {
		g.free[i-1].end = r.end
		return
	}
	g.free = slices.Insert(g.free, i, r)
}
