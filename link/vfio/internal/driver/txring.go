package driver

import (
	"math"
	"sync/atomic"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio/internal/bus"
)

// NoBuffer stands for the buffer of a descriptor that has none: a context.
const NoBuffer = math.MaxUint32

// TXRing is a transmit ring, used by the send side alone. Of the counters clean
// <= done <= flushed <= tail: before clean buffers are the caller's again, before
// done the device has finished, from flushed on it has not been told. A queue
// embeds it, and has Flush, Reclaim and Done from it.
type TXRing struct {
	regs    *bus.Registers
	words   []uint64 // two a descriptor, shared with the device
	buffers []uint32 // by slot
	end     []uint32 // by slot of a batch's first descriptor: where the next batch begins
	mask    uint32
	clean   uint32
	done    uint32
	flushed uint32
	tail    uint32
	// report and finished are bits of the second word: ours, that asks for the
	// other, and the device's.
	report, finished uint64
	at               uint32 // where its registers begin
	base             uint64 // IOVA of buffer 0
	shift            uint
	iova             uint64 // of the ring
	// holds: the batch that holdAt is in is not given back yet.
	holds  bool
	holdAt uint32
}

// Make makes the ring, of so many descriptors, a power of two. at is where its
// registers begin; report and finished are the bits that ask the device to
// say that a descriptor is done with, and that say it.
func (t *TXRing) Make(b bus.Bus, regs *bus.Registers, region Region, descriptors int, at uint32, report, finished uint64) error {
	mem, err := b.Alloc(descriptors * DescriptorSize)
	if err != nil {
		return err
	}
	*t = TXRing{
		regs: regs, words: bus.Words(mem.Bytes), buffers: make([]uint32, descriptors), end: make([]uint32, descriptors),
		mask: uint32(descriptors) - 1, report: report, finished: finished, at: at,
		base: region.IOVA, shift: shiftOf(region.Layout()), iova: mem.IOVA,
	}
	return nil
}

// Point points the device at the ring, which is empty.
func (t *TXRing) Point() { point(t.regs, t.at, t.iova, len(t.buffers)) }

// Room says whether n more descriptors fit.
//
//oobnet:hot
func (t *TXRing) Room(n uint32) bool { return t.tail-t.clean+n-1 < t.mask }

// Put writes a descriptor without a frame.
func (t *TXRing) Put(first, second uint64) { t.put(NoBuffer, first, second) }

// PutFrame writes the descriptor of a frame.
//
//oobnet:hot
func (t *TXRing) PutFrame(f *link.Frame, second uint64) {
	t.put(f.Index, t.base+uint64(f.Index)<<t.shift+uint64(f.Off), second)
}

//oobnet:hot
func (t *TXRing) put(buffer uint32, first, second uint64) {
	slot := t.tail & t.mask
	t.buffers[slot] = buffer
	d := t.words[2*slot : 2*slot+2]
	d[0] = bus.LE64(first)
	d[1] = bus.LE64(second)
	t.tail++
}

// Flush implements Queue. Only a batch's last descriptor reports: when it has
// left, all before it have.
//
//oobnet:hot
func (t *TXRing) Flush() {
	if t.tail == t.flushed {
		return
	}
	last := (t.tail - 1) & t.mask
	t.words[2*last+1] |= bus.LE64(t.report)
	t.end[t.flushed&t.mask] = t.tail
	t.flushed = t.tail
	t.regs.Write32(t.at+RingTail, t.tail&t.mask)
}

// Reclaim implements Queue.
//
//oobnet:hot
func (t *TXRing) Reclaim(bufs []uint32) int {
	n := 0
	for n < len(bufs) {
		if t.clean == t.done && !t.advance() {
			break
		}
		if b := t.buffers[t.clean&t.mask]; b != NoBuffer {
			bufs[n] = b
			n++
		}
		t.clean++
	}
	return n
}

// advance moves done over the next batch, if it has left and is not held back.
//
//oobnet:hot
func (t *TXRing) advance() bool {
	end, ok := t.nextDone()
	if !ok || t.holds && t.holdAt-t.done < end-t.done {
		return false
	}
	t.done = end
	return true
}

// nextDone returns where the next batch ends, if it has left.
//
//oobnet:hot
func (t *TXRing) nextDone() (end uint32, ok bool) {
	if t.done == t.flushed {
		return 0, false
	}
	end = t.end[t.done&t.mask]
	w := bus.LE64(atomic.LoadUint64(&t.words[2*((end-1)&t.mask)+1])) // the device writes it
	return end, w&t.finished != 0
}

// HoldNext holds back the batch of the frame that is put next, until LetGo: what
// becomes of it is not all told by its descriptor.
func (t *TXRing) HoldNext() { t.holds, t.holdAt = true, t.tail }

// LetGo ends HoldNext.
func (t *TXRing) LetGo() { t.holds = false }

// HeldBack says whether a batch has left and is held back, and is the next.
func (t *TXRing) HeldBack() bool {
	end, ok := t.nextDone()
	return ok && t.holds && t.holdAt-t.done < end-t.done
}

// Done implements Queue.
func (t *TXRing) Done() bool { return t.clean != t.done || t.advance() }

// Unsend appends the buffers on the ring of a device that does not run, and
// empties it.
func (t *TXRing) Unsend(bufs []uint32) []uint32 {
	for ; t.clean != t.tail; t.clean++ {
		if b := t.buffers[t.clean&t.mask]; b != NoBuffer {
			bufs = append(bufs, b)
		}
	}
	t.clean, t.done, t.flushed, t.tail, t.holds = 0, 0, 0, 0, false
	return bufs
}
