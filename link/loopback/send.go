package loopback

import (
	"net"
	"sync/atomic"
	"time"

	"github.com/oobnet/oobnet/link"
)

// Send implements [link.Queue]. It takes as many frames as Reclaim has left
// room for; none after Stop, and none while the other end looks into the ring that
// gives buffers to this one, which takes microseconds.
func (q *queue) Send(frames []link.Frame) int {
	head, n := q.tx.done.room(len(frames))
	n = min(n, len(frames))
	if n == 0 {
		return 0
	}
	// The flag goes up before the look at the phases, and Stop sets its phase
	// before it looks at the flag: so Stop waits for this batch, or this
	// batch sees that the end has stopped.
	q.tx.sending.Store(1)
	defer q.tx.sending.Store(0)
	if q.link.phase.Load() != running || q.peer.rx.held.Load() != 0 {
		return 0
	}
	frames = frames[:n]
	// An end that is not attached yet has a carrier and no memory.
	if q.link.State() == link.Up && q.link.peer.phase.Load() == running {
		q.deliver(frames)
	} else {
		q.lose(frames)
	}
	done := &q.tx.done
	for i := range frames {
		done.slots[(head+uint32(i))&done.mask] = frames[i].Index
	}
	done.publish(head + uint32(n))
	return n
}

// deliver copies the frames into the peer's buffers.
func (q *queue) deliver(frames []link.Frame) {
	rx := &q.peer.rx
	src, dst := q.mem, q.peer.mem
	in, room := rx.frames.room(len(frames))
	out, bufs := rx.fill.ready(len(frames))
	var sent, invalid, full, noBuffer int
	for i := range frames {
		f := &frames[i]
		switch {
		case !q.carries(f):
			invalid++
		case sent == room:
			full++
		case sent == bufs:
			noBuffer++
		default:
			index := rx.fill.slots[(out+uint32(sent))&rx.fill.mask]
			to := dst.Buffer(index)
			copy(to, src.Bytes(*f))
			arrived := link.Frame{Index: index, Len: f.Len}
			if q.link.with != 0 {
				q.link.with.apply(f, &arrived, to)
			}
			rx.frames.slots[(in+uint32(sent))&rx.frames.mask] = arrived
			sent++
		}
	}
	if sent > 0 {
		rx.fill.release(out + uint32(sent))
		rx.frames.publish(in + uint32(sent))
		q.tx.rang = true
	}
	count(&q.tx.invalid, invalid)
	count(&q.tx.ringFull, full)
	count(&q.tx.noBuffer, noBuffer)
}

// carries says whether the wire can carry the frame.
func (q *queue) carries(f *link.Frame) bool {
	if f.Len < headerLen || int(f.Len) > q.link.mtu+overhead || !q.mem.Valid(*f) {
		return false
	}
	return f.Flags&(link.FlagChecksumOffload|link.FlagVLANStripped) == 0 || q.offloads(f)
}

// lose counts the frames of a batch that has nowhere to go.
func (q *queue) lose(frames []link.Frame) {
	invalid := 0
	for i := range frames {
		f := &frames[i]
		if !q.carries(f) {
			invalid++
		}
	}
	count(&q.tx.invalid, invalid)
	count(&q.tx.dropped, len(frames)-invalid)
}

// count adds to a counter that one goroutine writes, and spares the locked
// addition where there is nothing to add.
func count(c *atomic.Uint64, n int) {
	if n > 0 {
		c.Store(c.Load() + uint64(n))
	}
}

// Flush implements [link.Queue]: it wakes the receiver, if it sleeps and there
// is something new for it.
func (q *queue) Flush() error {
	if q.tx.rang {
		q.tx.rang = false
		if q.peer.rx.sleeper.wake() {
			count(&q.tx.wakeups, 1)
		}
	}
	return q.link.sendError()
}

// Reclaim implements [link.Queue]. The buffers come in the order of Send.
func (q *queue) Reclaim(bufs []uint32) int { return q.tx.done.take(bufs) }

// WaitSend implements [link.Queue]. A frame is complete when Send returns, so
// there is never anything to wait for.
func (q *queue) WaitSend(time.Duration) error {
	if q.link.phase.Load() == stopped {
		return net.ErrClosed
	}
	return nil
}
