package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"time"

	"github.com/oobnet/oobnet/cmd/oobnet/internal/report"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

// The wire of the queueing suite: so much time a frame (64 B at 1 Gbit/s take
// 0.7 us), and so many frames in the device's ring. The flood fills what it may
// of the pool, and then the urgent frame asks for a buffer.
const (
	pacedFrame = time.Microsecond
	pacedRing  = 64
	pacedPool  = 1024
)

// goalOvertaken: nothing overtakes an urgent frame but what the link had.
var goalOvertaken = report.Goal(0)

// queueingSuite floods a wire at priority 0, and looks what becomes of a frame
// of priority 7.
func queueingSuite() []contest {
	row := func(name, unit string, goal *float64) rowSpec {
		return rowSpec{name: name, unit: unit, metric: name, ours: "strict", peer: "fifo", goal: goal}
	}
	return []contest{{
		suite: "queueing", name: "flood", contenders: []contender{flooded("strict", stack.StrictPriority), flooded("fifo", stack.FIFO)},
		rows: []rowSpec{row("urgent_wait", "us", nil), row("urgent_overtaken", "frames", goalOvertaken)},
	}}
}

// pacedLink is a memLink whose frames take their time to leave, and which
// notes when an urgent one enters its ring.
type pacedLink struct {
	memLink
	ring    []pacedEntry // oldest first
	entered uint64       // frames that ever came into the ring
	// urgentAt is entered when the urgent frame came, 0: not yet; left is when
	// it was on the wire.
	urgentAt uint64
	left     time.Time
}

type pacedEntry struct {
	index uint32
	leave time.Time
}

func (l *pacedLink) Queue(int) link.Queue { return l }

func (l *pacedLink) Send(frames []link.Frame) int {
	l.advance()
	now := time.Now()
	for i := range frames {
		if len(l.ring) == pacedRing {
			return i
		}
		start := now
		if n := len(l.ring); n > 0 {
			start = l.ring[n-1].leave
		}
		leave := start.Add(pacedFrame)
		l.entered++
		if dstPort(l.mem.Bytes(frames[i])) == urgentEnd.Port() {
			l.urgentAt, l.left = l.entered, leave
		}
		l.ring = append(l.ring, pacedEntry{frames[i].Index, leave})
	}
	return len(frames)
}

// advance lets go what has left.
func (l *pacedLink) advance() {
	now, n := time.Now(), 0
	for n < len(l.ring) && !l.ring[n].leave.After(now) {
		l.done = append(l.done, l.ring[n].index)
		n++
	}
	l.ring = l.ring[:copy(l.ring, l.ring[n:])]
}

func (l *pacedLink) Reclaim(bufs []uint32) int {
	l.advance()
	return l.memLink.Reclaim(bufs)
}

func (l *pacedLink) Drain(bufs []uint32) int {
	for _, e := range l.ring {
		l.done = append(l.done, e.index)
	}
	l.ring = l.ring[:0]
	return l.memLink.Drain(bufs)
}

// urgentEnd is where the urgent frames go, so that the link knows them.
var urgentEnd = netip.AddrPortFrom(peerEnd.Addr(), 7777)

func dstPort(frame []byte) uint16 { return binary.BigEndian.Uint16(frame[14+20+2:]) }

// flooded fills what it may of the pool at priority 0, and sends one frame of
// priority 7 after the other into that.
func flooded(name string, q stack.Queueing) contender {
	return contender{name: name, setUp: func(context.Context) (turn, func(), error) {
		f, err := openFlood(q)
		if err != nil {
			return nil, nil, err
		}
		return f.turn, func() { f.s.Close() }, nil
	}}
}

type flood struct {
	l             *pacedLink
	s             *stack.Stack
	d             *stack.Device
	bulk, express *udp.Conn
	payload       []byte
}

func openFlood(q stack.Queueing) (*flood, error) {
	s, err := stack.New(nil)
	if err != nil {
		return nil, err
	}
	f := &flood{l: &pacedLink{}, s: s, payload: payload(64)}
	if err := f.open(q); err != nil {
		s.Close()
		return nil, err
	}
	return f, nil
}

func (f *flood) open(q stack.Queueing) (err error) {
	if f.d, err = f.s.Attach(f.l, &stack.DeviceConfig{Poll: link.Manual, Queueing: q, PoolSize: pacedPool}); err != nil {
		return err
	}
	if _, err = f.d.EnablePort(&stack.PortConfig{Addrs: []netip.Prefix{ownNet}}); err != nil {
		return err
	}
	if err = f.s.SetNeighbor(peerEnd.Addr(), peerMAC); err != nil {
		return err
	}
	local := netip.AddrPort{}
	if f.bulk, err = udp.Listen(f.s, local, &udp.Config{NoWait: true}); err != nil {
		return err
	}
	f.express, err = udp.Listen(f.s, local, &udp.Config{NoWait: true, Priority: stack.Priorities - 1})
	return err
}

// turn measures urgent frames for about d.
func (f *flood) turn(ctx context.Context, d time.Duration) (figures, error) {
	var waits, overtaken float64
	n := 0
	for end := time.Now().Add(d); n == 0 || time.Now().Before(end); n++ {
		wait, frames, err := f.urgent(ctx)
		if err != nil {
			return nil, err
		}
		waits += float64(wait) / float64(time.Microsecond)
		overtaken = max(overtaken, float64(frames))
	}
	return figures{"urgent_wait": waits / float64(n), "urgent_overtaken": overtaken}, nil
}

// urgent sends one urgent frame into the flood. It returns how long it took to
// be on the wire, and how many frames entered the ring before it since it was
// wanted: where the flood has left it no buffer, it waits for one.
func (f *flood) urgent(ctx context.Context) (time.Duration, uint64, error) {
	if err := f.fill(); err != nil {
		return 0, 0, err
	}
	f.l.urgentAt = 0
	before, start := f.l.entered, time.Now()
	sent := false
	const patience = time.Second
	for f.l.urgentAt == 0 {
		if !sent {
			_, err := f.express.WriteToUDPAddrPort(f.payload, urgentEnd)
			if sent = err == nil; err != nil && !errors.Is(err, syscall.ENOBUFS) {
				return 0, 0, err
			}
		}
		if _, err := f.d.Poll(batch); err != nil {
			return 0, 0, err
		}
		if ctx.Err() != nil || time.Since(start) > patience {
			return 0, 0, fmt.Errorf("bench: the urgent frame did not leave: %w", context.Cause(ctx))
		}
	}
	return f.l.left.Sub(start), f.l.urgentAt - before - 1, nil
}

// fill floods until it may queue no more.
func (f *flood) fill() error {
	for {
		_, err := f.bulk.WriteToUDPAddrPort(f.payload, peerEnd)
		if errors.Is(err, syscall.ENOBUFS) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
