package driver

import (
	"sync/atomic"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio/internal/bus"
)

// DescriptorSize of all rings here, bytes: two words. On receive the first word
// is the buffer's address, and the second is 0 until the device writes what
// became of it; on send the second says what is to be done, and has a bit that
// the device sets when it is.
const DescriptorSize = 16

// RXRing is a receive ring, used by the receive side alone. Slots from head to
// tail are the device's, which moves neither: both run on and on, and the slot is
// what the mask leaves. A queue embeds it, and has Pending, Fill and Holds from it.
type RXRing struct {
	regs    *bus.Registers
	words   []uint64 // two a descriptor, shared with the device
	buffers []uint32 // by slot
	mask    uint32
	head    uint32 // next that Next looks at
	tail    uint32 // next that Fill writes
	done    uint64 // bit of the second word
	at      uint32 // where its registers begin
	base    uint64 // IOVA of buffer 0
	shift   uint
	iova    uint64 // of the ring
}

// Make makes the ring, of so many descriptors, a power of two. at is where its
// registers begin, done the bit by which the device says that it has written a
// descriptor.
func (r *RXRing) Make(b bus.Bus, regs *bus.Registers, region Region, descriptors int, at uint32, done uint64) error {
	mem, err := b.Alloc(descriptors * DescriptorSize)
	if err != nil {
		return err
	}
	*r = RXRing{
		regs: regs, words: bus.Words(mem.Bytes), buffers: make([]uint32, descriptors), mask: uint32(descriptors) - 1,
		done: done, at: at, base: region.IOVA, shift: shiftOf(region.Layout()), iova: mem.IOVA,
	}
	return nil
}

// shiftOf is the logarithm of the size of a buffer.
func shiftOf(layout link.Layout) (shift uint) {
	for 1<<shift < layout.BufferSize {
		shift++
	}
	return shift
}

// Point points the device at the ring, which is empty.
func (r *RXRing) Point() { point(r.regs, r.at, r.iova, len(r.buffers)) }

// point writes where a ring lies.
func point(regs *bus.Registers, at uint32, iova uint64, descriptors int) {
	regs.Write32(at+RingLow, uint32(iova))
	regs.Write32(at+RingHigh, uint32(iova>>32))
	regs.Write32(at+RingLength, uint32(descriptors*DescriptorSize))
	regs.Write32(at+RingHead, 0)
	regs.Write32(at+RingTail, 0)
}

// Shift is the logarithm of the size of a buffer.
func (r *RXRing) Shift() uint { return r.shift }

// Next takes the next descriptor that the device has written: its buffer and its
// second word, which is read once, by one load. The device has written it whole
// when it says that it is done.
//
//oobnet:hot
func (r *RXRing) Next() (buffer uint32, w uint64, ok bool) {
	if r.head == r.tail {
		return 0, 0, false
	}
	slot := r.head & r.mask
	w = bus.LE64(atomic.LoadUint64(&r.words[2*slot+1])) // the device writes it
	if w&r.done == 0 {
		return 0, 0, false
	}
	r.head++
	return r.buffers[slot], w, true
}

// Pending implements Queue.
func (r *RXRing) Pending() bool {
	return r.head != r.tail && bus.LE64(atomic.LoadUint64(&r.words[2*(r.head&r.mask)+1]))&r.done != 0 // the device writes it
}

// Post writes a descriptor. The device reads it after the doorbell only.
//
//oobnet:hot
func (r *RXRing) Post(b uint32) {
	slot := r.tail & r.mask
	r.buffers[slot] = b
	d := r.words[2*slot : 2*slot+2]
	d[0] = bus.LE64(r.base + uint64(b)<<r.shift)
	d[1] = 0
	r.tail++
}

// RingRX tells the device what was posted.
func (r *RXRing) RingRX() { r.regs.Write32(r.at+RingTail, r.tail&r.mask) }

// Fill implements Queue. One descriptor stays free: head equal to tail is an
// empty ring to the device.
//
//oobnet:hot
func (r *RXRing) Fill(bufs []uint32) int {
	n := min(len(bufs), int(r.mask-(r.tail-r.head)))
	if n <= 0 {
		return 0
	}
	for _, b := range bufs[:n] {
		r.Post(b)
	}
	r.RingRX()
	return n
}

// Holds implements Recaller.
func (r *RXRing) Holds(from uint32) bool {
	for at := r.head; at != r.tail; at++ {
		if r.buffers[at&r.mask] >= from {
			return true
		}
	}
	return false
}

// Empty takes all buffers from the ring of a device that does not run, and returns
// them, and how many of them hold a frame. The device begins at slot 0, and so
// does the ring.
func (r *RXRing) Empty() (bufs []uint32, arrived int) {
	bufs = make([]uint32, 0, r.tail-r.head)
	for ; r.head != r.tail; r.head++ {
		slot := r.head & r.mask
		bufs = append(bufs, r.buffers[slot])
		if bus.LE64(atomic.LoadUint64(&r.words[2*slot+1]))&r.done != 0 { // the device has written it
			arrived++
		}
	}
	r.head, r.tail = 0, 0
	return bufs, arrived
}

// Recall moves up to len(out) of the buffers from one on to out, and returns how
// many, and those that remain.
func Recall(bufs []uint32, from uint32, out []uint32) (n int, rest []uint32) {
	rest = bufs[:0]
	for _, b := range bufs {
		if b < from || n == len(out) {
			rest = append(rest, b)
		} else {
			out[n] = b
			n++
		}
	}
	return n, rest
}
