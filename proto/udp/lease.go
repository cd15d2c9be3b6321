package udp

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/stack"
)

// Datagram is a received datagram in the link's own memory: no byte has been
// copied. It counts against the socket's quota until Release. It is used by
// one goroutine at a time; copies of the value are the same datagram, and only
// one of them may be released.
type Datagram struct {
	conn *Conn // nil: released
	r    received
}

// Receive waits for a datagram as ReadFromUDPAddrPort does, and lends it to the
// caller until Release.
func (c *Conn) Receive() (Datagram, error) {
	d := Datagram{conn: c}
	if err := c.next(&d.r); err != nil {
		return Datagram{}, err
	}
	return d, nil
}

// Payload is the datagram's bytes, in place. They may be changed, unless the
// datagram was sent to a group or a broadcast address: then other sockets
// read the same bytes. Not to be used after Release; nil then.
func (d *Datagram) Payload() []byte {
	if d.conn == nil {
		return nil
	}
	return d.r.payload()
}

// From is the sender. Not valid after Release.
func (d *Datagram) From() netip.AddrPort {
	if d.conn == nil {
		return netip.AddrPort{}
	}
	return d.r.from()
}

// To is the address that the datagram was sent to: one of the stack's, a group
// or a broadcast address. Not valid after Release.
func (d *Datagram) To() netip.Addr {
	if d.conn == nil {
		return netip.Addr{}
	}
	return d.r.to()
}

// DSCP that the datagram came with, 0 to 63. Not valid after Release.
func (d *Datagram) DSCP() int {
	if d.conn == nil {
		return 0
	}
	return int(d.r.tos() >> dscpShift)
}

// ECN that the datagram came with (RFC 3168), 0 to 3. Not valid after Release.
func (d *Datagram) ECN() int {
	if d.conn == nil {
		return 0
	}
	return int(d.r.tos() & maxECN)
}

// Times of the datagram, as SetTimestamping asks for them; zero where none were
// taken. Not valid after Release.
func (d *Datagram) Times() (t stack.IOTimes) {
	if d.conn != nil {
		d.conn.timesOf(&d.r, &t)
	}
	return t
}

// Release gives the buffer back. A second call does nothing.
func (d *Datagram) Release() {
	if d.conn == nil {
		return
	}
	d.conn.release(&d.r)
	d.conn = nil
}

// Lease is a TX buffer that the application fills in place. It is used by one
// goroutine at a time, and ends with SendTo, Send or Discard.
type Lease struct {
	conn *Conn // nil: ended
	dev  *stack.Device
	f    link.Frame
	size int
	id   uint64
}

// Reserve lends a TX buffer with room for a payload of size bytes: of the
// device towards the peer if the socket is connected, else of the one that has
// the socket's address, or the first. It waits for a buffer as a send does.
// EMSGSIZE if no single frame of that device can carry the payload.
func (c *Conn) Reserve(size int) (Lease, error) {
	fail := func(err error) (Lease, error) { return Lease{}, c.opError("write", nil, err) }
	if c.attention.Load()&(closed|writeExpired) != 0 {
		// The deadline may have moved on since.
		if err := c.writable("write"); err != nil {
			return Lease{}, err
		}
	}
	port, err := c.outPort()
	if err != nil {
		return fail(err)
	}
	if size < 0 || size > port.MTU()-headersLen {
		return fail(syscall.EMSGSIZE)
	}
	f, err := c.alloc(port.Device())
	if err != nil {
		return fail(err)
	}
	return Lease{conn: c, dev: port.Device(), f: f, size: size}, nil
}

// outPort is the port that a lease's buffer is taken from.
func (c *Conn) outPort() (*stack.Port, error) {
	if e := c.path.Load(); e != nil && e.Valid() {
		return e.Via.(*stack.Port), nil
	}
	if c.remote.IsValid() {
		return c.s.RouteTo(c.remote.Addr())
	}
	if p := c.s.PortOf(c.local.Addr()); p != nil {
		return p, nil
	}
	if ports := c.s.Ports(); len(ports) > 0 {
		return ports[0], nil
	}
	return nil, syscall.ENETUNREACH
}

// Payload is where the payload goes: size bytes, with whatever an earlier
// frame left in them. nil after the lease has ended.
func (l *Lease) Payload() []byte {
	if l.conn == nil {
		return nil
	}
	return l.dev.Memory().Buffer(l.f.Index)[l.f.Off:][:l.size]
}

// SendTo sends the payload and ends the lease, also on an error. Errors as
// WriteToUDPAddrPort has them.
func (l *Lease) SendTo(to netip.AddrPort) error {
	c := l.conn
	if c == nil {
		return errEnded
	}
	if c.remote.IsValid() {
		l.Discard()
		return c.opError("write", net.UDPAddrFromAddrPort(to), net.ErrWriteToConnected)
	}
	return l.send(unmap(to))
}

// Send is SendTo the peer of a connected socket.
func (l *Lease) Send() error {
	c := l.conn
	if c == nil {
		return errEnded
	}
	if !c.remote.IsValid() {
		l.Discard()
		return c.opError("write", nil, syscall.ENOTCONN)
	}
	return l.send(c.remote)
}

func (l *Lease) send(to netip.AddrPort) error {
	c := l.conn
	if c.attention.Load()&(closed|writeExpired|failed) != 0 {
		if err := c.writable("write"); err != nil {
			l.Discard()
			return err
		}
	}
	e, err := c.pathTo(to)
	if err != nil {
		l.Discard()
		return c.opError("write", net.UDPAddrFromAddrPort(to), err)
	}
	if e == nil || e.Via.(*stack.Port).Device() != l.dev || l.size > int(e.MTU)-headersLen {
		if l.f.Flags&link.FlagLaunchTime != 0 {
			l.Discard()
			return c.opError("write", net.UDPAddrFromAddrPort(to), errLaunchElsewhere)
		}
		// Another device's, or the in-band stage's: the bytes move once.
		_, err := c.send(l.Payload(), to, e, &l.id, 0)
		l.Discard()
		return err
	}
	l.conn = nil
	if sends := c.times.Sends(); sends != nil {
		l.f.Flags |= link.FlagTimed
		l.id = sends.Begin(l.dev, l.f.Index, stack.Now())
	}
	return c.finish(l.f, l.size, to.Port(), e, 0)
}

// ID is the number by which ReadTXTimes names the send that ended the lease; 0
// where no times are taken.
func (l *Lease) ID() uint64 { return l.id }

// SetLaunchTime says when the device is to send what the lease ends with, in ns
// on the clock that link.Capabilities.LaunchClock of the lease's device names. It
// wraps link.ErrNotSupported where a device sends as soon as it can.
func (l *Lease) SetLaunchTime(at int64) error {
	if l.conn == nil {
		return errEnded
	}
	if err := l.dev.LaunchAt(&l.f, at); err != nil {
		return l.conn.opError("set", nil, err)
	}
	return nil
}

// Discard gives the buffer back unsent. A second call does nothing.
func (l *Lease) Discard() {
	if l.conn != nil {
		l.dev.Free(l.f)
		l.conn = nil
	}
}

// errLaunchElsewhere is for a launch time that is another device's than the one by
// which the datagram would leave.
var errLaunchElsewhere = fmt.Errorf("the way there is not by the lease's device, which has the launch time: %w", link.ErrNotSupported)

// errEnded is for a lease that was used before.
var errEnded = &net.OpError{Op: "write", Net: "udp", Err: os.ErrInvalid}
