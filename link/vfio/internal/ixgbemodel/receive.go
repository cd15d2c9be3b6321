package ixgbemodel

import (
	"encoding/binary"
	"slices"
)

// Extended status and errors of a receive descriptor's write-back (7.1.6.2).
const (
	rxDD   = 1 << 0
	rxEOP  = 1 << 1
	rxVP   = 1 << 3
	rxL4I  = 1 << 5
	rxIPCS = 1 << 6
	rxTS   = 1 << 16
	rxL4E  = 1 << 30
	rxIPE  = 1 << 31
	fcs    = 4 // bytes of checksum that a frame has on the wire
)

// packetBuffer holds frames that wait for descriptors, first come first served:
// a queue without DROP_EN holds up those behind.
type packetBuffer struct {
	frames []arrival
	bytes  int
}

type arrival struct {
	frame []byte
	to    destination
}

// close forgets all, once receive is off.
func (p *packetBuffer) close(rxctrl uint32) {
	if rxctrl&rxctrlRXEN == 0 {
		*p = packetBuffer{}
	}
}

// receive takes a frame from the wire: filters, packet buffer, queue.
func (d *Device) receive(frame []byte) bool {
	if *d.reg(regRXCTRL)&rxctrlRXEN == 0 || len(frame) < 14 {
		return false
	}
	frame = pad(frame)
	n := len(frame) + fcs
	d.count(regTPR, 1)
	d.countOctets(regTORL, n)
	if !d.fits(frame, n) {
		return false
	}
	d.count(regRXNFGP, 1)
	d.countOctets(regRXNFGP+4, n)
	if !d.accepts(frame) || !d.acceptsVLAN(frame) {
		return false
	}
	d.countGood(frame, n)
	to := d.steer(frame)
	if to.status&(rxIPE|rxL4E) != 0 {
		d.count(regXEC, 1)
	}
	if d.stampReceive(frame) {
		to.status |= rxTS
	}
	if d.held.bytes+n > int(*d.reg(regRXPBSIZE)) {
		d.count(regMPC, 1)
		d.other(causeMiss)
		return false
	}
	if len(d.held.frames) == 0 {
		if done, stored := d.store(arrival{frame, to}); done {
			return stored
		}
	}
	d.held.frames = append(d.held.frames, arrival{slices.Clone(frame), to})
	d.held.bytes += n
	return true
}

// pad makes a frame as long as the sender's MAC would: a wire carries no less.
func pad(frame []byte) []byte {
	if len(frame) >= minFrame-fcs {
		return frame
	}
	return append(slices.Clone(frame), make([]byte, minFrame-fcs-len(frame))...)
}

// drain moves on what waited for descriptors.
func (d *Device) drain() {
	for len(d.held.frames) > 0 {
		a := d.held.frames[0]
		if done, _ := d.store(a); !done {
			return
		}
		d.held.frames = d.held.frames[1:]
		d.held.bytes -= len(a.frame) + fcs
	}
}

// store writes a frame into buffers of its queue, and their descriptors back.
// Not done means that it has to wait; not stored that it was dropped.
func (d *Device) store(a arrival) (done, stored bool) {
	n := a.to.queue
	base, frame := block(n, true), a.frame
	control, buffers := *d.reg(base + qDCTL), *d.reg(base + qSRRCTL)
	if d.rx[n].settle(d.accesses); d.rx[n].asked {
		return false, false
	}
	size := int(buffers&srrctlSize) << 10
	long := control&dctlLimit != 0 && len(frame) > int(control&dctlBytes) && d.config.Chip == ChipX540
	if !d.rx[n].ready || size == 0 || long {
		if d.rx[n].ready && size == 0 {
			d.violate(base+qSRRCTL, "8.2.3.8.7", "SRRCTL.BSIZEPACKET is 0")
		}
		d.countDropped(n)
		return true, false
	}
	frame, tag, status := strip(frame, control)
	if (len(frame)+size-1)/size > d.free(base) {
		if buffers&srrctlDrop == 0 {
			return false, false
		}
		d.countDropped(n)
		return true, false
	}
	a.to.status |= status
	if !d.scatter(base, size, frame, a.to, tag) {
		return true, false
	}
	d.countDelivered(n, len(a.frame))
	d.queueEvent(int(n), false)
	return true, true
}

// strip takes the tag out of a frame, where the queue wants that.
func strip(frame []byte, control uint32) (rest []byte, tag uint16, status uint32) {
	switch {
	case !tagged(frame):
		return frame, 0, 0
	case control&dctlVME == 0:
		return frame, 0, 0
	}
	tag = binary.BigEndian.Uint16(frame[14:])
	return append(append([]byte{}, frame[:12]...), frame[16:]...), tag, rxVP
}

// scatter fills buffers, and writes their descriptors back; the last one says
// what was found.
func (d *Device) scatter(base uint32, size int, frame []byte, to destination, tag uint16) bool {
	for len(frame) > 0 {
		e, ok := d.next(base)
		part := frame[:min(size, len(frame))]
		if e.high&rxDD != 0 {
			// Linux goes by the length, and leaves this bit.
			d.tolerate(base+qTail, "7.1.6.1", "a descriptor is given with its done bit set")
		}
		if !ok || !d.put(base+qTail, e.low, part) {
			return false
		}
		frame = frame[len(part):]
		state := uint32(rxDD)
		if len(frame) == 0 {
			state |= to.status | rxEOP
		}
		e.low = uint64(to.kind) | uint64(to.hash)<<32
		e.high = uint64(state) | uint64(len(part))<<32 | uint64(tag)<<48
		d.writeBack(base+qTail, e)
	}
	return true
}

// free is how many descriptors a ring holds for the device.
func (d *Device) free(base uint32) int {
	size := *d.reg(base + qLEN) / descriptorSize
	if size == 0 {
		return 0
	}
	return int((*d.reg(base + qTail) + size - *d.reg(base + qHead)) % size)
}
