package kernel

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// TestIoctlOnMovedStack has the kernel answer into variables of goroutines whose
// stacks are about to grow, at each depth that a first stack has: the answer has
// to arrive where the variable is then.
func TestIoctlOnMovedStack(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	const waiting = "answer"
	if _, err := w.WriteString(waiting); err != nil {
		t.Fatal(err)
	}
	fd := int(r.Fd())
	const depths = 400 // of 48 bytes and more: beyond the 8 KiB that a stack grows to at first
	for depth := range depths {
		got := make(chan int32)
		go func() { got <- askAtDepth(fd, depth) }()
		if n := <-got; n != int32(len(waiting)) {
			t.Fatalf("depth %d: the kernel's answer is %d, want %d", depth, n, len(waiting))
		}
	}
}

//go:noinline
func askAtDepth(fd, depth int) int32 {
	if depth > 0 {
		return askAtDepth(fd, depth-1)
	}
	var n int32
	if _, err := ioctlPtr(fd, unix.TIOCINQ, &n); err != nil {
		return -1
	}
	return n
}
