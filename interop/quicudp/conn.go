// Package quicudp makes of a socket of ours what quic-go gives its best to: a
// connection that it reads and writes in batches, with ECN marks (RFC 3168, RFC
// 9000 section 13.4) and with many packets of one size in a write (UDP_SEGMENT).
// Without it a socket works with quic-go as any net.PacketConn does.
//
//	tr := &quic.Transport{Conn: quicudp.New(conn)}
//
// quic-go takes these features to be the kernel's and sets socket options by a
// descriptor; the one that it gets here does nothing, and all that the options
// would do is done. It says once, in its log, that the receive buffer is small:
// QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING=1 ends that, udp.Config.Queue is the buffer.
// All this exists under Linux alone.
package quicudp

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"

	"golang.org/x/net/ipv4"

	"github.com/oobnet/oobnet/proto/udp"
)

// Conn is a UDP socket. Its methods may be called by any goroutine.
type Conn struct {
	*udp.Conn
	pool sync.Pool // of *batch
}

// New makes a Conn of a socket, which it owns from then on: closing the one closes
// the other.
func New(c *udp.Conn) *Conn { return &Conn{Conn: c} }

// batch is a set of messages, to read into or to write.
type batch struct{ messages []udp.Message }

// messages lends n messages. Those that are given back keep their memory.
func (c *Conn) messages(n int) *batch {
	b, ok := c.pool.Get().(*batch)
	if !ok {
		b = new(batch)
	}
	if cap(b.messages) < n {
		b.messages = make([]udp.Message, n)
	}
	b.messages = b.messages[:n]
	return b
}

func (c *Conn) give(b *batch) {
	clear(b.messages) // the bytes are the caller's
	c.pool.Put(b)
}

// SyscallConn returns a connection whose Control does nothing. There is no
// descriptor.
func (c *Conn) SyscallConn() (syscall.RawConn, error) { return raw{}, nil }

type raw struct{}

func (raw) Control(func(fd uintptr)) error    { return nil }
func (raw) Read(func(fd uintptr) bool) error  { return syscall.ENOTSUP }
func (raw) Write(func(fd uintptr) bool) error { return syscall.ENOTSUP }

// ReadBatch waits for a datagram, takes along what else has come, and returns how
// many messages it filled: the bytes in the first of Buffers, the sender, and the
// ECN mark as an IP_TOS control message in OOB. flags have to be 0.
func (c *Conn) ReadBatch(ms []ipv4.Message, flags int) (int, error) {
	if flags != 0 {
		return 0, fmt.Errorf("quicudp: flags %#x: want none: %w", flags, syscall.EINVAL)
	}
	b := c.messages(len(ms))
	defer c.give(b)
	for i := range ms {
		if len(ms[i].Buffers) != 1 {
			return 0, fmt.Errorf("quicudp: message %d has %d buffers: want one: %w", i, len(ms[i].Buffers), syscall.EINVAL)
		}
		b.messages[i].Buf = ms[i].Buffers[0]
	}
	n, err := c.Conn.ReadBatch(b.messages)
	for i := range n {
		m, r := &ms[i], &b.messages[i]
		m.N, m.Flags = r.N, r.Flags
		m.Addr = net.UDPAddrFromAddrPort(r.Addr)
		m.NN = putTOS(m.OOB, r.DSCP<<2|r.ECN)
		if m.NN == 0 {
			m.Flags |= truncated
		}
	}
	return n, err
}

// ReadMsgUDP is ReadBatch of one.
func (c *Conn) ReadMsgUDP(b, oob []byte) (n, oobn, flags int, addr *net.UDPAddr, err error) {
	m := udp.Message{Buf: b}
	if err := c.ReadMsg(&m); err != nil {
		return 0, 0, 0, nil, err
	}
	oobn = putTOS(oob, m.DSCP<<2|m.ECN)
	if oobn == 0 && len(oob) > 0 {
		m.Flags |= truncated
	}
	return m.N, oobn, m.Flags, net.UDPAddrFromAddrPort(m.Addr), nil
}

// WriteMsgUDP sends b to an address, nil for the peer of a connected socket. The
// control messages say how: IP_TOS has the ECN mark, of which the rest is the
// socket's own; UDP_SEGMENT the size of the datagrams that b is cut into, the last
// of which may be shorter; IP_PKTINFO the source address, which has to be the
// socket's or none. Others are ENOTSUP. It returns how much of b was sent.
func (c *Conn) WriteMsgUDP(b, oob []byte, addr *net.UDPAddr) (n, oobn int, err error) {
	how, err := parse(oob)
	if err != nil {
		return 0, 0, fmt.Errorf("quicudp: %w", err)
	}
	to := netip.AddrPort{}
	if addr != nil {
		to = addr.AddrPort()
	}
	segment := how.segment
	if segment == 0 {
		segment = max(len(b), 1)
	}
	count := max((len(b)+segment-1)/segment, 1)
	if count > maxSegments {
		return 0, 0, fmt.Errorf("quicudp: %d datagrams of %d bytes: want at most %d: %w", count, segment, maxSegments, syscall.EINVAL)
	}
	list := c.messages(count)
	defer c.give(list)
	for i := range list.messages {
		list.messages[i] = udp.Message{Buf: b[i*segment : min((i+1)*segment, len(b))], Addr: to, ECN: how.ecn}
	}
	sent, err := c.WriteBatch(list.messages)
	for _, m := range list.messages[:sent] {
		n += len(m.Buf)
	}
	return n, len(oob), err
}

// maxSegments of one write: UDP_MAX_SEGMENTS of Linux.
const maxSegments = 128
