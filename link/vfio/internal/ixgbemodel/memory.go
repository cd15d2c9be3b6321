package ixgbemodel

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// Memory is what the device reaches by DMA, of internal/vfiouser's shape. An
// error means that not all of the range is mapped. A call that writes eight
// aligned bytes must be seen by the driver as one store.
type Memory interface {
	Read(iova uint64, b []byte) error
	Write(iova uint64, b []byte) error
}

// Mapped is memory that can be looked at in place, as that of bus/model.
type Mapped interface {
	// At returns the size bytes at iova, nil if not all of them are mapped.
	At(iova uint64, size int) []byte
}

// Flat makes a Memory of Mapped.
func Flat(m Mapped) Memory { return flat{m} }

type flat struct{ Mapped }

func (m flat) at(iova uint64, size int) ([]byte, error) {
	if p := m.At(iova, size); len(p) == size {
		return p, nil
	}
	return nil, fmt.Errorf("ixgbemodel: %d bytes at %#x: not mapped: %w", size, iova, syscall.EFAULT)
}

func (m flat) Read(iova uint64, b []byte) error {
	p, err := m.at(iova, len(b))
	copy(b, p)
	return err
}

func (m flat) Write(iova uint64, b []byte) error {
	p, err := m.at(iova, len(b))
	if err == nil && len(b) == 8 && uintptr(unsafe.Pointer(&p[0]))%8 == 0 {
		// The driver polls this word on another goroutine.
		atomic.StoreUint64((*uint64)(unsafe.Pointer(&p[0])), binary.NativeEndian.Uint64(b))
		return nil
	}
	copy(p, b)
	return err
}

// fetch reads memory, or records that there is none.
func (d *Device) fetch(offset uint32, iova uint64, b []byte) bool {
	return d.reached(offset, d.config.Memory.Read(iova, b))
}

// put writes memory, or records that there is none.
func (d *Device) put(offset uint32, iova uint64, b []byte) bool {
	return d.reached(offset, d.config.Memory.Write(iova, b))
}

func (d *Device) reached(offset uint32, err error) bool {
	if err != nil {
		d.violate(offset, "5.2.5.3", "DMA outside the mapped memory: "+err.Error())
	}
	return err == nil
}

// descriptor is one of a ring: where it is, and its two words.
type descriptor struct {
	iova      uint64
	low, high uint64
}

// next takes the descriptor at the head of a ring. It fails where the ring is
// empty, or not in memory, which is a violation.
func (d *Device) next(base uint32) (descriptor, bool) {
	head, size := *d.reg(base + qHead), *d.reg(base + qLEN)/descriptorSize
	if size == 0 || head >= size || head == *d.reg(base + qTail) {
		return descriptor{}, false
	}
	at := uint64(*d.reg(base + qBAL)) | uint64(*d.reg(base + qBAH))<<32
	e := descriptor{iova: at + uint64(head)*descriptorSize}
	var b [descriptorSize]byte
	if !d.fetch(base+qTail, e.iova, b[:]) {
		return e, false
	}
	e.low, e.high = binary.LittleEndian.Uint64(b[:]), binary.LittleEndian.Uint64(b[8:])
	*d.reg(base + qHead) = (head + 1) % size
	return e, true
}

// writeBack writes a descriptor, the word that says done last.
func (d *Device) writeBack(offset uint32, e descriptor) {
	if d.put(offset, e.iova, binary.LittleEndian.AppendUint64(nil, e.low)) {
		d.put(offset, e.iova+8, binary.LittleEndian.AppendUint64(nil, e.high))
	}
}
