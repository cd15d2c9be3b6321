package e1000

import (
	"sync/atomic"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio/internal/bus"
	"github.com/oobnet/oobnet/link/vfio/internal/driver"
)

// A legacy receive descriptor (SDM 3.2.3, 82574 7.1.4): first word the buffer's
// address, second word what became of it:
//
//	0-15 length    16-31 checksum    32-39 status    40-47 errors    48-63 tag
const (
	rxDone    = 1 << 32 // DD: the device has written the descriptor
	rxEnd     = 1 << 33 // EOP: the frame ends in this buffer
	rxIgnore  = 1 << 34 // IXSM: no checksum was looked at
	rxTagged  = 1 << 35 // VP: a tag, which is in the descriptor if it was stripped
	rxL4      = 1 << 37 // TCPCS: a UDP or TCP checksum was looked at
	rxIP      = 1 << 38 // IPCS: an IPv4 checksum was looked at
	rxBadL4   = 1 << 45 // TCPE
	rxBadIP   = 1 << 46 // IPE
	rxDamaged = 0x97 << 40
)

// queue is the only queue: a receive ring and a transmit ring.
type queue struct {
	dev  *device
	regs *bus.Registers
	rx   rxRing
	_    [64]byte // the sides are two goroutines': a cache line apart
	tx   txRing
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
	chained bool   // the last descriptor was not the end of its frame
	longest uint16 // frames beyond are not for us, bytes
	base    uint64 // IOVA of buffer 0
	shift   uint
	iova    uint64 // of the ring
	// pausedAt is when the receiver was switched off, CLOCK_MONOTONIC ns.
	pausedAt int64
	// strip is written by the control path, read by the receive side: tags are
	// taken out.
	strip atomic.Bool
	// invalid is written by the receive side and read by Lost.
	invalid atomic.Uint64
}

// init makes both rings.
func (q *queue) init(d *device) error {
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
	q.rx = rxRing{
		words: bus.Words(rx.Bytes), buffers: make([]uint32, d.info.RXDescriptors), mask: uint32(d.info.RXDescriptors) - 1,
		longest: uint16(d.cfg.MTU + frameOverhead - 4), base: d.region.IOVA, shift: shift, iova: rx.IOVA,
	}
	q.tx = txRing{
		words: bus.Words(tx.Bytes), buffers: make([]uint32, d.info.TXDescriptors), end: make([]uint32, d.info.TXDescriptors),
		mask: uint32(d.info.TXDescriptors) - 1, base: d.region.IOVA, shift: shift, iova: tx.IOVA, mem: d.region.Memory,
	}
	return nil
}

// startReceive points the device at an empty ring: SDM 14.4.
func (q *queue) startReceive() {
	r := q.regs
	r.Write32(regRDBAL, uint32(q.rx.iova))
	r.Write32(regRDBAH, uint32(q.rx.iova>>32))
	r.Write32(regRDLEN, uint32(len(q.rx.buffers)*descriptorSize))
	r.Write32(regRDH, 0)
	r.Write32(regRDT, 0)
	r.Write32(regRXDCTL, rxdctlGRAN|wthresh1)
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
		if w&(rxEnd|rxDamaged) != rxEnd || r.chained || uint16(w) > r.longest {
			r.chained = w&rxEnd == 0
			r.post(r.buffers[slot])
			dropped++
			continue
		}
		frames[n] = link.Frame{Index: r.buffers[slot], Len: uint16(w), Meta: link.Meta{Flags: checksums(w)}}
		if strip && w&rxTagged != 0 {
			frames[n].VLAN = uint16(w >> 48)
			frames[n].Flags |= link.FlagVLANStripped
		}
		n++
	}
	if dropped != 0 {
		r.invalid.Add(dropped)
		q.regs.Write32(regRDT, r.tail&r.mask)
	}
	return n
}

// checksums says what the device found (82574 7.1.10): good only if it looked at
// both, bad if one is.
func checksums(w uint64) link.Flags {
	switch {
	case w&(rxIP|rxL4) == 0 || w&rxIgnore != 0:
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
// an empty ring to the device (SDM 3.2.6).
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
	q.regs.Write32(regRDT, r.tail&r.mask)
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

// RestartReceive implements driver.Queue.
func (q *queue) RestartReceive() (lost int) {
	r := &q.rx
	for at := r.head; at != r.tail; at++ {
		if bus.LE64(atomic.LoadUint64(&r.words[2*(at&r.mask)+1]))&rxDone != 0 {
			lost++
		}
	}
	// The device begins at slot 0, so the ring is written from there.
	held := r.tail - r.head
	list := make([]uint32, held)
	for i := range list {
		list[i] = r.buffers[(r.head+uint32(i))&r.mask]
	}
	r.head, r.tail, r.chained = 0, 0, false
	q.startReceive()
	q.dev.enableReceive()
	q.Fill(list)
	return lost
}

// enableReceive sets RCTL.EN. The control path may change RCTL meanwhile: it
// stores first and looks at receiving, we set receiving first and look again.
func (d *device) enableReceive() {
	d.receiving.Store(true)
	for {
		v := d.rctl.Load()
		d.regs.Write32(regRCTL, v|rctlEN)
		if d.rctl.Load() == v {
			return
		}
	}
}
