package offheap

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// mapRegion maps a memfd: a descriptor behind the region is what VFIO and a
// second process need. Huge pages come first, where the size fills half a page
// at least; a machine without free ones refuses at ftruncate or mmap.
func mapRegion(size int) (*Region, error) {
	if size >= HugePageSize/2 {
		if b, err := mapMemfd(roundUp(size, HugePageSize), unix.MFD_HUGETLB|unix.MFD_HUGE_2MB); err == nil {
			return &Region{bytes: b, huge: true}, nil
		}
	}
	b, err := mapMemfd(roundUp(size, os.Getpagesize()), 0)
	if err != nil {
		return nil, fmt.Errorf("offheap: map %d bytes: %w", size, err)
	}
	return &Region{bytes: b}, nil
}

func mapMemfd(size, flags int) ([]byte, error) {
	fd, err := unix.MemfdCreate("oobnet", unix.MFD_CLOEXEC|flags)
	if err != nil {
		return nil, err
	}
	// The mapping keeps the memory; the descriptor is not needed beyond it.
	defer unix.Close(fd)
	if err := unix.Ftruncate(fd, int64(size)); err != nil {
		return nil, err
	}
	return unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
}

func unmapRegion(b []byte) error { return unix.Munmap(b) }
