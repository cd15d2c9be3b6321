package driver

import (
	"github.com/oobnet/oobnet/internal/clock"
	"github.com/oobnet/oobnet/link/vfio/internal/bus"
)

// The NIC takes the time of a frame that asks when it begins to leave (82576 7.9,
// I350 7.9, I210 7.8, 82599 7.9), and keeps one until it is read. It says that it is done
// with a frame when it has fetched it, which may be before: the frame is not given
// back until there is its time.

// StampWait is how long a frame that the NIC has fetched may wait for its time, ns:
// 40 KiB that are before it in the NIC take 33 ms at 10 Mbit/s.
const StampWait = 50e6

// timing is a send side's part of it.
type timing struct {
	id      uint32 // what it writes to Advanced.timing
	waits   bool   // for the time of
	buffer  uint32
	fetched int64 // when the frame was found to have been, CLOCK_MONOTONIC ns; 0: not yet
	clock   reference
}

// SentAt implements TXTimer.
//
//oobnet:hot
func (a *Advanced) SentAt(bufs []uint32, times []int64) {
	for i, b := range bufs {
		times[i] = 0
		if int(b) < len(a.SentTimes) {
			times[i] = a.SentTimes[b]
		}
	}
}

// time says whether the frame that is put next, in a buffer, gets a time: if no
// other is waiting for one.
//
//oobnet:hot
func (q *AdvancedQueue) time(buffer uint32) bool {
	d, t := q.dev, &q.txTime
	if int(buffer) >= len(d.SentTimes) {
		return false
	}
	d.SentTimes[buffer] = 0
	if !d.timing.CompareAndSwap(0, t.id) { // other queues' send sides write it
		return false
	}
	q.regs.Read32(d.Layout.Clock.TXHigh) // that of a frame which was given up may have come
	t.waits, t.buffer, t.fetched = true, buffer, 0
	q.HoldNext()
	return true
}

// untime gives up to wait for a time.
func (q *AdvancedQueue) untime() {
	q.txTime.clock = reference{}
	if q.txTime.waits {
		q.endTiming()
	}
}

// endTiming lets the frame go, and the next one have a time.
func (q *AdvancedQueue) endTiming() {
	q.txTime.waits = false
	q.LetGo()
	q.dev.timing.Store(0) // other queues' send sides look at it
}

// lookForTime takes the time of the frame that waits, if it is there, or has been
// awaited for long enough.
func (q *AdvancedQueue) lookForTime() {
	t, c := &q.txTime, q.dev.Layout.Clock
	v := q.regs.Read32(c.TXControl)
	switch {
	case v == bus.AllOnes: // the device is gone
	case v&tsyncValid != 0:
		low := q.regs.Read32(c.TXLow)
		q.dev.SentTimes[t.buffer] = t.clock.monotonic(q.dev, low, q.regs.Read32(c.TXHigh))
	case !q.HeldBack():
		return
	case t.fetched == 0:
		t.fetched = clock.Now()
		return
	case clock.Now()-t.fetched < StampWait:
		return
	}
	q.endTiming()
}

// Reclaim implements Queue.
//
//oobnet:hot
func (q *AdvancedQueue) Reclaim(bufs []uint32) int {
	if q.txTime.waits {
		q.lookForTime()
	}
	return q.TXRing.Reclaim(bufs)
}

// Done implements Queue.
func (q *AdvancedQueue) Done() bool {
	if q.txTime.waits {
		q.lookForTime()
	}
	return q.TXRing.Done()
}
