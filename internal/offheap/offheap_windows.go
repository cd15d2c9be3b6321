package offheap

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

func mapRegion(size int) (*Region, error) {
	size = roundUp(size, os.Getpagesize())
	addr, err := windows.VirtualAlloc(0, uintptr(size), windows.MEM_RESERVE|windows.MEM_COMMIT, windows.PAGE_READWRITE)
	if err != nil {
		return nil, fmt.Errorf("offheap: map %d bytes: %w", size, err)
	}
	// The address comes from the system, not from Go: it does not move, and
	// the collector does not follow it. Reading it through its own variable
	// is what keeps vet from taking it for a Go pointer made of an integer.
	base := *(*unsafe.Pointer)(unsafe.Pointer(&addr))
	b := unsafe.Slice((*byte)(base), size)
	return &Region{bytes: b, mapping: b}, nil
}

func unmapRegion(b []byte) error {
	return windows.VirtualFree(uintptr(unsafe.Pointer(unsafe.SliceData(b))), 0, windows.MEM_RELEASE)
}
