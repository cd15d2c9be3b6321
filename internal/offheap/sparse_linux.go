package offheap

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// noReserve: what has no memory shall not count as if it had.
const noReserve = unix.MAP_NORESERVE

// populate tries reserved huge pages first.
func populate(b []byte, off int) (huge bool, err error) {
	if off%HugePageSize == 0 && len(b)%HugePageSize == 0 && populateReserved(b) == nil {
		return true, nil
	}
	if err := overlay(b, -1, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|noReserve); err != nil {
		return false, err
	}
	// A kernel without transparent huge pages says EINVAL, and gives small ones.
	_ = unix.Madvise(b, unix.MADV_HUGEPAGE)
	err = unix.Madvise(b, unix.MADV_POPULATE_WRITE)
	if errors.Is(err, unix.EINVAL) {
		touch(b) // Linux before 5.14
		err = nil
	}
	return false, err
}

// populateReserved takes the pages first and maps them when they are there: a
// mapping that fails for want of pages may have undone the one in its place.
func populateReserved(b []byte) error {
	fd, err := unix.MemfdCreate("oobnet", unix.MFD_CLOEXEC|unix.MFD_HUGETLB|unix.MFD_HUGE_2MB)
	if err != nil {
		return err
	}
	// The mapping keeps the memory; the descriptor is not needed beyond it.
	defer unix.Close(fd)
	if err := unix.Fallocate(fd, 0, 0, int64(len(b))); err != nil {
		return os.NewSyscallError("fallocate", err)
	}
	return overlay(b, fd, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
}
