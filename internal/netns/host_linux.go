package netns

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// netlink runs f with a route socket that lives in the namespace.
func (h *Host) netlink(f func(*netlink.Handle) error) error {
	nl, err := netlink.NewHandleAt(netns.NsHandle(h.ns.fd.Fd()), unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netns: %s: route socket: %w", h.Namespace, err)
	}
	defer nl.Close()
	if err := f(nl); err != nil {
		return fmt.Errorf("netns: %s %s: %w", h.Namespace, h.IfName, err)
	}
	return nil
}

// link runs f with the host's interface.
func (h *Host) link(f func(*netlink.Handle, netlink.Link) error) error {
	return h.netlink(func(nl *netlink.Handle) error {
		l, err := nl.LinkByName(h.IfName)
		if err != nil {
			return err
		}
		return f(nl, l)
	})
}

// SetUp switches the interface on or off, as `ip link set up` does. The
// carrier follows a little later at both ends: see [Host.WaitUp].
func (h *Host) SetUp(up bool) error {
	return h.link(func(nl *netlink.Handle, l netlink.Link) error {
		if up {
			return nl.LinkSetUp(l)
		}
		return nl.LinkSetDown(l)
	})
}

// WaitUp waits until the interface is up, has carrier and sends. Between
// SetUp and then the kernel drops what is sent: it puts the queueing discipline
// in place when it has seen the carrier, in a work queue of its own.
func (h *Host) WaitUp(limit time.Duration) error {
	return h.netlink(func(nl *netlink.Handle) error {
		for end := time.Now().Add(limit); ; time.Sleep(time.Millisecond) {
			l, err := nl.LinkByName(h.IfName)
			if err != nil {
				return err
			}
			if l.Attrs().OperState == netlink.OperUp {
				return nil
			}
			if time.Now().After(end) {
				return fmt.Errorf("still %v after %v", l.Attrs().OperState, limit)
			}
		}
	})
}

// SetMAC changes the interface's address. Host.MAC keeps the one it was made with.
func (h *Host) SetMAC(mac [6]byte) error {
	return h.link(func(nl *netlink.Handle, l netlink.Link) error {
		return nl.LinkSetHardwareAddr(l, net.HardwareAddr(mac[:]))
	})
}

// SetMTU changes the interface's MTU, bytes.
func (h *Host) SetMTU(mtu int) error {
	return h.link(func(nl *netlink.Handle, l netlink.Link) error { return nl.LinkSetMTU(l, mtu) })
}

// AddAddr gives the kernel an address on the interface.
func (h *Host) AddAddr(p netip.Prefix) error {
	return h.link(func(nl *netlink.Handle, l netlink.Link) error {
		return nl.AddrAdd(l, &netlink.Addr{IPNet: ipNet(p)})
	})
}

// AddRoute gives the kernel a route over the interface; the zero gateway makes
// dst on-link.
func (h *Host) AddRoute(dst netip.Prefix, gateway netip.Addr) error {
	return h.link(func(nl *netlink.Handle, l netlink.Link) error {
		r := &netlink.Route{LinkIndex: l.Attrs().Index, Dst: ipNet(dst)}
		if gateway.IsValid() {
			r.Gw = gateway.AsSlice()
		} else {
			r.Scope = netlink.SCOPE_LINK
		}
		return nl.RouteAdd(r)
	})
}

// AddVLAN adds a VLAN interface named after the tag ("peer0.5") over the
// host's interface, up, with the address unless it is zero.
func (h *Host) AddVLAN(id int, addr netip.Prefix) (ifname string, err error) {
	ifname = fmt.Sprintf("%s.%d", h.IfName, id)
	err = h.link(func(nl *netlink.Handle, l netlink.Link) error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = ifname
		attrs.ParentIndex = l.Attrs().Index
		v := &netlink.Vlan{LinkAttrs: attrs, VlanId: id, VlanProtocol: netlink.VLAN_PROTOCOL_8021Q}
		if err := nl.LinkAdd(v); err != nil {
			return err
		}
		if addr.IsValid() {
			if err := nl.AddrAdd(v, &netlink.Addr{IPNet: ipNet(addr)}); err != nil {
				return err
			}
		}
		return nl.LinkSetUp(v)
	})
	return ifname, err
}

// AddNeighbour gives the kernel a permanent neighbour entry on the interface.
func (h *Host) AddNeighbour(addr netip.Addr, mac [6]byte) error {
	return h.link(func(nl *netlink.Handle, l netlink.Link) error {
		return nl.NeighSet(&netlink.Neigh{
			LinkIndex: l.Attrs().Index, Family: unix.AF_INET, State: netlink.NUD_PERMANENT,
			IP: addr.AsSlice(), HardwareAddr: net.HardwareAddr(mac[:]),
		})
	})
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// Sysctl sets a value in the namespace: "net.ipv4.ip_forward", "1". A name
// whose interface holds a dot is written with slashes.
func (h *Host) Sysctl(name, value string) error {
	if !strings.Contains(name, "/") {
		name = strings.ReplaceAll(name, ".", "/")
	}
	return h.DoErr(func() error {
		// No O_CREATE: a missing name is "not exist", not "permission denied".
		f, err := os.OpenFile(filepath.Join("/proc/sys", name), os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = f.WriteString(value)
		return err
	})
}

// RawSocket opens an AF_PACKET socket on the interface. A Read returns one
// received frame, a Write sends one, both from the Ethernet header on;
// deadlines work. etherType in host order; 0 for all. The caller closes it.
// Frames that this host itself sends are not seen.
func (h *Host) RawSocket(etherType uint16) (*os.File, error) {
	if etherType == 0 {
		etherType = unix.ETH_P_ALL
	}
	var f *os.File
	err := h.DoErr(func() error {
		// Protocol 0 until it is bound: no frame of another interface gets in.
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return os.NewSyscallError("socket", err)
		}
		f = os.NewFile(uintptr(fd), "packet:"+h.IfName)
		if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1); err != nil {
			f.Close()
			return os.NewSyscallError("setsockopt", err)
		}
		var order [2]byte
		binary.BigEndian.PutUint16(order[:], etherType)
		err = unix.Bind(fd, &unix.SockaddrLinklayer{
			Protocol: binary.NativeEndian.Uint16(order[:]), Ifindex: h.IfIndex,
		})
		if err != nil {
			f.Close()
			return os.NewSyscallError("bind", err)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("netns: %s: packet socket: %w", h.IfName, err)
	}
	return f, nil
}
