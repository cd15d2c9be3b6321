package driver

import (
	"fmt"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio/internal/bus"
)

// Queues with advanced descriptors: igb's NICs and ixgbe's have them, but for a few
// bits, which AdvancedLayout names. Reading order: this file (what differs, life of
// a queue), advanced_rx.go, advanced_tx.go, time.go, rxtime.go, txtime.go, spread.go. Sections
// are those of the 82576's datasheet; of the 82599's the same are 7.1.6 for receive
// and 7.2.3 for transmit descriptors.

// AdvancedLayout is what NICs with advanced descriptors differ in, as far as queues
// go.
type AdvancedLayout struct {
	// RX and TX are where the registers of the first rings begin; those of the
	// next follow AdvancedStep bytes later.
	RX, TX uint32
	// Split is where in a receive ring's registers buffers and kind of descriptors
	// are described (SRRCTL), and SplitBits what it says beside the buffers' size;
	// SplitDrop has frames that find no descriptor dropped, so that they hold up
	// no other queue.
	Split, SplitBits, SplitDrop uint32
	// RXControl and TXControl are RingControl of a ring that is on, but for the bit
	// for that. RXStrip is the bit that takes tags out, if it is there.
	RXControl, TXControl, RXStrip uint32
	// Settle is how long after a receive ring has stopped its memory may still be
	// written.
	Settle time.Duration
	// BadIP, BadL4 and Damaged are bits of a receive descriptor's second word: a
	// wrong checksum of IPv4, one of TCP or UDP, a frame that is no good.
	BadIP, BadL4, Damaged uint64
	// ZeroIsBad: UDP datagrams without a checksum are reported as bad.
	ZeroIsBad bool
	// Clock is how the NIC counts time, and where it leaves a frame's.
	Clock *Clock
}

// AdvancedStep is from the registers of one ring to those of the next, bytes.
const AdvancedStep = 0x40

const (
	// RingEnable is a bit of RingControl.
	RingEnable = 1 << 25
	// QueueWait bounds how long a queue takes to start, and to stop.
	QueueWait = 20 * time.Millisecond
	splitKiB  = 10 // shift from bytes: SRRCTL has a buffer's size in KiB
)

// Advanced is a device's part of its queues. It is embedded beside Base, or
// Gigabit.
type Advanced struct {
	Layout AdvancedLayout
	Queues []AdvancedQueue
	// SentTimes is by buffer, see SentAt: an element belongs to the buffer's owner,
	// as its bytes do. nil without times.
	SentTimes []int64

	base   *Base
	spread Spread // for a restart
	// reading is set by a side of a queue while it reads the clock, of which the
	// registers are one for all.
	reading atomic.Bool
	// pace counts the changes of the clock's, by the control path; each side of a
	// queue compares it with what it has seen.
	pace atomic.Uint32
	// timing is the queue whose frame is the one that gets a time now, plus 1; 0:
	// none. Send sides take it, and give it back.
	timing atomic.Uint32
	stuck  stuckTime // the control path's
}

// Modes of receiving, bits of AdvancedQueue.modes.
const (
	modeStrip   = 1 << 0 // tags are taken out
	modeSilence = 1 << 1 // of checksums nothing is said
)

// AdvancedQueue is a receive ring and a transmit ring.
type AdvancedQueue struct {
	dev    *Advanced
	regs   *bus.Registers
	rxAt   uint32 // the queue's registers
	txAt   uint32
	missed uint64 // frames that found no descriptor: the control path's
	RXRing
	chained bool   // the last descriptor was not the end of its frame
	longest uint16 // frames beyond are not for us, bytes
	timed   bool   // with RXTime
	// doubtful is set by the control path when it gives a time free, for frames that
	// may still be on the ring, and cleared by the receive side when there are none.
	doubtful atomic.Bool
	odd      uint64 // what says more of a frame than most descriptors do
	clock    reference
	stopped  time.Time // when the ring was found to be; zero: not yet
	// modes are written by the control path, read by the receive side.
	modes atomic.Uint32
	// invalid is written by the receive side and read by Lost.
	invalid atomic.Uint64
	_       [64]byte // the sides are two goroutines': a cache line apart
	TXRing
	context uint64 // the last context's first word; 0: none
	txTime  timing
	mem     *link.Memory
	_       [64]byte // and so is the next queue
}

