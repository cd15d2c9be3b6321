package e1000

import (
	"math"
	"sync/atomic"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio/internal/bus"
	"github.com/oobnet/oobnet/link/vfio/internal/driver"
)

// Transmit descriptors (SDM 3.3, 82574 7.2.10): the second word, by bits.
//
//	legacy    0-15 length   16-23 -     24-31 command  32-35 status  40-47 -     48-63 tag
//	data      0-19 length   20-23 type  24-31 command  32-35 status  40-47 offload  48-63 tag
//	context   0-19 -        20-23 type  24-31 command
const (
	txData     = 1 << 20 // DTYP of a data descriptor; 0 of a context
	txEnd      = 1 << 24 // EOP
	txFCS      = 1 << 25 // append the frame check sequence
	txReport   = 1 << 27 // RS: set txDone when it has left
	txExtended = 1 << 29 // DEXT: a data or context descriptor
	txTag      = 1 << 30 // VLE: insert the tag
	txDone     = 1 << 32 // DD
	txL4Sum    = 1 << 41 // TXSM: complete the checksum that the context describes
)

// A context's first word: where the checksum starts, where it goes, where it
// ends, of IP and of what is above (SDM 3.3.6). An end of 0 is the frame's.
const (
	ctxL4Start = 32
	ctxL4Field = 40
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
	context uint64 // the last context's first word; 0: none
	base    uint64 // IOVA of buffer 0
	shift   uint
	iova    uint64 // of the ring
	mem     *link.Memory
}

// startSend points the device at an empty ring: SDM 14.5.
func (q *queue) startSend() {
	r := q.regs
	r.Write32(regTDBAL, uint32(q.tx.iova))
	r.Write32(regTDBAH, uint32(q.tx.iova>>32))
	r.Write32(regTDLEN, uint32(len(q.tx.buffers)*descriptorSize))
	r.Write32(regTDH, 0)
	r.Write32(regTDT, 0)
	r.Write32(regTIDV, 0)
	r.Write32(regTADV, 0)
	v := uint32(txdctlGRAN | wthresh1)
	if q.dev.express {
		v |= txdctlCount
	}
	r.Write32(regTXDCTL, v)
	r.Write32(regTCTL, tctlEN|tctlPSP|tctlCT|tctlCOLD)
}

// Send implements driver.Queue.
//
//oobnet:hot
func (q *queue) Send(frames []link.Frame) int {
	t := &q.tx
	for i := range frames {
		f := &frames[i]
		if f.Flags&(link.FlagChecksumOffload|link.FlagVLANStripped) != 0 {
			if !t.putExtended(f) {
				return i
			}
			continue
		}
		if t.tail-t.clean >= t.mask {
			return i
		}
		t.put(f.Index, t.base+uint64(f.Index)<<t.shift+uint64(f.Off), uint64(f.Len)|txEnd|txFCS)
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

// putExtended writes a frame with a tag or a checksum to be put in, and before
// it a context if the last one does not fit. It reports false if there is no room.
func (t *txRing) putExtended(f *link.Frame) bool {
	second := uint64(f.Len) | txEnd | txFCS | txExtended | txData
	if f.Flags&link.FlagVLANStripped != 0 {
		second |= txTag | uint64(f.VLAN)<<48
	}
	if f.Flags&link.FlagChecksumOffload != 0 {
		second |= txL4Sum
		start, _ := driver.UDPStart(t.mem.Bytes(*f))
		context := uint64(start)<<ctxL4Start | uint64(start+driver.UDPChecksumAt)<<ctxL4Field
		if context != t.context {
			if t.tail-t.clean+1 >= t.mask {
				return false
			}
			t.put(none, context, txExtended)
			t.context = context
		}
	}
	if t.tail-t.clean >= t.mask {
		return false
	}
	t.put(f.Index, t.base+uint64(f.Index)<<t.shift+uint64(f.Off), second)
	return true
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
	q.regs.Write32(regTDT, t.tail&t.mask)
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
	q.startSend()
	return bufs
}
