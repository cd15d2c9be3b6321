package ixgbemodel

import "encoding/binary"

// The upper word of a transmit descriptor (7.2.3.2).
const (
	txStamp     = 1 << 19
	txEOP       = 1 << 24
	txIFCS      = 1 << 25
	txIC        = 1 << 26 // legacy: insert a checksum
	txRS        = 1 << 27
	txDEXT      = 1 << 29
	txVLE       = 1 << 30
	txTSE       = 1 << 31
	txDD        = 1 << 32
	kindContext = 2
	kindData    = 3
	optionCC    = 1 << 7 // in the last 32 bits: the context is to be looked at
	optionIP    = 1 << 8
	optionL4    = 1 << 9
)

// dataReserved are the bits of an advanced data descriptor that have to be 0.
const dataReserved = 3<<16 | 1<<26 | 1<<28 | 0xf<<32 | 7<<43

// context is what a context descriptor says of the packets that name it.
type context struct {
	given               bool
	macLength, ipLength int
	l4Length, mss       int
	vlan                uint16
	ip4                 bool
	l4                  uint32 // contextUDP and so on
}

// L4T of a context.
const (
	contextUDP = iota
	contextTCP
	contextSCTP
)

// maxPacket is more than PAYLEN can say, and a header: 18 bits of bytes.
const maxPacket = 1<<18 + 256

// packet is a frame that is being put together.
type packet struct {
	first  uint64 // high word of its first descriptor
	legacy bool
	bytes  []byte
	bad    bool // a part could not be read: it is not sent
}

// transmit sends all that lies between head and tail of a queue. Without a link
// it stops: what is queued waits for one, or for a reset.
func (d *Device) transmit(n uint32) {
	base := block(n, false)
	if *d.reg(regDMATXCTL)&dmatxTE == 0 || !d.linkUp() && !d.loops() {
		return
	}
	done := false
	for e, ok := d.next(base); ok; e, ok = d.next(base) {
		d.take(n, e)
		if e.high&txRS == 0 {
			continue
		}
		done = true
		if *d.reg(base + qWBAL)&wbalOn == 0 {
			e.high = txDD
			d.writeBack(base+qTail, e)
		}
	}
	if done {
		d.writeHead(base)
		d.queueEvent(int(n), true)
	}
	d.loopBack()
}

// writeHead writes the head to memory, where that replaces done bits (7.2.3.5.2).
func (d *Device) writeHead(base uint32) {
	low := *d.reg(base + qWBAL)
	if low&wbalOn == 0 {
		return
	}
	at := uint64(low&^3) | uint64(*d.reg(base + qWBAH))<<32
	d.put(base+qWBAL, at, binary.LittleEndian.AppendUint32(nil, *d.reg(base + qHead)))
}

// take does one descriptor.
func (d *Device) take(n uint32, e descriptor) {
	tail, q := block(n, false)+qTail, &d.tx[n]
	kind := e.high >> 20 & 15
	switch {
	case e.high&txDEXT != 0 && e.high>>37&3 != 0:
		d.violate(tail, "7.2.3.2.3", "IDX is more than 1, and a queue has two contexts")
		return
	case e.high&txDEXT != 0 && kind == kindContext:
		q.contexts[e.high>>36&1] = contextOf(e)
		return
	case e.high&txDEXT != 0 && kind != kindData:
		d.violate(tail, "7.2.3.2.4", "descriptor of a reserved type")
		return
	}
	if e.high&txDEXT != 0 && e.high&dataReserved != 0 {
		d.violate(tail, "7.2.3.2.4", "reserved bits of a data descriptor are set")
	}
	if q.partial == nil {
		q.partial = &packet{first: e.high, legacy: e.high&txDEXT == 0}
	}
	if q.partial.legacy != (e.high&txDEXT == 0) {
		d.violate(tail, "7.2.3.2", "legacy and advanced descriptors in one packet")
	}
	d.gather(tail, q.partial, e)
	if e.high&txEOP != 0 {
		p := q.partial
		q.partial = nil
		d.finish(n, p, e.high)
	}
}

func contextOf(e descriptor) context {
	return context{
		given: true, macLength: int(e.low >> 9 & 0x7f), ipLength: int(e.low & 0x1ff), vlan: uint16(e.low >> 16),
		ip4: e.high>>10&1 != 0, l4: uint32(e.high >> 11 & 3),
		l4Length: int(e.high >> 40 & 0xff), mss: int(e.high >> 48),
	}
}

