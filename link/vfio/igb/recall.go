package igb

import "github.com/oobnet/oobnet/link/vfio/internal/driver"

var _ driver.Recaller = (*queue)(nil)

// Holds implements driver.Recaller.
func (q *queue) Holds(from uint32) bool {
	r := &q.rx
	for at := r.head; at != r.tail; at++ {
		if r.buffers[at&r.mask] >= from {
			return true
		}
	}
	return false
}

// PauseReceive implements driver.Recaller: 4.5.9.2, dynamic disabling of a queue.
func (q *queue) PauseReceive() { q.regs.Write32(q.rx.at+ringControl, 0) }

// Paused implements driver.Recaller: the bit is clear when all that was under way
// is in memory.
func (q *queue) Paused() bool { return q.regs.Read32(q.rx.at+ringControl)&ringEnable == 0 }

// ResumeReceive implements driver.Recaller. Should the device not start the ring
// in time it is written nevertheless, and what hangs the watchdog finds.
func (q *queue) ResumeReceive(from uint32, bufs []uint32) (n int) {
	r := &q.rx
	// The device begins at slot 0, so the ring is written from there.
	list := make([]uint32, 0, r.tail-r.head)
	for at := r.head; at != r.tail; at++ {
		if b := r.buffers[at&r.mask]; b < from || n == len(bufs) {
			list = append(list, b)
		} else {
			bufs[n] = b
			n++
		}
	}
	r.head, r.tail, r.chained = 0, 0, false
	q.pointReceive()
	q.enable(r.at, rxThresholds)
	q.Fill(list)
	// A read waits for the writes before it: from here on the device receives.
	q.regs.Read32(regSTATUS)
	return n
}
