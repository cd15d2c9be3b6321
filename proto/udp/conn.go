package udp

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/oobnet/oobnet/arp"
	"github.com/oobnet/oobnet/internal/ring"
	"github.com/oobnet/oobnet/proto/internal/sock"
	"github.com/oobnet/oobnet/stack"
)

// MaxPayload of a datagram, bytes: what an IPv4 packet of 65535 has room for.
const MaxPayload = 65535 - headersLen

const (
	// DefaultQueue is how many received datagrams wait for a reader by default.
	DefaultQueue = 128
	// MaxQueue is the most that Config.Queue may ask for.
	MaxQueue = 1 << 16
	// DefaultSpin is how long a blocked reader polls before it sleeps. Waking
	// a sleeper costs the RX thread and the reader several microseconds.
	DefaultSpin = 5 * time.Microsecond
)

// MissPolicy says what a send does when the front cache does not know its
// destination.
type MissPolicy uint8

// Policies.
const (
	// MissDemote sends in-band, which resolves the address; the call returns
	// at once, and an error that shows later comes with a later call.
	MissDemote MissPolicy = iota
	// MissWait waits for the address, until the write deadline or
	// stack.SolicitTimeout, and then sends fast.
	MissWait
	// MissFail fails with EHOSTUNREACH.
	MissFail
)

// Config of a socket. The zero value and nil mean the defaults.
type Config struct {
	// Queue is how many received datagrams may wait for a reader, those that
	// it holds leases of included: DefaultQueue by default, MaxQueue at most.
	// SetReadBuffer changes it.
	Queue int
	// Handler, if set, is called for each datagram in place of a reader: on
	// the RX thread, to completion, so it must not block; by several threads
	// at once on a device of several queues; and for in-band datagrams by an
	// ordinary goroutine, with locks of the in-band stage held. It may read
	// and send, but open or close nothing: Close waits for it. The datagram is
	// the handler's, which Releases it; what it keeps counts against Queue, as
	// a reader's leases do.
	Handler func(Datagram)
	// OnMiss is what a send does when the destination's address is not known.
	OnMiss MissPolicy
	// NoWait makes a send fail with ENOBUFS when the TX pool is empty; else
	// it waits for a buffer until the write deadline.
	NoWait bool
	// ReusePort allows several sockets on one address and port, if all ask
	// for it; each flow (remote address and port) stays with one of them.
	ReusePort bool
	// Broadcast allows sends to broadcast addresses; else they are EACCES.
	Broadcast bool
	// DontRoute sends to neighbours only; what needs a gateway is EMULTIHOP.
	DontRoute bool
	// Priority of what is sent, 0 to 7; on a VLAN port also the frame's PCP.
	Priority int
	// DSCP of what is sent, 0 to 63 (RFC 2474): 46 is expedited forwarding.
	DSCP int
	// MulticastPort is the port by which datagrams to groups, and to
	// 255.255.255.255, leave; nil: the one that has the socket's own address,
	// or, if the socket is bound to none, the one that the routes say.
	MulticastPort *stack.Port
	// MulticastLoop gives members on this stack, on the port that it leaves by,
	// a copy of each datagram that is sent to a group: IP_MULTICAST_LOOP. It is
	// copied on the heap and goes through a queue of 256, beyond which, and
	// beyond a member's quota, it is dropped and counted. Off by default, other
	// than elsewhere.
	MulticastLoop bool
	// TTL of unicast packets, the stack's by default; MulticastTTL, 1 by default.
	TTL, MulticastTTL uint8
	// Spin is how long a blocked reader polls before it sleeps: DefaultSpin
	// by default; negative: not at all.
	Spin time.Duration
	// TXTimes is how many times of sends wait for ReadTXTimes, rounded up to a
	// power of two: stack.DefaultTXTimes by default, stack.MaxTXTimes at most.
	TXTimes int
}

func (c *Config) complete(s *stack.Stack) error {
	if c.Queue == 0 {
		c.Queue = DefaultQueue
	}
	if c.TTL == 0 {
		c.TTL = s.TTL()
	}
	if c.MulticastTTL == 0 {
		c.MulticastTTL = 1 // RFC 1112, section 6.1
	}
	if c.Spin == 0 {
		c.Spin = DefaultSpin
	}
	switch {
	case c.Queue < 1 || c.Queue > MaxQueue:
		return fmt.Errorf("queue of %d datagrams: %w: want 1 to %d", c.Queue, syscall.EINVAL, MaxQueue)
	case c.Priority < 0 || c.Priority >= stack.Priorities:
		return fmt.Errorf("priority %d: %w: want 0 to %d", c.Priority, syscall.EINVAL, stack.Priorities-1)
	case c.DSCP < 0 || c.DSCP > maxDSCP:
		return fmt.Errorf("DSCP %d: %w: want 0 to %d", c.DSCP, syscall.EINVAL, maxDSCP)
	case c.MulticastPort != nil && c.MulticastPort.Device().Stack() != s:
		return fmt.Errorf("multicast port %s: %w: it is another stack's", c.MulticastPort.Name(), syscall.EINVAL)
	}
	return stack.CheckTXTimes(c.TXTimes)
}

