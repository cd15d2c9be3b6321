package offheap

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mapRegion tries reserved huge pages first, which a machine without free ones
// refuses at ftruncate or mmap.
func mapRegion(size int) (*Region, error) {
	if size >= HugePageSize/2 {
		if b, err := mapReserved(roundUp(size, HugePageSize)); err == nil {
			return &Region{bytes: b, mapping: b, huge: true}, nil
		}
	}
	r, err := mapAnonymous(size)
	if err != nil {
		return nil, fmt.Errorf("offheap: map %d bytes: %w", size, err)
	}
	return r, nil
}

// mapReserved maps huge pages of the pool that the administrator reserved
// (vm.nr_hugepages).
func mapReserved(size int) ([]byte, error) {
	fd, err := unix.MemfdCreate("oobnet", unix.MFD_CLOEXEC|unix.MFD_HUGETLB|unix.MFD_HUGE_2MB)
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

// mapAnonymous maps ordinary memory, and asks the kernel to make transparent
// huge pages of what is aligned to one: received frames lie a page apart, and
// each would need an entry of the processor's address cache (TLB) of its own.
func mapAnonymous(size int) (*Region, error) {
	n := roundUp(size, os.Getpagesize())
	slack := 0
	if n >= HugePageSize {
		slack = HugePageSize - os.Getpagesize()
	}
	mapping, err := unix.Mmap(-1, 0, n+slack, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		return nil, err
	}
	b := mapping[:n]
	if slack > 0 {
		// What lies before and behind the aligned part is never touched: it
		// is address space, and no memory.
		skip := -int(uintptr(unsafe.Pointer(&mapping[0]))) & (HugePageSize - 1)
		b = mapping[skip:][:n:n]
		// A kernel without transparent huge pages says EINVAL, and gives small ones.
		_ = unix.Madvise(b, unix.MADV_HUGEPAGE)
	}
	if err := unix.Madvise(b, unix.MADV_POPULATE_WRITE); err != nil {
		// Linux before 5.14: the pages come as they are written.
		for i := 0; i < len(b); i += os.Getpagesize() {
			b[i] = 0
		}
	}
	return &Region{bytes: b, mapping: mapping}, nil
}

func unmapRegion(b []byte) error { return unix.Munmap(b) }
