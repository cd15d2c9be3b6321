package vfio

import (
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/offheap"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio/internal/driver"
)

// markAbsent in queue.held: the buffer has no memory, so that neither side of any
// queue takes it, at no further look.
const markAbsent = 1<<16 - 1

var _ link.Resizer = (*Link)(nil)

// needs are the sizes of all that a device maps for a layout, bytes: its region and
// its rings.
func (l *Link) needs(layout link.Layout) (sizes []int) {
	for _, n := range layout.Populated() {
		sizes = append(sizes, n*layout.BufferSize)
	}
	info := l.dev.Info()
	for range info.Queues {
		sizes = append(sizes, info.RXDescriptors*driver.DescriptorSize, info.TXDescriptors*driver.DescriptorSize)
	}
	return sizes
}

// makeRegion maps the memory of a layout, all of it at once, or each chunk that it
// asks for by itself: what the IOMMU was told in one call it forgets in one. The
// mutex is held.
func (l *Link) makeRegion(layout link.Layout) (driver.Region, error) {
	l.held = make([]uint16, layout.Buffers())
	if !layout.Resizable() {
		memory, err := l.bus.Alloc(layout.Bytes())
		if err != nil {
			return driver.Region{}, err
		}
		l.countSmall(memory.Huge, len(memory.Bytes))
		mem, err := link.NewMemory(memory.Bytes, layout)
		return driver.Region{Memory: mem, IOVA: memory.IOVA}, err
	}
	memory, err := l.bus.Reserve(layout.Bytes())
	if err != nil {
		return driver.Region{}, err
	}
	mem, err := link.NewSparseMemory(memory.Bytes, layout)
	if err != nil {
		return driver.Region{}, err
	}
	for i := range l.held {
		l.held[i] = markAbsent
	}
	l.region = driver.Region{Memory: mem, IOVA: memory.IOVA}
	for first, n := range layout.Populated() {
		if err := l.populate(first, n); err != nil {
			return driver.Region{}, err
		}
	}
	return l.region, nil
}

// Populate implements link.Resizer.
func (l *Link) Populate(first, n int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.checkChunks(first, n, false)
	if err == nil {
		l.bus.Expect(n * l.region.Layout().BufferSize)
		err = l.populate(first, n)
	}
	if err != nil {
		return l.fail(fmt.Errorf("populate: %w", err))
	}
	return nil
}

// Release implements link.Resizer.
func (l *Link) Release(first, n int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.checkChunks(first, n, true)
	if err == nil {
		err = l.checkHeld(first, n)
	}
	if err == nil {
		err = l.discard(first, n)
	}
	if err != nil {
		return l.fail(fmt.Errorf("release: %w", err))
	}
	return nil
}

// checkChunks says why the memory of buffers cannot come, or go.
func (l *Link) checkChunks(first, n int, have bool) error {
	switch {
	case l.stopped.Load():
		return net.ErrClosed
	case l.region.Memory == nil:
		return fmt.Errorf("the link is not attached, or to a layout that says nothing of memory that comes and goes: set Layout.RXPopulated and TXPopulated: %w", link.ErrNotSupported)
	case l.gone():
		return fmt.Errorf("the device is gone: close the link: %w", unix.ENODEV)
	}
	layout := l.region.Layout()
	if err := layout.CheckChunks(first, n); err != nil {
		return err
	}
	for b := first; b < first+n; b += layout.Chunk() {
		if l.region.Populated(uint32(b)) != have {
			return fmt.Errorf("buffer %d has memory: %v: %w", b, !have, unix.EINVAL)
		}
	}
	return nil
}

// checkHeld refuses buffers that the device has. The caller owns them all, or it
// is in error.
func (l *Link) checkHeld(first, n int) error {
	for b := first; b < first+n; b++ {
		if m := l.held[b]; m != 0 {
			return fmt.Errorf("the device has buffer %d, by queue %d: %w", b, (m-1)/2, unix.EBUSY)
		}
	}
	return nil
}

// populate gives memory to chunks, or to none of them.
func (l *Link) populate(first, n int) error {
	chunk := l.region.Layout().Chunk()
	for b := first; b < first+n; b += chunk {
		iova, size := l.chunkAt(b, first+n)
		huge, err := l.bus.Populate(iova, size)
		if err != nil {
			if b > first {
				err = errors.Join(err, l.discard(first, b-first))
			}
			return err
		}
		l.countSmall(huge, size)
		l.mark(b, min(chunk, first+n-b), 0, true)
	}
	return nil
}

// countSmall counts memory that would have filled huge pages, and got none.
func (l *Link) countSmall(huge bool, size int) {
	if !huge && size >= offheap.HugePageSize {
		l.small += size
	}
}

// discard takes the memory from chunks. Marked first, no frame of ours can follow.
func (l *Link) discard(first, n int) error {
	chunk := l.region.Layout().Chunk()
	l.mark(first, n, markAbsent, false)
	var errs []error
	for b := first; b < first+n; b += chunk {
		iova, size := l.chunkAt(b, first+n)
		errs = append(errs, l.bus.Discard(iova, size))
	}
	return errors.Join(errs...)
}

// chunkAt is where the chunk of buffer b, of those before end, lies for the device,
// and how many bytes it has.
func (l *Link) chunkAt(b, end int) (iova uint64, size int) {
	layout := l.region.Layout()
	return l.region.IOVA + uint64(b)*uint64(layout.BufferSize), min(layout.Chunk(), end-b) * layout.BufferSize
}

func (l *Link) mark(first, n int, mark uint16, populated bool) {
	for b := first; b < first+n; b++ {
		l.held[b] = mark
	}
	l.region.Mark(first, n, populated)
}
