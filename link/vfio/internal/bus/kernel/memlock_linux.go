package kernel

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Expect implements bus.Bus.
func (b *Bus) Expect(sizes ...int) {
	b.expected = 0
	for _, size := range sizes {
		b.expected += wholePages(size)
	}
}

func wholePages(size int) int {
	page := unix.Getpagesize()
	return (size + page - 1) &^ (page - 1)
}

// memlock says how much may be locked and how much is needed: what the process has
// locked, for devices or otherwise, the piece that was refused, and what is to
// come after it.
func (b *Bus) memlock(piece int) string {
	need := (b.locked() + uint64(piece) + uint64(b.expected)) >> 10
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit); err != nil || limit.Cur == unix.RLIM_INFINITY {
		return fmt.Sprintf("the process needs %d KiB in all", need)
	}
	return fmt.Sprintf("the process needs %d KiB in all and its limit is %d KiB: raise it by `ulimit -l %d` or LimitMEMLOCK=%dK", need, limit.Cur>>10, need, need)
}

// locked is what counts against the limit now, bytes. VFIO counts what it has
// pinned where mlock(2) does.
func (b *Bus) locked() uint64 {
	status, err := os.ReadFile("/proc/self/status")
	if err == nil {
		for line := range strings.Lines(string(status)) {
			if text, ok := strings.CutPrefix(line, "VmLck:"); ok {
				if n, err := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(text), "kB")), 10, 44); err == nil {
					return n << 10
				}
			}
		}
	}
	// Without /proc, what we know of ourselves.
	var n uint64
	for _, e := range b.extents {
		n += uint64(len(e.region.Bytes()))
	}
	for _, r := range b.sparse {
		for _, size := range r.mapped {
			n += uint64(size)
		}
	}
	return n
}
