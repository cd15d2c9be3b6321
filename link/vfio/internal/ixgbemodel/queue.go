package ixgbemodel

// Descriptors have 16 bytes (7.1.6, 7.2.3).
const descriptorSize = 16

// maxRing is the longest ring, in bytes: 8192 descriptors.
const maxRing = 128 << 10

// queue is the state that registers do not show.
type queue struct {
	asked bool // ENABLE was written, and the queue is not up yet
	ready bool // it is
	seen  bool // ENABLE has been read back as set
	over  bool // it was up, and has been disabled since
	past  bool // it was up before the last reset
	given bool // it has got a tail since it was enabled
	polls int  // reads of the control register since it was written
	ends  int  // reads of it that find the queue enabled still
	since int  // accesses to the device when it was written

	contexts [2]context // transmit alone, as is
	partial  *packet    // a frame whose last descriptor has yet to come
}

// reset is the queue after a reset.
func (q *queue) reset() queue { return queue{past: q.past || q.asked || q.ready || q.over} }

// finder gets a queue's state of a device.
type finder func(d *Device) *queue

// queueOf finds the queue whose block holds a register: its state, the offset in
// the block, and whether the queue receives. nil: it is no queue's.
func queueOf(offset uint32) (find finder, register uint32, receives bool) {
	n, register, receives, ok := place(offset)
	switch {
	case !ok:
		return nil, 0, false
	case receives:
		return func(d *Device) *queue { return &d.rx[n] }, register, true
	}
	return func(d *Device) *queue { return &d.tx[n] }, register, false
}

// place finds the number of the queue whose block holds a register.
func place(offset uint32) (n, register uint32, receives, ok bool) {
	switch {
	case offset >= rxBlock && offset < rxBlock+64*blockSize:
		n, receives = (offset-rxBlock)/blockSize, true
	case offset >= rxBlock2 && offset < rxBlock2+64*blockSize:
		n, receives = 64+(offset-rxBlock2)/blockSize, true
	case offset >= txBlock && offset < txBlock+Queues*blockSize:
		n = (offset - txBlock) / blockSize
	default:
		return 0, 0, false, false
	}
	switch register = offset % blockSize; register {
	case qBAL, qBAH, qLEN, qHead, qTail, qDCTL:
		return n, register, receives, true
	case qSRRCTL:
		return n, register, receives, receives
	case qWBAL:
		return n, register, receives, !receives
	}
	return 0, 0, false, false
}

// block is where the registers of a queue begin.
func block(n uint32, receives bool) uint32 {
	switch {
	case !receives:
		return txBlock + n*blockSize
	case n < 64:
		return rxBlock + n*blockSize
	}
	return rxBlock2 + (n-64)*blockSize
}

// settles is after how many accesses to the device a queue is up that no one
// asks: more than it takes to go on at once, fewer than until the first packet.
const settles = 8

// endings is how many reads find a queue enabled that has been disabled, as silicon
// does until what is under way is in memory.
const endings = 2

// control reads RXDCTL or TXDCTL: ENABLE is not seen at once, nor is its end, so that
// a driver that does not wait for them is found out.
func (q *queue) control(r *uint32) uint32 {
	if q.ends > 0 {
		q.ends--
		return *r | dctlEN
	}
	if q.asked {
		if q.polls++; q.polls < 2 {
			return *r &^ dctlEN
		}
		q.asked, q.ready = false, true
	}
	q.seen = q.ready
	return *r
}

// settle brings a queue up with time.
func (q *queue) settle(accesses int) {
	if q.asked && accesses-q.since > settles {
		q.asked, q.ready = false, true
	}
}

// sections names where queues of a direction are described: enabling, ring, tail.
func sections(receives bool) (enabling, ring string) {
	if receives {
		return "4.6.7.1", "7.1.9"
	}
	return "4.6.8.1", "7.2.3.4"
}

// disabling is where it is described.
func disabling(receives bool) string {
	if receives {
		return "4.6.7.1.2"
	}
	return "4.6.8.1.1"
}

