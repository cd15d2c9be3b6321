package vfio

import (
	"net"
	"time"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/clock"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio/internal/bus"
)

const (
	// lookPeriod is the longest that a wait sleeps without looking whether the
	// device still answers: one that was pulled out raises no interrupt.
	lookPeriod = 200 * time.Millisecond
	// blindPause is how long a wait sleeps between two looks at the ring of a
	// device without interrupts.
	blindPause = time.Millisecond
	// A sender that waits looks at the ring at these intervals, doubling: an
	// interrupt for each batch that has left would cost more than the looks.
	firstLook = 20 * time.Microsecond
	lastLook  = time.Millisecond
)

// wakeValue is what is added to an eventfd: its counter's unit.
var wakeValue = [8]byte{1} // little or big endian, not zero, which is all that counts

func notify(fd int) {
	if fd >= 0 {
		// It fails only if the counter is full, and then it is readable anyway.
		_, _ = unix.Write(fd, wakeValue[:])
	}
}

// clear resets an eventfd and says whether it was set.
func clear(fd int) bool {
	var b [8]byte
	n, _ := unix.Read(fd, b[:])
	return n > 0
}

// Wake implements link.Queue. It costs two atomics, and a system call only if
// the receive side sleeps, or may sleep on FD.
func (q *queue) Wake() {
	// woken is stored before sleeping is loaded; WaitReceive stores sleeping
	// before it loads woken. One of the two sees the other.
	q.woken.Store(1)
	if q.sleeping.Load() == 1 || q.exported.Load() {
		notify(q.fd)
	}
}

// FD implements link.Queue. From now on Receive arms the interrupt when it finds
// the ring empty. The descriptor is readable at first, so that it does.
func (q *queue) FD() int {
	if q.link.kind == bus.None {
		return -1
	}
	if !q.exported.Swap(true) {
		notify(q.fd)
	}
	return q.fd
}

// rearm is for a receive side that sleeps on FD: it takes the last interrupt
// back and asks for the next.
func (q *queue) rearm() {
	if q.link.stopped.Load() || !q.take() && q.armed {
		return
	}
	q.arm()
	if q.rings.Pending() || q.recalling() {
		notify(q.fd)
	}
}

// take clears the eventfd and acknowledges the interrupt, if one has come. After
// Stop the eventfd stays as it is: readable.
func (q *queue) take() bool {
	if !clear(q.fd) {
		return false
	}
	l := q.link
	if l.stopped.Load() {
		notify(q.fd)
		return true
	}
	if q.id == 0 && l.kind != bus.None {
		if cause := l.dev.Cause(); cause != 0 {
			l.look(cause)
		}
	}
	if l.kind == bus.INTx {
		// It fails only when the device is gone, which others notice.
		_ = l.bus.Unmask()
	}
	return true
}

func (q *queue) arm() {
	q.armed = true
	q.link.dev.Arm(q.id)
}

func (q *queue) disarm() {
	if q.armed && !q.link.stopped.Load() {
		q.armed = false
		q.link.dev.Disarm(q.id)
	}
}

// WaitReceive implements link.Queue. It sleeps in ppoll, an ordinary system
// call, so that the garbage collector need not wait for it.
func (q *queue) WaitReceive(d time.Duration) error {
	if done, err := q.receiveReady(); done || d == 0 {
		return err
	}
	longest := lookPeriod
	if q.link.kind == bus.None {
		longest = blindPause
	}
	err := q.sleepUntil(waitUntil(d), longest)
	if q.link.kind != bus.None && !q.exported.Load() {
		q.disarm() // who polls now needs no interrupts
	}
	return err
}

func (q *queue) sleepUntil(w limit, longest time.Duration) error {
	looked := time.Duration(0)
	for {
		pause, more := w.pause(longest)
		if !more {
			return nil
		}
		q.sleeping.Store(1) // seen by Wake
		if q.link.kind != bus.None && !q.link.stopped.Load() {
			q.arm()
		}
		if done, err := q.receiveReady(); done {
			q.sleeping.Store(0)
			return err
		}
		q.rxCalls.Add(1)
		n, _ := sleep(q.polled[:], pause) // interrupted is as good as over: the loop looks
		q.sleeping.Store(0)
		if q.polled[0].Revents != 0 {
			q.take()
		}
		if looked += pause; q.polled[1].Revents != 0 || n == 0 && looked >= lookPeriod {
			looked = 0
			q.link.look(0)
		}
		if done, err := q.receiveReady(); done {
			return err
		}
	}
}

// receiveReady says whether a WaitReceive is over, and how.
func (q *queue) receiveReady() (bool, error) {
	if q.link.stopped.Load() {
		return true, net.ErrClosed
	}
	if q.link.gone() {
		return true, q.errGone
	}
	if q.woken.Load() == 1 && q.woken.Swap(0) == 1 { // set by Wake
		return true, nil
	}
	return q.restartRX.Load() || q.recalling() || q.rings.Pending(), nil
}

// WaitSend implements link.Queue.
func (q *queue) WaitSend(d time.Duration) error {
	w := waitUntil(d)
	look := firstLook
	for {
		switch {
		case q.link.stopped.Load():
			return net.ErrClosed
		case q.link.gone():
			return q.errGone
		case q.restartTX.Load() || len(q.unsent) > 0 || q.rings.Done():
			return nil
		}
		pause, more := w.pause(look)
		if !more {
			return nil
		}
		_, _ = sleep(q.polledTX[:], pause) // the loop looks
		if q.polledTX[1].Revents != 0 {
			q.link.look(0)
		}
		if q.flying > 0 && !q.unflushed && look == lastLook {
			q.watch(clock.Now())
		}
		look = min(2*look, lastLook)
	}
}

func (l *Link) gone() bool { return link.State(l.wire.Load()) == link.Gone }

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
