package afxdp

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/link"
)

// groups are the multicast addresses that the device is asked to receive, and
// whether it is asked for frames to other stations. A network card drops what
// nobody has asked for before any program sees it. A packet socket without a
// protocol receives nothing and may ask; what it has asked for is undone when
// it closes, however the process ends. The kernel counts the askers, so that
// what another program wants stays (packet(7), PACKET_ADD_MEMBERSHIP).
type groups struct {
	fd          int
	index       int
	joined      map[link.MAC]bool
	promiscuous bool
}

// newGroups opens the socket in the calling thread's namespace.
func newGroups(index int) (*groups, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open a packet socket for multicast groups: %w", err)
	}
	return &groups{fd: fd, index: index}, nil
}

func (g *groups) close() error { return unix.Close(g.fd) }

// groupsOf are the Ethernet groups among the claims, and the addresses of the
// IPv4 groups (RFC 1112, section 6.4: the low 23 bits after 01-00-5e).
func groupsOf(c *link.Claims) map[link.MAC]bool {
	wanted := make(map[link.MAC]bool)
	for _, mac := range c.Groups {
		wanted[mac] = true
	}
	for _, i := range c.IPv4 {
		if a := i.Addr; a[0]>>4 == 0xe {
			wanted[link.MAC{0x01, 0x00, 0x5e, a[1] & 0x7f, a[2], a[3]}] = true
		}
	}
	return wanted
}

// join joins what is wanted and not yet joined, all of it or nothing.
func (g *groups) join(wanted map[link.MAC]bool) error {
	for mac := range wanted {
		if g.joined[mac] {
			continue
		}
		if err := g.set(unix.PACKET_ADD_MEMBERSHIP, mac); err != nil {
			return errors.Join(fmt.Errorf("join the Ethernet group %x: %w", mac, err), g.leave(wanted, g.joined))
		}
	}
	return nil
}

// leave leaves the groups that are not wanted. One that was never joined is
// not an error: join may have failed half-way.
func (g *groups) leave(groups, wanted map[link.MAC]bool) error {
	var errs []error
	for mac := range groups {
		if wanted[mac] {
			continue
		}
		err := g.set(unix.PACKET_DROP_MEMBERSHIP, mac)
		if err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) && !errors.Is(err, unix.ENODEV) {
			errs = append(errs, fmt.Errorf("leave the Ethernet group %x: %w", mac, err))
		}
	}
	return errors.Join(errs...)
}

func (g *groups) set(option int, mac link.MAC) error {
	m := unix.PacketMreq{Ifindex: int32(g.index), Type: unix.PACKET_MR_MULTICAST, Alen: uint16(len(mac))}
	copy(m.Address[:], mac[:])
	return unix.SetsockoptPacketMreq(g.fd, unix.SOL_PACKET, option, &m)
}

// setPromiscuous asks for frames to other stations, or no longer does.
func (g *groups) setPromiscuous(on bool) error {
	if on == g.promiscuous {
		return nil
	}
	option, what := unix.PACKET_ADD_MEMBERSHIP, "switch promiscuous mode on"
	if !on {
		option, what = unix.PACKET_DROP_MEMBERSHIP, "switch promiscuous mode off"
	}
	m := unix.PacketMreq{Ifindex: int32(g.index), Type: unix.PACKET_MR_PROMISC}
	err := unix.SetsockoptPacketMreq(g.fd, unix.SOL_PACKET, option, &m)
	if err != nil && !(option == unix.PACKET_DROP_MEMBERSHIP && errors.Is(err, unix.ENODEV)) {
		return fmt.Errorf("%s: %w", what, err)
	}
	g.promiscuous = on
	return nil
}