// gather adds the buffer of a data descriptor to a packet.
func (d *Device) gather(tail uint32, p *packet, e descriptor) {
	size := int(e.high & 0xffff)
	switch {
	case size == 0:
		d.violate(tail, "7.2.3.2.4", "a data descriptor without data")
		p.bad = true
	case len(p.bytes)+size > maxPacket:
		d.violate(tail, "7.2.4", "a packet of more than 256 KiB")
		p.bad = true
	}
	if p.bad {
		return
	}
	at := len(p.bytes)
	p.bytes = append(p.bytes, make([]byte, size)...)
	p.bad = !d.fetch(tail, e.low, p.bytes[at:])
}

// finish does what was left to the device, and sends the packet; last is the
// high word of its last descriptor.
func (d *Device) finish(n uint32, p *packet, last uint64) {
	tail := block(n, false) + qTail
	switch {
	case p.bad:
	case p.legacy:
		d.finishLegacy(n, p, last)
	default:
		if p.first&txIFCS == 0 {
			d.violate(tail, "7.2.3.2.4", "IFCS is not set")
		}
		d.finishAdvanced(n, p)
	}
}

// finishLegacy inserts the checksum and the tag that the descriptors carry
// themselves (7.2.3.2.1).
func (d *Device) finishLegacy(n uint32, p *packet, last uint64) {
	frame, offset, start := p.bytes, int(p.first>>16&0xff), int(p.first>>40&0xff)
	if p.first&txIC != 0 {
		if start >= len(frame) || offset+2 > len(frame) {
			d.violate(block(n, false)+qTail, "7.2.3.2.1", "CSO or CSS beyond the packet")
			return
		}
		complete(frame[offset:], sum(frame[start:], 0), false)
	}
	if last&txVLE != 0 {
		frame = insertTag(frame, uint16(last>>48))
	}
	d.send(n, frame)
}

// finishAdvanced does what the first descriptor and its context ask for.
func (d *Device) finishAdvanced(n uint32, p *packet) {
	tail, options := block(n, false)+qTail, uint32(p.first>>32)
	c := d.tx[n].contexts[options>>4&1]
	if !c.given && (p.first&(txTSE|txVLE) != 0 || options&(optionIP|optionL4|optionCC) != 0) {
		d.violate(tail, "7.2.3.2.3", "a context is used that has not been given")
		return
	}
	length, header := int(options>>14), 0
	if p.first&txTSE != 0 {
		header = c.macLength + c.ipLength + c.l4Length
	}
	if length != len(p.bytes)-header {
		d.violate(tail, "7.2.3.2.4", "PAYLEN is not the length of the packet")
	}
	frames := [][]byte{p.bytes}
	if p.first&txTSE != 0 {
		frames = d.segments(tail, p.bytes, c)
	} else {
		d.checksums(tail, p.bytes, options, c)
	}
	for _, f := range frames {
		if p.first&txVLE != 0 {
			f = insertTag(f, c.vlan)
		}
		if p.first&txStamp != 0 {
			d.stamp(regTSYNCTXCTL, regTXSTMPL, regTXSTMPH)
		}
		d.send(n, f)
	}
}

func insertTag(f []byte, vlan uint16) []byte {
	if len(f) < 14 {
		return f
	}
	tag := binary.BigEndian.AppendUint16([]byte{0x81, 0}, vlan)
	return append(append(append([]byte{}, f[:12]...), tag...), f[12:]...)
}

// resume goes on with all queues, once there is a link.
func (d *Device) resume() {
	for n := range uint32(Queues) {
		if d.tx[n].ready {
			d.transmit(n)
		}
	}
}

// send gives a frame to the wire.
func (d *Device) send(n uint32, frame []byte) {
	if *d.reg(regHLREG0)&hlreg0Pad != 0 {
		frame = pad(frame)
	}
	if len(frame) < 14 {
		return
	}
	if room := int(*d.reg(regTXPBSIZE)) - int(*d.reg(regTXPBTHRESH))<<10; len(frame)+fcs > room {
		d.violate(regTXPBTHRESH, "8.2.3.9.16", "a frame is longer than what the threshold leaves of TXPBSIZE")
	}
	d.countSent(n, frame)
	d.sent = append(d.sent, frame)
}

// loopBack receives what has been sent, where the MAC is set so.
func (d *Device) loopBack() {
	if !d.loops() {
		return
	}
	frames := d.sent
	d.sent = nil
	for _, f := range frames {
		d.receive(f)
	}
}
