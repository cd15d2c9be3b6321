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
	missed uint64 // frames that found no descriptor: the control path's
	rx     rxRing
	_      [64]byte // the sides are two goroutines': a cache line apart
	tx     txRing
	_      [64]byte // and so is the next queue
}

var _ driver.Queue = (*queue)(nil)

// rxRing is used by the receive side alone. head and tail run on and on; the
// slot is what the mask leaves. Slots from head to tail are the device's, which
// moves neither.
type rxRing struct {
	words   []uint64 // two a descriptor, shared with the device
	buffers []uint32 // by slot
	mask    uint32
	head    uint32 // next that Receive looks at
	tail    uint32 // next that Fill writes
	at      uint32 // the queue's registers
	chained bool   // the last descriptor was not the end of its frame
	longest uint16 // frames beyond are not for us, bytes
	base    uint64 // IOVA of buffer 0
	shift   uint
	iova    uint64 // of the ring
	clock   reference
	// strip is written by the control path, read by the receive side: tags are
	// taken out.
	strip atomic.Bool
	// invalid is written by the receive side and read by Lost.
	invalid atomic.Uint64
}

// init makes both rings of queue i.
func (q *queue) init(d *device, i int) error {
	q.dev, q.regs = d, d.regs
	layout := d.region.Layout()
	shift := uint(0)
	for 1<<shift < layout.BufferSize {
		shift++
	}
	rx, err := d.bus.Alloc(d.info.RXDescriptors * descriptorSize)
	if err != nil {
		return err
	}
	tx, err := d.bus.Alloc(d.info.TXDescriptors * descriptorSize)
	if err != nil {
		return err
	}
	r, t := &q.rx, &q.tx
	r.words, r.buffers, r.mask = bus.Words(rx.Bytes), make([]uint32, d.info.RXDescriptors), uint32(d.info.RXDescriptors)-1
	r.at, r.iova, r.base, r.shift = regQueueRX+queueStep*uint32(i), rx.IOVA, d.region.IOVA, shift
	r.longest = uint16(d.cfg.MTU + frameOverhead - 4)
	*t = txRing{
		words: bus.Words(tx.Bytes), buffers: make([]uint32, d.info.TXDescriptors), end: make([]uint32, d.info.TXDescriptors),
		mask: uint32(d.info.TXDescriptors) - 1, base: d.region.IOVA, shift: shift, iova: tx.IOVA, mem: d.region.Memory,
		at: regQueueTX + queueStep*uint32(i),
	}
	return nil
}

// pointReceive points the device at an empty ring, which is not enabled yet:
// 4.5.9. Of several queues one that is full holds up no other.
func (q *queue) pointReceive() {
	q.point(q.rx.at, q.rx.iova, len(q.rx.buffers))
	split := uint32(rxSplitOne) | uint32(1<<q.rx.shift)>>rxSplitKiB
	if len(q.dev.queues) > 1 {
		split |= rxSplitDrop
	}
	if q.dev.headroom() != 0 {
		split |= rxSplitStamp
	}
	q.regs.Write32(q.rx.at+rxSplit, split)
}

// point writes where a ring lies.
func (q *queue) point(at uint32, iova uint64, descriptors int) {
	r := q.regs
	r.Write32(at+ringControl, 0)
	r.Write32(at+ringLow, uint32(iova))
	r.Write32(at+ringHigh, uint32(iova>>32))
	r.Write32(at+ringLength, uint32(descriptors*descriptorSize))
	r.Write32(at+ringHead, 0)
	r.Write32(at+ringTail, 0)
}

// enable lets a ring go. Its doorbell may be rung only when the device says that
// it has (4.5.9): until then it would be lost.
func (q *queue) enable(at, control uint32) bool {
	q.regs.Write32(at+ringControl, control|ringEnable)
	return q.dev.until(queueWait, func() bool { return q.regs.Read32(at+ringControl)&ringEnable != 0 })
}

