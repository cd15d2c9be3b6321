package interop

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/nettest"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/proto/udp"
)

// stream makes of a connected socket the stream that nettest takes a net.Conn
// for: an empty datagram is the end, and a writer waits while its reader is
// behind, since nothing repeats what a full socket, or the wire, drops.
type stream struct {
	*udp.Conn
	ended atomic.Bool
	// written by this end, read by the other.
	written, read atomic.Uint64
	other         *stream
	deadline      atomic.Int64 // of writes, ns since 1970; 0: none
	closed        atomic.Bool
}

// behind is how many datagrams a writer leaves unread: less than the wire holds.
const behind = 64

func (s *stream) Read(b []byte) (int, error) {
	if s.ended.Load() {
		return 0, io.EOF
	}
	n, err := s.Conn.Read(b)
	if err == nil {
		s.read.Add(1)
	}
	if n == 0 && err == nil && len(b) > 0 {
		s.ended.Store(true)
		return 0, io.EOF
	}
	return n, err
}

func (s *stream) Write(b []byte) (int, error) {
	late := func() bool { d := s.deadline.Load(); return d != 0 && time.Now().UnixNano() > d }
	for start := time.Now(); s.written.Load()-s.other.read.Load() >= behind && !late() && !s.closed.Load() && time.Since(start) < patience; {
		time.Sleep(time.Millisecond)
	}
	n, err := s.Conn.Write(b)
	if err == nil {
		s.written.Add(1)
	}
	return n, err
}

func (s *stream) SetDeadline(t time.Time) error {
	return errors.Join(s.SetReadDeadline(t), s.SetWriteDeadline(t))
}

func (s *stream) SetWriteDeadline(t time.Time) error {
	if t.IsZero() {
		s.deadline.Store(0)
	} else {
		s.deadline.Store(t.UnixNano())
	}
	return s.Conn.SetWriteDeadline(t)
}

func (s *stream) Close() error {
	s.closed.Store(true)
	_, _ = s.Conn.Write(nil) // a peer that is gone needs no end
	return s.Conn.Close()
}

// TestConn runs the tests of net.Conn, each on stacks of its own.
func TestConn(t *testing.T) {
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		leaktest.Check(t)
		a, b := stacktest.Pair(t, roomy)
		stacktest.Know(t, a, b)
		dial := func(from, to *stacktest.Host) *udp.Conn {
			c, err := udp.Dial(from.Stack, from.At(7700), to.At(7700), &udp.Config{Queue: readBuffer})
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		x, y := &stream{Conn: dial(a, b)}, &stream{Conn: dial(b, a)}
		x.other, y.other = y, x
		return x, y, func() {
			_ = x.Close() // the test may have
			_ = y.Close()
		}, nil
	})
}
