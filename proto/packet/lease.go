package packet

import (
	"fmt"
	"syscall"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/stack"
)

// Frame is a received frame in the link's own memory: the socket has copied
// nothing. It counts against the socket's quota until Release. It is used by
// one goroutine at a time; copies of the value are the same frame, and only one
// of them may be released. No method but Release may be called after Release:
// they return zero values then.
type Frame struct {
	conn *Conn // nil: released
	r    received
}

// Receive waits for a frame as ReadFromAddr does, and lends it to the caller
// until Release.
func (c *Conn) Receive() (Frame, error) {
	f := Frame{conn: c}
	if err := c.next(&f.r); err != nil {
		return Frame{}, err
	}
	return f, nil
}

// Bytes is the whole frame, in place. They may be changed.
func (f *Frame) Bytes() []byte {
	if f.conn == nil {
		return nil
	}
	return f.conn.bytes(f.r)
}

// Payload is what stands behind the header, and one tag; in place.
func (f *Frame) Payload() []byte {
	if f.conn == nil {
		return nil
	}
	b := f.conn.bytes(f.r)
	offset, _ := f.conn.header(f.r, b)
	return b[min(offset, len(b)):]
}

// From is the sender, with the EtherType and what was in the tag.
func (f *Frame) From() Addr {
	if f.conn == nil {
		return Addr{}
	}
	b := f.conn.bytes(f.r)
	offset, tci := f.conn.header(f.r, b)
	return fromOf(b, offset, tci)
}

// To is the destination.
func (f *Frame) To() link.MAC {
	if f.conn == nil {
		return link.MAC{}
	}
	return toOf(f.conn.bytes(f.r))
}

// WireLen is how many bytes the frame had on the wire, whatever the socket's
// program has cut off.
func (f *Frame) WireLen() int {
	if f.conn == nil {
		return 0
	}
	return f.conn.wireLen(f.r)
}

// Outgoing reports whether the device has sent the frame: for analysers.
func (f *Frame) Outgoing() bool { return f.conn != nil && f.r.outgoing }

// Times of the frame, as SetTimestamping asks for them; zero where none were
// taken.
func (f *Frame) Times() (t stack.IOTimes) {
	if f.conn != nil {
		f.conn.timesOf(f.r, &t)
	}
	return t
}

// Release gives the buffer back. A second call does nothing.
func (f *Frame) Release() {
	if f.conn == nil {
		return
	}
	f.conn.release(f.r)
	f.conn = nil
}

// Lease is a TX buffer that the application fills in place. It is used by one
// goroutine at a time, and ends with SendTo, Send or Discard.
type Lease struct {
	conn *Conn // nil: ended
	f    link.Frame
	size int
	id   uint64
}

// Reserve lends a TX buffer with room for a payload of size bytes, or with
// Config.Raw for a whole frame. It waits for a buffer as a send does. EMSGSIZE
// if no frame can be so long.
func (c *Conn) Reserve(size int) (Lease, error) {
	fail := func(err error) (Lease, error) { return Lease{}, c.opError("write", nil, err) }
	if c.attention.Load()&(gone|writeExpired) != 0 {
		// The deadline may have moved on since.
		if err := c.writable(); err != nil {
			return Lease{}, err
		}
	}
	most := c.mtu
	if c.cfg.Raw {
		most += maxHeader
	}
	switch {
	case size < 0:
		return fail(fmt.Errorf("%d bytes: %w", size, syscall.EINVAL))
	case size > most:
		return fail(over("lease", size, most))
	}
	f, err := c.alloc()
	if err != nil {
		return fail(err)
	}
	if c.cfg.Raw {
		f.Off -= maxHeader
	}
	return Lease{conn: c, f: f, size: size}, nil
}

// Payload is where the payload goes, or with Config.Raw the frame: size bytes,
// with whatever an earlier frame left in them. nil after the lease has ended.
func (l *Lease) Payload() []byte {
	if l.conn == nil {
		return nil
	}
	return l.conn.dev.Memory().Buffer(l.f.Index)[l.f.Off:][:l.size]
}

// SendTo sends the payload and ends the lease, also on an error. Errors as
// WriteToAddr has them.
func (l *Lease) SendTo(to Addr) error {
	c := l.conn
	if c == nil {
		return errEnded
	}
	if c.cfg.Raw {
		return l.sendFrame(to)
	}
	h, err := c.headerFor(to)
	if err != nil {
		l.Discard()
		return c.opError("write", copied(to), err)
	}
	if err := l.end(); err != nil {
		return err
	}
	return c.finish(l.f, l.size, h)
}

// Send sends the whole frame of a socket with Config.Raw, and ends the lease;
// EDESTADDRREQ of another socket's.
func (l *Lease) Send() error {
	c := l.conn
	if c == nil {
		return errEnded
	}
	if !c.cfg.Raw {
		l.Discard()
		return c.opError("write", nil, syscall.EDESTADDRREQ)
	}
	return l.sendFrame(Addr{})
}

func (l *Lease) sendFrame(to Addr) error {
	c := l.conn
	tci, err := c.tciFor(to)
	if err == nil {
		err = c.checkFrame(l.Payload(), tci)
	}
	if err != nil {
		l.Discard()
		return c.opError("write", nil, err)
	}
	if err := l.end(); err != nil {
		return err
	}
	return c.finishFrame(l.f, l.size, tci)
}

// end ends the lease for a frame that is to be sent, or says why it must not be.
func (l *Lease) end() error {
	c := l.conn
	if c.attention.Load()&(gone|writeExpired) != 0 {
		if err := c.writable(); err != nil {
			l.Discard()
			return err
		}
	}
	l.conn = nil
	if sends, begun := c.begin(); sends != nil {
		l.f.Flags |= link.FlagTimed
		l.id = sends.Begin(c.dev, l.f.Index, begun)
	}
	return nil
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
	if err := l.conn.dev.LaunchAt(&l.f, at); err != nil {
		return l.conn.opError("set", nil, err)
	}
	return nil
}

// Discard gives the buffer back unsent. A second call does nothing.
func (l *Lease) Discard() {
	if l.conn != nil {
		l.conn.dev.Free(l.f)
		l.conn = nil
	}
}
