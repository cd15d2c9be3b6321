package stack

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"syscall"

	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/stack/internal/inband"
)

// MaxAddrs of a port. The RX step compares each packet's destination with all
// of them.
const MaxAddrs = 16

// minMTU is the least MTU that IPv4 allows, bytes (RFC 791, section 3.2).
const minMTU = 68

// PortConfig describes a port. The zero value and nil are an untagged port
// without addresses.
type PortConfig struct {
	// VLAN id, 2 to 4094 (EVL refuses 0, 1 and 4095); 0: untagged.
	VLAN uint16
	// Addrs are the port's IPv4 addresses with their prefixes, MaxAddrs at
	// most; each makes a connected route. The first is the source of what is
	// sent over other routes.
	Addrs []netip.Prefix
	// MTU is the largest IPv4 packet, bytes, the device's by default and at most.
	MTU int
}

// Port is an out-of-band network port: a layer-3 interface on a device,
// untagged or of one VLAN. Its methods may be called by any goroutine.
type Port struct {
	dev   *Device
	id    uint32
	vlan  uint16
	mtu   int
	mac   link.MAC
	mac48 uint64
	// addrs and groups are changed under the stack's mutex; local is what the
	// RX step sees of them.
	addrs                                  []netip.Prefix
	groups                                 map[netip.Addr]int // members by group
	local                                  atomic.Pointer[localSet]
	rxPackets, rxBytes, txPackets, txBytes atomic.Uint64
	// disabled closes when the port is no more.
	disabled chan struct{}
}

// portTable is what the RX step sees of a device's ports; immutable.
type portTable struct {
	untagged *Port
	vlans    *[4096]*Port // nil: none
}

func (t *portTable) vlan(id uint16) *Port {
	if t.vlans == nil {
		return nil
	}
	return t.vlans[id&wire.VIDMask]
}

// with returns a table in which p stands for the VLAN.
func (t *portTable) with(vlan uint16, p *Port) *portTable {
	n := &portTable{untagged: t.untagged, vlans: t.vlans}
	if vlan == 0 {
		n.untagged = p
		return n
	}
	n.vlans = new([4096]*Port)
	if t.vlans != nil {
		*n.vlans = *t.vlans
	}
	n.vlans[vlan] = p
	return n
}

func (c *PortConfig) complete(d *Device) error {
	if c.MTU == 0 {
		c.MTU = d.MTU()
	}
	switch {
	case c.VLAN == 1 || c.VLAN >= 4095:
		return fmt.Errorf("VLAN id %d: %w: want 2 to 4094, or 0 for an untagged port", c.VLAN, syscall.EINVAL)
	case c.MTU < minMTU || c.MTU > d.MTU():
		return fmt.Errorf("MTU %d: %w: want %d to %d, the device's", c.MTU, syscall.EINVAL, minMTU, d.MTU())
	case len(c.Addrs) > MaxAddrs:
		return fmt.Errorf("%d addresses: %w: want at most %d", len(c.Addrs), syscall.EINVAL, MaxAddrs)
	}
	for i, a := range c.Addrs {
		if err := checkHostPrefix(a); err != nil {
			return err
		}
		if slices.ContainsFunc(c.Addrs[:i], func(o netip.Prefix) bool { return o.Addr() == a.Addr() }) {
			return fmt.Errorf("address %v is given twice: %w", a.Addr(), syscall.EINVAL)
		}
	}
	return nil
}

func checkHostPrefix(a netip.Prefix) error {
	switch {
	case !a.IsValid() || !a.Addr().Is4():
		return fmt.Errorf("address %v: %w: want IPv4 with a prefix length, like 192.0.2.1/24", a, syscall.EAFNOSUPPORT)
	case a.Addr().IsUnspecified() || a.Addr().IsMulticast() || a.Addr().IsLoopback():
		return fmt.Errorf("address %v: %w: a port needs a unicast address", a, syscall.EADDRNOTAVAIL)
	}
	return nil
}