var (
	_ Queue    = (*AdvancedQueue)(nil)
	_ Recaller = (*AdvancedQueue)(nil)
)

// SetUp makes About.Queues queues, without rings.
func (a *Advanced) SetUp(b *Base, layout *AdvancedLayout) {
	a.base, a.Layout, a.Queues = b, *layout, make([]AdvancedQueue, b.About.Queues)
	a.spread.Key = defaultKey
	for i := range a.spread.Table {
		a.spread.Table[i] = uint8(i % min(len(a.Queues), b.About.MostSpread))
	}
}

// headroom is what the NIC writes before a frame, bytes.
func (a *Advanced) headroom(on Features) int {
	if on&RXTime == 0 || !a.Layout.Clock.InFront {
		return 0
	}
	return StampRoom
}

// SetHeadroom tells of the room before frames, which the features that are on
// decide.
func (a *Advanced) SetHeadroom() { a.base.About.RXHeadroom = a.headroom(a.base.About.On) }

// MakeRings makes the rings of all queues, in a region.
func (a *Advanced) MakeRings() error {
	b := a.base
	if b.About.On&TXTime != 0 {
		a.SentTimes = make([]int64, b.Region.Layout().Buffers())
	}
	for i := range a.Queues {
		if err := a.Queues[i].init(a, i); err != nil {
			return err
		}
	}
	return nil
}

// Point points the NIC at the rings, which are empty, and off.
func (a *Advanced) Point() {
	for i := range a.Queues {
		a.Queues[i].pointReceive()
		a.Queues[i].pointSend()
	}
}

// Go switches the rings on.
func (a *Advanced) Go() ([]Queue, error) {
	queues := make([]Queue, len(a.Queues))
	for i := range a.Queues {
		q := &a.Queues[i]
		if !q.enable(q.rxAt, q.receiveControl()) || !q.enable(q.txAt, a.Layout.TXControl) {
			return nil, fmt.Errorf("queue %d did not start in %v: %w", i, QueueWait, syscall.EIO)
		}
		queues[i] = q
	}
	return queues, nil
}

// Quiet switches off the rings of whoever used the NIC, which may have been more
// than ours: the first of them, and says whether they have stopped.
func (a *Advanced) Quiet(rings int) bool {
	r := a.base.Regs
	var on []uint32
	for i := range uint32(rings) {
		for _, control := range []uint32{a.Layout.RX + AdvancedStep*i + RingControl, a.Layout.TX + AdvancedStep*i + RingControl} {
			if v := r.Read32(control); v&RingEnable != 0 {
				r.Write32(control, v&^RingEnable)
				on = append(on, control)
			}
		}
	}
	return a.base.Until(QueueWait, func() bool {
		for len(on) > 0 && r.Read32(on[0])&RingEnable == 0 {
			on = on[1:]
		}
		return len(on) == 0
	})
}

// Drain gives frames that were sent time to leave.
func (a *Advanced) Drain() {
	r := a.base.Regs
	a.base.Until(DrainWait, func() bool {
		for i := range a.Queues {
			if at := a.Queues[i].txAt; r.Read32(at+RingHead) != r.Read32(at+RingTail) {
				return false
			}
		}
		return true
	})
}

// SetModes says of all queues whether tags are taken out of received frames, which
// does not change once there are rings (AtOpen), and whether something is said of
// their checksums, which not every NIC has a switch for.
func (a *Advanced) SetModes(strip, sums bool) {
	var modes uint32
	if strip {
		modes = modeStrip
	}
	if !sums {
		modes |= modeSilence
	}
	for i := range a.Queues {
		a.Queues[i].modes.Store(modes) // for the receive side
	}
}

// Missed adds to the frames of a queue that found no descriptor.
func (a *Advanced) Missed(queue int, n uint64) { a.Queues[queue].missed += n }

// ForgetMissed begins to count anew.
func (a *Advanced) ForgetMissed() {
	for i := range a.Queues {
		a.Queues[i].missed = 0
	}
}