// Bits of Conn.attention: why a call must leave the fast path.
const (
	closed uint32 = 1 << iota
	readExpired
	writeExpired
	failed  // an asynchronous error waits in Conn.failure
	handled // a handler takes what is received: no matter to others than deliver
	timed   // times are taken of what is received: likewise
	noWait  // reads that find nothing fail

	// aside are bits that say nothing to a read which finds something.
	aside = timed | noWait
)

// sideQueue is how many datagrams fit into Conn.side.
const sideQueue = 64

// Conn is a UDP socket of a stack: a net.PacketConn, and connected (Dial) a
// net.Conn.
type Conn struct {
	// What RX threads and readers touch for each datagram comes first, in one
	// cache line: with thousands of sockets, lines are what a datagram costs.
	inbox stack.Inbox
	// books counts the datagrams that the socket holds, and those that it ever got.
	books sock.Books
	// attention is 0 while the fast path may be taken: set by Close, options, timers
	// and errors, read by every call.
	attention atomic.Uint32
	readers   sock.Readers

	quota atomic.Int64 // datagrams that the socket may hold
	// others are the inboxes for further devices, replaced as a whole under
	// the protocol's mutex; side is for what no inbox can hold: datagrams of
	// the in-band stage, and those that several sockets share.
	others atomic.Pointer[[]*stack.Inbox]
	side   atomic.Pointer[ring.Ring[received]]

	s     *stack.Stack
	proto *protocol
	cfg   Config
	// local has the unspecified address if any of the stack's will do;
	// localIP is 0 then. remote is valid if connected.
	local, remote         netip.AddrPort
	localAddr, remoteAddr *net.UDPAddr
	localIP               uint32
	localPort             uint16
	connected             bool
	// flow picks the TX queue: all that a socket sends keeps its order.
	flow int

	failure     atomic.Uint32 // a syscall.Errno; who reads it takes it
	read, write sock.Deadline
	// nothing is what a read returns that is not to wait: made by SetReadNoWait,
	// read by those who find its bit.
	nothing   atomic.Pointer[net.OpError]
	done      chan struct{} // closes with the socket
	closeOnce sync.Once

	// path is the front-cache entry of a connected socket's peer.
	path     atomic.Pointer[arp.Entry]
	priority atomic.Int32
	tos      atomic.Uint32 // the DSCP in its place; ECN is 0
	times    sock.Times
	loop     atomic.Bool
	// manyBy is the port that was asked for to send to many by, home the one
	// that has the socket's address: any sender may find and note it.
	manyBy, home atomic.Pointer[stack.Port]
	batching     atomic.Bool
	batch        *sendBatch

	// groups that the socket joined, replaced as a whole under mu.
	mu     sync.Mutex
	groups atomic.Pointer[[]membership]

	stats counters
}

var (
	_ net.PacketConn = (*Conn)(nil)
	_ net.Conn       = (*Conn)(nil)
)

// Listen opens a socket on a local address and port. An unspecified or invalid
// address stands for all of the stack's, port 0 for a free one; a multicast
// address is allowed. Errors are *net.OpError with EAFNOSUPPORT (not IPv4),
// EADDRNOTAVAIL (not an address of the stack), EADDRINUSE, EINVAL (the
// config), or net.ErrClosed.
func Listen(s *stack.Stack, local netip.AddrPort, cfg *Config) (*Conn, error) {
	c, err := open(s, local, netip.AddrPort{}, cfg)
	if err != nil {
		return nil, listenError("listen", local, netip.AddrPort{}, err)
	}
	return c, nil
}

// Dial opens a socket that is connected to a remote address: it receives from
// there only, and keeps the way there. A local address that is not given is
// chosen by the route: ENETUNREACH if there is none. A remote address that is
// not one of a peer is EINVAL. Errors else as Listen's.
func Dial(s *stack.Stack, local, remote netip.AddrPort, cfg *Config) (*Conn, error) {
	err := checkRemote(remote)
	var c *Conn
	if err == nil {
		c, err = open(s, local, remote, cfg)
	}
	if err != nil {
		return nil, listenError("dial", local, remote, err)
	}
	return c, nil
}

