package kernel

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/offheap"
	"github.com/oobnet/oobnet/link/vfio/internal/bus"
)

// firstIOVA is where our addresses begin: above what firmware and the interrupt
// window of x86 (0xfee00000) take of the first 4 GiB.
const firstIOVA = 1 << 32

// extent is memory that is mapped for the device, and unmapped as it was mapped.
type extent struct {
	region *offheap.Region
	iova   uint64
}

// Alloc implements bus.Bus.
func (b *Bus) Alloc(size int) (bus.Memory, error) {
	region, err := offheap.Map(size)
	if err != nil {
		return bus.Memory{}, err
	}
	mapped := region.Bytes()
	// A child would get copies of the pages, and a page that is written after
	// that need not be the one that the device knows. Children of this process
	// have no use for them.
	_ = unix.Madvise(mapped, unix.MADV_DONTFORK)
	iova, err := b.place(uint64(len(mapped)))
	if err == nil {
		err = b.mapDMA(mapped, iova)
	}
	if err != nil {
		return bus.Memory{}, errors.Join(err, region.Close())
	}
	b.extents = append(b.extents, extent{region, iova})
	return bus.Memory{Bytes: mapped[:size:size], IOVA: iova, Huge: region.Huge()}, nil
}

func (b *Bus) mapDMA(mapped []byte, iova uint64) error {
	m := dmaMap{
		flags: mapRead | mapWrite, vaddr: uint64(uintptr(unsafe.Pointer(unsafe.SliceData(mapped)))),
		iova: iova, size: uint64(len(mapped)),
	}
	m.argsz = uint32(unsafe.Sizeof(m))
	_, err := ioctlPtr(b.container, iommuMapDMA, &m)
	switch {
	case errors.Is(err, unix.ENOMEM):
		return fmt.Errorf("the memory cannot be locked: %s: %w", b.memlock(len(mapped)), err)
	case errors.Is(err, unix.ENOSPC):
		return fmt.Errorf("the device has too many mappings: raise dma_entry_limit of the module vfio_iommu_type1: %w", err)
	case err != nil:
		return fmt.Errorf("map %d bytes for the device at %#x: %w", len(mapped), iova, err)
	}
	return nil
}

// memlock says how much may be locked and how much is needed.
func (b *Bus) memlock(more int) string {
	need := uint64(more)
	for _, e := range b.extents {
		need += uint64(len(e.region.Bytes()))
	}
	for _, r := range b.sparse {
		for _, size := range r.mapped {
			need += uint64(size)
		}
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit); err != nil || limit.Cur == unix.RLIM_INFINITY {
		return fmt.Sprintf("%d KiB are needed in all", need>>10)
	}
	return fmt.Sprintf("this device needs %d KiB and the limit of the process is %d KiB: raise it by `ulimit -l` or LimitMEMLOCK=", need>>10, limit.Cur>>10)
}

// unmap takes memory from the device, as it was mapped. When the container is
// closed already, that has done it.
func (b *Bus) unmap(iova uint64, size int) error {
	if b.container < 0 {
		return nil
	}
	u := dmaUnmap{iova: iova, size: uint64(size)}
	u.argsz = uint32(unsafe.Sizeof(u))
	if _, err := ioctlPtr(b.container, iommuUnmapDMA, &u); err != nil {
		return fmt.Errorf("unmap %d bytes at %#x: %w", u.size, iova, err)
	}
	return nil
}

// place takes addresses off the free ranges: from firstIOVA up where there are
// any, else below. Large extents are aligned for large pages of the IOMMU.
func (b *Bus) place(size uint64) (uint64, error) {
	align := uint64(iommuPages)
	if size >= offheap.HugePageSize {
		align = offheap.HugePageSize
	}
	// Below 1 MiB lies what old devices were given by firmware.
	for _, lowest := range []uint64{firstIOVA, 1 << 20} {
		for i := range b.free {
			r := &b.free[i]
			at := (max(r.start, lowest) + align - 1) &^ (align - 1)
			if at < r.start || at > r.end || r.end-at < size-1 || at+size > bus.MaxIOVA {
				continue
			}
			b.cut(i, at, size)
			return at, nil
		}
	}
	return 0, fmt.Errorf("no %d bytes of address space are left below %#x: %w", size, uint64(bus.MaxIOVA), unix.ENOSPC)
}

// cut takes size addresses at at out of free range i, which has them.
func (b *Bus) cut(i int, at, size uint64) {
	r := b.free[i]
	var rest []iovaRange
	if at > r.start {
		rest = append(rest, iovaRange{r.start, at - 1})
	}
	if last := at + size - 1; last < r.end {
		rest = append(rest, iovaRange{last + 1, r.end})
	}
	b.free = append(b.free[:i:i], append(rest, b.free[i+1:]...)...)
}
