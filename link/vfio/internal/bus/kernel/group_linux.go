package kernel

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio/internal/bus"
)

// group is an IOMMU group that this process has, in a container of its own. The
// kernel lets a group be opened once, so the functions of one group, as the ports
// of a card may be, share it, and with it the addresses that devices see.
type group struct {
	key           groupKey
	container, fd int // descriptors; -1 when closed
	// devices are the addresses of functions that are taken: guarded by groups.mu.
	devices []string

	mu   sync.Mutex  // guards free, against the other functions
	free []iovaRange // where the next extents go, ascending
}

// groupKey names a group. Trees are the system's but in tests.
type groupKey struct {
	where
	name string
}

// groups are those that the process has open. They are the process's own, as the
// kernel's rule is: whoever opens a function may find another's group there.
var groups = struct {
	mu   sync.Mutex
	open map[groupKey]*group
}{open: map[groupKey]*group{}}

// join takes a function in its group, which it opens if no function of it is open.
// leave is to be called once for each.
func (w where) join(name, addr string) (*group, error) {
	groups.mu.Lock()
	defer groups.mu.Unlock()
	key := groupKey{w, name}
	g := groups.open[key]
	if g == nil {
		g = &group{key: key, container: -1, fd: -1}
		if err := g.open(addr); err != nil {
			return nil, errors.Join(err, g.close())
		}
		groups.open[key] = g
	}
	// The kernel would open a function of a group twice, and both would drive it.
	if slices.Contains(g.devices, addr) {
		return nil, fmt.Errorf("the device is in use by this process: close it first: %w", unix.EBUSY)
	}
	g.devices = append(g.devices, addr)
	return g, nil
}

// leave gives a function up, and with the last the group.
func (g *group) leave(addr string) error {
	groups.mu.Lock()
	defer groups.mu.Unlock()
	g.devices = slices.DeleteFunc(g.devices, func(d string) bool { return d == addr })
	if len(g.devices) > 0 {
		return nil
	}
	delete(groups.open, g.key)
	return g.close()
}

// open opens container and group, and puts the one into the other.
func (g *group) open(addr string) (err error) {
	w, name := g.key.where, g.key.name
	if g.container, err = w.openContainer(); err != nil {
		return err
	}
	if v, err := ioctl(g.container, containerGetAPIVersion, 0); err != nil || v != apiVersion {
		return fmt.Errorf("VFIO's version is %d, want %d: %w", v, apiVersion, errors.Join(link.ErrNotSupported, err))
	}
	if has, err := ioctl(g.container, containerCheckExtension, type1v2); err != nil || has == 0 {
		return fmt.Errorf("VFIO has no IOMMU of type 1 v2: load the module by `modprobe vfio_iommu_type1`: %w", errors.Join(link.ErrNotSupported, err))
	}
	if g.fd, err = w.openGroup(name); err != nil {
		return err
	}
	var status groupStatus
	status.argsz = uint32(unsafe.Sizeof(status))
	if _, err := ioctlPtr(g.fd, groupGetStatus, &status); err != nil {
		return fmt.Errorf("IOMMU group %s: status: %w", name, err)
	}
	if status.flags&groupViable == 0 {
		return fmt.Errorf("IOMMU group %s is not viable: other drivers have %v of its devices: bind the whole group by `oobnet bind %s`: %w",
			name, w.strangers(name), addr, unix.EPERM)
	}
	fd := int32(g.container)
	if _, err := ioctlPtr(g.fd, groupSetContainer, &fd); err != nil {
		return fmt.Errorf("IOMMU group %s: join the container: %w", name, err)
	}
	if _, err := ioctl(g.container, containerSetIOMMU, type1v2); err != nil {
		if errors.Is(err, unix.EPERM) {
			return fmt.Errorf("IOMMU group %s: the kernel does not trust this machine's interrupts: it has no interrupt remapping (allow_unsafe_interrupts of vfio_iommu_type1 overrides): %w", name, err)
		}
		return fmt.Errorf("IOMMU group %s: set the IOMMU: %w", name, err)
	}
	g.free, err = ranges(g.container)
	if g.free == nil {
		g.free = []iovaRange{{0, bus.MaxIOVA - 1}}
	}
	return err
}

// close closes the descriptors, which undoes what is left of the container's
// mappings.
func (g *group) close() error {
	var errs []error
	for _, fd := range []*int{&g.fd, &g.container} {
		if *fd >= 0 {
			errs = append(errs, unix.Close(*fd))
			*fd = -1
		}
	}
	return errors.Join(errs...)
}

// device opens a function of the group.
func (g *group) device(addr string) (fd int, err error) {
	name, err := unix.ByteSliceFromString(addr)
	if err != nil {
		return -1, err
	}
	fd, err = ioctlPtr(g.fd, groupGetDeviceFD, &name[0])
	if err != nil {
		return -1, fmt.Errorf("take the device from its group: in use, or not VFIO's: %w", err)
	}
	unix.CloseOnExec(fd)
	return fd, nil
}
