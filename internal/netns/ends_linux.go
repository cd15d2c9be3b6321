package netns

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/safchain/ethtool"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// linkWait bounds how long Make waits for two network cards to agree on a link:
// half a second of negotiation, more in an emulation on busy processors.
const linkWait = 30 * time.Second

// addCards makes the ends of two interfaces of the process's own namespace.
func (w *Wire) addCards(c *Config) error {
	for i, h := range []*Host{w.A, w.B} {
		if h == nil {
			continue
		}
		mac := [][6]byte{c.MACA, c.MACB}[i]
		if err := h.adopt(c.Ends[i], mac, c.MTU); err != nil {
			return fmt.Errorf("interface %s: %w", c.Ends[i], err)
		}
	}
	// Who listens with a packet socket hears all that is on the wire, as on a veth.
	err := w.B.link(func(nl *netlink.Handle, l netlink.Link) error { return nl.SetPromiscOn(l) })
	if err != nil || w.A == nil {
		return err
	}
	// The peer's queues are its kernel's own affair.
	return w.A.setQueues(c.Queues)
}

// adopt moves an interface into the namespace, under the host's name for it.
func (h *Host) adopt(name string, mac [6]byte, mtu int) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	// An interface that is up keeps its name and, some, their address.
	if err := netlink.LinkSetDown(l); err != nil {
		return err
	}
	if err := netlink.LinkSetName(l, h.IfName); err != nil {
		return err
	}
	h.lent = name
	if err := netlink.LinkSetNsFd(l, int(h.ns.fd.Fd())); err != nil {
		return errors.Join(err, netlink.LinkSetName(l, name))
	}
	return h.link(func(nl *netlink.Handle, l netlink.Link) error {
		if err := nl.LinkSetHardwareAddr(l, net.HardwareAddr(mac[:])); err != nil {
			return err
		}
		return nl.LinkSetMTU(l, mtu)
	})
}

// giveBack moves an adopted interface to the namespace that the process began
// in. When a namespace ends the kernel does so too, but some time later.
func (h *Host) giveBack() error {
	if h.lent == "" {
		return nil
	}
	name := h.lent
	h.lent = ""
	return h.link(func(nl *netlink.Handle, l netlink.Link) error {
		if err := nl.LinkSetDown(l); err != nil {
			return err
		}
		if err := nl.LinkSetName(l, name); err != nil {
			return err
		}
		return nl.LinkSetNsPid(l, os.Getpid())
	})
}

// setQueues asks the interface's driver for so many queues.
func (h *Host) setQueues(n int) error {
	return h.DoErr(func() error {
		e, err := ethtool.NewEthtool()
		if err != nil {
			return err
		}
		defer e.Close()
		now, err := e.GetChannels(h.IfName)
		switch {
		case errors.Is(err, unix.EOPNOTSUPP) && n == 1:
			return nil // it has one, and no way to say so
		case errors.Is(err, unix.EOPNOTSUPP):
			return fmt.Errorf("%s has one queue, not %d: %w", h.IfName, n, errors.ErrUnsupported)
		case err != nil:
			return err
		}
		if now.CombinedCount == uint32(n) {
			return nil
		}
		if now.MaxCombined < uint32(n) {
			return fmt.Errorf("%s has %d queues, not %d: %w", h.IfName, now.MaxCombined, n, errors.ErrUnsupported)
		}
		now.CombinedCount = uint32(n)
		_, err = e.SetChannels(h.IfName, now)
		return err
	})
}
