package vfio

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio/internal/bus"
	"github.com/oobnet/oobnet/link/vfio/internal/bus/kernel"
	"github.com/oobnet/oobnet/link/vfio/internal/driver"
)

// Open takes the NIC at a PCI address, as lspci -D writes it ("0000:02:00.0"),
// which is bound to vfio-pci (oobnet bind does that). It resets the NIC and
// reads its address; the wire comes up with Attach, or some seconds after it. A nil
// config means the defaults. NICs of one IOMMU group, as the ports of a card may be,
// may be open at the same time, in one process.
//
// Errors wrap the kernel's, and name what is missing: ENOENT for no such device,
// EACCES for no access to the group, EBUSY for a device in use, EPERM for a
// group of which another device is bound elsewhere, ENODEV for no IOMMU, ENOMEM
// for a memlock limit that is too small; link.ErrNotSupported for a NIC that
// there is no driver for.
func Open(pciAddr string, cfg *Config) (*Link, error) {
	b, err := kernel.Open(pciAddr)
	if err != nil {
		return nil, fmt.Errorf("vfio: %s: %w", pciAddr, err)
	}
	return open(b, cfg)
}

// open makes a link of a bus, which it closes if it fails.
func open(b bus.Bus, cfg *Config) (*Link, error) {
	l := &Link{bus: b, name: b.Name(), trouble: -1, halt: -1}
	if err := l.setUp(cfg); err != nil {
		_ = l.tearDown() // the first error is the cause
		return nil, l.fail(err)
	}
	return l, nil
}

func (l *Link) setUp(cfg *Config) error {
	family, model, err := find(l.bus.ID())
	if err != nil {
		return err
	}
	c, err := cfg.settled()
	if err != nil {
		return err
	}
	l.onEvent, l.mtu = c.OnEvent, c.MTU
	if l.kind, err = pickInterrupts(l.bus, c.Interrupts, c.Queues); err != nil {
		return err
	}
	if err := l.bus.Reset(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	l.dev, err = family.Open(l.bus, model, driver.Config{
		Queues: c.Queues, RXDescriptors: c.RXDescriptors, TXDescriptors: c.TXDescriptors, MTU: c.MTU,
		Interrupts: l.kind, Features: c.With,
	})
	if err != nil {
		return err
	}
	info := l.dev.Info()
	on := (info.Supported&DefaultFeatures | c.With) &^ c.Without
	if err := l.dev.SetFeatures(on); err != nil {
		return err
	}
	l.features.Store(uint32(on))
	if c.MAC != (link.MAC{}) {
		if err := l.dev.SetMAC(c.MAC); err != nil {
			return err
		}
	}
	info = l.dev.Info()
	l.capabilities = link.Capabilities{
		Driver: info.Driver, Mode: fmt.Sprintf("%s, %v, zero-copy", info.Model, l.kind), ZeroCopy: true,
		RXChecksum: on&RXChecksum != 0, TXChecksum: on&TXChecksum != 0, VLANInsert: on&VLANInsert != 0,
		RXHeadroom: info.RXHeadroom, MaxBufferSize: link.MaxBufferSize, Pollable: l.kind != bus.None,
	}
	if on&RXTime != 0 {
		l.capabilities.RXClock = link.ClockMonotonic
	}
	if timer, ok := l.dev.(driver.TXTimer); ok && on&TXTime != 0 {
		l.timer, l.capabilities.TXClock = timer, link.ClockMonotonic
	}
	if err := l.learnWire(); err != nil {
		return err
	}
	if err := l.applyFilter(); err != nil {
		return err
	}
	return l.openEvents(info.Queues)
}

// openEvents makes the eventfds and the queues.
func (l *Link) openEvents(queues int) error {
	var err error
	for _, fd := range []*int{&l.trouble, &l.halt} {
		if *fd, err = eventfd(); err != nil {
			return err
		}
	}
	if err := l.bus.Watch(l.trouble); err != nil {
		return err
	}
	for i := range queues {
		q := &queue{link: l, id: i, fd: -1}
		if q.fd, err = eventfd(); err != nil {
			return err
		}
		l.queues = append(l.queues, q)
	}
	return nil
}

func eventfd() (int, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return -1, fmt.Errorf("make an eventfd: %w", err)
	}
	return fd, nil
}

// tearDown gives back all that Open and Attach have made, whatever of it there is.
func (l *Link) tearDown() error {
	errs := []error{l.bus.Close()}
	for _, q := range l.queues {
		errs = append(errs, closeFD(&q.fd))
	}
	errs = append(errs, closeFD(&l.trouble), closeFD(&l.halt))
	return errors.Join(errs...)
}

func closeFD(fd *int) error {
	if *fd < 0 {
		return nil
	}
	err := unix.Close(*fd)
	*fd = -1
	return err
}
