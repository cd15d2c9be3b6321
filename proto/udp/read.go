package udp

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"

	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/proto/internal/sock"
	"github.com/oobnet/oobnet/stack"
)

// msgTrunc is MSG_TRUNC of recvmsg(2): the datagram was longer than the buffer.
const msgTrunc = 0x20

// ReadFromUDPAddrPort reads a datagram into b and returns its length and
// sender. What does not fit is cut off. It blocks until the read deadline. It
// allocates nothing.
//
//oobnet:hot
func (c *Conn) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	// The common case, spelled out: a datagram waits, in a device's buffer.
	if c.attention.Load()&^aside == 0 {
		if index, ok := c.inbox.Take(); ok {
			c.taken()
			n, from, _ := c.copyOut(c.inbox.Device(), index, b)
			return n, from, nil
		}
	}
	var r received
	if err := c.next(&r); err != nil {
		return 0, netip.AddrPort{}, err
	}
	n, from, _ := c.consume(&r, b)
	return n, from, nil
}

// copyOut copies a datagram out of a device's buffer, and gives the buffer back.
//
//oobnet:hot
func (c *Conn) copyOut(d *stack.Device, index uint32, b []byte) (n int, from netip.AddrPort, flags int) {
	pkt := d.Packet(index)
	t := d.Memory().Bytes(pkt.Frame)[pkt.Offset:][:pkt.Len]
	n = copy(b, t[wire.UDPHeaderLen:])
	from = netip.AddrPortFrom(address(pkt.Src), binary.BigEndian.Uint16(t))
	if n < len(t)-wire.UDPHeaderLen {
		flags = c.cutOff()
	}
	d.Release(index)
	c.books.Release()
	return n, from, flags
}

// cutOff notes that a reader's slice was too short.
func (c *Conn) cutOff() (flags int) {
	c.stats.truncated.Add(1)
	return msgTrunc
}

// consume copies a datagram out and gives its buffer back.
//
//oobnet:hot
func (c *Conn) consume(r *received, b []byte) (n int, from netip.AddrPort, flags int) {
	if r.dev != nil && !r.shared {
		return c.copyOut(r.dev, r.index, b)
	}
	payload := r.payload()
	n, from = copy(b, payload), r.from()
	if n < len(payload) {
		flags = c.cutOff()
	}
	c.release(r)
	return n, from, flags
}

// ReadMsgUDPAddrPort is ReadFromUDPAddrPort that tells by flags (MSG_TRUNC)
// whether b was too short. There are no control messages: oobn is 0.
func (c *Conn) ReadMsgUDPAddrPort(b, oob []byte) (n, oobn, flags int, addr netip.AddrPort, err error) {
	var r received
	if err := c.next(&r); err != nil {
		return 0, 0, 0, netip.AddrPort{}, err
	}
	n, addr, flags = c.consume(&r, b)
	return n, 0, flags, addr, nil
}

