package packet

import (
	"errors"
	"net"
	"syscall"

	"github.com/oobnet/oobnet/stack"
)

// SetTimestamping says which times the socket takes, by direction and point; 0:
// none, which is the default and costs nothing. Times of what is received come
// with the frame (Frame.Times, Message.Times), for those that arrive from now on;
// of what is sent, ReadTXTimes has them. Each call begins anew: records of sends
// that nobody has read are gone, and the numbers of sends start at 1. EINVAL for
// flags that mean nothing, net.ErrClosed after Close.
//
// To an analyser, an outgoing frame is as good as a received one: it has the time
// at which the link took it, as Device and Delivery.
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
// send that failed may have a number and no times. A frame that a queueing of the
// application's own dropped has a Device of 0.
//
// It waits for the first until the read deadline; one in the past makes it take
// what there is (os.ErrDeadlineExceeded: nothing), as does SetReadNoWait (EAGAIN:
// nothing). When the ring was full (Config.TXTimes), times that came were dropped:
// the next call says so once, by stack.ErrTimesLost beside what it has read. Other
// errors: EINVAL where no times of sends are taken, net.ErrClosed. It allocates
// nothing.
func (c *Conn) ReadTXTimes(t []stack.IOTimes) (int, error) {
	n, err := c.times.Read(t, &c.read, c.attention.Load()&noWait != 0)
	if errors.Is(err, net.ErrClosed) {
		err = c.whyGone()
	}
	switch {
	case err == nil:
	case errors.Is(err, syscall.EAGAIN):
		err = c.nothing.Load()
	default:
		err = c.opError("read", nil, err)
	}
	return n, err
}

// WriteTimed is WriteToAddr that returns the number by which ReadTXTimes names
// the send; 0 where no times are taken.
func (c *Conn) WriteTimed(b []byte, to Addr) (id uint64, err error) {
	_, err = c.writeTo(b, to, &id)
	return id, err
}

// begin returns where the record of a send goes that is about to begin, and the
// time; nil: nobody wants it.
//
//oobnet:hot
func (c *Conn) begin() (sends *stack.TXTimes, now int64) {
	if sends = c.times.Sends(); sends != nil {
		now = stack.Now()
	}
	return sends, now
}

// tell leaves the number of a send with who asked for it.
//
//oobnet:hot
func tell(to *uint64, id uint64) {
	if to != nil {
		*to = id
	}
}

// timesOf sets into to the times of a frame that the socket asks for.
//
//oobnet:hot
func (c *Conn) timesOf(r received, into *stack.IOTimes) {
	if r.outgoing {
		at := c.sent.slots[r.index].at
		c.times.Flags().Received(&stack.IOTimes{Device: at, Delivery: at}, into)
		return
	}
	c.dev.Times(r.index, c.times.Flags(), into)
}
