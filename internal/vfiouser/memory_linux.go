package vfiouser

import (
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Memory is the guest's, as far as the client has mapped it for the device. It
// is for any number of goroutines; a client that unmaps a range waits for the
// accesses that are under way.
type Memory struct {
	mu     sync.RWMutex
	ranges []mapping // by address, none overlaps
	max    int
}

// mapping is a range of IOVAs.
type mapping struct {
	addr, size         uint64
	readable, writable bool
	page               []byte // as mapped; nil: not shared with us
	bytes              []byte // size bytes of it
}

// Read copies from the guest's memory at an IOVA. The range may span mappings
// that adjoin. EFAULT: not mapped, not shared, not readable, or taken away; part
// of b may be filled then.
func (m *Memory) Read(iova uint64, b []byte) error { return m.access(iova, b, false) }

// Write copies to the guest's memory, as Read does from it. The guest's
// processors may see the bytes in any order, but for 8 bytes at a multiple of 8,
// which are one store behind all that was written before.
func (m *Memory) Write(iova uint64, b []byte) error { return m.access(iova, b, true) }

func (m *Memory) access(iova uint64, b []byte, write bool) error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	for len(b) > 0 {
		i, found := slices.BinarySearchFunc(m.ranges, iova, byAddr)
		if !found {
			i-- // the last that begins before
		}
		if i < 0 || iova-m.ranges[i].addr >= m.ranges[i].size {
			return fmt.Errorf("vfiouser: IOVA %#x is not mapped: %w", iova, syscall.EFAULT)
		}
		r := &m.ranges[i]
		if r.bytes == nil || write && !r.writable || !write && !r.readable {
			return fmt.Errorf("vfiouser: IOVA %#x may not be accessed so: %w", iova, syscall.EFAULT)
		}
		dst, src := b, r.bytes[iova-r.addr:]
		n := min(len(dst), len(src))
		if write {
			dst, src = src, dst
		}
		if !guardedCopy(dst[:n], src[:n]) {
			return fmt.Errorf("vfiouser: the client took the memory at IOVA %#x away: %w", iova, syscall.EFAULT)
		}
		b = b[n:]
		iova += uint64(n)
	}
	return nil
}

func byAddr(r mapping, addr uint64) int {
	switch {
	case r.addr < addr:
		return -1
	case r.addr > addr:
		return 1
	}
	return 0
}

// guardedCopy says false if a page is gone: a client may shrink its file at any
// time, and the kernel answers the access with SIGBUS.
func guardedCopy(dst, src []byte) (ok bool) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() { ok = recover() == nil }()
	if len(src) == 8 && uintptr(unsafe.Pointer(&dst[0]))%8 == 0 {
		// The guest's processors poll this word.
		atomic.StoreUint64((*uint64)(unsafe.Pointer(&dst[0])), native.Uint64(src))
		return true
	}
	copy(dst, src)
	return true
}

// add maps a range; the descriptor, or -1, stays the caller's.
func (m *Memory) add(r mapping, fd int, offset uint64) error {
	if r.size == 0 || r.addr+r.size-1 < r.addr || (r.addr|r.size|offset)&0xfff != 0 {
		return syscall.EINVAL
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.ranges) >= m.max {
		return syscall.ENOSPC
	}
	i, found := slices.BinarySearchFunc(m.ranges, r.addr, byAddr)
	if found || i > 0 && r.addr-m.ranges[i-1].addr < m.ranges[i-1].size || i < len(m.ranges) && m.ranges[i].addr-r.addr < r.size {
		return syscall.EEXIST
	}
	if fd >= 0 {
		if err := r.mmap(fd, offset); err != nil {
			return err
		}
	}
	m.ranges = slices.Insert(m.ranges, i, r)
	return nil
}

func (r *mapping) mmap(fd int, offset uint64) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	// Devices tell no size: only files and memfds can be bounded.
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return syscall.EINVAL
	}
	if size := uint64(st.Size); offset > size || r.size > size-offset {
		return syscall.EINVAL
	}
	prot := 0
	if r.readable {
		prot |= unix.PROT_READ
	}
	if r.writable {
		prot |= unix.PROT_READ | unix.PROT_WRITE
	}
	// The kernel wants huge pages mapped from a multiple of their size.
	block := uint64(max(st.Blksize, 4096))
	skip := offset % block
	length := (skip + r.size + block - 1) / block * block
	if uint64(st.Size)-(offset-skip) < length {
		length = skip + r.size
	}
	b, err := unix.Mmap(fd, int64(offset-skip), int(length), prot, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	r.page, r.bytes = b, b[skip:skip+r.size:skip+r.size]
	return nil
}

// remove unmaps what lies in a range, be it nothing. A mapping that lies in it
// in part stays whole, and nothing is unmapped then. The protocol's text allows
// whole mappings alone; a monitor with a virtual IOMMU asks, as it may ask
// Linux's VFIO, for ranges that hold many mappings or none.
func (m *Memory) remove(addr, size uint64) error {
	last := addr + size - 1
	if size == 0 || last < addr {
		return syscall.EINVAL
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	i, _ := slices.BinarySearchFunc(m.ranges, addr, byAddr)
	j := i
	for j < len(m.ranges) && m.ranges[j].addr <= last {
		j++
	}
	if i > 0 && addr-m.ranges[i-1].addr < m.ranges[i-1].size || j > i && last-m.ranges[j-1].addr < m.ranges[j-1].size-1 {
		return syscall.EINVAL
	}
	err := unmap(m.ranges[i:j])
	m.ranges = slices.Delete(m.ranges, i, j)
	return err
}

// clear unmaps everything.
func (m *Memory) clear() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	err := unmap(m.ranges)
	m.ranges = nil
	return err
}

func unmap(ranges []mapping) (err error) {
	for i := range ranges {
		if ranges[i].page != nil {
			err = errors.Join(err, unix.Munmap(ranges[i].page))
		}
	}
	return err
}
