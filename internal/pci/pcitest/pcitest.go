// Package pcitest makes a tree like sysfs in a folder, and plays the kernel that
// drivers are bound and unbound in.
package pcitest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/oobnet/oobnet/internal/pci"
)

// Card is a PCI function to begin with.
type Card struct {
	Addr           string
	Vendor, Device uint16
	Class          uint32
	Driver         string // that the kernel gives it, and that it has; empty: none
	Group          string // of the IOMMU; empty: none
	NUMA           int
	Netdev         string // that its driver makes of it; empty: none
	Up             bool
	Away           bool // the interface is in another namespace
	Virtio         bool // the interface belongs to a device below
}

// Classes of functions.
const (
	Ethernet = 0x020000
	Bridge   = 0x060400
	Disk     = 0x010802
)

// Kernel plays the kernel. It is for one goroutine.
type Kernel struct {
	t     testing.TB
	sys   string
	cards map[string]Card
	// Refuse is asked before each write; an error is the kernel's answer. Nil:
	// nothing is refused.
	Refuse func(file, value string) error
	// Open are the groups that a process has open.
	Open map[string]bool
	// Log has each write, as "file value", without sysfs's part of the name.
	Log []string
}

// New makes a tree with cards, and a Binder that works on it. The drivers of the
// cards are loaded, and VFIO's is.
func New(t testing.TB, cards ...Card) (*Kernel, *pci.Binder) {
	t.Helper()
	top := t.TempDir()
	k := &Kernel{t: t, sys: filepath.Join(top, "sys"), cards: map[string]Card{}, Open: map[string]bool{}}
	k.dir("bus/pci/devices")
	k.Load(pci.VFIO)
	k.write("bus/pci/drivers_probe", "")
	for _, c := range cards {
		k.plug(c)
	}
	return k, &pci.Binder{Sys: pci.Tree(k.sys), Run: filepath.Join(top, "run/oobnet/bind"), Kernel: k}
}

// plug adds a card. As in the kernel, devices lie in a tree of their own, to
// which the bus's and the groups' folders have links.
func (k *Kernel) plug(c Card) {
	k.t.Helper()
	k.cards[c.Addr] = c
	dir := filepath.Join("devices/pci0000:00", c.Addr)
	k.dir(dir)
	k.link(filepath.Join(k.sys, dir), filepath.Join("bus/pci/devices", c.Addr))
	for name, value := range map[string]string{
		"vendor": fmt.Sprintf("0x%04x\n", c.Vendor), "device": fmt.Sprintf("0x%04x\n", c.Device), "class": fmt.Sprintf("0x%06x\n", c.Class),
		"numa_node": fmt.Sprintf("%d\n", c.NUMA), "driver_override": "(null)\n",
	} {
		k.write(filepath.Join(dir, name), value)
	}
	if c.Group != "" {
		group := filepath.Join("kernel/iommu_groups", c.Group)
		k.dir(filepath.Join(group, "devices"))
		k.link(filepath.Join(k.sys, group), filepath.Join(dir, "iommu_group"))
		k.link(filepath.Join(k.sys, dir), filepath.Join(group, "devices", c.Addr))
	}
	if c.Driver != "" {
		k.Load(c.Driver)
		k.attach(c, c.Driver, c.Up)
	}
}

// Load loads a driver, which takes no card yet.
func (k *Kernel) Load(driver string) { k.dir(filepath.Join("bus/pci/drivers", driver)) }

// Unload unloads a driver that has no card.
func (k *Kernel) Unload(driver string) { k.remove(filepath.Join("bus/pci/drivers", driver)) }

// Pull takes a card out.
func (k *Kernel) Pull(addr string) {
	if group := k.cards[addr].Group; group != "" {
		k.remove(filepath.Join("kernel/iommu_groups", group, "devices", addr))
	}
	k.remove(filepath.Join("bus/pci/devices", addr))
	delete(k.cards, addr)
}

// Write implements pci.Kernel: it does what the kernel does at such a write.
func (k *Kernel) Write(file, value string) error {
	name, err := filepath.Rel(k.sys, file)
	if err != nil {
		return err
	}
	name = filepath.ToSlash(name)
	k.Log = append(k.Log, strings.TrimPrefix(name, "bus/pci/")+" "+strings.TrimSpace(value))
	if k.Refuse != nil {
		if err := k.Refuse(name, strings.TrimSpace(value)); err != nil {
			return &os.PathError{Op: "write", Path: file, Err: err}
		}
	}
	addr := filepath.Base(filepath.Dir(file))
	switch {
	case name == "bus/pci/drivers_probe":
		return k.probe(value)
	case strings.HasSuffix(name, "/driver/unbind"):
		return k.unbind(value)
	case strings.HasSuffix(name, "/driver_override"):
		if _, ok := k.cards[addr]; !ok {
			return syscall.ENOENT
		}
		if strings.TrimSpace(value) == "" {
			value = "(null)\n"
		}
		k.write(name, value)
		return nil
	}
	return fmt.Errorf("pcitest: nobody writes %q to %s", value, name)
}

// Busy implements pci.Kernel.
func (k *Kernel) Busy(group string) bool { return k.Open[group] }

func (k *Kernel) unbind(addr string) error {
	if k.tree().Driver(addr) == "" {
		return syscall.ENODEV
	}
	dir := filepath.Join("bus/pci/devices", addr)
	for _, name := range []string{"driver", "net", "virtio0"} {
		k.remove(filepath.Join(dir, name))
	}
	return nil
}

// probe finds a driver for a card that has none: the override's or its own.
func (k *Kernel) probe(addr string) error {
	c, ok := k.cards[addr]
	if !ok {
		return syscall.ENODEV
	}
	f, err := k.tree().Read(addr)
	if err != nil {
		return err
	}
	driver := c.Driver
	if f.Override != "" {
		driver = f.Override
	}
	if f.Driver != "" || driver == "" || !k.tree().HasDriver(driver) {
		return nil
	}
	k.attach(c, driver, false)
	return nil
}

func (k *Kernel) tree() pci.Tree { return pci.Tree(k.sys) }

// attach gives a card to a driver, which makes an interface if it is its own.
func (k *Kernel) attach(c Card, driver string, up bool) {
	dir := filepath.Join("bus/pci/devices", c.Addr)
	k.link(filepath.Join(k.sys, "bus/pci/drivers", driver), filepath.Join(dir, "driver"))
	if driver == pci.VFIO || c.Netdev == "" {
		return
	}
	net := filepath.Join(dir, "net")
	if c.Virtio {
		net = filepath.Join(dir, "virtio0/net")
	}
	k.dir(net)
	if c.Away {
		return
	}
	k.dir(filepath.Join(net, c.Netdev))
	flags := "0x1002\n" // IFF_BROADCAST | IFF_MULTICAST
	if up {
		flags = "0x1003\n"
	}
	k.write(filepath.Join(net, c.Netdev, "flags"), flags)
}

func (k *Kernel) dir(name string) { k.must(os.MkdirAll(filepath.Join(k.sys, name), 0o755)) }

func (k *Kernel) write(name, value string) {
	k.must(os.WriteFile(filepath.Join(k.sys, name), []byte(value), 0o644))
}

func (k *Kernel) link(to, name string) { k.must(os.Symlink(to, filepath.Join(k.sys, name))) }

func (k *Kernel) remove(name string) {
	if err := os.RemoveAll(filepath.Join(k.sys, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		k.must(err)
	}
}

func (k *Kernel) must(err error) {
	k.t.Helper()
	if err != nil {
		k.t.Fatal(err)
	}
}
