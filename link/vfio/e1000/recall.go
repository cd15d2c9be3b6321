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

// PauseReceive implements driver.Recaller: it switches the receiver off (SDM
// 13.4.22, RCTL.EN). The control path does not switch it on again, since
// receiving is false.
func (q *queue) PauseReceive() {
	q.dev.receiving.Store(false)
	q.regs.Write32(driver.RegRCTL, q.dev.rctl.Load())
	q.pausedAt = clock.Now()
}

// Paused implements driver.Recaller.
func (q *queue) Paused() bool { return clock.Now()-q.pausedAt >= int64(receiveEnd) }

// ResumeReceive implements driver.Recaller.
func (q *queue) ResumeReceive(from uint32, bufs []uint32) (n int) {
	held, _ := q.Empty() // nothing has arrived that Receive would find
	n, held = driver.Recall(held, from, bufs)
	q.receiveAgain(held)
	return n
}
