package igb

import "github.com/oobnet/oobnet/link/vfio/internal/driver"

var _ driver.Recaller = (*queue)(nil)

// PauseReceive implements driver.Recaller: 4.5.9.2, dynamic disabling of a queue.
func (q *queue) PauseReceive() { q.regs.Write32(q.rxAt+driver.RingControl, 0) }

// Paused implements driver.Recaller: the bit is clear when all that was under way
// is in memory.
func (q *queue) Paused() bool { return q.regs.Read32(q.rxAt+driver.RingControl)&ringEnable == 0 }

// ResumeReceive implements driver.Recaller.
func (q *queue) ResumeReceive(from uint32, bufs []uint32) (n int) {
	held, _ := q.Empty() // nothing has arrived that Receive would find
	n, held = driver.Recall(held, from, bufs)
	q.receiveAgain(held)
	return n
}
