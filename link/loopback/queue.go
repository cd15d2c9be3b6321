package loopback

import (
	"net"
	"sync/atomic"
	"time"

	"github.com/oobnet/oobnet/link"
)

// queue is one queue of an end. Its halves are used by one goroutine each; the
// peer's send side reaches into rx.fill and rx.frames, as their other party.
type queue struct {
	link *Link
	peer *queue // the same queue of the other end
	mem  *link.Memory
	// first and count are the buffers that are this queue's own.
	first, count uint32

	_  [cacheLine]byte
	rx rxSide
	_  [cacheLine]byte
	tx txSide
	_  [cacheLine]byte
}

var _ link.Queue = (*queue)(nil)

// rxSide is what the receive side works with.
type rxSide struct {
	fill    ring[uint32]     // produced by this receive side, consumed by the peer's send side
	frames  ring[link.Frame] // produced by the peer's send side, consumed by this receive side
	sleeper sleeper
	woken   atomic.Uint32 // Wake sets it, WaitReceive clears it
	awake   func() bool   // queue.awake, bound once so that a wait allocates nothing
	drained atomic.Uint64 // frames that Drain took unread; the peer's Stats reads it
	// held keeps the peer's send side out of fill and frames: whoever looks into
	// them sets it, the peer's Send reads it.
	held atomic.Uint32
}

// txSide is what the send side works with. The counters are written by the
// send side alone, once a batch, and read by Stats of either end.
type txSide struct {
	// sending is 1 while Send is between its look at the phases and its last
	// touch of either region; Stop of either end waits for 0.
	sending atomic.Uint32
	done    ring[uint32] // buffers that wait for Reclaim: the send side is both its parties
	rang    bool         // something was delivered since the last Flush

	invalid  atomic.Uint64
	dropped  atomic.Uint64
	noBuffer atomic.Uint64 // the peer's RXNoBuffer
	ringFull atomic.Uint64 // the peer's RXRingFull
	wakeups  atomic.Uint64
}

func (q *queue) init(l *Link, ringSize int) {
	q.link = l
	q.rx.fill.init(ringSize)
	q.rx.frames.init(ringSize)
	q.rx.sleeper.init()
	q.rx.awake = q.awake
	q.tx.done.init(ringSize)
}

func (q *queue) attach(mem *link.Memory, number int) {
	q.mem = mem
	q.count = uint32(mem.Layout().RXBuffers)
	q.first = uint32(number) * q.count
}

// Receive implements [link.Queue]. What came before Stop can still be received
// after it, until Drain takes it.
func (q *queue) Receive(frames []link.Frame) int { return q.rx.frames.take(frames) }

// Fill implements [link.Queue]. It stops at the first buffer that is not the
// queue's own, or has no memory, and takes nothing after Stop.
func (q *queue) Fill(bufs []uint32) int {
	if q.link.phase.Load() != running {
		return 0
	}
	n := 0
	for n < len(bufs) && bufs[n]-q.first < q.count && q.mem.Populated(bufs[n]) {
		n++
	}
	return q.rx.fill.put(bufs[:n])
}

// WaitReceive implements [link.Queue].
func (q *queue) WaitReceive(d time.Duration) error {
	if d != 0 && !q.awake() {
		q.rx.sleeper.sleep(d, q.rx.awake)
	}
	if q.rx.woken.Load() != 0 {
		q.rx.woken.Store(0)
	}
	switch {
	case q.link.phase.Load() == stopped:
		return net.ErrClosed
	case q.link.removed.Load():
		return errGone
	}
	return nil
}

// awake says whether there is a reason not to sleep.
func (q *queue) awake() bool {
	return !q.rx.frames.empty() || q.rx.woken.Load() != 0 ||
		q.link.phase.Load() == stopped || q.link.removed.Load()
}

// Wake implements [link.Queue].
func (q *queue) Wake() {
	q.rx.woken.Store(1)
	q.rx.sleeper.wake()
}

// FD implements [link.Queue]: a wire in memory has no descriptor.
func (q *queue) FD() int { return -1 }

// Drain implements [link.Queue]. The caller owns both sides of the queue; the
// peer has been out of the rings since Stop.
func (q *queue) Drain(bufs []uint32) int {
	if q.link.phase.Load() != stopped {
		return 0
	}
	n := q.tx.done.take(bufs)
	n += q.rx.fill.take(bufs[n:])
	for n < len(bufs) {
		tail, ready := q.rx.frames.ready(1)
		if ready == 0 {
			break
		}
		bufs[n] = q.rx.frames.slots[tail&q.rx.frames.mask].Index
		n++
		q.rx.frames.release(tail + 1)
		q.rx.drained.Add(1)
	}
	return n
}

// Stats implements [link.Queue]. Wakeups counts the waits that slept and the
// doorbells that woke one.
func (q *queue) Stats() link.QueueStats {
	return link.QueueStats{
		RXNoBuffer: q.peer.tx.noBuffer.Load(),
		RXRingFull: q.peer.tx.ringFull.Load(),
		TXInvalid:  q.tx.invalid.Load(),
		TXDropped:  q.tx.dropped.Load() + q.peer.rx.drained.Load(),
		Wakeups:    q.rx.sleeper.waits.Load() + q.tx.wakeups.Load(),
	}
}
