package afxdp

import (
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/clock"
	"github.com/oobnet/oobnet/link"
)

// doorbell tells the kernel to look at the transmit ring. In copy mode it
// sends, within the call, and does not wait.
//
// The call is a raw one. In an ordinary one the thread gives its processor of
// the Go runtime (P) up for the time of the call, and a thread that does
// nothing else for 10 ms has it taken away by the runtime's monitor in mid-call,
// again and again, with the monitor waking every 75 us on the sender's core: of
// 100 round trips one took 20 us in place of 6. What a raw call costs is that
// a stop-the-world waits for its end, which is one doorbell, 32 frames at most;
// it is never the last call of a loop that has no Go code in it.
func (q *queue) doorbell() unix.Errno {
	q.txCalls.Add(1)
	_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(q.txFD), 0, 0, unix.MSG_DONTWAIT, 0, 0)
	return errno
}

// Flush implements link.Queue. In copy mode the kernel takes a limited number
// of frames a call (32, see sendBudget), so the doorbell rings until all are
// gone or the kernel takes no more; those left go with a later Flush, Reclaim
// or WaitSend.
func (q *queue) Flush() error {
	if q.link.stopped.Load() {
		return net.ErrClosed
	}
	if q.tx.empty() || !q.tx.needWakeup() {
		return nil
	}
	return q.kick()
}

func (q *queue) kick() error {
	q.again = false
	seen := atomic.LoadUint32(q.tx.consumer) // moved by the kernel, in the call
	// Each call moves a frame, or is a stall: the ring's size bounds them.
	for calls, stalls := uint32(0), 0; stalls < kickStalls && calls < q.tx.size+kickStalls; calls++ {
		switch errno := q.doorbell(); errno {
		case 0:
			if q.link.capabilities.ZeroCopy || q.tx.empty() {
				return nil
			}
		case unix.EBUSY:
			if q.link.capabilities.ZeroCopy {
				break // the driver is reconfiguring
			}
			// The frame is consumed and will be completed, but the device
			// has dropped it: its peer is down, or the frame too long for it.
			q.txDropped.Add(1)
			if q.link.dev.state() != link.Up {
				q.again = true
				return q.errDown
			}
			if q.tx.empty() {
				return nil
			}
			stalls = 0
			continue
		case unix.EAGAIN, unix.ENOBUFS, unix.EINTR:
		case unix.ENETDOWN:
			q.again = true
			return q.errDown
		case unix.ENXIO:
			return q.errGone // the kernel has unbound the socket
		default:
			if q.link.stopped.Load() {
				return net.ErrClosed
			}
			return q.errFailed
		}
		if now := atomic.LoadUint32(q.tx.consumer); now != seen {
			seen, stalls = now, 0
			continue
		}
		stalls++
	}
	q.again = true
	return nil
}

// reclaimIdle is what a Reclaim that found nothing does for frames that wait
// in the ring because an earlier doorbell could not move them.
func (q *queue) reclaimIdle() {
	lost := q.link.capabilities.ZeroCopy && q.tx.prod != q.done.cons
	if q.again {
		if now := clock.Now(); now-q.kicked >= int64(kickAgain) {
			q.kicked = now
			_ = q.kick() // the next Flush says what is wrong
		}
		return
	}
	if !lost {
		return
	}
	if q.idle++; q.idle < idleKicks {
		return
	}
	q.idle = 0
	if q.tx.needWakeup() {
		q.doorbell()
	}
}

// letLeave waits until all that was sent has left, or the deadline.
func (q *queue) letLeave(deadline time.Time) {
	if q.tx.pages == nil {
		return
	}
	// Both counts start at 0 with the socket: they are equal when every
	// frame that was given to the kernel has been completed.
	for atomic.LoadUint32(q.tx.producer) != atomic.LoadUint32(q.done.producer) && time.Now().Before(deadline) {
		if errno := q.doorbell(); errno == unix.ENETDOWN || errno == unix.ENXIO {
			return
		}
		time.Sleep(stopPause)
	}
}