func open(s *stack.Stack, local, remote netip.AddrPort, cfg *Config) (*Conn, error) {
	c := &Conn{s: s, remote: unmap(remote), done: make(chan struct{})}
	c.readers.Init()
	if cfg != nil {
		c.cfg = *cfg
	}
	if s == nil {
		return nil, fmt.Errorf("no stack: %w: make one by stack.New", syscall.EINVAL)
	}
	if err := c.cfg.complete(s); err != nil {
		return nil, err
	}
	var err error
	if c.proto, err = protocolOf(s); err != nil {
		return nil, err
	}
	local = unmap(local)
	if !local.Addr().IsValid() {
		local = netip.AddrPortFrom(netip.IPv4Unspecified(), local.Port())
	}
	if c.remote.IsValid() && local.Addr().IsUnspecified() {
		src, _, err := s.Source(c.remote.Addr())
		if err != nil {
			return nil, err
		}
		local = netip.AddrPortFrom(src, local.Port())
	}
	if err := checkLocal(s, local.Addr()); err != nil {
		return nil, err
	}
	c.local, c.localIP = local, number(local.Addr())
	c.quota.Store(int64(c.cfg.Queue))
	if c.cfg.Handler != nil {
		c.attention.Store(handled)
	}
	if c.cfg.ReusePort {
		// Only such sockets can have to share a datagram with others.
		c.makeSide()
	}
	c.priority.Store(int32(c.cfg.Priority))
	c.tos.Store(uint32(c.cfg.DSCP) << dscpShift)
	c.loop.Store(c.cfg.MulticastLoop)
	c.manyBy.Store(c.cfg.MulticastPort)
	c.read.Init(&c.attention, readExpired)
	c.write.Init(&c.attention, writeExpired)
	c.times.Init(s, &c.attention, timed, c.cfg.TXTimes)
	c.groups.Store(new([]membership))
	c.others.Store(new([]*stack.Inbox))
	c.batch = new(sendBatch)
	if err := c.proto.bind(c); err != nil {
		return nil, err
	}
	return c, nil
}

func checkRemote(remote netip.AddrPort) error {
	a := remote.Addr().Unmap()
	if a.IsValid() && !a.Is4() {
		return fmt.Errorf("remote address %v is not IPv4: %w", a, syscall.EAFNOSUPPORT)
	}
	if remote.Port() == 0 || !a.IsValid() || a.IsUnspecified() {
		return fmt.Errorf("remote address %v: %w: want an address and a port", remote, syscall.EINVAL)
	}
	return nil
}

func checkLocal(s *stack.Stack, a netip.Addr) error {
	switch {
	case !a.Is4():
		return fmt.Errorf("local address %v is not IPv4: %w", a, syscall.EAFNOSUPPORT)
	case a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() || s.Local(a):
		return nil
	}
	return fmt.Errorf("local address %v: %w: no port of the stack has it", a, syscall.EADDRNOTAVAIL)
}

// bound completes the socket when its port is known. The protocol calls it
// before any packet can find the socket.
func (c *Conn) bound(port uint16) {
	c.local = netip.AddrPortFrom(c.local.Addr(), port)
	c.localAddr, c.localPort = net.UDPAddrFromAddrPort(c.local), port
	c.flow = int(port)
	if c.connected = c.remote.IsValid(); c.connected {
		c.remoteAddr = net.UDPAddrFromAddrPort(c.remote)
	}
}

// LocalAddr returns the socket's own address, a *net.UDPAddr.
func (c *Conn) LocalAddr() net.Addr { return c.localAddr }

// RemoteAddr returns the peer's address, a *net.UDPAddr, or nil if the socket
// is not connected.
func (c *Conn) RemoteAddr() net.Addr {
	if c.remoteAddr == nil {
		return nil
	}
	return c.remoteAddr
}

// SetDeadline sets the read and the write deadline.
func (c *Conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline sets the moment after which reads fail with
// os.ErrDeadlineExceeded; the zero time means never. A moment in the past
// wakes blocked readers at once.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.moveDeadline(&c.read, t) }

// SetWriteDeadline is the same for writes that wait for a buffer or an address.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.moveDeadline(&c.write, t) }

func (c *Conn) moveDeadline(d *sock.Deadline, t time.Time) error {
	if c.attention.Load()&closed != 0 {
		return c.opError("set", nil, net.ErrClosed)
	}
	d.Move(t)
	return nil
}

// Close closes the socket: blocked calls return net.ErrClosed, and datagrams
// not read are dropped. Datagrams and leases that the application holds stay
// good until they are released. A second Close returns net.ErrClosed.
func (c *Conn) Close() error {
	err := c.opError("close", nil, net.ErrClosed)
	c.closeOnce.Do(func() {
		c.attention.Or(closed)
		close(c.done)
		c.leaveGroups()
		c.proto.unbind(c)
		c.read.Stop()
		c.write.Stop()
		c.times.Close()
		c.purge(nil)
		err = nil
	})
	return err
}

// unmap makes IPv4 of an IPv4-mapped IPv6 address, which net.IP has.
func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// number is an IPv4 address as a number in host order.
func number(a netip.Addr) uint32 {
	b := a.As4()
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

// address turns a number back.
func address(a uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(a >> 24), byte(a >> 16), byte(a >> 8), byte(a)})
}
