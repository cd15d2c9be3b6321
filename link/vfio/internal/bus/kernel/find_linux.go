package kernel

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/pci"
)

// where are the trees in which the kernel shows PCI functions and groups.
type where struct{ sys, dev string }

var system = where{string(pci.Sys), "/dev"}

func (w where) tree() pci.Tree { return pci.Tree(w.sys) }

// group finds the function's IOMMU group and checks that VFIO has the function.
func (w where) group(addr string) (string, error) {
	dir := w.tree().Dir(addr)
	if _, err := os.Stat(dir); err != nil {
		return "", fmt.Errorf("no such PCI device: see `lspci -D`: %w", unix.ENOENT)
	}
	group, err := os.Readlink(filepath.Join(dir, "iommu_group"))
	if err != nil {
		return "", fmt.Errorf("the device has no IOMMU group: switch the IOMMU on, in the firmware (VT-d, AMD-Vi) and on the kernel's command line (intel_iommu=on or amd_iommu=on): %w", unix.ENODEV)
	}
	switch name := w.tree().Driver(addr); name {
	case pci.VFIO:
		return filepath.Base(group), nil
	case "":
		return "", fmt.Errorf("the device is bound to no driver: bind it to vfio-pci by `oobnet bind %s`: %w", addr, unix.ENXIO)
	default:
		return "", fmt.Errorf("the device belongs to the kernel's driver %s: bind it to vfio-pci by `oobnet bind %s`: %w", name, addr, unix.EBUSY)
	}
}

// strangers are the functions of a group that other drivers have.
func (w where) strangers(group string) (list []string) {
	entries, err := os.ReadDir(filepath.Join(w.sys, "kernel/iommu_groups", group, "devices"))
	if err != nil {
		return nil
	}
	for _, e := range entries {
		// Bridges to PCI Express ports may stay where they are.
		switch name := w.tree().Driver(e.Name()); name {
		case "", pci.VFIO, "pcieport", "pci-stub":
		default:
			list = append(list, fmt.Sprintf("%s (%s)", e.Name(), name))
		}
	}
	return list
}

// openContainer opens a new container.
func (w where) openContainer() (int, error) {
	path := filepath.Join(w.dev, "vfio/vfio")
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENODEV):
		return -1, fmt.Errorf("%s is not there: load the module by `modprobe vfio-pci`: %w", path, err)
	case errors.Is(err, fs.ErrPermission):
		return -1, fmt.Errorf("no access to %s: run as root, or give the user access to it: %w", path, err)
	case err != nil:
		return -1, fmt.Errorf("open %s: %w", path, err)
	}
	return fd, nil
}

// openGroup opens a group, which the kernel lets happen once at a time.
func (w where) openGroup(group string) (int, error) {
	path := filepath.Join(w.dev, "vfio", group)
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Stat(filepath.Join(w.dev, "vfio", "noiommu-"+group)); err == nil {
			return -1, fmt.Errorf("group %s is in no-IOMMU mode, in which a device can write over all memory: switch the IOMMU on: %w", group, unix.ENODEV)
		}
		return -1, fmt.Errorf("%s is not there: bind the device to vfio-pci by `oobnet bind`: %w", path, err)
	case errors.Is(err, fs.ErrPermission):
		return -1, fmt.Errorf("no access to %s: run as root, or give it to the user by `chown`: %w", path, err)
	case errors.Is(err, unix.EBUSY):
		return -1, fmt.Errorf("IOMMU group %s is in use by another process: end it first (`fuser %s` names it): %w", group, path, err)
	case err != nil:
		return -1, fmt.Errorf("open %s: %w", path, err)
	}
	return fd, nil
}
