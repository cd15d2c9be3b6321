// Package offheap maps regions of memory outside the Go heap: what a device
// reads and writes by DMA must not move, and what the garbage collector does
// not know it does not scan.
package offheap

import (
	"fmt"
	"sync/atomic"
)

// HugePageSize is the size of the huge pages asked for, bytes.
const HugePageSize = 2 << 20

// Region is a mapped region. Its methods are for one goroutine at a time.
type Region struct {
	bytes []byte
	// mapping is what was mapped: bytes, and what aligns them.
	mapping []byte
	huge    bool
}

// live counts the regions that are mapped: Map adds, Close takes off.
var live atomic.Int64

// Live is how many regions of this process are mapped.
func Live() int { return int(live.Load()) }

// Map maps size bytes, zeroed, present in memory, aligned to a page at least.
// Where the machine has reserved 2 MiB huge pages that are free, and the size is
// worth one, the region lies in them; otherwise in ordinary memory, of which the
// kernel may make huge pages by itself.
func Map(size int) (*Region, error) {
	if size <= 0 {
		return nil, fmt.Errorf("offheap: size %d: want a positive number of bytes", size)
	}
	r, err := mapRegion(size)
	if err == nil {
		live.Add(1)
	}
	return r, err
}

// Bytes returns the region, nil after Close. Its length may be rounded up from
// what Map was asked for.
func (r *Region) Bytes() []byte { return r.bytes }

// Huge says whether the region lies in reserved huge pages.
func (r *Region) Huge() bool { return r.huge }

// Close unmaps the region. Any slice of it faults afterwards. Idempotent.
func (r *Region) Close() error {
	if r.bytes == nil {
		return nil
	}
	err := unmapRegion(r.mapping)
	r.bytes, r.mapping = nil, nil
	live.Add(-1)
	return err
}

func roundUp(n, unit int) int { return (n + unit - 1) / unit * unit }
