package demo

import (
	"context"
	"encoding/binary"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/oobnet/oobnet/cmd/oobnet/internal/hist"
	"github.com/oobnet/oobnet/internal/clock"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/proto/udp"
)

// client sends a datagram each period and takes the echoes. Each carries its
// number and the time it was sent: bytes 0 to 7 and 8 to 15, big-endian.
type client struct {
	side   *side
	to     netip.AddrPort
	data   []byte
	period int64
	manual bool
	tally
	rtt  hist.Histogram
	late atomic.Uint64 // cycles left out: the cycle writes, the report reads
	// seen holds, by number modulo its length, the latest number that was
	// answered: a second answer is a duplicate.
	seen [4096]atomic.Uint64
	stop atomic.Bool // set by the main goroutine, read by the cycle
}

// startClient opens the port, and a connected socket: it is told when there is
// no server at the peer.
func startClient(ctx context.Context, s *side, o *Options, peer netip.Addr) (*client, error) {
	c := &client{
		side: s, to: netip.AddrPortFrom(peer, o.Port), data: make([]byte, o.Size),
		period: int64(o.Period), manual: o.Poll == link.Manual,
	}
	if err := s.enable(ctx, o); err != nil {
		return nil, err
	}
	var err error
	s.conn, err = udp.Dial(s.stack, netip.AddrPort{}, c.to, &udp.Config{Handler: c.answered, Priority: o.PCP})
	return c, err
}

// answered runs on the thread that received the echo.
func (c *client) answered(d udp.Datagram) {
	now := clock.Now()
	if p := d.Payload(); len(p) == len(c.data) {
		c.count(p, now)
	}
	d.Release()
}

func (c *client) count(p []byte, now int64) {
	n := binary.BigEndian.Uint64(p)
	if n == 0 || n > c.sent.Load() {
		return // not ours
	}
	if c.seen[n%uint64(len(c.seen))].Swap(n) == n {
		c.duplicates.Add(1)
		return
	}
	c.rtt.Record(now - int64(binary.BigEndian.Uint64(p[8:])))
	c.received.Add(1)
}

// cycle runs until the end, CLOCK_MONOTONIC ns, or until stop is set.
func (c *client) cycle(end int64) {
	for next := clock.Now(); next < end && !c.stop.Load(); {
		c.send()
		next += c.period
		if c.manual {
			c.poll(next)
		}
		sleepUntil(next)
		if now := clock.Now(); now > next+c.period {
			// Cycles that time ran past are counted and left out, not caught
			// up with in a burst.
			missed := (now - next) / c.period
			c.late.Add(uint64(missed))
			next += missed * c.period
		}
	}
	c.linger()
}

func (c *client) send() {
	// Counted first: the echo may be back before the call is.
	n := c.sent.Add(1)
	binary.BigEndian.PutUint64(c.data, n)
	binary.BigEndian.PutUint64(c.data[8:], uint64(clock.Now()))
	if _, err := c.side.conn.Write(c.data); err != nil {
		c.fail(err)
	}
}

// poll moves the device in manual mode until the echo is there or half of the
// time until next has passed.
func (c *client) poll(next int64) {
	want := c.sent.Load()
	for limit := clock.Now() + (next-clock.Now())/2; c.received.Load() < want && clock.Now() < limit; {
		if _, err := c.side.device.Poll(64); err != nil {
			return
		}
	}
}

// lingerTime is what late echoes get before they count as lost.
const lingerTime = 100 * time.Millisecond

func (c *client) linger() {
	for limit := clock.Now() + int64(lingerTime); c.received.Load() < c.sent.Load() && clock.Now() < limit; {
		if c.manual {
			if _, err := c.side.device.Poll(64); err != nil {
				return
			}
		}
		time.Sleep(time.Millisecond)
	}
}
