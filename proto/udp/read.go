package udp

import (
	"net"
	"net/netip"
	"os"
	"runtime"
	"syscall"
	"time"
)

// msgTrunc is MSG_TRUNC of recvmsg(2): the datagram was longer than the buffer.
const msgTrunc = 0x20

// ReadFromUDPAddrPort reads a datagram into b and returns its length and
// sender. What does not fit is cut off. It blocks until the read deadline. It
// allocates nothing.
func (c *Conn) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	var it item
	if err := c.next(&it); err != nil {
		return 0, netip.AddrPort{}, err
	}
	n := copy(b, it.payload())
	if n < it.size() {
		c.stats.truncated.Add(1)
	}
	it.release()
	return n, it.from(), nil
}

// ReadMsgUDPAddrPort is ReadFromUDPAddrPort that tells by flags (MSG_TRUNC)
// whether b was too short. There are no control messages: oobn is 0.
func (c *Conn) ReadMsgUDPAddrPort(b, oob []byte) (n, oobn, flags int, addr netip.AddrPort, err error) {
	var it item
	if err := c.next(&it); err != nil {
		return 0, 0, 0, netip.AddrPort{}, err
	}
	n = copy(b, it.payload())
	if n < it.size() {
		flags = msgTrunc
		c.stats.truncated.Add(1)
	}
	it.release()
	return n, 0, flags, it.from(), nil
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
}

// ReadBatch waits for one datagram as ReadFromUDPAddrPort does, takes along
// what else has come, and returns how many messages it filled.
func (c *Conn) ReadBatch(ms []Message) (int, error) {
	if len(ms) == 0 {
		return 0, nil
	}
	var it item
	if err := c.next(&it); err != nil {
		return 0, err
	}
	n := 0
	for {
		m := &ms[n]
		m.N, m.Addr, m.Flags = copy(m.Buf, it.payload()), it.from(), 0
		if m.N < it.size() {
			m.Flags = msgTrunc
			c.stats.truncated.Add(1)
		}
		it.release()
		if n++; n == len(ms) || !c.queue.Pop(&it) {
			return n, nil
		}
	}
}

func (it *item) size() int {
	if it.dev == nil {
		return len(it.heap.payload)
	}
	return int(it.len)
}

// next takes the next datagram, waiting for it if need be.
func (c *Conn) next(it *item) error {
	if c.attention.Load()&(closed|readExpired|failed) == 0 && c.queue.Pop(it) {
		return nil
	}
	return c.await(it, false)
}

// await is next for everything but the common case. lease counts the datagram
// as held by the application before it leaves the ring.
func (c *Conn) await(it *item, lease bool) error {
	spinUntil := time.Time{}
	for {
		if err := c.mayRead(); err != nil {
			return err
		}
		if c.pop(it, lease) {
			return nil
		}
		if c.cfg.Spin > 0 {
			now := time.Now()
			if spinUntil.IsZero() {
				spinUntil = now.Add(c.cfg.Spin)
			}
			if now.Before(spinUntil) {
				runtime.Gosched()
				continue
			}
		}
		c.sleep()
		spinUntil = time.Time{}
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
	}
	return nil
}

func (c *Conn) pop(it *item, lease bool) bool {
	if !lease {
		return c.queue.Pop(it)
	}
	c.leased.Add(1)
	if c.queue.Pop(it) {
		return true
	}
	c.leased.Add(-1)
	return false
}

// sleep waits until there may be something to read, or a reason to give up.
func (c *Conn) sleep() {
	passed := c.read.channel()
	c.sleepers.Add(1)
	if c.queue.Empty() && c.attention.Load()&(closed|readExpired|failed) == 0 {
		select {
		case <-c.readable:
		case <-passed:
		case <-c.done:
		}
	}
	// One word wakes one reader; it passes it on if there is more to read.
	if c.sleepers.Add(-1) > 0 && (!c.queue.Empty() || c.attention.Load() != 0) {
		c.wake()
	}
}

// wake wakes one sleeping reader. It does not block, and a word that nobody
// waits for yet is kept.
func (c *Conn) wake() {
	select {
	case c.readable <- struct{}{}:
	default:
	}
}

// fail leaves an asynchronous error for the next call.
func (c *Conn) fail(errno syscall.Errno) {
	c.failure.Store(uint32(errno))
	c.attention.Or(failed)
	c.wake()
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
