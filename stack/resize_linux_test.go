package stack_test

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/link"
)

// resident is how many bytes of a region are in memory, as the kernel says.
func resident(t *testing.T, m *link.Memory) (bytes int, ok bool) {
	t.Helper()
	page, size := unix.Getpagesize(), m.Layout().Bytes()
	pages := make([]byte, size/page)
	_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&m.Buffer(0)[0])), uintptr(size), uintptr(unsafe.Pointer(&pages[0])))
	if errno != 0 {
		t.Fatalf("mincore: %v", errno)
	}
	for _, p := range pages {
		bytes += int(p&1) * page
	}
	return bytes, true
}