// writeQueue writes a register of a queue, and says whether it was one.
func (d *Device) writeQueue(offset, value uint32) bool {
	find, register, receives := queueOf(offset)
	if find == nil {
		return false
	}
	q, r := find(d), d.reg(offset)
	enabling, ring := sections(receives)
	on := *d.reg(offset - register + qDCTL)&dctlEN != 0
	switch register {
	case qBAL, qBAH, qLEN:
		if on {
			d.violate(offset, enabling, "ring moved while its queue is enabled")
		}
		if register != qBAH {
			value = d.checkRing(offset, value, ring, register == qLEN)
		}
	case qHead:
		// DPDK begins with the head only when a queue is up, and a queue that was
		// stopped by itself keeps its own until then.
		if on && value != *r && (value != 0 || q.given) {
			d.violate(offset, enabling, "head written while the queue is enabled")
		} else if on {
			d.tolerate(offset, enabling, "head written while the queue is enabled, before its first tail")
		}
	case qSRRCTL:
		d.checkBuffers(offset, value, on)
	case qWBAL:
		if value&wbalOn != 0 && *d.reg(offset - register + qDCTL)>>16&0x7f != 0 {
			d.violate(offset, "7.2.3.5.2", "the head is to be written back, and TXDCTL.WTHRESH is not 0")
		}
	case qDCTL:
		value &^= dctlFlush
		d.enable(q, offset-register, value, receives)
	case qTail:
		d.writeTail(q, offset, value, receives)
		return true
	}
	*r = value
	return true
}

// checkRing checks a ring's base or length, and returns what is left of it.
func (d *Device) checkRing(offset, value uint32, section string, length bool) uint32 {
	if value%128 != 0 {
		d.violate(offset, section, "base or length of a ring is no multiple of 128")
		value &^= 127
	}
	if length && value > maxRing {
		d.violate(offset, section, "a ring of more than 128 KiB")
		value = maxRing
	}
	return value
}

// checkBuffers checks SRRCTL: an enabled queue's may change in DROP_EN alone.
func (d *Device) checkBuffers(offset, value uint32, on bool) {
	switch {
	case on && (value^*d.reg(offset))&^srrctlDrop != 0:
		d.violate(offset, "4.6.7.1", "SRRCTL changed while its queue is enabled")
	case value&srrctlType != srrctlOne && value != 0:
		d.unmodelled[offset] = true // legacy descriptors, split headers
	}
}

// enable checks what has to be right before a queue is switched on.
func (d *Device) enable(q *queue, base, value uint32, receives bool) {
	was := *d.reg(base + qDCTL)&dctlEN != 0
	on := value&dctlEN != 0
	enabling, _ := sections(receives)
	switch {
	case was && !on:
		*q = queue{over: true, ends: endings}
		d.drain() // of frames that waited for it
	case !was && on:
		if q.ends > 0 { // DPDK does not always look
			d.tolerate(base+qDCTL, disabling(receives), "queue enabled again before ENABLE has been read back as clear")
		}
		*q = queue{asked: true, since: d.accesses}
		if *d.reg(base + qLEN) == 0 {
			d.violate(base+qDCTL, enabling, "queue enabled without a ring")
		}
		if !receives && *d.reg(regDMATXCTL)&dmatxTE == 0 {
			d.violate(base+qDCTL, "4.6.8", "transmit queue enabled before DMATXCTL.TE")
		}
	}
}

// writeTail gives descriptors to the device, which goes to work.
func (d *Device) writeTail(q *queue, offset, value uint32, receives bool) {
	enabling, ring := sections(receives)
	base := offset - qTail
	size := *d.reg(base + qLEN) / descriptorSize
	q.settle(d.accesses)
	const early = "tail written before ENABLE has been read back as set"
	switch {
	case value != 0 && size == 0 && q.past: // one processor resets while another still sends
		d.tolerate(offset, enabling, LateTail)
		return
	case value >= size && value != 0:
		d.violate(offset, ring, "tail beyond the ring")
		return
	case value != 0 && !q.seen && q.ready && !receives:
		d.tolerate(offset, enabling, early)
	case value != 0 && q.over: // Linux still refills on one processor, and stops on another
		d.tolerate(offset, enabling, LateTail)
	case value != 0 && !q.seen:
		d.violate(offset, enabling, early)
	}
	*d.reg(offset) = value
	q.given = q.given || value != 0
	switch {
	case !receives && q.ready:
		d.transmit((base - txBlock) / blockSize)
	case receives:
		d.drain()
	}
}
