package ixgbemodel

import "encoding/binary"

// Words of a transmit descriptor (7.2.3.2.3, 7.2.3.2.4).
const (
	txEOP       = 1 << 24
	txIFCS      = 1 << 25
	txRS        = 1 << 27
	txDEXT      = 1 << 29
	txVLE       = 1 << 30
	txTSE       = 1 << 31
	txDD        = 1 << 32
	kindContext = 2
	kindData    = 3
	optionIP    = 1 << 8 // in the last 32 bits
	optionL4    = 1 << 9
)

// context is what a context descriptor says of the packets that name it.
type context struct {
	macLength, ipLength int
	vlan                uint16
	l4                  uint32 // 0 UDP, 1 TCP
}

// packet is a frame that is being put together.
type packet struct {
	first uint64 // high word of its first descriptor
	bytes []byte
	bad   bool // a part could not be read: it is not sent
}

// transmit sends all that lies between head and tail of a queue.
func (d *Device) transmit(n uint32) {
	base := block(n, false)
	if *d.reg(regDMATXCTL)&dmatxTE == 0 {
		return
	}
	var p *packet
	done := false
	for e, ok := d.next(base); ok; e, ok = d.next(base) {
		low, high := e.low, e.high
		if high&txDEXT == 0 {
			d.violate(base+qTail, "7.2.3.2", "legacy descriptors are not modelled")
		} else if kind := high >> 20 & 15; kind == kindContext {
			d.contexts[n][high>>36&1] = context{int(low >> 9 & 0x7f), int(low & 0x1ff), uint16(low >> 16), uint32(high >> 11 & 3)}
		} else if kind != kindData {
			d.violate(base+qTail, "7.2.3.2.4", "descriptor of a reserved type")
		} else {
			if p == nil {
				p = &packet{first: high}
			}
			d.gather(base, p, low, high)
			if high&txEOP != 0 {
				d.finish(n, p)
				p = nil
			}
		}
		if high&txRS != 0 {
			e.high = txDD
			d.writeBack(base+qTail, e)
			done = true
		}
	}
	if done {
		d.queueEvent(int(n), true)
	}
}

// gather adds the buffer of a data descriptor to a packet.
func (d *Device) gather(base uint32, p *packet, iova, high uint64) {
	size := int(high & 0xffff)
	part := make([]byte, size)
	if size == 0 || !d.fetch(base+qTail, iova, part) {
		p.bad = true
		return
	}
	p.bytes = append(p.bytes, part...)
}

// finish does what was left to the device, and sends the packet.
func (d *Device) finish(n uint32, p *packet) {
	tail := block(n, false) + qTail
	options := uint32(p.first >> 32)
	switch {
	case p.bad:
		return
	case p.first&txTSE != 0:
		d.violate(tail, "7.2.4", "segmentation is not modelled")
		return
	case int(options>>14) != len(p.bytes):
		d.violate(tail, "7.2.3.2.4", "PAYLEN is not the length of the packet")
	case p.first&txIFCS == 0:
		d.violate(tail, "7.2.3.2.4", "IFCS is not set")
	}
	c := d.contexts[n][options>>4&1]
	frame := p.bytes
	d.checksums(tail, frame, options, c)
	if p.first&txVLE != 0 && len(frame) >= 14 {
		tag := binary.BigEndian.AppendUint16([]byte{0x81, 0}, c.vlan)
		frame = append(append(append([]byte{}, frame[:12]...), tag...), frame[12:]...)
	}
	for *d.reg(regHLREG0)&hlreg0Pad != 0 && len(frame) < 60 {
		frame = append(frame, 0)
	}
	if len(frame) < 14 || !d.link {
		return
	}
	d.count(regTPT, 1)
	d.count(regGPTC, 1)
	d.countOctets(regGOTCL, len(frame)+fcs)
	if broadcast(frame) {
		d.count(regBPTC, 1)
	} else if frame[0]&1 != 0 {
		d.count(regMPTC, 1)
	}
	d.sent = append(d.sent, frame)
}

// checksums fills in those that a packet asks for (7.2.5). The field of the
// transport's holds the sum over the pseudo-header.
func (d *Device) checksums(tail uint32, f []byte, options uint32, c context) {
	if options&(optionIP|optionL4) == 0 {
		return
	}
	field := c.macLength + c.ipLength + 6
	if c.l4 == 1 {
		field += 10
	}
	if c.macLength < 14 || c.ipLength < minHeader || field+2 > len(f) && options&optionL4 != 0 || c.macLength+c.ipLength > len(f) {
		d.violate(tail, "7.2.5", "the context's lengths do not fit the packet")
		return
	}
	header := f[c.macLength:][:c.ipLength]
	if options&optionIP != 0 {
		if header[10]|header[11] != 0 {
			d.violate(tail, "7.2.5.1", "the IP checksum to be filled in is not zero")
		}
		complete(header[10:], sum(header, 0), false)
	}
	if options&optionL4 != 0 {
		complete(f[field:], sum(f[c.macLength+c.ipLength:], 0), c.l4 == 0)
	}
}
