package stack

import (
	"os"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/link"
)

// residentPages counts the whole pages of a slice, and those of them that are in RAM.
func residentPages[T any](t *testing.T, s []T) (in, all int) {
	t.Helper()
	page := uintptr(os.Getpagesize())
	begin := (uintptr(unsafe.Pointer(&s[0])) + page - 1) &^ (page - 1)
	end := (uintptr(unsafe.Pointer(&s[0])) + uintptr(len(s))*unsafe.Sizeof(s[0])) &^ (page - 1)
	here := make([]byte, (end-begin)/page)
	if _, _, errno := unix.Syscall(unix.SYS_MINCORE, begin, end-begin, uintptr(unsafe.Pointer(&here[0]))); errno != 0 {
		t.Skip("this kernel does not say which pages are in RAM: ", errno)
	}
	for _, v := range here {
		in += int(v & 1)
	}
	return in, len(here)
}

// TestTimesArePrefaulted: what is made for timestamps, later than the device, is
// touched as the rest of it is.
func TestTimesArePrefaulted(t *testing.T) {
	const buffers = 1 << 18 // 18 MiB of times: more than the heap of the tests has to spare
	for _, prefault := range []bool{false, true} {
		d := &Device{cfg: DeviceConfig{Prefault: prefault}, layout: link.Layout{TXBuffers: buffers}}
		in, all := residentPages(t, *d.makeTimes())
		t.Logf("prefault %v: %d pages of %d", prefault, in, all)
		if prefault && in != all {
			t.Errorf("%d pages of %d are in RAM", in, all)
		}
	}
}
