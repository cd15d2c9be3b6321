package offheap

import (
	"errors"
	"fmt"
	"os"
	"unsafe"
)

// Sparse is address space whose memory comes and goes in pieces, while the rest
// is in use. What has no memory faults when it is touched, so that a late write
// is seen, and harms nobody. Its methods are for one goroutine at a time.
type Sparse struct {
	bytes []byte
	// mapping is what was reserved: bytes, and what aligns them.
	mapping []byte
}

// Reserve takes size bytes of address space, aligned to a huge page, with no
// memory behind them.
func Reserve(size int) (*Sparse, error) {
	if size <= 0 {
		return nil, fmt.Errorf("offheap: size %d: want a positive number of bytes", size)
	}
	size = roundUp(size, os.Getpagesize())
	// One huge page more, less the page that an aligned start would leave.
	mapping, err := reserve(size + HugePageSize - os.Getpagesize())
	if err != nil {
		return nil, fmt.Errorf("offheap: reserve %d bytes: %w", size, err)
	}
	skip := -int(uintptr(unsafe.Pointer(unsafe.SliceData(mapping)))) & (HugePageSize - 1)
	live.Add(1)
	return &Sparse{bytes: mapping[skip:][:size:size], mapping: mapping}, nil
}

// Bytes returns the whole of it, nil after Close.
func (s *Sparse) Bytes() []byte { return s.bytes }

// Populate puts memory, zeroed and present, behind n bytes from offset off, a
// multiple of a page, to the end of the last page; they have none. It says whether the memory is
// reserved huge pages: where off and n are multiples of one, and there are
// enough. On an error the bytes have no memory.
func (s *Sparse) Populate(off, n int) (huge bool, err error) {
	b, err := s.piece(off, n)
	if err != nil {
		return false, err
	}
	if huge, err = populate(b, off); err != nil {
		return false, fmt.Errorf("offheap: populate %d bytes: %w", n, errors.Join(err, release(b)))
	}
	return huge, nil
}

// Release takes the memory from n bytes from offset off, which Populate has
// given them, and gives it back to the system.
func (s *Sparse) Release(off, n int) error {
	b, err := s.piece(off, n)
	if err != nil {
		return err
	}
	if err := release(b); err != nil {
		return fmt.Errorf("offheap: release %d bytes: %w", n, err)
	}
	return nil
}

// piece is a part of the region that pages can be put behind.
func (s *Sparse) piece(off, n int) ([]byte, error) {
	page := os.Getpagesize()
	if off < 0 || n <= 0 || off > len(s.bytes) || n > len(s.bytes)-off || off%page != 0 {
		return nil, fmt.Errorf("offheap: %d bytes at %d of a region of %d: want pages of it", n, off, len(s.bytes))
	}
	n = roundUp(n, page) // the region ends with a page
	return s.bytes[off:][:n:n], nil
}

// Close gives everything back. Idempotent.
func (s *Sparse) Close() error {
	if s.bytes == nil {
		return nil
	}
	err := unreserve(s.mapping)
	s.bytes, s.mapping = nil, nil
	live.Add(-1)
	return err
}

// touch writes to every page, so that there is memory behind it.
func touch(b []byte) {
	for i := 0; i < len(b); i += os.Getpagesize() {
		b[i] = 0
	}
}
