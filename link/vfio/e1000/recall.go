package e1000

import (
	"time"

	"github.com/oobnet/oobnet/internal/clock"
	"github.com/oobnet/oobnet/link/vfio/internal/driver"
)

// receiveEnd is how long the receiver may take to end what it is at when it has
// been switched off: the NIC does not say when it has. The longest frame at
// 10 Mbit/s is on the wire for 8 ms, and the bus takes microseconds.
const receiveEnd = 10 * time.Millisecond

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

// PauseReceive implements driver.Recaller: it switches the receiver off (SDM
// 13.4.22, RCTL.EN). The control path does not switch it on again, since
// receiving is false.
func (q *queue) PauseReceive() {
	q.dev.receiving.Store(false)
	q.regs.Write32(regRCTL, q.dev.rctl.Load())
	q.rx.pausedAt = clock.Now()
}

// Paused implements driver.Recaller.
func (q *queue) Paused() bool { return clock.Now()-q.rx.pausedAt >= int64(receiveEnd) }

// ResumeReceive implements driver.Recaller.
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
	q.startReceive()
	q.dev.enableReceive()
	q.Fill(list)
	// A read waits for the writes before it: from here on the device receives.
	q.regs.Read32(regSTATUS)
	return n
}
