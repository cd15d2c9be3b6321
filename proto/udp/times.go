package udp

import (
	"errors"
	"net"
	"net/netip"
	"syscall"

	"github.com/oobnet/oobnet/stack"
)

// SetTimestamping says which times the socket takes, by direction and point; 0:
// none, which is the default and costs nothing. Times of what is received come
// with the datagram (Datagram.Times, Message.Times), for those that arrive from
// now on; of what is sent, ReadTXTimes has them. Each call begins anew: records
// of sends that nobody has read are gone, and the numbers of sends start at 1.
// EINVAL for flags that mean nothing, net.ErrClosed after Close.
func (c *Conn) SetTimestamping(f stack.TimestampFlags) error {
	if err := c.times.Set(f); err != nil {
		return c.opError("set", nil, err)
	}
	return nil
}

// Timestamping returns the flags that are set.
func (c *Conn) Timestamping() stack.TimestampFlags { return c.times.Flags() }

// ReadTXTimes reads times of what was sent, the oldest first, and returns how
// many. Each has the number of its send in ID: the socket counts its sends from
// 1, and WriteTimed, WriteBatch (Message.Times) and Lease.ID tell the number. A
// send that failed may have a number and no times. A datagram that went in-band,
// or that a queueing of the application's own dropped, has a Device of 0.
//
// It waits for the first until the read deadline; one in the past makes it take
// what there is (os.ErrDeadlineExceeded: nothing), as does SetReadNoWait (EAGAIN:
// nothing). When the ring was full (Config.TXTimes), times that came were dropped:
// the next call says so once, by stack.ErrTimesLost beside what it has read. Other
// errors: EINVAL where no times of sends are taken, net.ErrClosed. It allocates
// nothing.
func (c *Conn) ReadTXTimes(t []stack.IOTimes) (int, error) {
	n, err := c.times.Read(t, &c.read, c.attention.Load()&noWait != 0)
	switch {
	case err == nil:
	case errors.Is(err, syscall.EAGAIN):
		err = c.nothing.Load()
	default:
		err = c.opError("read", nil, err)
	}
	return n, err
}

// WriteTimed is WriteToUDPAddrPort, or Write if addr is not valid, and returns
// the number by which ReadTXTimes names the send; 0 where no times are taken.
func (c *Conn) WriteTimed(b []byte, addr netip.AddrPort) (id uint64, err error) {
	to := addr
	switch {
	case c.connected && addr.IsValid():
		return 0, c.opError("write", net.UDPAddrFromAddrPort(addr), net.ErrWriteToConnected)
	case c.connected:
		to = c.remote
	case !addr.IsValid():
		return 0, c.opError("write", nil, syscall.EDESTADDRREQ)
	}
	_, err = c.writeTo(b, to, &id, 0)
	return id, err
}

// tell leaves the number of a send with who asked for it.
//
//oobnet:hot
func tell(to *uint64, id uint64) {
	if to != nil {
		*to = id
	}
}

// timesOf sets into to the times of a datagram that the socket asks for.
//
//oobnet:hot
func (c *Conn) timesOf(r *received, into *stack.IOTimes) {
	if r.dev == nil {
		c.times.Flags().Received(&r.heap.times, into)
		return
	}
	r.dev.Times(r.index, c.times.Flags(), into)
}
