package afxdp

import (
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Layouts shared with the kernel (linux/if_xdp.h). A wrong size is a compile error.
var (
	_ [16]byte = [unsafe.Sizeof(unix.XDPDesc{})]byte{}
	_ [48]byte = [unsafe.Sizeof(unix.XDPStatistics{})]byte{}
)

// ring is one of the four rings of a queue: single producer, single consumer,
// one of them the kernel. T is unix.XDPDesc (receive, transmit) or the address
// of a buffer in the UMEM (fill, completion).
//
// producer and consumer count entries since the ring was made and wrap at
// 2^32; an index modulo the size is a slot. Each is written by one side:
//
//	ring        producer is moved by   consumer is moved by
//	fill        us, in Fill            the kernel, when it takes a buffer
//	receive     the kernel, per frame  us, in Receive
//	transmit    us, in Send            the kernel, when it takes a frame
//	completion  the kernel, when sent  us, in Reclaim
//
// After Stop the pages behind a ring are zeros (see detach), so that a side
// that is still at work reads and writes memory that nobody looks at. Counts
// taken from a shared index are therefore checked against the size.
type ring[T unix.XDPDesc | uint64] struct {
	producer *uint32
	consumer *uint32
	flags    *uint32 // written by the kernel: XDP_RING_NEED_WAKEUP
	slots    unsafe.Pointer
	size     uint32 // power of two
	prod     uint32 // producer: ours, or as the kernel's was last seen
	cons     uint32 // consumer: likewise
	pages    []byte // the mapping
}

// mapRing maps the ring that the socket has made at a page offset.
func mapRing[T unix.XDPDesc | uint64](fd int, offset int64, o *unix.XDPRingOffset, size uint32) (r ring[T], err error) {
	length := int(o.Desc) + int(size)*int(unsafe.Sizeof(*new(T)))
	r.pages, err = unix.Mmap(fd, offset, length, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return r, err
	}
	base := unsafe.Pointer(unsafe.SliceData(r.pages))
	r.producer = (*uint32)(unsafe.Add(base, o.Producer))
	r.consumer = (*uint32)(unsafe.Add(base, o.Consumer))
	r.flags = (*uint32)(unsafe.Add(base, o.Flags))
	r.slots = unsafe.Add(base, o.Desc)
	r.size = size
	return r, nil
}

func (r *ring[T]) slot(i uint32) *T {
	return (*T)(unsafe.Add(r.slots, uintptr(i&(r.size-1))*unsafe.Sizeof(*new(T))))
}

// free is how many slots we may fill as the producer, up to want. It looks at
// the kernel's consumer only when what it knew is not enough.
func (r *ring[T]) free(want uint32) uint32 {
	if n := r.size - (r.prod - r.cons); n >= want {
		return want
	}
	r.cons = atomic.LoadUint32(r.consumer) // the kernel stores it when it has read a slot
	used := r.prod - r.cons
	if used >= r.size {
		return 0
	}
	return min(want, r.size-used)
}

// publish makes n filled slots visible: the kernel loads producer before it
// reads them.
func (r *ring[T]) publish(n uint32) {
	r.prod += n
	atomic.StoreUint32(r.producer, r.prod)
}

// ready is how many slots we may read as the consumer, up to want.
func (r *ring[T]) ready(want uint32) uint32 {
	n := r.prod - r.cons
	if n < want {
		r.prod = atomic.LoadUint32(r.producer) // the kernel stores it when it has filled a slot
		n = r.prod - r.cons
	}
	if n > r.size {
		return 0
	}
	return min(n, want)
}

// release gives n slots that were read back: the kernel loads consumer before
// it fills them.
func (r *ring[T]) release(n uint32) {
	r.cons += n
	atomic.StoreUint32(r.consumer, r.cons)
}

// empty says for a ring that we consume, from any goroutine, that nothing is
// in it; for one that we produce, that the kernel has taken all.
func (r *ring[T]) empty() bool {
	return atomic.LoadUint32(r.producer) == atomic.LoadUint32(r.consumer)
}

// needWakeup says that the kernel waits for a system call before it looks at
// the ring; the kernel sets and clears it.
func (r *ring[T]) needWakeup() bool {
	return atomic.LoadUint32(r.flags)&unix.XDP_RING_NEED_WAKEUP != 0
}

// detach puts zeroed pages in the place of the ring's, at the same address.
// While a ring is mapped its socket lives on, whatever is closed; but a side
// of the queue may be at work when Stop is called, and must not find a hole.
func (r *ring[T]) detach() error {
	if r.pages == nil {
		return nil
	}
	_, err := unix.MmapPtr(-1, 0, unsafe.Pointer(unsafe.SliceData(r.pages)), uintptr(len(r.pages)),
		unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_FIXED)
	return err
}

// unmap gives the addresses back. Nobody may use the ring any more.
func (r *ring[T]) unmap() error {
	if r.pages == nil {
		return nil
	}
	err := unix.Munmap(r.pages)
	r.pages = nil
	return err
}
