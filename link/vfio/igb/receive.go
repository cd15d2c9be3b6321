package igb

import (
	"sync/atomic"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio/internal/bus"
	"github.com/oobnet/oobnet/link/vfio/internal/driver"
)

// An advanced receive descriptor (7.1.5). We write the buffer's address to the
// first word, and 0, for no header buffer, to the second; the device writes the
// hash to the first, which we do not need, and to the second what became of it:
//
//	0-19 status    20-31 errors    32-47 length    48-63 tag
const (
	rxDone    = 1 << 0        // DD: the device has written the descriptor
	rxEnd     = 1 << 1        // EOP: the frame ends in this buffer
	rxTagged  = 1 << 3        // VP: a tag, which is in the descriptor if it was stripped
	rxL4      = 1 << 5        // L4I: a UDP or TCP checksum was looked at
	rxIP      = 1 << 6        // IPCS: an IPv4 checksum was looked at
	rxBadL4   = 1 << 29       // L4E
	rxBadIP   = 1 << 30       // IPE
	rxStampIn = 1 << 15       // TSIP: a time stands before the frame
	rxStamp   = 1 << 16       // TS: a time is in registers
	rxDamaged = 0x97 << 24    // CE, SE, SEQ, CXE, RXE
	rxLength  = 32            // shift
	rxTag     = rxLength + 16 // shift
)

// queue is a receive ring and a transmit ring.
type queue struct {
	dev    *device
	regs   *bus.Registers
	rxAt   uint32 // the queue's registers
	txAt   uint32
	missed uint64 // frames that found no descriptor: the control path's
	driver.RXRing
	chained bool   // the last descriptor was not the end of its frame
	longest uint16 // frames beyond are not for us, bytes
	clock   reference
	timed   bool // with RXTime
	// strip is written by the control path, read by the receive side: tags are
	// taken out.
	strip atomic.Bool
	// invalid is written by the receive side and read by Lost.
	invalid atomic.Uint64
	_       [64]byte // the sides are two goroutines': a cache line apart
	driver.TXRing
	context uint64 // the last context's first word; 0: none
	txTime  timing
	mem     *link.Memory
	_       [64]byte // and so is the next queue
}

var _ driver.Queue = (*queue)(nil)

// init makes both rings of queue i.
func (q *queue) init(d *device, i int) error {
	q.dev, q.regs, q.mem, q.longest = d, d.Regs, d.Region.Memory, uint16(d.Config.MTU+driver.FrameOverhead-4)
	q.timed, q.txTime = d.About.On&driver.RXTime != 0, timing{id: uint32(i) + 1}
	q.rxAt, q.txAt = regQueueRX+queueStep*uint32(i), regQueueTX+queueStep*uint32(i)
	if err := q.RXRing.Make(d.Bus, d.Regs, d.Region, d.About.RXDescriptors, q.rxAt, rxDone); err != nil {
		return err
	}
	return q.TXRing.Make(d.Bus, d.Regs, d.Region, d.About.TXDescriptors, q.txAt, txReport, txDone)
}

// pointReceive points the device at an empty ring, which is not enabled yet:
// 4.5.9. Of several queues one that is full holds up no other.
func (q *queue) pointReceive() {
	q.regs.Write32(q.rxAt+driver.RingControl, 0)
	q.RXRing.Point()
	split := uint32(rxSplitOne) | uint32(1<<q.Shift())>>rxSplitKiB
	if len(q.dev.queues) > 1 {
		split |= rxSplitDrop
	}
	if q.dev.headroom() != 0 {
		split |= rxSplitStamp
	}
	q.regs.Write32(q.rxAt+rxSplit, split)
}

// enable lets a ring go. Its doorbell may be rung only when the device says that
// it has (4.5.9): until then it would be lost.
func (q *queue) enable(at, control uint32) bool {
	q.regs.Write32(at+driver.RingControl, control|ringEnable)
	return q.dev.Until(queueWait, func() bool { return q.regs.Read32(at+driver.RingControl)&ringEnable != 0 })
}

// Receive implements driver.Queue.
//
//oobnet:hot
func (q *queue) Receive(frames []link.Frame) int {
	n, dropped, strip := 0, uint64(0), q.strip.Load()
	for n < len(frames) {
		buffer, w, ok := q.Next()
		if !ok {
			break
		}
		length, off, at := uint16(w>>rxLength), uint16(0), int64(0)
		if w&(rxStamp|rxStampIn) != 0 {
			off, at = q.stamp(w, buffer)
			length -= off // if it is shorter, it is too long now
		}
		if w&(rxEnd|rxDamaged) != rxEnd || q.chained || length > q.longest {
			q.chained = w&rxEnd == 0
			q.Post(buffer)
			dropped++
			continue
		}
		frames[n] = link.Frame{Index: buffer, Off: off, Len: length, Meta: link.Meta{Flags: driver.Checksums(w, rxIP, rxL4, rxBadIP|rxBadL4), Time: at}}
		if strip && w&rxTagged != 0 {
			frames[n].VLAN = uint16(w >> rxTag)
			frames[n].Flags |= link.FlagVLANStripped
		}
		n++
	}
	if dropped != 0 {
		q.invalid.Add(dropped)
		q.RingRX()
	}
	return n
}

// RestartReceive implements driver.Queue.
func (q *queue) RestartReceive() (lost int) {
	bufs, lost := q.Empty()
	q.clock = reference{}
	q.receiveAgain(bufs)
	return lost
}

// receiveAgain programs the empty ring anew, with buffers. Should the device not
// start it in time it is written nevertheless, and what hangs the watchdog finds.
func (q *queue) receiveAgain(bufs []uint32) {
	q.chained = false
	q.pointReceive()
	q.enable(q.rxAt, rxThresholds)
	q.Fill(bufs)
	// A read waits for the writes before it: from here on the device receives.
	q.regs.Read32(driver.RegSTATUS)
}

// Lost implements driver.Queue.
func (q *queue) Lost() (noBuffer, invalid uint64) { return q.missed, q.invalid.Load() }
