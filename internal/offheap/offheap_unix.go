//go:build unix && !linux

package offheap

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

func mapRegion(size int) (*Region, error) {
	b, err := unix.Mmap(-1, 0, roundUp(size, os.Getpagesize()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, fmt.Errorf("offheap: map %d bytes: %w", size, err)
	}
	return &Region{bytes: b, mapping: b}, nil
}

func unmapRegion(b []byte) error { return unix.Munmap(b) }