// EnablePort makes a port on the device. It is idempotent: if the VLAN has a
// port already, that one is returned, whatever its addresses and sizes are.
// Errors wrap EINVAL or EAFNOSUPPORT for a bad config, ENETDOWN while the link
// is down (see WaitUp), EADDRINUSE for an address that another port has, net.ErrClosed.
func (d *Device) EnablePort(cfg *PortConfig) (*Port, error) {
	var c PortConfig
	if cfg != nil {
		c = *cfg
		c.Addrs = slices.Clone(c.Addrs)
	}
	fail := func(err error) (*Port, error) {
		return nil, fmt.Errorf("stack: enable port %s: %w", portName(d.name, c.VLAN), err)
	}
	if err := c.complete(d); err != nil {
		return fail(err)
	}
	s := d.stack
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return fail(errStackClosed)
	case d.ending:
		return fail(fmt.Errorf("the device is closed, attach its link anew: %w", net.ErrClosed))
	}
	if p := d.port(c.VLAN); p != nil {
		return p, nil
	}
	if state := d.link.State(); state != link.Up {
		return fail(fmt.Errorf("the link is %v: %w: see to its carrier, and try again: Device.WaitUp waits for one", state, syscall.ENETDOWN))
	}
	p := &Port{dev: d, vlan: c.VLAN, mtu: c.MTU, mac: d.link.MAC(), groups: make(map[netip.Addr]int), disabled: make(chan struct{})}
	p.mac48 = wire.MAC48(append(p.mac[:], 0, 0))
	for _, a := range c.Addrs {
		if err := s.addrFree(a.Addr()); err != nil {
			return fail(err)
		}
	}
	if err := s.addPort(p, c.Addrs); err != nil {
		return fail(err)
	}
	return p, nil
}

// addPort makes the port known everywhere, or nowhere. Under the stack's mutex.
func (s *Stack) addPort(p *Port, addrs []netip.Prefix) error {
	s.lastPort++
	p.id = s.lastPort
	p.addrs = addrs
	p.publishLocal()
	err := s.inBand.AddPort(inband.Port{
		ID: p.id, Name: p.Name(), MAC: p.mac, MTU: p.mtu, Addrs: addrs,
		PartialChecksum: p.dev.link.Capabilities().PartialChecksum,
	})
	if err != nil {
		return err
	}
	s.setPort(p.id, p)
	p.dev.ports.Store(p.dev.ports.Load().with(p.vlan, p))
	if err = s.reroute(); err == nil {
		err = s.selectClaims(p.dev)
	}
	if err != nil {
		close(p.disabled) // for whoever has found it meanwhile
		s.removePort(p)
	}
	return err
}

// removePort undoes addPort. Under the stack's mutex.
func (s *Stack) removePort(p *Port) {
	d := p.dev
	d.ports.Store(d.ports.Load().with(p.vlan, nil))
	s.setPort(p.id, nil)
	p.addrs = nil
	s.front.DropPort(p)
	s.note(s.reroute())
	d.unwatch(p.vlan)
	if !d.dead.Load() {
		s.note(s.selectClaims(d))
	}
	s.note(s.inBand.RemovePort(p.id))
}

// Disable ends the port: its addresses and routes go, its front-cache entries
// cease to hold, and sockets bound to its addresses send no more. Sockets stay
// open. Idempotent.
func (p *Port) Disable() error {
	s := p.dev.stack
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.Disabled() {
		return nil
	}
	close(p.disabled)
	p.tellTaps()
	s.removePort(p)
	return nil
}

// Disabled reports whether the port is no more.
func (p *Port) Disabled() bool {
	select {
	case <-p.disabled:
		return true
	default:
		return false
	}
}

// disablePorts disables all ports of a device that closes; it gets no others.
func (s *Stack) disablePorts(d *Device) {
	s.mu.Lock()
	d.ending = true
	s.mu.Unlock()
	for _, p := range d.Ports() {
		s.note(p.Disable())
	}
}

// Ports returns the device's enabled ports, untagged first, then by VLAN.
func (d *Device) Ports() (ports []*Port) {
	t := d.ports.Load()
	if t.untagged != nil {
		ports = append(ports, t.untagged)
	}
	if t.vlans != nil {
		for _, p := range t.vlans {
			if p != nil {
				ports = append(ports, p)
			}
		}
	}
	return ports
}

func (d *Device) port(vlan uint16) *Port {
	if t := d.ports.Load(); vlan != 0 {
		return t.vlan(vlan)
	} else {
		return t.untagged
	}
}

// AddAddr gives the port another address. Errors as EnablePort has them.
func (p *Port) AddAddr(a netip.Prefix) error {
	if err := checkHostPrefix(a); err != nil {
		return fmt.Errorf("stack: port %s: %w", p.Name(), err)
	}
	s := p.dev.stack
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.Disabled() {
		return net.ErrClosed
	}
	if len(p.addrs) == MaxAddrs {
		return fmt.Errorf("stack: port %s has %d addresses: %w: remove one", p.Name(), MaxAddrs, syscall.ENOSPC)
	}
	if err := s.addrFree(a.Addr()); err != nil {
		return fmt.Errorf("stack: port %s: %w", p.Name(), err)
	}
	if err := s.inBand.AddAddr(p.id, a); err != nil {
		return err
	}
	before := p.addrs
	p.addrs = append(slices.Clone(before), a)
	if err := s.addrsChanged(p); err != nil {
		p.addrs = before
		err = errors.Join(err, s.inBand.RemoveAddr(p.id, a))
		s.note(s.addrsChanged(p))
		return err
	}
	return nil
}