// ReadFrom is ReadFromUDPAddrPort with the sender as a *net.UDPAddr, which it
// allocates.
func (c *Conn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := c.ReadFromUDPAddrPort(b)
	if err != nil {
		return 0, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

// Read is ReadFromUDPAddrPort without the sender.
func (c *Conn) Read(b []byte) (int, error) {
	n, _, err := c.ReadFromUDPAddrPort(b)
	return n, err
}

// Message is one datagram of a batch.
type Message struct {
	// Buf is what to send, or where to put what is received.
	Buf []byte
	// N is how many bytes of Buf were received or sent.
	N int
	// Addr is the sender, or the destination; on a connected socket a
	// destination that is not valid means the peer.
	Addr netip.AddrPort
	// Flags of a received datagram: MSG_TRUNC.
	Flags int
	// DSCP of a received datagram.
	DSCP int
	// ECN (RFC 3168) of a received datagram, or for one to send, 0 to 3: a capable
	// transport is 2, congestion experienced 3.
	ECN int
	// Times of a received datagram, as SetTimestamping asked for them. Of one
	// that was sent, ID is the number by which ReadTXTimes names it, and the
	// rest is not known yet.
	Times stack.IOTimes
}

// ReadMsg is ReadFromUDPAddrPort that tells all that there is to tell: see
// Message. It sets all of m but Buf.
func (c *Conn) ReadMsg(m *Message) error {
	var r received
	if err := c.next(&r); err != nil {
		return err
	}
	c.fill(m, &r)
	return nil
}

// ReadBatch waits for one datagram as ReadFromUDPAddrPort does, takes along
// what else has come, and returns how many messages it filled.
func (c *Conn) ReadBatch(ms []Message) (int, error) {
	if len(ms) == 0 {
		return 0, nil
	}
	var r received
	if err := c.next(&r); err != nil {
		return 0, err
	}
	n := 0
	for {
		c.fill(&ms[n], &r)
		if n++; n == len(ms) || !c.take(&r) {
			return n, nil
		}
	}
}

// fill reads a datagram into a message.
//
//oobnet:hot
func (c *Conn) fill(m *Message, r *received) {
	tos := r.tos()
	m.DSCP, m.ECN = int(tos>>dscpShift), int(tos&maxECN)
	c.timesOf(r, &m.Times)
	m.N, m.Addr, m.Flags = c.consume(r, m.Buf)
}

// next takes the next datagram, waiting for it if need be.
//
//oobnet:hot
func (c *Conn) next(r *received) error {
	if c.attention.Load()&^aside == 0 && c.take(r) {
		return nil
	}
	return c.await(r)
}

// take takes a datagram if one waits. What is in device buffers comes first.
//
//oobnet:hot
func (c *Conn) take(r *received) bool {
	if index, ok := c.inbox.Take(); ok {
		*r = received{dev: c.inbox.Device(), index: index}
		c.taken()
		return true
	}
	return c.takeElsewhere(r)
}

// taken is for a reader that has just taken a datagram. Another one that came
// at that moment was told that there is nothing, and may sleep; Close may have
// been told so, and has left the rest.
func (c *Conn) taken() {
	if c.readers.Asleep() || c.attention.Load()&closed != 0 {
		c.took()
	}
}

func (c *Conn) took() {
	if c.attention.Load()&closed != 0 {
		c.purge(nil)
	}
	c.readers.Wake()
}

func (c *Conn) takeElsewhere(r *received) bool {
	for _, b := range *c.others.Load() {
		if index, ok := b.Take(); ok {
			*r = received{dev: b.Device(), index: index}
			c.took()
			return true
		}
	}
	side := c.side.Load()
	return side != nil && side.Pop(r)
}

// await is next for everything but the common case.
func (c *Conn) await(r *received) error {
	var spin sock.Spin
	noWait := c.attention.Load()&noWait != 0
	for {
		if err := c.mayRead(); err != nil {
			return err
		}
		if c.take(r) {
			return nil
		}
		if noWait {
			return c.nothing.Load()
		}
		if spin.Lasts(c.cfg.Spin) {
			continue
		}
		if c.sleep(r) {
			return nil
		}
		spin = sock.Spin{}
	}
}

// mayRead says why a read must not go on, nil if it may.
func (c *Conn) mayRead() error {
	switch attention := c.attention.Load(); {
	case attention&closed != 0:
		return c.opError("read", nil, net.ErrClosed)
	case attention&readExpired != 0:
		return c.opError("read", nil, os.ErrDeadlineExceeded)
	case attention&failed != 0:
		return c.takeFailure("read")
	case attention&handled != 0:
		return c.opError("read", nil, errHandled)
	}
	return nil
}

// errHandled is for a read on a socket whose datagrams go to a handler.
var errHandled = fmt.Errorf("the socket has a handler: %w", syscall.EINVAL)

// sleep waits until there may be something to read, or a reason to give up.
// It reports whether its last look before found something.
func (c *Conn) sleep(r *received) (found bool) {
	passed := c.read.Channel()
	c.readers.Announce()
	if found = c.take(r); !found && c.attention.Load()&(closed|readExpired|failed) == 0 {
		c.readers.Sleep(passed, c.done)
	}
	c.readers.Rise()
	return found
}

// fail leaves an asynchronous error for the next call.
func (c *Conn) fail(errno syscall.Errno) {
	c.failure.Store(uint32(errno))
	c.attention.Or(failed)
	c.readers.Wake()
}

// takeFailure returns the asynchronous error, once; nil if another call was
// faster.
func (c *Conn) takeFailure(op string) error {
	c.attention.And(^failed)
	if errno := c.failure.Swap(0); errno != 0 {
		return c.opError(op, nil, syscall.Errno(errno))
	}
	return nil
}
