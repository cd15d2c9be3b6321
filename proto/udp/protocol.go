package udp

import (
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/oobnet/oobnet/internal/table"
	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/stack"
)

// Ephemeral ports, as Linux has them (ip_local_port_range).
const (
	firstEphemeral = 32768
	lastEphemeral  = 60999
)

// protocol is UDP on one stack: the socket table and who is in it.
type protocol struct {
	s *stack.Stack
	// sockets is read by RX threads and changed under mu.
	sockets *table.Table[group]
	// connected counts connected sockets: without any, a packet is spared a look.
	connected atomic.Int32

	mu     sync.Mutex
	ports  map[uint16][]*Conn
	closed bool
	// retired is what sockets counted that are closed.
	retired Stats
}

var _ stack.Protocol = (*protocol)(nil)

// group is the sockets under one key: one, or several with ReusePort. It is
// immutable and replaced as a whole.
type group struct {
	// only is the one socket of the group, if there is one: it spares a look
	// at conns, which is elsewhere in memory.
	only  *Conn
	conns []*Conn
}

func newGroup(conns []*Conn) *group {
	g := &group{conns: conns}
	if len(conns) == 1 {
		g.only = conns[0]
	}
	return g
}

// pick is the socket of a flow.
func (g *group) pick(src uint32, port uint16) *Conn {
	if g.only != nil {
		return g.only
	}
	h := (uint64(src)<<16 | uint64(port)) * 0x9e3779b97f4a7c15
	return g.conns[(h>>32)*uint64(len(g.conns))>>32]
}

// boundKey is for sockets that hear anyone, ip 0 on any address;
// connectedKey for those that hear one peer.
func boundKey(ip uint32, port uint16) table.Key {
	return table.Key{Lo: uint64(ip)<<16 | uint64(port)}
}

func connectedKey(ip uint32, port uint16, peer uint32, peerPort uint16) table.Key {
	return table.Key{Hi: 1<<63 | uint64(peer)<<16 | uint64(peerPort), Lo: uint64(ip)<<16 | uint64(port)}
}

func (c *Conn) key() table.Key {
	if c.remote.IsValid() {
		return connectedKey(c.localIP, c.local.Port(), number(c.remote.Addr()), c.remote.Port())
	}
	return boundKey(c.localIP, c.local.Port())
}

// registering keeps two first sockets of a stack from registering UDP twice.
var registering sync.Mutex

// protocolOf returns the stack's UDP, which the first socket registers.
func protocolOf(s *stack.Stack) (*protocol, error) {
	registering.Lock()
	defer registering.Unlock()
	switch p := s.Protocol(stack.IPv4Number(wire.ProtocolUDP)).(type) {
	case *protocol:
		return p, p.closedErr()
	case nil:
		p2 := &protocol{s: s, sockets: table.New[group](0), ports: make(map[uint16][]*Conn)}
		return p2, s.RegisterProtocol(stack.IPv4Number(wire.ProtocolUDP), p2)
	default:
		return nil, fmt.Errorf("another protocol (%T) is registered for UDP: %w", p, syscall.EADDRINUSE)
	}
}

// errStackClosed is for a socket that comes after the end of its stack.
var errStackClosed = fmt.Errorf("the stack is closed, make another by stack.New: %w", net.ErrClosed)

func (p *protocol) closedErr() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return errStackClosed
	}
	return nil
}

// bind gives the socket its port and makes it known.
func (p *protocol) bind(c *Conn) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return errStackClosed
	}
	port := c.local.Port()
	if port == 0 {
		var ok bool
		if port, ok = p.ephemeral(c); !ok {
			return fmt.Errorf("all ephemeral ports %d to %d are taken: %w", firstEphemeral, lastEphemeral, syscall.EADDRINUSE)
		}
	} else if other := p.conflict(c, port); other != nil {
		return fmt.Errorf("port %d is taken by the socket on %v: %w: close that one, take port 0 for a free one, or set ReusePort on both", port, other.local, syscall.EADDRINUSE)
	}
	if err := p.s.BindErrors(wire.ProtocolUDP, port); err != nil {
		return err
	}
	c.bound(port)
	p.ports[port] = append(p.ports[port], c)
	if c.remote.IsValid() {
		p.connected.Add(1)
	}
	c.attachFirst(p.s.Devices())
	conns := []*Conn{c}
	if old := p.sockets.Get(c.key()); old != nil {
		conns = append(slices.Clone(old.conns), c)
	}
	p.sockets.Put(c.key(), newGroup(conns))
	return nil
}

func (p *protocol) unbind(c *Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	st := c.Stats()
	p.retired.add(&st)
	port := c.local.Port()
	rest := slices.DeleteFunc(slices.Clone(p.ports[port]), func(o *Conn) bool { return o == c })
	if len(rest) == 0 {
		delete(p.ports, port)
	} else {
		p.ports[port] = rest
	}
	if c.remote.IsValid() {
		p.connected.Add(-1)
	}
	left := slices.DeleteFunc(slices.Clone(p.sockets.Get(c.key()).conns), func(o *Conn) bool { return o == c })
	if len(left) == 0 {
		p.sockets.Delete(c.key())
	} else {
		p.sockets.Put(c.key(), newGroup(left))
	}
	p.s.UnbindErrors(wire.ProtocolUDP, port)
}

// conflict returns a socket that excludes c from a port: one whose address
// overlaps, unless both ask to share it.
func (p *protocol) conflict(c *Conn, port uint16) *Conn {
	for _, o := range p.ports[port] {
		if o.localIP != c.localIP && o.localIP != 0 && c.localIP != 0 {
			continue
		}
		if !o.cfg.ReusePort || !c.cfg.ReusePort {
			return o
		}
	}
	return nil
}

func (p *protocol) ephemeral(c *Conn) (uint16, bool) {
	const n = lastEphemeral - firstEphemeral + 1
	start := rand.IntN(n)
	for i := range n {
		port := uint16(firstEphemeral + (start+i)%n)
		if p.conflict(c, port) == nil {
			return port, true
		}
	}
	return 0, false
}

// conns returns all sockets.
func (p *protocol) conns() (all []*Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conns := range p.ports {
		all = append(all, conns...)
	}
	return all
}

// Error reports an ICMP error to the connected sockets that it is about. The
// others only count it: one peer that is gone must not fail a server's calls.
func (p *protocol) Error(e *stack.TransportError) {
	p.mu.Lock()
	conns := slices.Clone(p.ports[e.Local.Port()])
	p.mu.Unlock()
	for _, c := range conns {
		if !c.remote.IsValid() && (c.localIP == 0 || c.local.Addr() == e.Local.Addr()) {
			c.stats.errors.Add(1)
		}
		if c.remote == e.Remote && c.local.Addr() == e.Local.Addr() {
			c.stats.errors.Add(1)
			c.fail(e.Errno)
		}
	}
}

// Attached gives every socket an inbox for a new device.
func (p *protocol) Attached(d *stack.Device) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conns := range p.ports {
		for _, c := range conns {
			c.attach(d)
		}
	}
}

// Purge gives back the buffers of a device that is closing.
func (p *protocol) Purge(d *stack.Device) {
	for _, c := range p.conns() {
		c.purge(d)
	}
}

// Close closes all sockets.
func (p *protocol) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	for _, c := range p.conns() {
		_ = c.Close() // the only error says that the application was faster
	}
}