// RemoveAddr takes an address from the port. An address that it has not is
// EADDRNOTAVAIL.
func (p *Port) RemoveAddr(a netip.Prefix) error {
	s := p.dev.stack
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(p.addrs, a)
	if i < 0 {
		return fmt.Errorf("stack: port %s has no address %v: %w", p.Name(), a, syscall.EADDRNOTAVAIL)
	}
	if err := s.inBand.RemoveAddr(p.id, a); err != nil {
		return err
	}
	p.addrs = slices.Delete(slices.Clone(p.addrs), i, i+1)
	return s.addrsChanged(p)
}

func (s *Stack) addrsChanged(p *Port) error {
	p.publishLocal()
	if err := s.reroute(); err != nil {
		return err
	}
	return s.selectClaims(p.dev)
}

// addrFree: an address is one port's at a time. Under the stack's mutex.
func (s *Stack) addrFree(a netip.Addr) error {
	if p := s.portOf(a); p != nil {
		return fmt.Errorf("address %v belongs to port %s: %w", a, p.Name(), syscall.EADDRINUSE)
	}
	return nil
}

// portOf returns the port that has the address, or nil.
func (s *Stack) portOf(a netip.Addr) *Port {
	if !a.Is4() {
		return nil
	}
	for _, p := range *s.ports.Load() {
		if p.local.Load().own(addr4(a.As4())) {
			return p
		}
	}
	return nil
}

// JoinGroup makes the port receive what is sent to an IPv4 multicast group. It
// counts: as many LeaveGroups undo it. The in-band stage speaks IGMP.
func (p *Port) JoinGroup(group netip.Addr) error {
	if !group.Is4() || !group.IsMulticast() {
		return fmt.Errorf("stack: join %v on port %s: %w: want an address in 224.0.0.0/4", group, p.Name(), syscall.EINVAL)
	}
	s := p.dev.stack
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.Disabled() {
		return net.ErrClosed
	}
	p.groups[group]++
	if p.groups[group] > 1 {
		return nil
	}
	if err := s.inBand.JoinGroup(p.id, group); err != nil {
		delete(p.groups, group)
		return err
	}
	p.publishLocal()
	if err := s.selectClaims(p.dev); err != nil {
		delete(p.groups, group)
		p.publishLocal()
		return errors.Join(err, s.inBand.LeaveGroup(p.id, group))
	}
	return nil
}

// LeaveGroup undoes one JoinGroup. A group that was not joined is EADDRNOTAVAIL.
func (p *Port) LeaveGroup(group netip.Addr) error {
	s := p.dev.stack
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.Disabled() {
		return nil
	}
	switch p.groups[group] {
	case 0:
		return fmt.Errorf("stack: leave %v on port %s: not joined: %w", group, p.Name(), syscall.EADDRNOTAVAIL)
	case 1:
		delete(p.groups, group)
	default:
		p.groups[group]--
		return nil
	}
	p.publishLocal()
	return errors.Join(s.inBand.LeaveGroup(p.id, group), s.selectClaims(p.dev))
}

// Name is the device's name, with the VLAN id as EVL and Linux write it.
func (p *Port) Name() string { return portName(p.dev.name, p.vlan) }

func portName(device string, vlan uint16) string {
	if vlan == 0 {
		return device
	}
	return fmt.Sprintf("%s.%d", device, vlan)
}

// Device is the device whose port it is.
func (p *Port) Device() *Device { return p.dev }

// VLAN is the port's VLAN id; 0: untagged.
func (p *Port) VLAN() uint16 { return p.vlan }

// MTU is the largest IPv4 packet, bytes.
func (p *Port) MTU() int { return p.mtu }

// MAC is the port's Ethernet address, the device's.
func (p *Port) MAC() link.MAC { return p.mac }

// Addrs returns the port's addresses.
func (p *Port) Addrs() []netip.Prefix {
	p.dev.stack.mu.Lock()
	defer p.dev.stack.mu.Unlock()
	return slices.Clone(p.addrs)
}
