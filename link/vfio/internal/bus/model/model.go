// Package model is a bus with plain memory behind it: what a driver writes to a
// register can be read there, and what it puts on a ring lies there to be looked
// at. A hook gives a register a life where a driver waits for one. Tests play
// the device, and benchmarks measure a driver against a device that costs
// nothing.
package model

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync/atomic"
	"unsafe"

	"github.com/oobnet/oobnet/internal/offheap"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio/internal/bus"
)

// firstIOVA is where the memory begins for the device: not 0, so that a driver
// that forgets to translate an address is found out.
const firstIOVA = 1 << 20

// Bus is a PCI function made of memory.
type Bus struct {
	// OnWrite, if set, runs instead of the store: it may call Set. OnRead, if
	// set, runs instead of the load: it may call Get. Set both before the
	// driver opens.
	OnWrite func(offset, value uint32)
	OnRead  func(offset uint32) uint32
	// VectorCounts by kind, as the driver's link asks; set before it opens.
	VectorCounts map[bus.Kind]int
	// Master is whether bus mastering is on; Resets counts function resets.
	Master bool
	Resets int
	// OnPopulate, if set, may refuse memory.
	OnPopulate func() error
	// Writes counts register writes while hooks are on.
	Writes atomic.Uint64 // written by whoever writes registers, read by tests

	name      string
	id        bus.ID
	bar       *offheap.Region
	registers *bus.Registers
	config    [256]byte
	extents   []extent
	sparse    []reservation
	next      uint64
	fds       []int
	watch     int
}

// extent is memory that the device sees; region is nil where it is a part of a
// reservation.
type extent struct {
	region *offheap.Region
	memory bus.Memory
}

type reservation struct {
	region *offheap.Sparse
	iova   uint64
}

var _ bus.Bus = (*Bus)(nil)

// New makes a function with one BAR of size bytes.
func New(id bus.ID, size int) (*Bus, error) {
	bar, err := offheap.Map(size)
	if err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	b := &Bus{name: "model", id: id, bar: bar, next: firstIOVA, watch: -1, VectorCounts: map[bus.Kind]int{bus.INTx: 1}}
	binary.LittleEndian.PutUint16(b.config[bus.ConfigVendor:], id.Vendor)
	binary.LittleEndian.PutUint16(b.config[bus.ConfigDevice:], id.Device)
	b.registers = bus.FarRegisters(uint32(size), (*hooks)(b))
	return b, nil
}

// Unhook makes the registers plain memory from now on, as a driver of a mapped
// device has them: for benchmarks. It is called while nobody uses them.
func (b *Bus) Unhook() error {
	near, err := bus.NewRegisters(b.bar.Bytes()[:b.registers.Size()])
	if err != nil {
		return err
	}
	*b.registers = *near
	return nil
}

// Hook takes Unhook back.
func (b *Bus) Hook() { *b.registers = *bus.FarRegisters(b.registers.Size(), (*hooks)(b)) }

// hooks is the bus as an Accessor.
type hooks Bus

func (h *hooks) Read32(offset uint32) uint32 {
	if h.OnRead != nil {
		return h.OnRead(offset)
	}
	return (*Bus)(h).Get(offset)
}

func (h *hooks) Write32(offset, value uint32) {
	h.Writes.Add(1)
	if h.OnWrite != nil {
		h.OnWrite(offset, value)
		return
	}
	(*Bus)(h).Set(offset, value)
}

// Get reads a register as the device.
func (b *Bus) Get(offset uint32) uint32 { return bus.LE32(atomic.LoadUint32(b.register(offset))) }

// Set writes a register as the device.
func (b *Bus) Set(offset, value uint32) { atomic.StoreUint32(b.register(offset), bus.LE32(value)) }

func (b *Bus) register(offset uint32) *uint32 {
	return (*uint32)(unsafe.Pointer(&b.bar.Bytes()[offset&^3]))
}

// At returns size bytes of the memory that the device sees at iova, nil if the
// driver has mapped none there: then a real device would have failed.
func (b *Bus) At(iova uint64, size int) []byte {
	for _, e := range b.extents {
		if off := iova - e.memory.IOVA; iova >= e.memory.IOVA && off+uint64(size) <= uint64(len(e.memory.Bytes)) {
			return e.memory.Bytes[off:][:size:size]
		}
	}
	return nil
}

// Interrupt raises a vector: it returns the eventfd armed for it, -1 if none.
func (b *Bus) Interrupt(vector int) int {
	if vector >= len(b.fds) {
		return -1
	}
	return b.fds[vector]
}

// Watched returns the eventfd of Watch, -1 if none.
func (b *Bus) Watched() int { return b.watch }

// Name implements bus.Bus.
func (b *Bus) Name() string { return b.name }

// ID implements bus.Bus.
func (b *Bus) ID() bus.ID { return b.id }

// Registers implements bus.Bus; every BAR is the same one.
func (b *Bus) Registers(bar, size int) (*bus.Registers, error) {
	if size > int(b.registers.Size()) {
		return nil, fmt.Errorf("model: BAR %d has %d bytes: the driver wants %d", bar, b.registers.Size(), size)
	}
	return b.registers, nil
}

