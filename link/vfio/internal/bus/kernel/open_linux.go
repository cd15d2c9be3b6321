package kernel

import (
	"errors"
	"fmt"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/pci"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio/internal/bus"
)

// Bus is a PCI function that VFIO has given to us.
type Bus struct {
	addr   string
	id     bus.ID
	group  *group // nil when it is left; other functions may be in it
	device int    // descriptor; -1 when closed
	config regionInfo
	resets bool

	// mu guards the descriptor: Unmask comes from the receive side, and must
	// not meet a number that has become another file of the process.
	mu      sync.Mutex
	armed   []uint32 // indexes of interrupts that have eventfds
	bars    map[int]*bar
	extents []extent
	sparse  []*reservation
	// expected is what Expect was told and has not been asked for yet, bytes.
	expected int
}

var _ bus.Bus = (*Bus)(nil)

// Open takes the function at a PCI address, with memory decoding on and bus
// mastering off. Functions of one IOMMU group may be open at the same time, in one
// process. It is safe for concurrent use.
func Open(addr string) (*Bus, error) { return open(system, addr) }

func open(w where, addr string) (*Bus, error) {
	addr, err := pci.ParseAddr(addr)
	if err != nil {
		return nil, err
	}
	name, err := w.group(addr)
	if err != nil {
		return nil, err
	}
	b := &Bus{addr: addr, device: -1, bars: map[int]*bar{}}
	if b.group, err = w.join(name, addr); err != nil {
		return nil, err
	}
	if err := b.take(); err != nil {
		_ = b.Close() // the first error is the cause
		return nil, err
	}
	return b, nil
}

// take opens the function.
func (b *Bus) take() (err error) {
	if b.device, err = b.group.device(b.addr); err != nil {
		return err
	}
	var info deviceInfo
	info.argsz = uint32(unsafe.Sizeof(info))
	if _, err := ioctlPtr(b.device, deviceGetInfo, &info); err != nil {
		return fmt.Errorf("describe the device: %w", err)
	}
	if info.flags&devicePCI == 0 || info.regions <= regionConfig {
		return fmt.Errorf("not a PCI device: %w", link.ErrNotSupported)
	}
	b.resets = info.flags&deviceCanReset != 0
	if b.config, err = getRegion(b.device, regionConfig); err != nil {
		return err
	}
	if err := b.readID(); err != nil {
		return err
	}
	command, err := b.ConfigRead(bus.ConfigCommand, 2)
	if err != nil {
		return err
	}
	return b.ConfigWrite(bus.ConfigCommand, 2, command&^bus.CommandBusMaster|bus.CommandMemory)
}

func (b *Bus) readID() error {
	vendor, err := b.ConfigRead(bus.ConfigVendor, 2)
	if err != nil {
		return err
	}
	device, err := b.ConfigRead(bus.ConfigDevice, 2)
	if err != nil {
		return err
	}
	revision, err := b.ConfigRead(bus.ConfigRevision, 1)
	b.id = bus.ID{Vendor: uint16(vendor), Device: uint16(device), Revision: uint8(revision)}
	if err == nil && vendor == 0xffff {
		return fmt.Errorf("the device does not answer: it is powered off or gone: %w", unix.ENODEV)
	}
	return err
}

// Name implements bus.Bus.
func (b *Bus) Name() string { return b.addr }

// ID implements bus.Bus.
func (b *Bus) ID() bus.ID { return b.id }

// Release implements bus.Bus: registers become memory of ones, in place and at
// once; then the device loses its bus master and its memory, in the extents in
// which that was mapped, since other functions may stay in the container; at last
// the descriptors are closed, for which the kernel may wait.
func (b *Bus) Release() error {
	var errs []error
	if b.device >= 0 {
		_ = b.BusMaster(false) // a device that is gone does not listen
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.bars {
		errs = append(errs, r.detach())
	}
	if b.group == nil {
		return errors.Join(errs...)
	}
	errs = append(errs, b.unmapAll())
	if b.device >= 0 {
		errs = append(errs, unix.Close(b.device))
		b.device = -1
	}
	errs = append(errs, b.group.leave(b.addr))
	b.group = nil
	return errors.Join(errs...)
}

// Close implements bus.Bus: interrupts, then what Release does, and at last what
// nobody may use any more.
func (b *Bus) Close() error {
	errs := []error{b.Disarm()}
	if b.device >= 0 {
		errs = append(errs, b.BusMaster(false))
	}
	errs = append(errs, b.Release())
	for _, e := range b.extents {
		errs = append(errs, e.region.Close())
	}
	for _, r := range b.sparse {
		errs = append(errs, r.region.Close())
	}
	b.extents, b.sparse = nil, nil
	for i, r := range b.bars {
		errs = append(errs, r.unmap())
		delete(b.bars, i)
	}
	return errors.Join(errs...)
}
