package stack

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oobnet/oobnet/arp"
	"github.com/oobnet/oobnet/internal/table"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/stack/internal/inband"
)

// Config of a stack. The zero value and nil mean the defaults.
type Config struct {
	// FrontCacheSize bounds the front cache, entries: 4096 by default,
	// arp.MaxCapacity at most.
	FrontCacheSize int
	// Reachable is how long a neighbour is believed after a confirmation: 30 s
	// by default, two at least. One in use is confirmed anew after 2/3 of it.
	Reachable time.Duration
	// TTL of what is sent: 64 by default (RFC 1700).
	TTL uint8
	// OnError is told of faults that no call returns: a neighbour event that
	// found no room, a claim that a link refused while a port went. nil: they
	// are only counted. It must not block, nor call the stack.
	OnError func(error)
}

// defaultTTL as the assigned numbers have it.
const defaultTTL = 64

// minReachable leaves room for a confirmation, the next probe, which comes a
// second later at the earliest, and the keeper, which looks every keeperTick.
const minReachable = 2 * arp.ProbeInterval

// Stack is an out-of-band network stage with its in-band stage. Its methods
// may be called by any goroutine.
type Stack struct {
	cfg    Config
	front  *arp.Cache
	inBand inBandStage

	// mu serialises the control path: devices, ports, addresses, routes. The
	// fast path takes no part in it.
	mu                   sync.Mutex
	static               []Route
	lastPort, lastDevice uint32
	closed               bool

	// What the control path publishes and others read.
	devices       atomic.Pointer[[]*Device]
	ports         atomic.Pointer[map[uint32]*Port]
	routes        atomic.Pointer[[]Route]
	ipv4Protocols [256]atomic.Pointer[registered]
	etherTypes    *table.Table[registered]
	taps          atomic.Pointer[[]Tap]
	// rxWanted counts the sockets that want times of what they receive, by the
	// point (times.go): sockets add, RX steps read. timed says that some socket
	// once wanted any time of any packet: it is set before a look at the devices,
	// and read behind the entry of a new one, so that each has room for times.
	rxWanted atomic.Uint64
	timed    atomic.Bool

	keeper *keeper
	// inBandDropped counts what Datagram.Drop says: written by the in-band
	// stage's goroutines, read by Stats.
	inBandDropped [reasons]atomic.Uint64
	notes         atomic.Uint64 // written by whoever notes a fault, read by Stats
	closing       chan struct{}
}

// New makes a stack without devices. It starts one goroutine, which Close ends.
func New(cfg *Config) (*Stack, error) {
	s := &Stack{closing: make(chan struct{}), etherTypes: table.New[registered](0)}
	if cfg != nil {
		s.cfg = *cfg
	}
	if s.cfg.TTL == 0 {
		s.cfg.TTL = defaultTTL
	}
	if s.cfg.Reachable == 0 {
		s.cfg.Reachable = arp.DefaultReachable
	}
	if s.cfg.Reachable < minReachable {
		return nil, fmt.Errorf("stack: reachable time %v: want %v at least", s.cfg.Reachable, minReachable)
	}
	s.devices.Store(&[]*Device{})
	s.ports.Store(&map[uint32]*Port{})
	s.routes.Store(&[]Route{})
	s.taps.Store(&[]Tap{})
	var err error
	if s.front, err = arp.NewCache(arp.Config{Capacity: s.cfg.FrontCacheSize, Reachable: s.cfg.Reachable}); err != nil {
		return nil, fmt.Errorf("stack: %w", err)
	}
	s.keeper = newKeeper(s)
	s.inBand, err = inband.New(inband.Config{Host: host{s}, ReachableTime: s.cfg.Reachable, TTL: s.cfg.TTL})
	if err != nil {
		return nil, fmt.Errorf("stack: %w", err)
	}
	s.keeper.start()
	return s, nil
}

