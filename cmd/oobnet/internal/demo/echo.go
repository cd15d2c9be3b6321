package demo

import (
	"context"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/oobnet/oobnet/proto/udp"
)

// echo sends each datagram back to where it came from, on the thread that
// received it.
type echo struct {
	side *side
	tally
}

// tally counts what the demo's own code saw. Threads of the devices write it,
// the main goroutine reads it.
type tally struct {
	sent, received, duplicates, errors atomic.Uint64
	first                              atomic.Pointer[error] // of errors
}

func (t *tally) fail(err error) {
	t.errors.Add(1)
	// The copy is made on the failing path alone.
	e := err
	t.first.CompareAndSwap(nil, &e)
}

// startEcho opens the server's socket, and then the port: who finds the
// address finds the socket. In manual mode nothing moves until somebody polls.
func startEcho(ctx context.Context, s *side, o *Options) (*echo, error) {
	e := &echo{side: s}
	var err error
	local := netip.AddrPortFrom(netip.IPv4Unspecified(), o.Port)
	s.conn, err = udp.Listen(s.stack, local, &udp.Config{Handler: e.answer, Priority: o.PCP})
	if err != nil {
		return nil, err
	}
	return e, s.enable(ctx, o)
}

func (e *echo) answer(d udp.Datagram) {
	e.received.Add(1)
	if _, err := e.side.conn.WriteToUDPAddrPort(d.Payload(), d.From()); err != nil {
		e.fail(err)
	} else {
		e.sent.Add(1)
	}
	d.Release()
}

// settleTime is how long an answer may be under way when the run ends: its thread
// may have to wait for a processor.
const settleTime = 200 * time.Millisecond

// settle waits for the answers under way, so that the report has all of them.
func (e *echo) settle() {
	for end := time.Now().Add(settleTime); e.received.Load() != e.sent.Load()+e.errors.Load() && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
}
