package ixgbemodel

import "encoding/binary"

// Offsets of fields in headers, in bytes.
const (
	ip4Total     = 2
	ip4ID        = 4
	ip4Sum       = 10
	ip6Length    = 4
	tcpSequence  = 4
	tcpFlags     = 12 // with the header's length above them
	tcpSum       = 16
	udpLength    = 4
	udpSum       = 6
	tcpFlagsMask = 0x0fff
)

// maxHeaders bounds the headers that a segment repeats.
const maxHeaders = 511

// sumField is where the checksum stands in a transport header, and how long the
// least such header is.
func (c context) sumField() (offset, least int) {
	if c.l4 == contextTCP {
		return tcpSum, tcpHeader
	}
	return udpSum, udpHeader
}

// checksums fills in those that a packet asks for (7.2.5). The field of the
// transport's holds the sum over the pseudo-header.
func (d *Device) checksums(tail uint32, f []byte, options uint32, c context) {
	if options&(optionIP|optionL4) == 0 {
		return
	}
	if !c.fits(f, options&optionL4 != 0) {
		d.violate(tail, "7.2.5", "the context's lengths do not fit the packet")
		return
	}
	if options&optionIP != 0 && c.ip4 {
		header := f[c.macLength:][:c.ipLength]
		if header[ip4Sum]|header[ip4Sum+1] != 0 {
			d.violate(tail, "7.2.5.1", "the IP checksum to be filled in is not zero")
		}
		complete(header[ip4Sum:], sum(header, 0), false)
	}
	if options&optionL4 == 0 {
		return
	}
	if c.l4 == contextSCTP {
		d.unmodelled[tail] = true // its checksum is a CRC-32c
		return
	}
	field, _ := c.sumField()
	segment := f[c.macLength+c.ipLength:]
	complete(segment[field:], sum(segment, 0), c.l4 == contextUDP)
}

// fits says whether the headers of a context lie inside a frame.
func (c context) fits(f []byte, l4 bool) bool {
	end := c.macLength + c.ipLength
	if l4 {
		_, least := c.sumField()
		end += least
	}
	return c.macLength >= 14 && c.ipLength >= minHeader && end <= len(f)
}

// segments cuts a frame into frames of MSS bytes of payload each, with headers
// made right for each (7.2.4).
func (d *Device) segments(tail uint32, f []byte, c context) [][]byte {
	l4 := c.macLength + c.ipLength
	end := l4 + c.l4Length
	_, least := c.sumField()
	if c.mss == 0 || c.l4 == contextSCTP || c.l4Length < least || !c.fits(f, true) || end > len(f) {
		d.violate(tail, "7.2.4", "the context's lengths do not fit a packet to be segmented")
		return nil
	}
	if c.ip4 && c.l4 == contextTCP && f[c.macLength+ip4Sum]|f[c.macLength+ip4Sum+1] != 0 {
		d.violate(tail, "7.2.4", "the IP checksum of a packet to be segmented is not zero")
	}
	if end > maxHeaders {
		d.violate(tail, "7.2.3.2.3", "MACLEN, IPLEN and L4LEN are 512 or more together")
	}
	var frames [][]byte
	for at := end; at < len(f) || at == end; at += c.mss {
		part := f[at:min(at+c.mss, len(f))]
		s := append(append([]byte{}, f[:end]...), part...)
		d.segmentHeader(s, c, at-end, at+c.mss >= len(f))
		frames = append(frames, s)
	}
	return frames
}

// segmentHeader makes the headers of a segment right; done is how many bytes of
// payload went before it.
func (d *Device) segmentHeader(s []byte, c context, done int, last bool) {
	ip, transport := s[c.macLength:], s[c.macLength+c.ipLength:]
	if c.ip4 {
		binary.BigEndian.PutUint16(ip[ip4Total:], uint16(len(ip)))
		binary.BigEndian.PutUint16(ip[ip4ID:], binary.BigEndian.Uint16(ip[ip4ID:])+uint16(done/c.mss))
		ip[ip4Sum], ip[ip4Sum+1] = 0, 0
		complete(ip[ip4Sum:], sum(ip[:c.ipLength], 0), false)
	} else {
		binary.BigEndian.PutUint16(ip[ip6Length:], uint16(len(ip)-ipv6Header))
	}
	if c.l4 == contextTCP {
		binary.BigEndian.PutUint32(transport[tcpSequence:], binary.BigEndian.Uint32(transport[tcpSequence:])+uint32(done))
		d.segmentFlags(transport[tcpFlags:], done == 0, last)
	} else {
		binary.BigEndian.PutUint16(transport[udpLength:], uint16(len(transport)))
	}
	field, _ := c.sumField()
	// The field holds the sum over the pseudo-header, without the length.
	complete(transport[field:], sum(transport, uint64(len(transport))), c.l4 == contextUDP)
}

// segmentFlags leaves of TCP's flags what DTXTCPFLGL and DTXTCPFLGH let through.
func (d *Device) segmentFlags(b []byte, first, last bool) {
	keep := *d.reg(regDTXTCPFLGL) >> 16
	switch {
	case first && last:
		return
	case first:
		keep = *d.reg(regDTXTCPFLGL)
	case last:
		keep = *d.reg(regDTXTCPFLGH)
	}
	v := binary.BigEndian.Uint16(b)
	binary.BigEndian.PutUint16(b, v&^tcpFlagsMask|v&tcpFlagsMask&uint16(keep))
}
