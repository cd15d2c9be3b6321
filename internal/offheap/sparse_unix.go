//go:build unix

package offheap

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// reserve maps addresses that nobody may touch.
func reserve(size int) ([]byte, error) {
	p, err := unix.MmapPtr(-1, 0, nil, uintptr(size), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON|noReserve)
	if err != nil {
		return nil, err
	}
	return unsafe.Slice((*byte)(p), size), nil
}

// overlay puts another mapping in the place of b. There is no moment in which
// the addresses are free for others to take.
func overlay(b []byte, fd, prot, flags int) error {
	_, err := unix.MmapPtr(fd, 0, unsafe.Pointer(unsafe.SliceData(b)), uintptr(len(b)), prot, flags|unix.MAP_FIXED)
	return err
}

func release(b []byte) error {
	return overlay(b, -1, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON|noReserve)
}

func unreserve(b []byte) error {
	return unix.MunmapPtr(unsafe.Pointer(unsafe.SliceData(b)), uintptr(len(b)))
}
