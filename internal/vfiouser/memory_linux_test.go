package vfiouser

import (
	"errors"
	"syscall"
	"testing"

	"github.com/oobnet/oobnet/internal/leaktest"
)

func unmapping(flags uint32, addr, size uint64) []byte {
	return append(words(24, flags), u64(addr, size)...)
}

// A monitor unmaps what it mapped, one or many, and ranges where nothing is.
func TestUnmap(t *testing.T) {
	leaktest.Check(t)
	s, path := serve(t)
	c := greeted(t, path)
	fd := memfd(t, 4*4096)
	mapped := func(want ...uint64) {
		t.Helper()
		for page := range uint64(8) {
			err := s.Memory().Read(page<<12, make([]byte, 1))
			is := err == nil
			for _, w := range want {
				is = is != (w == page) // what is mapped and wanted cancels out
			}
			if is || err != nil && !errors.Is(err, syscall.EFAULT) {
				t.Errorf("page %d: %v, want pages %v mapped", page, err, want)
			}
		}
	}
	setUp := func() {
		c.ok(cmdDMAMap, dma(3, 0, 0x1000, 0x2000), fd)
		c.ok(cmdDMAMap, dma(3, 0, 0x3000, 0x1000), fd)
		c.ok(cmdDMAMap, dma(3, 0, 0x5000, 0x1000), fd)
		mapped(1, 2, 3, 5)
	}
	setUp()
	for _, r := range [][2]uint64{{0x1000, 0x1000}, {0x2000, 0x1000}, {0x2000, 0x2000}, {0, 0x2000}, {0x1000, 0}, {0x1000, ^uint64(0)}} {
		c.refused(syscall.EINVAL, cmdDMAUnmap, unmapping(0, r[0], r[1]))
	}
	c.refused(syscall.EINVAL, cmdDMAUnmap, unmapping(unmapAll, 0, 4096))
	c.refused(syscall.ENOTSUP, cmdDMAUnmap, unmapping(1, 0x1000, 0x2000))
	mapped(1, 2, 3, 5)
	c.ok(cmdDMAUnmap, unmapping(0, 0x4000, 0x1000)) // nothing there
	c.ok(cmdDMAUnmap, unmapping(0, 0x3000, 0x1000))
	mapped(1, 2, 5)
	c.ok(cmdDMAMap, dma(3, 0, 0x3000, 0x1000), fd)
	c.ok(cmdDMAUnmap, unmapping(0, 0, 0x4000))
	mapped(5)
	c.ok(cmdDMAUnmap, unmapping(0, 0, 1<<63))
	mapped()
	setUp()
	c.ok(cmdDMAUnmap, unmapping(unmapAll, 0, 0))
	mapped()
	c.ok(cmdDMAMap, dma(3, 0, 1<<63, 1<<63)) // up to the last address, not shared
	c.ok(cmdDMAUnmap, unmapping(0, 1<<63, 1<<63))
}

// What a client may map is bounded.
func TestMappingsAreLimited(t *testing.T) {
	leaktest.Check(t)
	m := Memory{max: 2}
	for i := range uint64(3) {
		err := m.add(mapping{addr: i << 12, size: 4096}, -1, 0)
		if i < 2 && err != nil || i == 2 && !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("mapping %d: %v", i, err)
		}
	}
	if err := m.clear(); err != nil {
		t.Error(err)
	}
}
