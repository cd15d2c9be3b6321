package netns

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/safchain/ethtool"
	"github.com/vishvananda/netlink"
)

// Available says why a wire cannot be made here, nil if it can. It makes one
// the first time it is asked.
var Available = sync.OnceValue(func() error {
	w, err := Make(nil)
	if err != nil {
		return err
	}
	return w.Close()
})

// carrierWait bounds how long Make waits for both ends; it takes some ms, and
// the kernel handles carrier changes at most once a second if they come often.
const carrierWait = 5 * time.Second

// Make makes a wire. A nil config means the defaults. The caller closes it.
// Both ends are up and have carrier when it returns.
func Make(cfg *Config) (*Wire, error) {
	var c Config
	if cfg != nil {
		c = *cfg
	}
	c.Queues = cmp.Or(c.Queues, 1)
	c.MTU = cmp.Or(c.MTU, 1500)
	if c.MACA == ([6]byte{}) {
		c.MACA = DefaultMACA
	}
	if c.MACB == ([6]byte{}) {
		c.MACB = DefaultMACB
	}
	removeStale()
	w := &Wire{}
	if err := w.make(&c); err != nil {
		return nil, errors.Join(fmt.Errorf("netns: %w", err), w.Close())
	}
	return w, nil
}

func (w *Wire) make(c *Config) error {
	var err error
	half := c.Ends[0] == "" && c.Ends[1] != ""
	if !half {
		if w.A, err = newHost(IfNameA, c.MACA); err != nil {
			return err
		}
	}
	if w.B, err = newHost(IfNameB, c.MACB); err != nil {
		return err
	}
	limit := carrierWait
	if c.Ends != [2]string{} {
		limit = linkWait
		err = w.addCards(c)
	} else if err = w.addVeth(c); err != nil {
		err = fmt.Errorf("veth pair: %w", err)
	}
	if err != nil {
		return err
	}
	for _, end := range w.ends() {
		off := c.Offloads == OffloadsOff || end == w.B && c.Offloads != OffloadsOn
		if err := end.configure(off); err != nil {
			return err
		}
	}
	for _, end := range w.ends() {
		if err := end.WaitUp(limit); err != nil {
			return err
		}
	}
	if c.AddrA.IsValid() && !half {
		if err := w.A.AddAddr(c.AddrA); err != nil {
			return err
		}
	}
	if c.AddrB.IsValid() {
		return w.B.AddAddr(c.AddrB)
	}
	return nil
}

// ends are the hosts that there are.
func (w *Wire) ends() (all []*Host) {
	for _, h := range []*Host{w.A, w.B} {
		if h != nil {
			all = append(all, h)
		}
	}
	return all
}

func newHost(ifname string, mac [6]byte) (*Host, error) {
	name, ns, err := newNamespace()
	if err != nil {
		return nil, err
	}
	h := &Host{Namespace: name, IfName: ifname, MAC: mac, ns: ns}
	// Before there is an interface, so that none ever sends a router
	// solicitation or a duplicate-address probe.
	err = h.Sysctl("net.ipv6.conf.default.disable_ipv6", "1")
	if errors.Is(err, os.ErrNotExist) { // a kernel without IPv6 is as quiet
		err = nil
	}
	if err != nil {
		return nil, errors.Join(err, h.remove())
	}
	return h, nil
}

// addVeth makes the pair with one end in each namespace from the start: it
// never shows in the process's own.
func (w *Wire) addVeth(c *Config) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = w.A.IfName
	attrs.MTU = c.MTU
	attrs.HardwareAddr = net.HardwareAddr(c.MACA[:])
	attrs.NumTxQueues, attrs.NumRxQueues = c.Queues, c.Queues
	veth := netlink.NewVeth(attrs)
	veth.PeerName = w.B.IfName
	veth.PeerMTU = uint32(c.MTU)
	veth.PeerHardwareAddr = net.HardwareAddr(c.MACB[:])
	veth.PeerNumTxQueues, veth.PeerNumRxQueues = uint32(c.Queues), uint32(c.Queues)
	veth.PeerNamespace = netlink.NsFd(w.B.ns.fd.Fd())
	return w.A.netlink(func(nl *netlink.Handle) error { return nl.LinkAdd(veth) })
}

// configure learns the interface's index and brings it and lo up.
func (h *Host) configure(offloadsOff bool) error {
	err := h.netlink(func(nl *netlink.Handle) error {
		l, err := nl.LinkByName(h.IfName)
		if err != nil {
			return err
		}
		h.IfIndex = l.Attrs().Index
		lo, err := nl.LinkByName("lo")
		if err != nil {
			return err
		}
		return nl.LinkSetUp(lo)
	})
	if err != nil {
		return err
	}
	if offloadsOff {
		if err := h.DoErr(h.switchOffloadsOff); err != nil {
			return fmt.Errorf("%s: transmit offloads off: %w", h.IfName, err)
		}
	}
	return h.SetUp(true)
}

// txOffloads are the kernel's names of what `ethtool -K tx off gso off`
// switches. The segmentation ones depend on checksumming; they are named all
// the same, so that what is off does not rest on that.
var txOffloads = []string{
	"tx-checksum-ip-generic", "tx-checksum-ipv4", "tx-checksum-sctp",
	"tx-tcp-segmentation", "tx-tcp-ecn-segmentation", "tx-tcp6-segmentation",
	"tx-generic-segmentation", "tx-udp-segmentation",
	"tx-vlan-hw-insert", "tx-vlan-stag-hw-insert",
}

func (h *Host) switchOffloadsOff() error {
	e, err := ethtool.NewEthtool()
	if err != nil {
		return err
	}
	defer e.Close()
	have, err := e.FeaturesWithState(h.IfName)
	if err != nil {
		return err
	}
	off := map[string]bool{}
	for _, name := range txOffloads {
		if f, ok := have[name]; ok && f.Active && f.Available {
			off[name] = false
		}
	}
	return e.Change(h.IfName, off)
}

// Close removes the wire and its namespaces. It returns an error if a
// namespace could not be removed, or if this process still holds one. It is
// idempotent.
func (w *Wire) Close() error {
	var errs []error
	ends := w.ends()
	for _, h := range ends {
		errs = append(errs, h.giveBack())
	}
	if w.A != nil && w.A.IfIndex != 0 {
		// One end takes the other with it, and unlike the end of a namespace
		// it happens at once.
		errs = append(errs, w.A.netlink(func(nl *netlink.Handle) error {
			l, err := nl.LinkByIndex(w.A.IfIndex)
			if err != nil {
				return nil // a test may have deleted it
			}
			return nl.LinkDel(l)
		}))
	}
	for _, h := range ends {
		errs = append(errs, h.remove())
	}
	w.A, w.B = nil, nil
	return errors.Join(errs...)
}

func (h *Host) remove() error {
	err := removeNamespace(h.Namespace)
	h.ns.fd.Close()
	if held := h.ns.held(); held != nil {
		err = errors.Join(err, held)
	}
	if err != nil {
		return fmt.Errorf("netns: remove %s: %w", h.Namespace, err)
	}
	return nil
}
