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
	addr                     string
	id                       bus.ID
	container, group, device int // descriptors; -1 when closed
	config                   regionInfo
	resets                   bool

	// mu guards the descriptors: Unmask comes from the receive side, and must
	// not meet a number that has become another file of the process.
	mu      sync.Mutex
	armed   []uint32 // indexes of interrupts that have eventfds
	bars    map[int]*bar
	extents []extent
	sparse  []*reservation
	free    []iovaRange // where the next extents go
}

var _ bus.Bus = (*Bus)(nil)

// Open takes the function at a PCI address, with memory decoding on and bus
// mastering off.
func Open(addr string) (*Bus, error) { return open(system, addr) }

func open(w where, addr string) (*Bus, error) {
	addr, err := pci.ParseAddr(addr)
	if err != nil {
		return nil, err
	}
	group, err := w.group(addr)
	if err != nil {
		return nil, err
	}
	b := &Bus{addr: addr, container: -1, group: -1, device: -1, bars: map[int]*bar{}}
	if err := b.join(w, group); err != nil {
		_ = b.Close() // the first error is the cause
		return nil, err
	}
	if err := b.take(); err != nil {
		_ = b.Close()
		return nil, err
	}
	return b, nil
}

// join opens container and group, and puts the one into the other.
func (b *Bus) join(w where, group string) (err error) {
	if b.container, err = w.openContainer(); err != nil {
		return err
	}
	if v, err := ioctl(b.container, containerGetAPIVersion, 0); err != nil || v != apiVersion {
		return fmt.Errorf("VFIO's version is %d, want %d: %w", v, apiVersion, errors.Join(link.ErrNotSupported, err))
	}
	if has, err := ioctl(b.container, containerCheckExtension, type1v2); err != nil || has == 0 {
		return fmt.Errorf("VFIO has no IOMMU of type 1 v2: load the module by `modprobe vfio_iommu_type1`: %w", errors.Join(link.ErrNotSupported, err))
	}
	if b.group, err = w.openGroup(group); err != nil {
		return err
	}
	var status groupStatus
	status.argsz = uint32(unsafe.Sizeof(status))
	if _, err := ioctlPtr(b.group, groupGetStatus, &status); err != nil {
		return fmt.Errorf("IOMMU group %s: status: %w", group, err)
	}
	if status.flags&groupViable == 0 {
		return fmt.Errorf("IOMMU group %s is not viable: other drivers have %v of its devices: bind the whole group by `oobnet bind %s`: %w",
			group, w.strangers(group), b.addr, unix.EPERM)
	}
	fd := int32(b.container)
	if _, err := ioctlPtr(b.group, groupSetContainer, &fd); err != nil {
		return fmt.Errorf("IOMMU group %s: join the container: %w", group, err)
	}
	if _, err := ioctl(b.container, containerSetIOMMU, type1v2); err != nil {
		if errors.Is(err, unix.EPERM) {
			return fmt.Errorf("IOMMU group %s: the kernel does not trust this machine's interrupts: it has no interrupt remapping (allow_unsafe_interrupts of vfio_iommu_type1 overrides): %w", group, err)
		}
		return fmt.Errorf("IOMMU group %s: set the IOMMU: %w", group, err)
	}
	b.free, err = ranges(b.container)
	if b.free == nil {
		b.free = []iovaRange{{0, bus.MaxIOVA - 1}}
	}
	return err
}

// take opens the function.
func (b *Bus) take() error {
	name, err := unix.ByteSliceFromString(b.addr)
	if err != nil {
		return err
	}
	if b.device, err = ioctlPtr(b.group, groupGetDeviceFD, &name[0]); err != nil {
		b.device = -1
		return fmt.Errorf("take the device from its group: in use, or not VFIO's: %w", err)
	}
	unix.CloseOnExec(b.device)
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
// once; then the descriptors are closed, and the kernel takes the rest back.
func (b *Bus) Release() error {
	if b.device >= 0 {
		_ = b.BusMaster(false) // a device that is gone does not listen
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	var errs []error
	for _, r := range b.bars {
		errs = append(errs, r.detach())
	}
	for _, fd := range []*int{&b.device, &b.group, &b.container} {
		if *fd >= 0 {
			errs = append(errs, unix.Close(*fd))
			*fd = -1
		}
	}
	return errors.Join(errs...)
}

// Close implements bus.Bus: interrupts, bus master, memory in the extents in
// which it was mapped, descriptors, and at last what nobody may use any more.
func (b *Bus) Close() error {
	errs := []error{b.Disarm()}
	if b.device >= 0 {
		errs = append(errs, b.BusMaster(false))
	}
	for _, e := range b.extents {
		errs = append(errs, b.unmap(e.iova, len(e.region.Bytes())))
	}
	for _, r := range b.sparse {
		errs = append(errs, b.unmapAll(r))
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
