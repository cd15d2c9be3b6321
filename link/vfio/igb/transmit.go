package igb

import (
	"math"
	"sync/atomic"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio/internal/bus"
	"github.com/oobnet/oobnet/link/vfio/internal/driver"
)

// Advanced transmit descriptors (7.2.2): the second word, by bits. The first of
// a data descriptor is the buffer's address.
//
//	data      0-15 length   20-23 type   24-31 command   32-35 status   40-45 offload   46-63 length of the frame
//	context   9-19 layers   20-23 type   24-31 command   36-38 number
const (
	ctxIPv4    = 1 << 10 // TUCMD: IPv4, and with the two bits after it 0, UDP
	ctxType    = 2 << 20 // DTYP of a context
	txData     = 3 << 20 // DTYP of a data descriptor
	txEnd      = 1 << 24 // EOP
	txFCS      = 1 << 25 // IFCS: append the frame check sequence
	txReport   = 1 << 27 // RS: set txDone when it has left
	txAdvanced = 1 << 29 // DEXT
	txTag      = 1 << 30 // VLE: insert the context's tag
	txDone     = 1 << 32 // DD
	txL4Sum    = 1 << 41 // TXSM: complete the checksum that the context describes
	txPayload  = 46      // shift: PAYLEN
)

// A context's first word: lengths of the headers and the tag.
const (
	ctxMAC = 9  // shift; the IP header's length is below it
	ctxTag = 16 // shift
)

// none is the buffer of a context descriptor.
const none = math.MaxUint32

// txRing is used by the send side alone. Of the counters clean <= done <=
// flushed <= tail: before clean buffers are the caller's again, before done the
// device has finished, from flushed on it has not been told.
type txRing struct {
	words   []uint64 // two a descriptor, shared with the device
	buffers []uint32 // by slot
	end     []uint32 // by slot of a batch's first descriptor: where the next batch begins
	mask    uint32
	clean   uint32
	done    uint32
	flushed uint32
	tail    uint32
	at      uint32 // the queue's registers
	context uint64 // the last context's first word; 0: none
	base    uint64 // IOVA of buffer 0
	shift   uint
	iova    uint64 // of the ring
	mem     *link.Memory
}

// pointSend points the device at an empty ring, which is not enabled yet: 4.5.10.
func (q *queue) pointSend() { q.point(q.tx.at, q.tx.iova, len(q.tx.buffers)) }

// Send implements driver.Queue.
//
//oobnet:hot
func (q *queue) Send(frames []link.Frame) int {
	t := &q.tx
	for i := range frames {
		f := &frames[i]
		second := uint64(f.Len) | uint64(f.Len)<<txPayload | txData | txEnd | txFCS | txAdvanced
		if f.Flags&(link.FlagChecksumOffload|link.FlagVLANStripped) != 0 {
			offload, ok := t.putContext(f)
			if !ok {
				return i
			}
			second |= offload
		}
		if t.tail-t.clean >= t.mask {
			return i
		}
		t.put(f.Index, t.base+uint64(f.Index)<<t.shift+uint64(f.Off), second)
	}
	return len(frames)
}

//oobnet:hot
func (t *txRing) put(buffer uint32, first, second uint64) {
	slot := t.tail & t.mask
	t.buffers[slot] = buffer
	d := t.words[2*slot : 2*slot+2]
	d[0] = bus.LE64(first)
	d[1] = bus.LE64(second)
	t.tail++
}

// putContext writes a context for a frame with a tag or a checksum to be put in
// (7.2.2.2), if the last one does not fit, and returns what the frame's own
// descriptor says of it. It reports false if there is no room for both.
func (t *txRing) putContext(f *link.Frame) (offload uint64, ok bool) {
	const header, tag = 14, 4 // bytes
	maclen, iplen := uint64(header), uint64(0)
	if f.Flags&link.FlagChecksumOffload != 0 {
		offload = txL4Sum
		b := t.mem.Bytes(*f)
		if b[12] == 0x81 && b[13] == 0 {
			maclen += tag
		}
		start, _ := driver.UDPStart(b)
		iplen = uint64(start) - maclen
	}
	context := iplen | maclen<<ctxMAC
	if f.Flags&link.FlagVLANStripped != 0 {
		offload |= txTag
		context |= uint64(f.VLAN) << ctxTag
	}
	if context == t.context {
		return offload, true
	}
	if t.tail-t.clean+1 >= t.mask {
		return 0, false
	}
	t.put(none, context, ctxType|ctxIPv4|txAdvanced)
	t.context = context
	return offload, true
}

// Flush implements driver.Queue. Only a batch's last descriptor reports: when it
// has left, all before it have.
//
//oobnet:hot
func (q *queue) Flush() {
	t := &q.tx
	if t.tail == t.flushed {
		return
	}
	last := (t.tail - 1) & t.mask
	t.words[2*last+1] |= bus.LE64(txReport)
	t.end[t.flushed&t.mask] = t.tail
	t.flushed = t.tail
	q.regs.Write32(t.at+ringTail, t.tail&t.mask)
}

// Reclaim implements driver.Queue.
//
//oobnet:hot
func (q *queue) Reclaim(bufs []uint32) int {
	t := &q.tx
	n := 0
	for n < len(bufs) {
		if t.clean == t.done && !t.advance() {
			break
		}
		if b := t.buffers[t.clean&t.mask]; b != none {
			bufs[n] = b
			n++
		}
		t.clean++
	}
	return n
}

// advance moves done over the next batch, if it has left.
//
//oobnet:hot
func (t *txRing) advance() bool {
	if t.done == t.flushed {
		return false
	}
	end := t.end[t.done&t.mask]
	if bus.LE64(atomic.LoadUint64(&t.words[2*((end-1)&t.mask)+1]))&txDone == 0 { // the device writes it
		return false
	}
	t.done = end
	return true
}

// Done implements driver.Queue.
func (q *queue) Done() bool { return q.tx.clean != q.tx.done || q.tx.advance() }

// RestartSend implements driver.Queue.
func (q *queue) RestartSend(bufs []uint32) []uint32 {
	t := &q.tx
	for ; t.clean != t.tail; t.clean++ {
		if b := t.buffers[t.clean&t.mask]; b != none {
			bufs = append(bufs, b)
		}
	}
	t.clean, t.done, t.flushed, t.tail, t.context = 0, 0, 0, 0, 0
	q.pointSend()
	q.enable(t.at, txThresholds)
	return bufs
}