// init makes both rings of queue i.
func (q *AdvancedQueue) init(a *Advanced, i int) error {
	b, l := a.base, &a.Layout
	q.dev, q.regs, q.mem, q.longest = a, b.Regs, b.Region.Memory, uint16(b.Config.MTU+FrameOverhead-4)
	q.timed, q.txTime = b.About.On&RXTime != 0, timing{id: uint32(i) + 1}
	q.odd = rxStamp | rxStampIn | l.BadIP | l.BadL4 | l.Damaged
	q.rxAt, q.txAt = l.RX+AdvancedStep*uint32(i), l.TX+AdvancedStep*uint32(i)
	if err := q.RXRing.Make(b.Bus, b.Regs, b.Region, b.About.RXDescriptors, q.rxAt, rxDone); err != nil {
		return err
	}
	return q.TXRing.Make(b.Bus, b.Regs, b.Region, b.About.TXDescriptors, q.txAt, txReport, txDone)
}

// pointReceive points the device at an empty ring, which is not enabled yet:
// 4.5.9. Of several queues one that is full holds up no other.
func (q *AdvancedQueue) pointReceive() {
	l := &q.dev.Layout
	q.regs.Write32(q.rxAt+RingControl, 0)
	q.RXRing.Point()
	split := l.SplitBits | uint32(1<<q.Shift())>>splitKiB
	if len(q.dev.Queues) > 1 {
		split |= l.SplitDrop
	}
	if q.dev.headroom(q.dev.base.About.On) != 0 {
		split |= splitStamp
	}
	q.regs.Write32(q.rxAt+l.Split, split)
}

// pointSend points the device at an empty ring, which is not enabled yet: 4.5.10.
func (q *AdvancedQueue) pointSend() {
	q.regs.Write32(q.txAt+RingControl, 0)
	q.TXRing.Point()
}

// receiveControl is RingControl of the receive ring.
func (q *AdvancedQueue) receiveControl() uint32 {
	v := q.dev.Layout.RXControl
	if q.modes.Load()&modeStrip != 0 { // the control path's
		v |= q.dev.Layout.RXStrip
	}
	return v
}

// enable lets a ring go. Its doorbell may be rung only when the device says that
// it has (4.5.9): until then it would be lost.
func (q *AdvancedQueue) enable(at, control uint32) bool {
	q.regs.Write32(at+RingControl, control|RingEnable)
	return q.dev.base.Until(QueueWait, func() bool { return q.regs.Read32(at+RingControl)&RingEnable != 0 })
}

// RestartReceive implements Queue.
func (q *AdvancedQueue) RestartReceive() (lost int) {
	bufs, lost := q.Empty()
	q.clock = reference{}
	q.receiveAgain(bufs)
	return lost
}

// receiveAgain programs the empty ring anew, with buffers. Should the device not
// start it in time it is written nevertheless, and what hangs the watchdog finds.
func (q *AdvancedQueue) receiveAgain(bufs []uint32) {
	q.chained, q.stopped = false, time.Time{}
	q.pointReceive()
	q.enable(q.rxAt, q.receiveControl())
	q.Fill(bufs)
	// A read waits for the writes before it: from here on the device receives.
	q.regs.Read32(RegSTATUS)
}

// RestartSend implements Queue.
func (q *AdvancedQueue) RestartSend(bufs []uint32) []uint32 {
	bufs = q.Unsend(bufs)
	q.context = 0
	q.untime()
	q.pointSend()
	q.enable(q.txAt, q.dev.Layout.TXControl)
	return bufs
}

// PauseReceive implements Recaller: 4.5.9.2, dynamic disabling of a queue.
func (q *AdvancedQueue) PauseReceive() {
	q.stopped = time.Time{}
	q.regs.Write32(q.rxAt+RingControl, 0)
}

// Paused implements Recaller: the bit is clear when all that was under way is in
// memory, or nearly so.
func (q *AdvancedQueue) Paused() bool {
	settle := q.dev.Layout.Settle
	switch {
	case q.regs.Read32(q.rxAt+RingControl)&RingEnable != 0:
		return false
	case settle == 0:
		return true
	case q.stopped.IsZero():
		q.stopped = time.Now()
		return false
	}
	return time.Since(q.stopped) >= settle
}

// ResumeReceive implements Recaller.
func (q *AdvancedQueue) ResumeReceive(from uint32, bufs []uint32) (n int) {
	held, _ := q.Empty() // nothing has arrived that Receive would find
	n, held = Recall(held, from, bufs)
	q.receiveAgain(held)
	return n
}

// Lost implements Queue.
func (q *AdvancedQueue) Lost() (noBuffer, invalid uint64) { return q.missed, q.invalid.Load() }
