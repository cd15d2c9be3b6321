package serve

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/oobnet/oobnet/arp"
	"github.com/oobnet/oobnet/control"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/afxdp"
	"github.com/oobnet/oobnet/stack"
)

// Kinds of links.
const (
	kindAFXDP = "afxdp"
	kindVFIO  = "vfio"
)

// invalid is an EINVAL in words.
func invalid(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, syscall.EINVAL)...)
}

// pciAddress is the name of a device that VFIO has.
var pciAddress = regexp.MustCompile(`^[0-9a-fA-F]{4}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7]$`)

// check checks what one can without opening anything, and reads values.
func (c *Config) check() error {
	if c.Timeout < 0 || c.Timeout > control.MaxTimeout {
		return c.file.wrong(invalid("%v: want at most %v", c.Timeout, control.MaxTimeout), "timeout")
	}
	// Paths are seen from the config file's folder.
	for _, path := range []*string{&c.Objects, &c.NeighborTable} {
		*path = c.within(*path)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Devices)) {
		d := c.Devices[name]
		if key, err := c.checkDevice(name, &d); err != nil {
			return c.file.wrong(err, append([]any{"devices", name}, key...)...)
		}
		c.Devices[name] = d
	}
	for _, name := range slices.Sorted(maps.Keys(c.Ports)) {
		p := c.Ports[name]
		if key, err := c.checkPort(name, &p); err != nil {
			return c.file.wrong(err, append([]any{"ports", name}, key...)...)
		}
		c.Ports[name] = p
	}
	for i := range c.Routes {
		if key, err := c.checkRoute(i, &c.Routes[i]); err != nil {
			return c.file.wrong(err, "routes", i, key)
		}
	}
	for i := range c.Neighbors {
		if key, err := c.checkNeighbor(&c.Neighbors[i]); err != nil {
			return c.file.wrong(err, "neighbors", i, key)
		}
	}
	return c.checkServices()
}

// within is a path as seen from the config file's folder.
func (c *Config) within(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(c.file.name), path)
}

// objectPath is the path of an object, as seen from the folder for objects, or the
// config file's without one.
func (c *Config) objectPath(path string) (string, error) {
	if c.Objects == "" {
		return c.within(path), nil
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(c.Objects, path)
	}
	if local, err := filepath.Rel(c.Objects, path); err != nil || !filepath.IsLocal(local) {
		return "", fmt.Errorf("%s is not in %s, the folder for objects: %w: put it there, or change objects", path, c.Objects, syscall.EACCES)
	}
	return path, nil
}

// keyed is where a problem is, seen from a device or port.
type keyed = []any

func (c *Config) checkDevice(name string, d *Device) (keyed, error) {
	if d.Kind == "" {
		d.Kind = kindAFXDP
		if pciAddress.MatchString(name) {
			d.Kind = kindVFIO
		}
	}
	switch {
	case d.Kind != kindAFXDP && d.Kind != kindVFIO:
		return keyed{"kind"}, invalid("%q: want %s or %s", d.Kind, kindAFXDP, kindVFIO)
	case d.Kind == kindVFIO && !pciAddress.MatchString(name):
		return nil, invalid("%s devices have PCI addresses, such as 0000:02:00.0", kindVFIO)
	case d.PoolSize < 0 || d.PoolSize > stack.MaxPoolSize:
		return keyed{"pool_size"}, invalid("%d buffers: want at most %d", d.PoolSize, stack.MaxPoolSize)
	case d.BufferSize < 0 || d.BufferSize > link.MaxBufferSize || d.BufferSize&(d.BufferSize-1) != 0:
		return keyed{"buffer_size"}, invalid("%d bytes: want a power of two, at most %d", d.BufferSize, link.MaxBufferSize)
	case d.MaxPoolSize < 0 || d.MaxPoolSize > stack.MaxPoolSize:
		return keyed{"max_pool_size"}, invalid("%d buffers: want at most %d", d.MaxPoolSize, stack.MaxPoolSize)
	case d.MaxRXBuffers < 0 || d.MaxRXBuffers > link.MaxBuffers || d.MaxRXBuffers&(d.MaxRXBuffers-1) != 0:
		return keyed{"max_rx_buffers"}, invalid("%d buffers: want a power of two, at most %d", d.MaxRXBuffers, link.MaxBuffers)
	case d.RXBuffers < 0 || d.RXBuffers > link.MaxBuffers || d.MaxRXBuffers == 0 && d.RXBuffers&(d.RXBuffers-1) != 0:
		return keyed{"rx_buffers"}, invalid("%d buffers: want a power of two, at most %d", d.RXBuffers, link.MaxBuffers)
	case d.Queues < 0:
		return keyed{"queues"}, invalid("%d: want a number, 0 for all", d.Queues)
	case d.Priority < 0 || d.Priority > maxPriority:
		return keyed{"priority"}, invalid("%d: want 1 to %d, or 0 for ordinary scheduling", d.Priority, maxPriority)
	}
	for key, cpus := range map[string][]int{"rx_cpus": d.RXCPUs, "tx_cpus": d.TXCPUs} {
		for i, n := range cpus {
			if n < 0 {
				return keyed{key, i}, invalid("%d is no CPU", n)
			}
		}
	}
	if _, err := d.afxdp(); err != nil {
		return nil, err
	}
	poll, err := parsePoll(d.Poll)
	if err != nil {
		return keyed{"poll"}, err
	}
	queueing, ok := map[string]stack.Queueing{"": nil, "fifo": stack.FIFO, "priority": stack.StrictPriority}[d.Queueing]
	if !ok {
		return keyed{"queueing"}, invalid("%q: want fifo or priority", d.Queueing)
	}
	if f := d.Filter; f != nil {
		if (f.Object == "") == (f.Rules == "") {
			return keyed{"filter"}, invalid("want either object or rules")
		}
		if f.Object != "" {
			var err error
			if f.Object, err = c.objectPath(f.Object); err != nil {
				return keyed{"filter", "object"}, err
			}
		}
	}
	d.cfg = stack.DeviceConfig{
		PoolSize: d.PoolSize, BufferSize: d.BufferSize, RXBuffers: d.RXBuffers, MaxPoolSize: d.MaxPoolSize, MaxRXBuffers: d.MaxRXBuffers, Queueing: queueing, Poll: poll,
		RXCPUs: d.RXCPUs, TXCPUs: d.TXCPUs, Priority: d.Priority, LockMemory: d.LockMemory, Prefault: d.Prefault, Watchdog: d.Watchdog,
	}
	return nil, nil
}

