// Package offheap maps regions of memory outside the Go heap: what a device
// reads and writes by DMA must not move, and what the garbage collector does
// not know it does not scan.
package offheap

import "fmt"

// HugePageSize is the size of the huge pages asked for, bytes.
const HugePageSize = 2 << 20

// Region is a mapped region. Its methods are for one goroutine at a time.
type Region struct {
	bytes []byte
	huge  bool
}

// Map maps size bytes, zeroed, present in memory, aligned to a page at least.
// Where the machine has free 2 MiB huge pages and the size is worth one, the
// region lies in them; otherwise in ordinary pages.
func Map(size int) (*Region, error) {
	if size <= 0 {
		return nil, fmt.Errorf("offheap: size %d: want a positive number of bytes", size)
	}
	return mapRegion(size)
}

// Bytes returns the region, nil after Close. Its length may be rounded up from
// what Map was asked for.
func (r *Region) Bytes() []byte { return r.bytes }

// Huge says whether the region lies in huge pages.
func (r *Region) Huge() bool { return r.huge }

// Close unmaps the region. Any slice of it faults afterwards. Idempotent.
func (r *Region) Close() error {
	if r.bytes == nil {
		return nil
	}
	err := unmapRegion(r.bytes)
	r.bytes = nil
	return err
}

func roundUp(n, unit int) int { return (n + unit - 1) / unit * unit }
