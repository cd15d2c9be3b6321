package packet

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/proto/internal/sock"
	"github.com/oobnet/oobnet/stack"
)

// Bits of Conn.attention: why a call must leave the fast path.
const (
	closed uint32 = 1 << iota
	ended         // the port, or the device, is no more
	readExpired
	writeExpired
	handled // a handler takes what is received: no matter to others than deliver
	timed   // times are taken of what is received: likewise
	noWait  // reads that find nothing fail

	// aside are bits that say nothing to a read which finds something.
	aside = timed | noWait
	gone  = closed | ended
)

// Conn is a raw Ethernet socket: a net.PacketConn.
type Conn struct {
	// What RX threads and readers touch for each frame comes first.
	inbox stack.Inbox
	// books counts the frames that the socket holds, and those that it ever got.
	books sock.Books
	// attention is 0 while the fast path may be taken: set by Close, timers and
	// the end of a port, read by every call.
	attention atomic.Uint32
	readers   sock.Readers

	quota atomic.Int64 // frames that the socket may hold
	// program is what SetBPF set, read by RX threads; promiscuous likewise.
	program     atomic.Pointer[program]
	promiscuous atomic.Bool
	sent        *sentQueue // of an analyser, else nil

	tap  *tap
	dev  *stack.Device
	port *stack.Port // nil: an analyser
	cfg  Config
	// local is the port's address, with the EtherType and the VLAN.
	local       *Addr
	mac         link.MAC
	proto       uint16 // All: any
	vlan        uint16
	mtu         int
	flow        int // picks the TX queue: all that a socket sends keeps its order
	priority    atomic.Int32
	batching    atomic.Bool
	batch       *sendBatch
	read, write sock.Deadline
	times       sock.Times
	// nothing is what a read returns that is not to wait: made by SetReadNoWait,
	// read by those who find its bit.
	nothing   atomic.Pointer[net.OpError]
	done      chan struct{} // closes with the socket, or with its port
	closeOnce sync.Once
	endOnce   sync.Once

	// groups counts the socket's joins of each, under the tap's mutex.
	groups map[link.MAC]int

	stats counters
}

var _ net.PacketConn = (*Conn)(nil)

// Listen opens a socket for the frames of an EtherType, or All, that come to a
// port: to its own address, to groups and to all stations. Errors are
// *net.OpError with EINVAL (no port, an EtherType below 0x0600, the config), what
// a link says of the claim, or net.ErrClosed.
func Listen(p *stack.Port, proto uint16, cfg *Config) (*Conn, error) {
	if p == nil {
		return nil, listenError(nil, fmt.Errorf("no port: %w: enable one by Device.EnablePort", syscall.EINVAL))
	}
	at := &Addr{MAC: p.MAC(), EtherType: proto, VLAN: p.VLAN()}
	c := newConn(p.Device(), at, cfg)
	c.port, c.proto, c.vlan, c.mtu = p, proto, p.VLAN(), p.MTU()
	if err := c.cfg.complete(); err != nil {
		return nil, listenError(at, err)
	}
	if proto != All && proto < minEtherType {
		return nil, listenError(at, fmt.Errorf("EtherType 0x%04x: %w: below 0x%04x stands a length: want packet.All, and read it", proto, syscall.EINVAL, minEtherType))
	}
	return c.open()
}

// ListenDevice opens an analyser: a socket for all frames of a device, of any
// VLAN, to any station, and for those that the device sends, which it marks
// (Message.Outgoing). It claims nothing of whoever shares the device: on AF_XDP
// it sees what comes here for other reasons. Errors as Listen's.
func ListenDevice(d *stack.Device, cfg *Config) (*Conn, error) {
	if d == nil {
		return nil, listenError(nil, fmt.Errorf("no device: %w: make one by Stack.Attach", syscall.EINVAL))
	}
	at := &Addr{MAC: d.Link().MAC()}
	c := newConn(d, at, cfg)
	c.mtu = d.MTU()
	if err := c.cfg.completeAnalyser(); err != nil {
		return nil, listenError(at, err)
	}
	c.sent = newSentQueue(c.cfg.Outgoing, maxHeader+d.MTU())
	return c.open()
}

// flows numbers the sockets, so that they spread over the TX queues.
var flows atomic.Int64

func newConn(d *stack.Device, at *Addr, cfg *Config) *Conn {
	c := &Conn{dev: d, local: at, mac: at.MAC, flow: int(flows.Add(1) & 0xffff), done: make(chan struct{})}
	c.readers.Init()
	if cfg != nil {
		c.cfg = *cfg
	}
	return c
}

// open completes the socket and makes it known.
func (c *Conn) open() (*Conn, error) {
	c.inbox.Init(c.dev)
	c.quota.Store(int64(c.cfg.Queue))
	if c.cfg.Handler != nil {
		c.attention.Store(handled)
	}
	c.priority.Store(int32(c.cfg.Priority))
	c.read.Init(&c.attention, readExpired)
	c.write.Init(&c.attention, writeExpired)
	c.times.Init(c.dev.Stack(), &c.attention, timed, c.cfg.TXTimes)
	c.batch = new(sendBatch)
	c.groups = make(map[link.MAC]int)
	var err error
	if c.tap, err = tapOf(c.dev.Stack()); err == nil {
		err = c.tap.add(c)
	}
	if err != nil {
		return nil, listenError(c.local, err)
	}
	return c, nil
}

// LocalAddr returns the port's address with the EtherType and the VLAN, an *Addr.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// Port is the port that the socket is on; nil of an analyser.
func (c *Conn) Port() *stack.Port { return c.port }

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

// SetWriteDeadline is the same for writes that wait for a buffer.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.moveDeadline(&c.write, t) }

func (c *Conn) moveDeadline(d *sock.Deadline, t time.Time) error {
	if c.attention.Load()&closed != 0 {
		return c.opError("set", nil, net.ErrClosed)
	}
	d.Move(t)
	return nil
}

// Close closes the socket: blocked calls return net.ErrClosed, frames not read
// are dropped, and its groups and promiscuous membership are undone. Frames and
// leases that the application holds stay good until they are released. A second
// Close returns net.ErrClosed.
func (c *Conn) Close() error {
	err := c.opError("close", nil, net.ErrClosed)
	c.closeOnce.Do(func() {
		c.attention.Or(closed)
		c.unblock()
		c.tap.remove(c)
		c.read.Stop()
		c.write.Stop()
		c.times.Close()
		c.purge()
		err = nil
	})
	return err
}

// end ends the socket's traffic: its port or its device is no more.
func (c *Conn) end() {
	c.attention.Or(ended)
	c.unblock()
	c.times.Close()
	c.purge()
}

func (c *Conn) unblock() { c.endOnce.Do(func() { close(c.done) }) }

// whyGone says why a socket is of no more use.
func (c *Conn) whyGone() error {
	switch {
	case c.attention.Load()&closed != 0:
		return net.ErrClosed
	case c.port != nil:
		return disabledError(c.port)
	}
	return deviceError(c.dev)
}

// purge drops what waits for a reader.
func (c *Conn) purge() {
	for {
		index, ok := c.inbox.Take()
		if !ok {
			return
		}
		c.dev.Release(index)
		c.books.Release()
	}
}
