package kernel

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/offheap"
	"github.com/oobnet/oobnet/link/vfio/internal/bus"
)

// reservation is addresses of which parts are mapped, each by a call of its own:
// the kernel unmaps what was mapped by one, and no part of it.
type reservation struct {
	region *offheap.Sparse
	iova   uint64
	mapped map[uint64]int // bytes, by their first IOVA
}

// Reserve implements bus.Bus.
func (b *Bus) Reserve(size int) (bus.Memory, error) {
	if b.group == nil {
		return bus.Memory{}, errReleased
	}
	region, err := offheap.Reserve(size)
	if err != nil {
		return bus.Memory{}, err
	}
	iova, err := b.group.place(uint64(len(region.Bytes())))
	if err != nil {
		return bus.Memory{}, errors.Join(err, region.Close())
	}
	b.sparse = append(b.sparse, &reservation{region, iova, map[uint64]int{}})
	return bus.Memory{Bytes: region.Bytes()[:size:size], IOVA: iova}, nil
}

// Populate implements bus.Bus.
func (b *Bus) Populate(iova uint64, size int) (huge bool, err error) {
	r, off, err := b.reserved(iova, size)
	if err != nil {
		return false, err
	}
	for at, n := range r.mapped {
		if iova < at+uint64(n) && at < iova+uint64(size) {
			return false, fmt.Errorf("%d bytes at %#x are mapped already: %w", n, at, unix.EEXIST)
		}
	}
	b.expected = max(0, b.expected-wholePages(size))
	size = r.whole(off, size)
	if huge, err = r.region.Populate(off, size); err != nil {
		return false, err
	}
	piece := r.region.Bytes()[off:][:size]
	// As for Alloc: children would get copies.
	_ = unix.Madvise(piece, unix.MADV_DONTFORK)
	if err := b.mapDMA(piece, iova); err != nil {
		return false, errors.Join(err, r.region.Release(off, size))
	}
	r.mapped[iova] = size
	return huge, nil
}

// Discard implements bus.Bus.
func (b *Bus) Discard(iova uint64, size int) error {
	r, off, err := b.reserved(iova, size)
	if err != nil {
		return err
	}
	if size = r.whole(off, size); r.mapped[iova] != size {
		return fmt.Errorf("%d bytes at %#x were not mapped so: %w", size, iova, unix.EINVAL)
	}
	if err := b.unmap(iova, size); err != nil {
		return err
	}
	delete(r.mapped, iova)
	return r.region.Release(off, size)
}

// whole rounds the last piece of a region up to its end, which is a page's.
func (r *reservation) whole(off, size int) int {
	return min(wholePages(size), len(r.region.Bytes())-off)
}

// reserved is the reservation that some addresses belong to, and where they are in it.
func (b *Bus) reserved(iova uint64, size int) (r *reservation, off int, err error) {
	if b.group == nil {
		return nil, 0, errReleased
	}
	for _, r := range b.sparse {
		have := uint64(len(r.region.Bytes()))
		if off := iova - r.iova; iova >= r.iova && size > 0 && off < have && uint64(size) <= have-off {
			return r, int(off), nil
		}
	}
	return nil, 0, fmt.Errorf("%d bytes at %#x are not reserved: %w", size, iova, unix.EINVAL)
}

// unmapPieces takes from the device what it has of a reservation.
func (b *Bus) unmapPieces(r *reservation) error {
	var errs []error
	for iova, size := range r.mapped {
		errs = append(errs, b.unmap(iova, size))
	}
	clear(r.mapped)
	return errors.Join(errs...)
}
