package bus

import (
	"fmt"
	"unsafe"
)

// Registers are the 32-bit registers of one BAR.
//
// Mapped registers are read and written by single moves that the compiler can
// neither merge, drop nor reorder, with the barriers of the processor: what was
// written to memory before Write32 is there for the device before the register
// is, and what is read from memory after Read32 is read after it. A plain store
// promises none of that, and an atomic one is a locked exchange on amd64, which
// a device need not understand.
//
// Registers behind an Accessor are reached by its calls.
type Registers struct {
	base unsafe.Pointer
	size uint32
	far  Accessor
}

// Accessor reaches registers that are not mapped: those of a device model.
type Accessor interface {
	Read32(offset uint32) uint32
	Write32(offset, value uint32)
}

// NewRegisters makes registers of mapped memory, which the caller keeps mapped.
// The memory is little-endian, as PCI is, and aligned to 4 bytes.
func NewRegisters(mapped []byte) (*Registers, error) {
	if uintptr(unsafe.Pointer(unsafe.SliceData(mapped)))%4 != 0 || len(mapped) < 4 || uint64(len(mapped)) > 1<<31 {
		return nil, fmt.Errorf("bus: registers of %d bytes at %p: want whole aligned words, up to 2 GiB", len(mapped), unsafe.SliceData(mapped))
	}
	return &Registers{base: unsafe.Pointer(unsafe.SliceData(mapped)), size: uint32(len(mapped))}, nil
}

// FarRegisters makes registers of size bytes behind calls.
func FarRegisters(size uint32, far Accessor) *Registers {
	return &Registers{size: size, far: far}
}

// Size in bytes.
func (r *Registers) Size() uint32 { return r.size }

// Read32 reads a register; one that the BAR does not reach reads as all ones,
// as the bus itself would answer.
//
//oobnet:hot
func (r *Registers) Read32(offset uint32) uint32 {
	if offset > r.size-4 {
		return AllOnes
	}
	if r.far != nil {
		return r.far.Read32(offset) // a model's: speed is not the point
	}
	return load32(unsafe.Add(r.base, offset))
}

// Write32 writes a register; outside of the BAR it goes nowhere.
//
//oobnet:hot
func (r *Registers) Write32(offset, value uint32) {
	if offset > r.size-4 {
		return
	}
	if r.far != nil {
		r.far.Write32(offset, value)
		return
	}
	store32(unsafe.Add(r.base, offset), value)
}

// Words sees shared memory as descriptors' words. b is page-aligned.
func Words(b []byte) []uint64 {
	return unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/8)
}