// maxPriority of SCHED_FIFO.
const maxPriority = 99

func parsePoll(s string) (link.PollMode, error) {
	switch s {
	case "", "adaptive":
		return link.Adaptive, nil
	case "busy":
		return link.Busy, nil
	case "block":
		return link.Block, nil
	}
	if d, err := time.ParseDuration(s); err == nil && d > 0 && d <= time.Hour {
		return link.BlockTimeout(d), nil
	}
	return 0, invalid("%q: want adaptive, busy, block, or the longest wait, such as 5ms", s)
}

// afxdp is what of a device's config is the link's.
func (d *Device) afxdp() (*afxdp.Config, error) {
	mode, ok := map[string]afxdp.Mode{"": afxdp.Auto, "auto": afxdp.Auto, "native": afxdp.Native, "generic": afxdp.Generic}[d.Mode]
	if !ok {
		return nil, invalid("mode %q: want auto, native or generic", d.Mode)
	}
	zero, ok := map[string]afxdp.ZeroCopy{"": afxdp.ZeroCopyAuto, "auto": afxdp.ZeroCopyAuto, "off": afxdp.ZeroCopyOff, "require": afxdp.ZeroCopyRequire}[d.ZeroCopy]
	if !ok {
		return nil, invalid("zero_copy %q: want auto, off or require", d.ZeroCopy)
	}
	return &afxdp.Config{Queues: d.Queues, Mode: mode, ZeroCopy: zero}, nil
}

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

func (c *Config) checkPort(name string, p *Port) (keyed, error) {
	_, vlan, err := vlanOf(name)
	if err != nil {
		return nil, err
	}
	p.cfg = stack.PortConfig{VLAN: vlan, MTU: p.MTU}
	if p.MTU < 0 {
		return keyed{"mtu"}, invalid("%d: want bytes, 0 for the device's", p.MTU)
	}
	if len(p.Addresses) > stack.MaxAddrs {
		return keyed{"addresses"}, invalid("%d of them: want at most %d", len(p.Addresses), stack.MaxAddrs)
	}
	for i, text := range p.Addresses {
		a, err := netip.ParsePrefix(text)
		if err != nil || !a.Addr().Is4() {
			return keyed{"addresses", i}, invalid("%q: want IPv4 with a prefix length, such as 192.0.2.1/24", text)
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

func (c *Config) checkNeighbor(n *Neighbor) (key string, err error) {
	n.static.Port = n.Port
	if n.static.Addr, err = netip.ParseAddr(n.Address); err != nil || !n.static.Addr.Is4() {
		return "address", invalid("%q: want an IPv4 address", n.Address)
	}
	mac, err := net.ParseMAC(n.MAC)
	if err != nil || len(mac) != len(link.MAC{}) {
		return "mac", invalid("%q: want a MAC address, such as 02:00:00:00:00:01", n.MAC)
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

func (c *Config) checkServices() error {
	s := c.Services
	if s.Echo != 0 && s.Echo == s.Discard || s.Echo != 0 && s.Echo == s.Latmus || s.Discard != 0 && s.Discard == s.Latmus {
		return c.file.wrong(invalid("two of them have the same UDP port"), "services")
	}
	return nil
}
