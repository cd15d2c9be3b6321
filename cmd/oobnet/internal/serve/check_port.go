package serve

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/oobnet/oobnet/arp"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/stack"
)

// vlanOf splits the name of a port.
func vlanOf(name string) (device string, vlan uint16, err error) {
	dot := strings.LastIndexByte(name, '.')
	if dot < 0 || pciAddress.MatchString(name) {
		return name, 0, nil
	}
	id, err := strconv.ParseUint(name[dot+1:], 10, 16)
	if dot == 0 || err != nil || id < 2 || id > 4094 {
		return "", 0, invalid("want the name of a device, with the VLAN id from 2 to 4094 behind a dot, such as eth1.42")
	}
	return name[:dot], uint16(id), nil
}

// minMTU is the least that IPv4 allows, bytes (RFC 791, section 3.2).
const minMTU = 68

func (c *Config) checkPort(name string, p *Port) (keyed, error) {
	_, vlan, err := vlanOf(name)
	if err != nil {
		return nil, err
	}
	p.cfg = stack.PortConfig{VLAN: vlan, MTU: p.MTU}
	if p.MTU != 0 && p.MTU < minMTU {
		return keyed{"mtu"}, invalid("%d: want %d bytes at least, 0 for the device's", p.MTU, minMTU)
	}
	if len(p.Addresses) > stack.MaxAddrs {
		return keyed{"addresses"}, invalid("%d of them: want at most %d", len(p.Addresses), stack.MaxAddrs)
	}
	for i, text := range p.Addresses {
		a, err := netip.ParsePrefix(text)
		if err != nil || !a.Addr().Is4() {
			return keyed{"addresses", i}, invalid("%q: want IPv4 with a prefix length, such as 192.0.2.1/24", text)
		}
		if a := a.Addr(); a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() {
			return keyed{"addresses", i}, invalid("%v: want the address of one station", a)
		}
		for other, q := range c.Ports {
			if q.cfg.Addrs != nil && slices.ContainsFunc(q.cfg.Addrs, func(o netip.Prefix) bool { return o.Addr() == a.Addr() }) {
				return keyed{"addresses", i}, fmt.Errorf("%v is port %s's already: %w", a.Addr(), other, syscall.EADDRINUSE)
			}
		}
		p.cfg.Addrs = append(p.cfg.Addrs, a)
	}
	return nil, nil
}

func (c *Config) checkRoute(i int, r *Route) (key string, err error) {
	to, err := netip.ParsePrefix(r.To)
	if err != nil || !to.Addr().Is4() {
		return "to", invalid("%q: want an IPv4 network, such as 198.51.100.0/24", r.To)
	}
	r.to = to.Masked()
	for other, o := range c.Routes[:i] {
		if o.to == r.to {
			return "to", fmt.Errorf("%v is in routes[%d] already: %w", r.to, other, syscall.EEXIST)
		}
	}
	p, ok := c.Ports[r.Port]
	if !ok {
		return "port", c.unknownPort(r.Port)
	}
	if r.Via == "" {
		return "", nil
	}
	if r.via, err = netip.ParseAddr(r.Via); err != nil || !r.via.Is4() {
		return "via", invalid("%q: want an IPv4 address", r.Via)
	}
	if !onNetwork(p.cfg.Addrs, r.via) {
		return "via", fmt.Errorf("%v is on no network of port %s: %w", r.via, r.Port, syscall.ENETUNREACH)
	}
	return "", nil
}

func (c *Config) unknownPort(name string) error {
	return invalid("%q: want a port that stands under ports", name)
}

// groupBit of a MAC address's first byte (IEEE 802-2014, section 8.2.2).
const groupBit = 1

func (c *Config) checkNeighbor(n *Neighbor) (key string, err error) {
	n.static.Port = n.Port
	if n.static.Addr, err = netip.ParseAddr(n.Address); err != nil || !n.static.Addr.Is4() {
		return "address", invalid("%q: want an IPv4 address", n.Address)
	}
	mac, err := net.ParseMAC(n.MAC)
	if err != nil || len(mac) != len(link.MAC{}) || mac[0]&groupBit != 0 || link.MAC(mac) == (link.MAC{}) {
		return "mac", invalid("%q: want the MAC address of one station, such as 02:00:00:00:00:01", n.MAC)
	}
	n.static.MAC = link.MAC(mac)
	return c.checkStatic(n.static)
}

// checkStatic checks that a neighbour is on the network of its port.
func (c *Config) checkStatic(n arp.Static) (key string, err error) {
	if n.Port == "" {
		for _, p := range c.Ports {
			if onNetwork(p.cfg.Addrs, n.Addr) {
				return "", nil
			}
		}
		return "address", fmt.Errorf("%v is on no network of the ports: %w", n.Addr, syscall.ENETUNREACH)
	}
	p, ok := c.Ports[n.Port]
	if !ok {
		return "port", c.unknownPort(n.Port)
	}
	if !onNetwork(p.cfg.Addrs, n.Addr) {
		return "address", fmt.Errorf("%v is on no network of port %s: %w", n.Addr, n.Port, syscall.ENETUNREACH)
	}
	return "", nil
}
