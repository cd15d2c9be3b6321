package offheap

import (
	"runtime/debug"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestSparseResident: the system has the memory back, and touching what has
// none is a fault.
func TestSparseResident(t *testing.T) {
	s, err := Reserve(2 * HugePageSize)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for range 3 {
		if n := resident(t, s.Bytes()); n != 0 {
			t.Fatalf("%d pages of a reservation are resident", n)
		}
		if _, err := s.Populate(HugePageSize, HugePageSize); err != nil {
			t.Fatal(err)
		}
		if n := resident(t, s.Bytes()); n != HugePageSize/unix.Getpagesize() {
			t.Fatalf("%d pages are resident, want all of one piece", n)
		}
		if faults(s.Bytes()[HugePageSize:]) {
			t.Fatal("memory that faults")
		}
		if !faults(s.Bytes()) {
			t.Fatal("a write to no memory worked")
		}
		if err := s.Release(HugePageSize, HugePageSize); err != nil {
			t.Fatal(err)
		}
		if !faults(s.Bytes()[HugePageSize:]) {
			t.Fatal("a write to released memory worked")
		}
	}
}

// resident is how many pages of b are in memory.
func resident(t *testing.T, b []byte) (n int) {
	t.Helper()
	pages := make([]byte, len(b)/unix.Getpagesize())
	if err := mincore(b, pages); err != nil {
		t.Fatal(err)
	}
	for _, p := range pages {
		n += int(p & 1)
	}
	return n
}

// faults says whether a write to b does.
func faults(b []byte) (yes bool) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() { yes = recover() != nil }()
	b[0] = 1
	return false
}

func mincore(b, pages []byte) error {
	_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), uintptr(unsafe.Pointer(&pages[0])))
	if errno != 0 {
		return errno
	}
	return nil
}