// ConfigRead implements bus.Bus.
func (b *Bus) ConfigRead(offset, size int) (uint32, error) {
	if offset < 0 || offset+size > len(b.config) {
		return 0, fmt.Errorf("model: configuration space ends before %#x", offset+size)
	}
	var word [4]byte
	copy(word[:size], b.config[offset:])
	return binary.LittleEndian.Uint32(word[:]), nil
}

// ConfigWrite implements bus.Bus.
func (b *Bus) ConfigWrite(offset, size int, value uint32) error {
	if offset < 0 || offset+size > len(b.config) {
		return fmt.Errorf("model: configuration space ends before %#x", offset+size)
	}
	var word [4]byte
	binary.LittleEndian.PutUint32(word[:], value)
	copy(b.config[offset:], word[:size])
	return nil
}

// Expect implements bus.Bus: no memory is short here.
func (b *Bus) Expect(...int) {}

// Alloc implements bus.Bus.
func (b *Bus) Alloc(size int) (bus.Memory, error) {
	region, err := offheap.Map(size)
	if err != nil {
		return bus.Memory{}, fmt.Errorf("model: %w", err)
	}
	m := bus.Memory{Bytes: region.Bytes()[:size], IOVA: b.place(size)}
	b.extents = append(b.extents, extent{region, m})
	return m, nil
}

// place gives out addresses. A page that is not mapped lies between any two
// extents.
func (b *Bus) place(size int) uint64 {
	at := b.next
	b.next += (uint64(size)+link.PageSize-1)&^(link.PageSize-1) + link.PageSize
	return at
}

// Reserve implements bus.Bus.
func (b *Bus) Reserve(size int) (bus.Memory, error) {
	region, err := offheap.Reserve(size)
	if err != nil {
		return bus.Memory{}, fmt.Errorf("model: %w", err)
	}
	r := reservation{region, b.place(size)}
	b.sparse = append(b.sparse, r)
	return bus.Memory{Bytes: region.Bytes()[:size:size], IOVA: r.iova}, nil
}

// Populate implements bus.Bus.
func (b *Bus) Populate(iova uint64, size int) (huge bool, err error) {
	if b.OnPopulate != nil {
		if err := b.OnPopulate(); err != nil {
			return false, fmt.Errorf("model: %w", err)
		}
	}
	for _, r := range b.sparse {
		if off := iova - r.iova; iova >= r.iova && off < uint64(len(r.region.Bytes())) {
			if huge, err = r.region.Populate(int(off), size); err != nil {
				return false, fmt.Errorf("model: %w", err)
			}
			b.extents = append(b.extents, extent{memory: bus.Memory{Bytes: r.region.Bytes()[off:][:size], IOVA: iova, Huge: huge}})
			return huge, nil
		}
	}
	return false, fmt.Errorf("model: nothing is reserved at %#x", iova)
}

// Discard implements bus.Bus.
func (b *Bus) Discard(iova uint64, size int) error {
	for i, e := range b.extents {
		if e.region != nil || e.memory.IOVA != iova || len(e.memory.Bytes) != size {
			continue
		}
		b.extents = slices.Delete(b.extents, i, i+1)
		for _, r := range b.sparse {
			if off := iova - r.iova; iova >= r.iova && off < uint64(len(r.region.Bytes())) {
				return r.region.Release(int(off), size)
			}
		}
	}
	return fmt.Errorf("model: %d bytes at %#x were not mapped so", size, iova)
}

// Vectors implements bus.Bus.
func (b *Bus) Vectors(k bus.Kind) int { return b.VectorCounts[k] }

// Arm implements bus.Bus.
func (b *Bus) Arm(_ bus.Kind, fds []int) error {
	b.fds = append(b.fds[:0], fds...)
	return nil
}

// Unmask implements bus.Bus.
func (b *Bus) Unmask() error { return nil }

// Disarm implements bus.Bus.
func (b *Bus) Disarm() error {
	b.fds = b.fds[:0]
	return nil
}

// Watch implements bus.Bus.
func (b *Bus) Watch(fd int) error {
	b.watch = fd
	return nil
}

// BusMaster implements bus.Bus.
func (b *Bus) BusMaster(on bool) error {
	b.Master = on
	return nil
}

// Reset implements bus.Bus.
func (b *Bus) Reset() error {
	b.Resets++
	return nil
}

// Release implements bus.Bus.
func (b *Bus) Release() error {
	b.OnRead = func(uint32) uint32 { return bus.AllOnes }
	b.OnWrite = func(uint32, uint32) {}
	b.Master = false
	return nil
}

// Close implements bus.Bus.
func (b *Bus) Close() error {
	var first error
	for _, e := range b.extents {
		if e.region == nil {
			continue
		}
		if err := e.region.Close(); err != nil && first == nil {
			first = err
		}
	}
	for _, r := range b.sparse {
		if err := r.region.Close(); err != nil && first == nil {
			first = err
		}
	}
	b.extents, b.sparse = nil, nil
	if err := b.bar.Close(); err != nil && first == nil {
		first = err
	}
	return first
}
