package kernel

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/offheap"
	"github.com/oobnet/oobnet/link/vfio/internal/bus"
)

// extent is memory that is mapped for the device, and unmapped as it was mapped.
type extent struct {
	region *offheap.Region
	iova   uint64
}

// errReleased is for what is asked after Release.
var errReleased = fmt.Errorf("the device has been given back: %w", unix.ENODEV)

// Alloc implements bus.Bus.
func (b *Bus) Alloc(size int) (bus.Memory, error) {
	if b.group == nil {
		return bus.Memory{}, errReleased
	}
	b.expected = max(0, b.expected-wholePages(size))
	region, err := offheap.Map(size)
	if err != nil {
		return bus.Memory{}, err
	}
	mapped := region.Bytes()
	// A child would get copies of the pages, and a page that is written after
	// that need not be the one that the device knows. Children of this process
	// have no use for them.
	_ = unix.Madvise(mapped, unix.MADV_DONTFORK)
	iova, err := b.group.place(uint64(len(mapped)))
	if err != nil {
		return bus.Memory{}, errors.Join(err, region.Close())
	}
	if err := b.mapDMA(mapped, iova); err != nil {
		b.group.put(iova, uint64(len(mapped)))
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
	_, err := ioctlPtr(b.group.container, iommuMapDMA, &m)
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

// unmap takes memory from the device, as it was mapped. A container that is closed
// has none.
func (b *Bus) unmap(iova uint64, size int) error {
	if b.group.container < 0 {
		return nil
	}
	u := dmaUnmap{iova: iova, size: uint64(size)}
	u.argsz = uint32(unsafe.Sizeof(u))
	if _, err := ioctlPtr(b.group.container, iommuUnmapDMA, &u); err != nil {
		return fmt.Errorf("unmap %d bytes at %#x: %w", u.size, iova, err)
	}
	return nil
}

// unmapAll takes all memory from the device, and gives its addresses back, but
// those that may still be mapped. Ours stays.
func (b *Bus) unmapAll() error {
	var errs []error
	for _, e := range b.extents {
		size := len(e.region.Bytes())
		if err := b.unmap(e.iova, size); err != nil {
			errs = append(errs, err)
			continue
		}
		b.group.put(e.iova, uint64(size))
	}
	for _, r := range b.sparse {
		if err := b.unmapPieces(r); err != nil {
			errs = append(errs, err)
			continue
		}
		b.group.put(r.iova, uint64(len(r.region.Bytes())))
	}
	return errors.Join(errs...)
}
