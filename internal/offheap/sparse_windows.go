package offheap

import (
	"unsafe"

	"golang.org/x/sys/windows"
)

func reserve(size int) ([]byte, error) {
	addr, err := windows.VirtualAlloc(0, uintptr(size), windows.MEM_RESERVE, windows.PAGE_NOACCESS)
	if err != nil {
		return nil, err
	}
	// As in mapRegion: the address comes from the system.
	base := *(*unsafe.Pointer)(unsafe.Pointer(&addr))
	return unsafe.Slice((*byte)(base), size), nil
}

func populate(b []byte, _ int) (huge bool, err error) {
	if _, err := windows.VirtualAlloc(address(b), uintptr(len(b)), windows.MEM_COMMIT, windows.PAGE_READWRITE); err != nil {
		return false, err
	}
	touch(b)
	return false, nil
}

func release(b []byte) error {
	return windows.VirtualFree(address(b), uintptr(len(b)), windows.MEM_DECOMMIT)
}

func unreserve(b []byte) error { return windows.VirtualFree(address(b), 0, windows.MEM_RELEASE) }

func address(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }
