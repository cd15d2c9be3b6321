package udp

import (
	"errors"
	"net"
	"net/netip"
	"syscall"

	"github.com/oobnet/oobnet/arp"
	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/stack"
)

// batchFrames is how many frames share a doorbell at most.
const batchFrames = 64

// sendBatch is room for the frames of a WriteBatch. One call at a time uses
// it; another one under way sends its datagrams one by one.
type sendBatch struct {
	frames [batchFrames]link.Frame
	n      int
	port   *stack.Port
	// first is the message of the first frame; unsent the first one whose
	// doorbell failed, or the number of messages.
	first, unsent int
	// begun is when the first frame began to be built, of sockets that take
	// times of sends.
	begun int64
}

// WriteBatch sends the messages in their order, with one doorbell for as many
// as it can, and returns how many were sent; an error is about the message
// after the last one sent. It sets N of those sent.
func (c *Conn) WriteBatch(ms []Message) (int, error) {
	if !c.batching.CompareAndSwap(false, true) {
		return c.writeSingly(ms)
	}
	defer c.batching.Store(false)
	c.batch.unsent = len(ms)
	n := 0
	var err error
	for n < len(ms) {
		if err = c.addToBatch(ms, n); err != nil {
			break
		}
		n++
	}
	if e := c.flushBatch(); e != nil {
		err = e
	}
	return min(n, c.batch.unsent), err
}

func (c *Conn) writeSingly(ms []Message) (int, error) {
	for i := range ms {
		to, err := c.destination(&ms[i])
		if err != nil {
			return i, err
		}
		ms[i].Times = stack.IOTimes{}
		n, err := c.writeTo(ms[i].Buf, to, &ms[i].Times.ID, uint8(ms[i].ECN&maxECN))
		if err != nil {
			return i, err
		}
		ms[i].N = n
	}
	return len(ms), nil
}

// destination is where a message of a batch goes.
func (c *Conn) destination(m *Message) (netip.AddrPort, error) {
	to := unmap(m.Addr)
	switch {
	case c.remote.IsValid() && !m.Addr.IsValid():
		return c.remote, nil
	case c.remote.IsValid():
		return to, c.opError("write", net.UDPAddrFromAddrPort(to), net.ErrWriteToConnected)
	case !m.Addr.IsValid():
		return to, c.opError("write", nil, syscall.EDESTADDRREQ)
	}
	return to, nil
}

// addToBatch builds the frame of message i, or sends it at once if it cannot
// be part of the batch.
func (c *Conn) addToBatch(ms []Message, i int) error {
	m := &ms[i]
	to, err := c.destination(m)
	if err != nil {
		return err
	}
	if c.attention.Load()&(closed|writeExpired|failed) != 0 {
		if err := c.writable("write"); err != nil {
			return err
		}
	}
	e, err := c.pathTo(to)
	if err != nil {
		return c.opError("write", net.UDPAddrFromAddrPort(to), err)
	}
	if e == nil || len(m.Buf) > int(e.MTU)-headersLen {
		m.Times = stack.IOTimes{}
		m.N, err = c.send(m.Buf, to, e, &m.Times.ID, uint8(m.ECN&maxECN))
		return err
	}
	f, err := c.allocInBatch(e)
	if err != nil {
		return c.opError("write", net.UDPAddrFromAddrPort(to), err)
	}
	if sends := c.times.Sends(); sends != nil {
		f.Flags |= link.FlagTimed
		c.beginInBatch(sends, m, e, f.Index)
	}
	dev := e.Via.(*stack.Port).Device()
	buf := dev.Memory().Buffer(f.Index)
	copy(buf[f.Off:], m.Buf)
	start := int(f.Off)
	off, length, left := c.build(buf, start, len(m.Buf), to.Port(), e, dev.Offloads())
	f.Off, f.Len = off, length
	if m.ECN != 0 {
		wire.MarkIPv4(buf[start-headersLen:], uint8(m.ECN&maxECN))
	}
	if left != 0 {
		f.Flags |= left
		f.VLAN = c.tag(e)
	}
	e.Touch()
	if c.batch.n == 0 {
		c.batch.first = i
	}
	c.batch.frames[c.batch.n] = f
	c.batch.n++
	m.N = len(m.Buf)
	return nil
}

// beginInBatch begins the record of a frame's times. Those that share a doorbell
// share the time at which the first of them began to be built.
func (c *Conn) beginInBatch(sends *stack.TXTimes, m *Message, e *arp.Entry, index uint32) {
	if c.batch.n == 0 {
		c.batch.begun = stack.Now()
	}
	m.Times = stack.IOTimes{ID: sends.Begin(e.Via.(*stack.Port).Device(), index, c.batch.begun)}
}

// allocInBatch makes room for one more frame on an entry's port. What is in
// the batch goes out first if it is another port's, if it is full, or if the
// pool is empty: its buffers may be the ones to wait for.
func (c *Conn) allocInBatch(e *arp.Entry) (link.Frame, error) {
	port := e.Via.(*stack.Port)
	if c.batch.port != port || c.batch.n == batchFrames {
		if err := c.flushBatch(); err != nil {
			return link.Frame{}, err
		}
		c.batch.port = port
	}
	f, err := port.Device().AllocFor(int(c.priority.Load()))
	if err == nil {
		return f, nil
	}
	if err := c.flushBatch(); err != nil {
		return f, err
	}
	c.batch.port = port
	return c.alloc(port.Device())
}

func (c *Conn) flushBatch() error {
	n, port := c.batch.n, c.batch.port
	c.batch.n, c.batch.port = 0, nil
	if n == 0 {
		return nil
	}
	if sent, err := port.SendBatch(c.batch.frames[:n], c.flow, int(c.priority.Load())); err != nil {
		if !errors.Is(err, syscall.ENOBUFS) {
			sent = 0 // with the device, which has no wire
		}
		// Frames of one batch are those of messages that follow each other.
		c.batch.unsent = min(c.batch.unsent, c.batch.first+sent)
		return c.opError("write", nil, err)
	}
	return nil
}