// Receive implements driver.Queue. The descriptor's second word is read once, by
// one load: the device has written it whole when it says that it is done.
//
//oobnet:hot
func (q *queue) Receive(frames []link.Frame) int {
	r := &q.rx
	n, dropped, strip := 0, uint64(0), r.strip.Load()
	for n < len(frames) && r.head != r.tail {
		slot := r.head & r.mask
		w := bus.LE64(atomic.LoadUint64(&r.words[2*slot+1])) // the device writes it
		if w&rxDone == 0 {
			break
		}
		r.head++
		length, off, at := uint16(w>>rxLength), uint16(0), int64(0)
		if w&(rxStamp|rxStampIn) != 0 {
			off, at = q.stamp(w, r.buffers[slot])
			length -= off // if it is shorter, it is too long now
		}
		if w&(rxEnd|rxDamaged) != rxEnd || r.chained || length > r.longest {
			r.chained = w&rxEnd == 0
			r.post(r.buffers[slot])
			dropped++
			continue
		}
		frames[n] = link.Frame{Index: r.buffers[slot], Off: off, Len: length, Meta: link.Meta{Flags: checksums(w), Time: at}}
		if strip && w&rxTagged != 0 {
			frames[n].VLAN = uint16(w >> rxTag)
			frames[n].Flags |= link.FlagVLANStripped
		}
		n++
	}
	if dropped != 0 {
		r.invalid.Add(dropped)
		q.regs.Write32(r.at+ringTail, r.tail&r.mask)
	}
	return n
}

// checksums says what the device found (7.1.11): good only if it looked at both,
// bad if one is.
func checksums(w uint64) link.Flags {
	switch {
	case w&(rxIP|rxL4) == 0:
		return 0
	case w&(rxBadIP|rxBadL4) != 0:
		return link.FlagChecksumBad
	case w&(rxIP|rxL4) == rxIP|rxL4:
		return link.FlagChecksumGood
	}
	return 0
}

// Pending implements driver.Queue.
func (q *queue) Pending() bool {
	r := &q.rx
	return r.head != r.tail && bus.LE64(atomic.LoadUint64(&r.words[2*(r.head&r.mask)+1]))&rxDone != 0 // the device writes it
}

// Fill implements driver.Queue. One descriptor stays free: head equal to tail is
// an empty ring to the device (7.1.9).
//
//oobnet:hot
func (q *queue) Fill(bufs []uint32) int {
	r := &q.rx
	n := min(len(bufs), int(r.mask-(r.tail-r.head)))
	if n <= 0 {
		return 0
	}
	for _, b := range bufs[:n] {
		r.post(b)
	}
	q.regs.Write32(r.at+ringTail, r.tail&r.mask)
	return n
}

// post writes a descriptor. The device reads it after the doorbell only.
//
//oobnet:hot
func (r *rxRing) post(b uint32) {
	slot := r.tail & r.mask
	r.buffers[slot] = b
	d := r.words[2*slot : 2*slot+2]
	d[0] = bus.LE64(r.base + uint64(b)<<r.shift)
	d[1] = 0
	r.tail++
}

// RestartReceive implements driver.Queue. A queue that does not start is found
// out by the next watchdog.
func (q *queue) RestartReceive() (lost int) {
	r := &q.rx
	for at := r.head; at != r.tail; at++ {
		if bus.LE64(atomic.LoadUint64(&r.words[2*(at&r.mask)+1]))&rxDone != 0 {
			lost++
		}
	}
	// The device begins at slot 0, so the ring is written from there.
	list := make([]uint32, r.tail-r.head)
	for i := range list {
		list[i] = r.buffers[(r.head+uint32(i))&r.mask]
	}
	r.head, r.tail, r.chained, r.clock = 0, 0, false, reference{}
	q.pointReceive()
	q.enable(r.at, rxThresholds)
	q.Fill(list)
	return lost
}

// Lost implements driver.Queue.
func (q *queue) Lost() (noBuffer, invalid uint64) { return q.missed, q.rx.invalid.Load() }