// Close closes all sockets, devices and links, in bounded time; blocked
// callers return net.ErrClosed. If applications still hold buffers the error
// says of which device, and Close may be called again. Idempotent.
func (s *Stack) Close() error {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	devices := s.Devices()
	s.mu.Unlock()
	if first {
		close(s.closing)
		s.closeProtocols()
		for _, t := range s.Taps() {
			t.Close()
		}
	}
	var errs []error
	for _, d := range devices {
		errs = append(errs, d.Close())
	}
	if first {
		s.keeper.stop()
		errs = append(errs, s.inBand.Close())
	}
	return errors.Join(errs...)
}

// errStackClosed is for what comes after Close.
var errStackClosed = fmt.Errorf("the stack is closed, make another by New: %w", net.ErrClosed)

// closedErr is the error of a call that came too late. Under the stack's mutex.
func (s *Stack) closedErr() error {
	if s.closed {
		return fmt.Errorf("stack: %w", errStackClosed)
	}
	return nil
}

// isClosed reports whether Close has been called.
func (s *Stack) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// Devices returns the attached devices, oldest first.
func (s *Stack) Devices() []*Device { return slices.Clone(*s.devices.Load()) }

// setDevices publishes the devices. Under the mutex.
func (s *Stack) setDevices(devices []*Device) { s.devices.Store(&devices) }

// TTL is what packets are sent with.
func (s *Stack) TTL() uint8 { return s.cfg.TTL }

// forget takes a closed device out of the stack.
func (s *Stack) forget(d *Device) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setDevices(slices.DeleteFunc(s.Devices(), func(o *Device) bool { return o == d }))
}

// setPort publishes a port under its number, or takes it back (nil).
func (s *Stack) setPort(id uint32, p *Port) {
	ports := maps.Clone(*s.ports.Load())
	if p == nil {
		delete(ports, id)
	} else {
		ports[id] = p
	}
	s.ports.Store(&ports)
}

// Ports returns the enabled ports of all devices, in the order of their making.
func (s *Stack) Ports() []*Port {
	ports := *s.ports.Load()
	return slices.SortedFunc(maps.Values(ports), func(a, b *Port) int { return int(a.id) - int(b.id) })
}

// note reports what no call can return.
func (s *Stack) note(err error) {
	if err == nil {
		return
	}
	s.notes.Add(1)
	if s.cfg.OnError != nil {
		s.cfg.OnError(err)
	}
}

// selectAll tells every device's link what the stack wants. Under the mutex.
func (s *Stack) selectAll() error {
	for _, d := range s.Devices() {
		if err := s.selectClaims(d); err != nil {
			return err
		}
	}
	return nil
}

// selectClaims tells a device's link what the stack wants of it, if the link
// asks. Under the mutex.
func (s *Stack) selectClaims(d *Device) error {
	selector, ok := d.link.(link.Selector)
	if !ok {
		return nil
	}
	var claims link.Claims
	d.claimWatched(&claims)
	for _, p := range d.Ports() {
		p.claim(&claims)
		if p.vlan != 0 {
			claims.VLANs = append(claims.VLANs, p.vlan)
		}
		for k := range s.etherTypes.All() {
			claims.EtherTypes = append(claims.EtherTypes, link.ClaimEtherType{VLAN: p.vlan, EtherType: uint16(k.Lo)})
		}
	}
	if err := selector.Select(&claims); err != nil {
		return fmt.Errorf("stack: device %s: %w", d.name, err)
	}
	return nil
}

// claim adds what a port answers to. A port without addresses claims nothing
// of IPv4: what it cannot be asked for is another receiver's.
func (p *Port) claim(claims *link.Claims) {
	if len(p.addrs) == 0 {
		return
	}
	add := func(a uint32) {
		claims.IPv4 = append(claims.IPv4, link.ClaimIPv4{VLAN: p.vlan, Addr: netAddr(a).As4()})
	}
	for _, a := range p.local.Load().addrs {
		add(a.addr)
		if a.broadcast != 0 {
			add(a.broadcast)
		}
	}
	add(0xffffffff)
	if len(p.groups) == 0 {
		// Whoever shares the device needs the queries to all hosts; we do not.
		return
	}
	for g := range p.local.Load().groups.All() {
		add(uint32(g.Lo))
	}
}
