package driver

import (
	"github.com/oobnet/oobnet/internal/clock"
	"github.com/oobnet/oobnet/link/vfio/internal/bus"
)

// A NIC that keeps one time until it is read takes it when the frame comes in. Should
// the frame then be lost inside, for want of a descriptor or of room, or because the
// receiver is switched off, nobody reads the time, and no other frame would ever have
// one. So the control path looks for a time that stands too long, and gives it free,
// as Linux's drivers do.

const (
	// StuckAfter is how long a time may stand before it is given free, ns: five
	// seconds. A frame is taken within ms, but by a program that was stopped.
	StuckAfter = 5e9
	// stuckLook is how long nobody looks after a look, ns: it costs a register or
	// two, 1 or 2 us each, and Status is asked for many times a second.
	stuckLook = 1e9
)

// stuckTime is what is known of the time that the NIC keeps.
type stuckTime struct {
	looked int64  // when somebody did last, CLOCK_MONOTONIC ns
	stands bool   // there was a time
	low    uint32 // its low word, which no other has that comes soon
	since  int64  // when it was first seen
}

// FreeTime gives the time of a frame free that the NIC has lost, counted. It is a part
// of Status, so that it happens in time.
func (a *Advanced) FreeTime() {
	b, c, s := a.base, a.Layout.Clock, &a.stuck
	now := clock.Now()
	if c.InFront || b.About.On&RXTime == 0 || !b.Started() || now-s.looked < stuckLook {
		return
	}
	s.looked = now
	v := b.Regs.Read32(c.RXControl)
	if v == bus.AllOnes || v&tsyncValid == 0 {
		s.stands = false
		return
	}
	low := b.Regs.Read32(c.RXLow)
	switch {
	case !s.stands || low != s.low:
		s.stands, s.low, s.since = true, low, now
	case now-s.since >= StuckAfter && !a.waitsInside():
		for i := range a.Queues {
			a.Queues[i].doubtful.Store(true) // for the receive sides, before another frame can have a time
		}
		c.take(b.Regs)
		s.stands = false
		b.Unread.TimesFreed++
	}
}

// waitsInside says whether the frame may be in the NIC still. Of several queues one
// without descriptors drops (see pointReceive); a single one has frames wait for some.
func (a *Advanced) waitsInside() bool {
	r, at := a.base.Regs, a.Queues[0].rxAt
	return len(a.Queues) == 1 && r.Read32(at+RingHead) == r.Read32(at+RingTail)
}

// take reads the time of a received frame, which lets another have one.
func (c *Clock) take(r *bus.Registers) (low, high uint32) {
	low, high = r.Read32(c.RXLow), r.Read32(c.RXHigh)
	if c.RXNext != 0 {
		r.Read32(c.RXNext)
	}
	return low, high
}

// trust is called when Next finds no frame. A ring with descriptors that the device
// has not written holds no frame of which the time was given free.
//
//oobnet:hot
func (q *AdvancedQueue) trust() {
	if q.timed && q.RXRing.head != q.RXRing.tail && q.doubtful.Load() { // set by the control path
		q.doubtful.Store(false)
	}
}

// Pending implements Queue.
func (q *AdvancedQueue) Pending() bool {
	if q.RXRing.Pending() {
		return true
	}
	q.trust()
	return false
}
