package stack

import (
	"sync/atomic"

	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
)

// demoteSlots bounds the frames of one queue that wait for the in-band stage.
// At 1 to 4 us each it catches up with a full queue within a millisecond.
const demoteSlots = 256

// demoteQueue carries copies of frames from the RX step of one queue to the
// device's in-band goroutine. One producer, one consumer, no allocation.
type demoteQueue struct {
	// tail is moved by the RX step, head by the in-band goroutine.
	tail, head atomic.Uint32
	slots      [demoteSlots]demoted
	bytes      []byte
	stride     int
	thread     *parker
}

// demoted is a copy of a frame, without its VLAN tag.
type demoted struct {
	port uint32
	len  int
}

func newDemoteQueue(stride int, thread *parker) *demoteQueue {
	return &demoteQueue{bytes: make([]byte, demoteSlots*stride), stride: stride, thread: thread}
}

// put copies a frame in, or reports false if the queue is full. RX step only.
func (q *demoteQueue) put(port uint32, b []byte, f link.Frame) bool {
	tail := q.tail.Load()
	if tail-q.head.Load() == demoteSlots {
		return false
	}
	i := int(tail % demoteSlots)
	to := q.bytes[i*q.stride:][:q.stride]
	n := copy(to, b[:2*6])
	rest := b[2*6:]
	if uint16(rest[0])<<8|uint16(rest[1]) == wire.TypeVLAN && f.Flags&link.FlagVLANStripped == 0 {
		rest = rest[wire.VLANTagLen:]
	}
	n += copy(to[n:], rest)
	q.slots[i] = demoted{port: port, len: n}
	q.tail.Store(tail + 1)
	return true
}

// wake tells the in-band goroutine that there is something, once a batch.
func (q *demoteQueue) wake() { q.thread.unpark() }

func (q *demoteQueue) empty() bool { return q.tail.Load() == q.head.Load() }

// take hands the oldest frame to f, in the queue's own memory.
func (q *demoteQueue) take(f func(port uint32, frame []byte)) bool {
	head := q.head.Load()
	if q.tail.Load() == head {
		return false
	}
	i := int(head % demoteSlots)
	f(q.slots[i].port, q.bytes[i*q.stride:][:q.slots[i].len])
	q.head.Store(head + 1)
	return true
}

// inBandLoop feeds the in-band stage with what the device's queues demoted: an
// ordinary goroutine, which may be as slow as it likes.
func (d *Device) inBandLoop() {
	work := func() bool {
		if d.stopping.Load() {
			return true
		}
		for _, r := range d.rx {
			if !r.demote.empty() {
				return true
			}
		}
		return false
	}
	for !d.stopping.Load() {
		busy := false
		for _, r := range d.rx {
			// One of each queue in turn: none starves another.
			busy = r.demote.take(d.stack.inBandInput) || busy
		}
		if !busy {
			d.inBandThread.park(work)
		}
	}
}
