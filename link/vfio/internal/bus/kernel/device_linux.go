package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio/internal/bus"
)

// bar is a mapped range of registers.
type bar struct {
	addr      unsafe.Pointer
	size      uintptr
	registers *bus.Registers
	detached  bool
}

// Registers implements bus.Bus.
func (b *Bus) Registers(number, size int) (*bus.Registers, error) {
	if r := b.bars[number]; r != nil {
		return r.registers, nil
	}
	info, err := getRegion(b.device, uint32(number))
	if err != nil {
		return nil, err
	}
	const want = regionRead | regionWrite | regionMmap
	if info.flags&want != want || info.size < uint64(size) || info.size > 1<<31 {
		return nil, fmt.Errorf("BAR %d has %d bytes, flags %#x: the driver wants %d that can be mapped: %w",
			number, info.size, info.flags, size, link.ErrNotSupported)
	}
	p, err := unix.MmapPtr(b.device, int64(info.offset), nil, uintptr(info.size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map BAR %d: %w", number, err)
	}
	r := &bar{addr: p, size: uintptr(info.size)}
	if r.registers, err = bus.NewRegisters(unsafe.Slice((*byte)(p), info.size)); err != nil {
		_ = unix.MunmapPtr(p, r.size)
		return nil, err
	}
	b.bars[number] = r
	return r.registers, nil
}

// detach puts memory of ones in the place of the registers, by one mmap: who
// reads or writes them at this moment finds the one or the other.
func (r *bar) detach() error {
	if r.detached {
		return nil
	}
	fd, err := unix.MemfdCreate("oobnet-gone", unix.MFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("make memory in the place of registers: %w", err)
	}
	defer unix.Close(fd)
	ones := make([]byte, 64<<10)
	for i := range ones {
		ones[i] = 0xff
	}
	for at := uintptr(0); at < r.size; at += uintptr(len(ones)) {
		if _, err := unix.Pwrite(fd, ones[:min(uintptr(len(ones)), r.size-at)], int64(at)); err != nil {
			return fmt.Errorf("fill memory in the place of registers: %w", err)
		}
	}
	if _, err := unix.MmapPtr(fd, 0, r.addr, r.size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_FIXED); err != nil {
		return fmt.Errorf("map memory in the place of registers: %w", err)
	}
	r.detached = true
	return nil
}

func (r *bar) unmap() error { return unix.MunmapPtr(r.addr, r.size) }

// ConfigRead implements bus.Bus.
func (b *Bus) ConfigRead(offset, size int) (uint32, error) {
	var word [4]byte
	n, err := unix.Pread(b.device, word[:size], int64(b.config.offset)+int64(offset))
	if err != nil || n != size {
		return 0, fmt.Errorf("read configuration space at %#x: %d of %d bytes: %w", offset, n, size, orIO(err))
	}
	return binary.LittleEndian.Uint32(word[:]), nil
}

// ConfigWrite implements bus.Bus.
func (b *Bus) ConfigWrite(offset, size int, value uint32) error {
	var word [4]byte
	binary.LittleEndian.PutUint32(word[:], value)
	n, err := unix.Pwrite(b.device, word[:size], int64(b.config.offset)+int64(offset))
	if err != nil || n != size {
		return fmt.Errorf("write configuration space at %#x: %d of %d bytes: %w", offset, n, size, orIO(err))
	}
	return nil
}

// orIO is the error of a transfer that was cut short.
func orIO(err error) error {
	if err == nil {
		return unix.EIO
	}
	return err
}

// BusMaster implements bus.Bus.
func (b *Bus) BusMaster(on bool) error {
	v, err := b.ConfigRead(bus.ConfigCommand, 2)
	if err != nil {
		return err
	}
	v |= bus.CommandMemory
	if on {
		v |= bus.CommandBusMaster
	} else {
		v &^= bus.CommandBusMaster
	}
	return b.ConfigWrite(bus.ConfigCommand, 2, v)
}

// Reset implements bus.Bus.
func (b *Bus) Reset() error {
	if !b.resets {
		return fmt.Errorf("reset: %w", link.ErrNotSupported)
	}
	_, err := ioctl(b.device, deviceReset, 0)
	switch {
	case errors.Is(err, unix.EINVAL):
		return fmt.Errorf("reset: %w", link.ErrNotSupported)
	case err != nil:
		return fmt.Errorf("reset: %w", err)
	}
	return nil
}

// irqIndex is VFIO's number of a kind.
func irqIndex(k bus.Kind) (uint32, bool) {
	switch k {
	case bus.INTx:
		return irqINTx, true
	case bus.MSI:
		return irqMSI, true
	case bus.MSIX:
		return irqMSIX, true
	}
	return 0, false
}

// Vectors implements bus.Bus.
func (b *Bus) Vectors(k bus.Kind) int {
	index, ok := irqIndex(k)
	if !ok {
		return 0
	}
	return vectors(b.device, index)
}

// Arm implements bus.Bus. All vectors in one call: the kernel cannot add to them.
func (b *Bus) Arm(kind bus.Kind, fds []int) error {
	index, ok := irqIndex(kind)
	if !ok {
		return fmt.Errorf("%v: %w", kind, link.ErrNotSupported)
	}
	return b.trigger(index, fds)
}

// trigger has interrupts of an index write eventfds.
func (b *Bus) trigger(index uint32, fds []int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := setIRQs(b.device, irqDataEventFD|irqTrigger, index, uint32(len(fds)), fds); err != nil {
		return fmt.Errorf("give %d eventfds to interrupt %d: %w", len(fds), index, err)
	}
	b.armed = append(b.armed, index)
	return nil
}

// Watch implements bus.Bus. A kernel that has neither interrupt tells nobody.
func (b *Bus) Watch(fd int) error {
	for _, index := range []uint32{irqError, irqRequest} {
		if vectors(b.device, index) == 0 {
			continue
		}
		if err := b.trigger(index, []int{fd}); err != nil {
			return err
		}
	}
	return nil
}

// Unmask implements bus.Bus.
func (b *Bus) Unmask() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.device < 0 {
		return unix.ENODEV
	}
	return setIRQs(b.device, irqDataNone|irqUnmask, irqINTx, 1, nil)
}

// Disarm implements bus.Bus. It leaves what Watch asked for.
func (b *Bus) Disarm() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var first error
	var left []uint32
	for _, index := range b.armed {
		if index == irqError || index == irqRequest {
			left = append(left, index)
			continue
		}
		if b.device < 0 {
			continue
		}
		if err := setIRQs(b.device, irqDataNone|irqTrigger, index, 0, nil); err != nil && first == nil {
			first = fmt.Errorf("take the eventfds of interrupt %d back: %w", index, err)
		}
	}
	b.armed = left
	return first
}
