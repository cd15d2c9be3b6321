package capture

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/oobnet/oobnet/internal/wire"
)

// textLines writes a line for each frame, much as tcpdump does:
//
//	15:04:05.000000001 eth0  In  vlan 5, p 3, IP 10.0.0.1.4000 > 10.0.0.2.7: UDP, length 18 [delivered]
type textLines struct {
	w    io.Writer
	name string
	b    []byte // the line under construction, reused
	h    headers
}

func (t *textLines) begin(a *about) error {
	t.name = a.name
	return nil
}

func (t *textLines) packet(r *record) error {
	t.b = time.Unix(0, r.wall).AppendFormat(t.b[:0], "15:04:05.000000000")
	direction := "In "
	if r.kind != kindReceived {
		direction = "Out"
	}
	t.b = fmt.Appendf(t.b, " %s  %s ", t.name, direction)
	t.describe(r)
	t.b = fmt.Appendf(t.b, " [%s]", r.remark())
	if r.lostBefore != 0 {
		t.b = fmt.Appendf(t.b, " (%d lost by the capture before)", r.lostBefore)
	}
	return t.line()
}

func (t *textLines) end(s *totals) error {
	t.b = fmt.Appendf(t.b[:0], "%d written, %d seen, %d refused by the filter, %d lost by the capture, %d lost by the link",
		s.Written, s.Received, s.Rejected, s.Lost, s.linkDropped)
	return t.line()
}

func (t *textLines) line() error {
	t.b = append(t.b, '\n')
	_, err := t.w.Write(t.b)
	return err
}

// describe says what is in the frame. What was cut off by the snap length, or
// never came, is not guessed at.
func (t *textLines) describe(r *record) {
	h := &t.h
	h.parse(r.b, 0, false)
	if !h.ethernet {
		t.b = fmt.Appendf(t.b, "[|ether], length %d", r.length)
		return
	}
	for i := range h.tags {
		t.b = fmt.Appendf(t.b, "vlan %d, ", h.vlans[i])
		if i == 0 {
			t.b = fmt.Appendf(t.b, "p %d, ", h.tci>>wire.PCPShift)
		}
	}
	switch {
	case h.isIP:
		t.ip(h, r)
	case h.typ == wire.TypeARP:
		t.arp(h, r)
	default:
		t.b = fmt.Appendf(t.b, "%s > %s, ethertype 0x%04x, length %d",
			net.HardwareAddr(h.src[:]), net.HardwareAddr(h.dst[:]), h.typ, r.length)
	}
}

func (t *textLines) ip(h *headers, r *record) {
	b := r.b[h.payload:]
	name, rest := "IP", int(binary.BigEndian.Uint16(b[2:]))-(h.transport-h.payload)
	if h.typ == typeIPv6 {
		name, rest = "IP6", int(binary.BigEndian.Uint16(b[4:]))
	}
	t.b = append(t.b, name...)
	t.b = append(t.b, ' ')
	if h.ports {
		t.b = fmt.Appendf(t.b, "%v.%d > %v.%d: ", h.from, h.srcPort, h.to, h.dstPort)
	} else {
		t.b = fmt.Appendf(t.b, "%v > %v: ", h.from, h.to)
	}
	if h.transport == 0 {
		t.other(h, b)
		return
	}
	segment := r.b[h.transport:]
	switch {
	case h.protocol == wire.ProtocolUDP && len(segment) >= wire.UDPHeaderLen:
		t.b = fmt.Appendf(t.b, "UDP, length %d", int(binary.BigEndian.Uint16(segment[4:]))-wire.UDPHeaderLen)
	case h.protocol == wire.ProtocolTCP && len(segment) >= tcpHeaderLen:
		t.tcp(segment, rest)
	case h.protocol == wire.ProtocolICMP && len(segment) >= icmpHeaderLen:
		t.icmp(segment, rest)
	default:
		t.other(h, b)
	}
	if h.fragment {
		t.b = append(t.b, ", first fragment"...)
	}
}

// Lengths of headers, bytes (RFC 9293, RFC 792).
const (
	tcpHeaderLen  = 20
	icmpHeaderLen = 8
)

// other is an IP packet of which no more is said.
func (t *textLines) other(h *headers, b []byte) {
	t.b = append(t.b, protocolName(h.protocol)...)
	if h.typ == wire.TypeIPv4 {
		t.b = fmt.Appendf(t.b, ", length %d", int(binary.BigEndian.Uint16(b[2:])))
		if frag := binary.BigEndian.Uint16(b[6:]); frag&wire.FragmentOffset != 0 {
			t.b = fmt.Appendf(t.b, ", fragment at %d", 8*int(frag&wire.FragmentOffset))
		}
		return
	}
	t.b = fmt.Appendf(t.b, ", length %d", int(binary.BigEndian.Uint16(b[4:])))
}

func protocolName(n uint8) string {
	switch n {
	case wire.ProtocolICMP:
		return "ICMP"
	case wire.ProtocolIGMP:
		return "igmp"
	case wire.ProtocolTCP:
		return "tcp"
	case wire.ProtocolUDP:
		return "udp"
	case protocolICMPv6:
		return "ICMP6"
	}
	return "ip-proto-" + strconv.Itoa(int(n))
}

func (t *textLines) tcp(b []byte, rest int) {
	const letters = "FSRP.UEW" // from the lowest bit on
	t.b = append(t.b, "Flags ["...)
	for i := range len(letters) {
		if b[13]>>i&1 != 0 {
			t.b = append(t.b, letters[i])
		}
	}
	t.b = fmt.Appendf(t.b, "], seq %d, ack %d, win %d, length %d", binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:]),
		binary.BigEndian.Uint16(b[14:]), rest-int(b[12]>>4)*4)
}

func (t *textLines) icmp(b []byte, rest int) {
	switch b[0] {
	case 0, 8:
		what := "reply"
		if b[0] == 8 {
			what = "request"
		}
		t.b = fmt.Appendf(t.b, "ICMP echo %s, id %d, seq %d, length %d", what, binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint16(b[6:]), rest)
	default:
		t.b = fmt.Appendf(t.b, "ICMP type %d, code %d, length %d", b[0], b[1], rest)
	}
}

func (t *textLines) arp(h *headers, r *record) {
	a, ok := wire.ParseARP(r.b[h.payload:])
	switch {
	case ok && a.Op == wire.ARPRequest:
		t.b = fmt.Appendf(t.b, "ARP, Request who-has %v tell %v", h.to, h.from)
	case ok && a.Op == wire.ARPReply:
		t.b = fmt.Appendf(t.b, "ARP, Reply %v is-at %s", h.from, net.HardwareAddr(a.SenderMAC[:]))
	default:
		t.b = append(t.b, "ARP"...)
	}
	t.b = fmt.Appendf(t.b, ", length %d", r.length-h.payload)
}
