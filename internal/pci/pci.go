// Package pci reads what Linux tells of PCI functions in sysfs, and moves them
// from one driver of the kernel to another. It is for the control path: each
// call reads the files anew, and nothing is kept.
//
// Sources: Linux, Documentation/ABI/testing/sysfs-bus-pci and
// sysfs-kernel-iommu_groups.
package pci

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// VFIO is the kernel's driver that gives functions to processes.
const VFIO = "vfio-pci"

var (
	fullAddr  = regexp.MustCompile(`^[0-9a-f]{4,}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$`)
	shortAddr = regexp.MustCompile(`^[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$`)
)

// ParseAddr brings an address into the kernel's form: domain, bus, device and
// function, in lower case. Without a domain it is the first.
func ParseAddr(addr string) (string, error) {
	addr = strings.ToLower(strings.TrimSpace(addr))
	if shortAddr.MatchString(addr) {
		addr = "0000:" + addr
	}
	if !fullAddr.MatchString(addr) {
		return "", fmt.Errorf("%q is no PCI address: want domain:bus:device.function, as in 0000:02:00.0: see `lspci -D`: %w", addr, syscall.EINVAL)
	}
	return addr, nil
}

// Tree is where sysfs is mounted. Tests make one of their own.
type Tree string

// Sys is the system's.
const Sys Tree = "/sys"

// Dir is the folder of a function.
func (t Tree) Dir(addr string) string { return filepath.Join(string(t), "bus/pci/devices", addr) }

// Driver is the kernel's driver of a function, empty for none.
func (t Tree) Driver(addr string) string { return base(filepath.Join(t.Dir(addr), "driver")) }

// HasDriver says whether the kernel has a PCI driver of that name loaded.
func (t Tree) HasDriver(name string) bool {
	_, err := os.Stat(filepath.Join(string(t), "bus/pci/drivers", name))
	return err == nil
}

// Function is a PCI function, as it was when it was read.
type Function struct {
	Addr           string
	Vendor, Device uint16
	Class          uint32 // base class, subclass, programming interface: 24 bits
	Driver         string // of the kernel; empty: none
	Override       string // the only driver that may have it; empty: any that fits
	Group          string // of the IOMMU; empty: none
	// Members are the addresses of all functions in the group, this one's too.
	Members []string
	NUMA    int // node; -1: the machine has one, or does not tell
	Netdevs []Netdev
	// Away: the kernel's interface of the function is in another network
	// namespace, where its state is not to be seen.
	Away bool
}

// Netdev is a network interface of the kernel.
type Netdev struct {
	Name string `json:"name"`
	Up   bool   `json:"up"`
}

// Base classes and one class, of the PCI Code and ID Assignment Specification.
const (
	baseNetwork   = 0x02
	baseBridge    = 0x06
	classEthernet = 0x0200
)

// Ethernet says whether the function is an Ethernet controller.
func (f *Function) Ethernet() bool { return f.Class>>8 == classEthernet }

// Network says whether it is a network controller of whatever kind.
func (f *Function) Network() bool { return f.Class>>16 == baseNetwork }

// Bridge says whether it is a bridge: vfio-pci takes none, and a group is
// viable with its bridges where they are.
func (f *Function) Bridge() bool { return f.Class>>16 == baseBridge }

// List reads all functions, by address.
func (t Tree) List() ([]*Function, error) {
	entries, err := os.ReadDir(t.Dir(""))
	if err != nil {
		return nil, fmt.Errorf("list PCI functions (Linux shows them in sysfs, if there is a PCI bus): %w", err)
	}
	var list []*Function
	for _, e := range entries {
		f, err := t.Read(e.Name())
		switch {
		case errors.Is(err, fs.ErrNotExist):
			// It was pulled out meanwhile.
		case err != nil:
			return nil, err
		default:
			list = append(list, f)
		}
	}
	return list, nil
}

// Read reads a function.
func (t Tree) Read(addr string) (*Function, error) {
	addr, err := ParseAddr(addr)
	if err != nil {
		return nil, err
	}
	dir := t.Dir(addr)
	if _, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("%s: no such PCI device: see `lspci -D`: %w", addr, syscall.ENOENT)
	}
	f := &Function{Addr: addr, Driver: t.Driver(addr), Group: base(filepath.Join(dir, "iommu_group")), NUMA: -1}
	var id [3]uint64
	for i, name := range []string{"vendor", "device", "class"} {
		if id[i], err = number(filepath.Join(dir, name)); err != nil {
			return nil, fmt.Errorf("%s: %w", addr, err)
		}
	}
	f.Vendor, f.Device, f.Class = uint16(id[0]), uint16(id[1]), uint32(id[2])
	// "(null)" is what the kernel's printf makes of no override.
	if f.Override = line(filepath.Join(dir, "driver_override")); f.Override == "(null)" {
		f.Override = ""
	}
	if n, err := strconv.Atoi(line(filepath.Join(dir, "numa_node"))); err == nil {
		f.NUMA = n
	}
	if f.Group != "" {
		f.Members = names(filepath.Join(string(t), "kernel/iommu_groups", f.Group, "devices"))
	}
	f.readNetdevs(dir)
	return f, nil
}

// readNetdevs lists the interfaces. A virtio card's belong to a device below the
// card's.
func (f *Function) readNetdevs(dir string) {
	folders := []string{filepath.Join(dir, "net")}
	for _, name := range names(dir) {
		if strings.HasPrefix(name, "virtio") {
			folders = append(folders, filepath.Join(dir, name, "net"))
		}
	}
	for _, folder := range folders {
		found := names(folder)
		// The folder goes with its last interface, but shows those of the
		// namespace alone in which sysfs was mounted.
		if _, err := os.Stat(folder); err == nil && len(found) == 0 {
			f.Away = true
		}
		for _, name := range found {
			const up = 1 // IFF_UP of netdevice(7)
			flags, err := number(filepath.Join(folder, name, "flags"))
			f.Netdevs = append(f.Netdevs, Netdev{Name: name, Up: err == nil && flags&up != 0})
		}
	}
}

// names lists a folder, none if it is not there.
func names(dir string) (list []string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		list = append(list, e.Name())
	}
	slices.Sort(list)
	return list
}

// base is the last element of where a link goes, empty if there is none.
func base(name string) string {
	to, err := os.Readlink(name)
	if err != nil {
		return ""
	}
	return filepath.Base(to)
}

func line(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// number reads "0x8086".
func number(path string) (uint64, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 0, 32)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return n, nil
}
