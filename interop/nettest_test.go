package interop

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/nettest"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/interop/internal/xdppair"
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
	closing       sync.Once
	closeError    error
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
	for start := time.Now(); s.written.Load()-s.other.read.Load() >= behind && !s.closed.Load() && time.Since(start) < patience; {
		if late() {
			// The socket's own timer may be later by far on a busy machine: what is
			// written until then would be lost, and the stream would wait for it.
			return 0, os.ErrDeadlineExceeded
		}
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

// Close may be called by a test and by its end at the same time: the other end
// knows of it before it is done.
func (s *stream) Close() error {
	s.closing.Do(func() {
		s.closed.Store(true)
		_, _ = s.Conn.Write(nil) // a peer that is gone needs no end
		s.closeError = s.Conn.Close()
	})
	return s.closeError
}

// TestConn runs the tests of net.Conn, in memory and between two stacks on the
// ends of a veth pair.
func TestConn(t *testing.T) {
	for name, pair := range map[string]func(testing.TB, *stacktest.Options) (a, b *stacktest.Host){
		"loopback": stacktest.Pair, "veth": xdppair.New,
	} {
		t.Run(name, func(t *testing.T) {
			leaktest.Check(t)
			a, b := pair(t, roomy)
			stacktest.Know(t, a, b)
			port := uint16(7700) // of the last test, each of which has its own
			nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
				port++
				dial := func(from, to *stacktest.Host) *udp.Conn {
					c, err := udp.Dial(from.Stack, from.At(port), to.At(port), &udp.Config{Queue: readBuffer})
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
			for _, h := range []*stacktest.Host{a, b} {
				stacktest.AssertBooks(t, h.Device)
				if h.Device.Stats().RX.Delivered == 0 {
					t.Errorf("nothing was delivered to %v by its device", h.Addr)
				}
			}
		})
	}
}
