package afxdp

import (
	"errors"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/link"
)

const (
	// lookPeriod is the longest that a wait sleeps without looking whether
	// the interface is still there. The kernel wakes nobody when it takes the
	// interface away, so a wait without limit would never end. Five looks a
	// second cost nothing and find it soon enough.
	lookPeriod = 200 * time.Millisecond
	// A sender that waits for completions looks at the ring at these
	// intervals, doubling: the kernel has no event for "sent".
	firstLook = 20 * time.Microsecond
	lastLook  = time.Millisecond
)

// wakeValue is what is added to an eventfd: its counter's unit.
var wakeValue = [8]byte{1} // little or big endian, not zero, which is all that counts

// Wake implements link.Queue. It costs two atomics, and a system call only if
// the receive side sleeps.
func (q *queue) Wake() {
	// woken is stored before sleeping is loaded; WaitReceive stores sleeping
	// before it loads woken. One of the two sees the other.
	q.woken.Store(1)
	if q.sleeping.Load() == 1 {
		notify(q.wakeFD)
	}
}

// interrupt ends all waits, now and, as nobody resets the eventfds once the
// link is stopped, for good.
func (q *queue) interrupt() {
	notify(q.wakeFD)
	notify(q.haltFD)
}

// waiting says whether a side is in a wait still.
func (q *queue) waiting() bool { return q.sleeping.Load() == 1 || q.sendSleeps.Load() == 1 }

func notify(fd int) {
	// It fails only if the counter is full, and then it is readable anyway.
	_, _ = unix.Write(fd, wakeValue[:])
}

func clear(fd int) {
	var b [8]byte
	_, _ = unix.Read(fd, b[:])
}

// WaitReceive implements link.Queue. It sleeps in ppoll, an ordinary system
// call, so that the garbage collector need not wait for it.
func (q *queue) WaitReceive(d time.Duration) error {
	if done, err := q.receiveReady(); done || d == 0 {
		return err
	}
	w := waitUntil(d)
	for {
		pause, more := w.pause(lookPeriod)
		if !more {
			return nil
		}
		q.sleeping.Store(1) // seen by Wake and Stop
		if done, err := q.receiveReady(); done {
			q.sleeping.Store(0)
			return err
		}
		q.rxCalls.Add(1)
		n, err := sleep(q.polled[:], pause)
		q.sleeping.Store(0)
		if q.polled[1].Revents != 0 && n > 0 && !q.link.stopped.Load() {
			clear(q.wakeFD)
			if q.link.stopped.Load() {
				// That was Stop's word, which stays: FD is readable after it.
				notify(q.wakeFD)
			}
		}
		if done, err := q.receiveReady(); done {
			return err
		}
		failed := n > 0 && q.polled[0].Revents&(unix.POLLERR|unix.POLLHUP|unix.POLLNVAL) != 0
		if (failed || n == 0 && err == nil) && q.link.dev.state() == link.Gone {
			return q.errGone
		}
		if failed {
			return q.errFailed
		}
	}
}

// receiveReady says whether a WaitReceive is over, and how.
func (q *queue) receiveReady() (bool, error) {
	if q.link.stopped.Load() {
		return true, net.ErrClosed
	}
	if q.woken.Load() == 1 && q.woken.Swap(0) == 1 { // set by Wake
		return true, nil
	}
	// The kernel moves the producer when it has filled a slot.
	return atomic.LoadUint32(q.rx.producer) != q.rx.cons, nil
}

// WaitSend implements link.Queue. The kernel has no event for a completion, so
// it looks at short intervals, and rings the doorbell for frames that wait.
func (q *queue) WaitSend(d time.Duration) error {
	w := waitUntil(d)
	look := firstLook
	for looked := time.Duration(0); ; looked += look {
		if q.link.stopped.Load() {
			return net.ErrClosed
		}
		// The kernel moves the producer when a frame has left.
		if q.unsentCount > 0 || atomic.LoadUint32(q.done.producer) != q.done.cons {
			return nil
		}
		pause, more := w.pause(look)
		if !more {
			return nil
		}
		if !q.tx.empty() && q.tx.needWakeup() {
			if err := q.kick(); err != nil && !errors.Is(err, unix.ENETDOWN) {
				return err
			}
		}
		if looked >= lookPeriod {
			looked = 0
			if q.link.dev.state() == link.Gone {
				return q.errGone
			}
		}
		q.sendSleeps.Store(1) // seen by Stop
		if !q.link.stopped.Load() {
			_, _ = sleep(q.sendPolled[:], pause)
		}
		q.sendSleeps.Store(0)
		look = min(2*look, lastLook)
	}
}

// limit is the end of a wait.
type limit struct {
	at      time.Time
	forever bool
}

func waitUntil(d time.Duration) limit {
	if d < 0 {
		return limit{forever: true}
	}
	return limit{at: time.Now().Add(d)}
}

// pause is how long to sleep now, at most longest; false if the time is over.
func (l limit) pause(longest time.Duration) (time.Duration, bool) {
	if l.forever {
		return longest, true
	}
	left := time.Until(l.at)
	return min(left, longest), left > 0
}

// sleep waits until a descriptor is readable or d has passed.
func sleep(fds []unix.PollFd, d time.Duration) (int, error) {
	for i := range fds {
		fds[i].Revents = 0
	}
	t := unix.NsecToTimespec(int64(d))
	return unix.Ppoll(fds, &t, nil)
}
