package worker

import (
	"bytes"
	"fmt"
	"time"

	"github.com/oobnet/oobnet/cmd/oobnet/internal/hist"
	"golang.org/x/sys/unix"
)

// client measures round trips, one datagram under way at a time.
type client struct {
	*socket
	data, back []byte
	n          uint64
	hist       hist.Histogram
}

func openClient(s Spec) (job, error) {
	k, err := newSocket(s)
	if err != nil {
		return nil, err
	}
	return &client{socket: k, data: make([]byte, s.Size), back: make([]byte, s.Size+1)}, nil
}

func (c *client) close() { unix.Close(c.fd) }

// warmTrips resolve the neighbour and fill the caches before the first sample.
const warmTrips = 200

func (c *client) run(d time.Duration) (Figures, error) {
	for i := range warmTrips {
		if ok, err := c.trip(); err != nil {
			return nil, err
		} else if !ok && i == warmTrips-1 {
			return nil, fmt.Errorf("no echo of the last of %d datagrams", warmTrips)
		}
	}
	c.hist.Reset()
	lost := 0
	for t, end := time.Now(), time.Now().Add(d); t.Before(end); {
		ok, err := c.trip()
		if err != nil {
			return nil, err
		}
		// The end of one trip is the start of the next: one look at the clock
		// each, and no time between trips that nobody counts.
		now := time.Now()
		if ok {
			c.hist.Record(int64(now.Sub(t)))
		} else {
			lost++
		}
		t = now
	}
	return Figures{
		"count": float64(c.hist.Count()), "lost": float64(lost),
		"min": float64(c.hist.Min()), "p50": float64(c.hist.Quantile(0.5)), "p99": float64(c.hist.Quantile(0.99)),
		"p999": float64(c.hist.Quantile(0.999)), "max": float64(c.hist.Max()),
	}, nil
}

// trip sends one datagram and waits for its echo; false after recvTimeout.
// An echo that comes too late is passed over by its number.
func (c *client) trip() (bool, error) {
	c.n++
	stamp(c.data, c.n)
	if errno := c.send(c.data); errno != 0 && errno != unix.ECONNREFUSED {
		return false, fmt.Errorf("send: %w", errno)
	}
	var deadline time.Time
	for spins := 0; ; spins++ {
		n, errno := c.receive(c.back)
		switch {
		case errno == 0 && n == len(c.data) && bytes.Equal(c.back[:n], c.data):
			return true, nil
		case errno == unix.EAGAIN && c.sleep:
			return false, nil
		case errno != 0 && errno != unix.EAGAIN && errno != unix.EINTR && errno != unix.ECONNREFUSED:
			return false, fmt.Errorf("receive: %w", errno)
		}
		// A spinning client looks at the clock only when an echo is long
		// overdue: 1000 empty receives take some 100 us.
		if spins%1000 == 999 {
			if deadline.IsZero() {
				deadline = time.Now().Add(recvTimeout)
			} else if time.Now().After(deadline) {
				return false, nil
			}
		}
	}
}
