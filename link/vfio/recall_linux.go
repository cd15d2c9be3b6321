package vfio

import (
	"math"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio/internal/driver"
)

var _ link.Recaller = (*queue)(nil)

// recaller is the receive side's part of taking buffers out of a ring that
// receives nothing. The device is told to stop; when it has, what came until then
// is kept for Receive, and the ring begins anew. If nobody asks again meanwhile,
// Receive ends it, with all buffers on the ring.
type recaller struct {
	paused bool         // the device was told to stop
	kept   []link.Frame // came before it did, oldest first; marked as the device's
	one    [1]link.Frame
}

// Recall implements link.Recaller. Frames are lost from the first call to the one
// that returns buffers: on a 82576 for microseconds, on an e1000 for 10 ms.
func (q *queue) Recall(from uint32, bufs []uint32) (n int, again bool) {
	r, ok := q.rings.(driver.Recaller)
	if !ok || q.link.stopped.Load() || len(bufs) == 0 {
		return 0, false
	}
	if q.restartRX.Load() {
		q.restartReceive()
	}
	if !q.recall.paused && !r.Holds(from) {
		return 0, false
	}
	n, done := q.reprogram(r, from, bufs)
	for _, b := range bufs[:n] {
		q.held[b] = 0
	}
	return n, !done || r.Holds(from)
}

// reprogram goes on with a recall as far as it gets without waiting, and reports
// whether it is over. It may be called while the control path is at work, which
// it then leaves alone.
func (q *queue) reprogram(r driver.Recaller, from uint32, bufs []uint32) (n int, done bool) {
	if !q.link.mu.TryLock() {
		return 0, false
	}
	defer q.link.mu.Unlock()
	switch {
	case q.link.stopped.Load() || q.link.gone():
		q.recall.paused = false
		return 0, true
	case q.restartRX.Load():
		return 0, false // the device has been reset a moment ago
	case !q.recall.paused:
		r.PauseReceive()
		q.recall.paused = true
	}
	if !r.Paused() {
		return 0, false
	}
	for one := q.recall.one[:]; q.rings.Receive(one) == 1; {
		q.recall.kept = append(q.recall.kept, one[0])
	}
	n = r.ResumeReceive(from, bufs)
	q.recall.paused = false
	return n, true
}

// receiveRecalling is Receive beside a recall, which it ends: whoever wants
// buffers asks for them before.
func (q *queue) receiveRecalling(frames []link.Frame) int {
	if r, ok := q.rings.(driver.Recaller); ok && q.recall.paused {
		q.reprogram(r, math.MaxUint32, nil)
	}
	if len(q.recall.kept) == 0 {
		return q.rings.Receive(frames)
	}
	n := copy(frames, q.recall.kept)
	q.recall.kept = q.recall.kept[:copy(q.recall.kept, q.recall.kept[n:])]
	return n
}

// recalling says whether Receive has something to do for a recall.
//
//oobnet:hot
func (q *queue) recalling() bool { return q.recall.paused || len(q.recall.kept) > 0 }
