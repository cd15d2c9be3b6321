package capture

import (
	"encoding/binary"
	"fmt"
	"io"
	"runtime"

	"github.com/oobnet/oobnet/stack"
)

// Blocks and options of pcapng (draft-ietf-opsawg-pcapng), as far as they are
// written here. All numbers are little-endian.
const (
	blockSection    = 0x0a0d0d0a
	blockInterface  = 1
	blockStatistics = 5
	blockPacket     = 6

	byteOrderMagic = 0x1a2b3c4d
	linkEthernet   = 1
	nanoseconds    = 9 // the exponent of if_tsresol

	optEnd     = 0
	optComment = 1

	optSectionOS          = 3
	optSectionApplication = 4

	optInterfaceName        = 2
	optInterfaceDescription = 3
	optInterfaceMAC         = 6
	optInterfaceResolution  = 9
	optInterfaceFilter      = 11

	optPacketFlags     = 2
	optPacketDropCount = 4
	optPacketQueue     = 6

	optStatisticsStart    = 2
	optStatisticsEnd      = 3
	optStatisticsReceived = 4
	optStatisticsIfDrop   = 5
	optStatisticsAccepted = 6
	optStatisticsOSDrop   = 7
	optStatisticsUser     = 8
)

// Bits of epb_flags.
const (
	flagInbound     = 1
	flagOutbound    = 2
	flagUnicast     = 1 << 2
	flagMulticast   = 2 << 2
	flagBroadcast   = 3 << 2
	flagPromiscuous = 4 << 2
)

// pcapng writes one section with one interface.
type pcapng struct {
	w io.Writer
	// b is the block under construction, reused.
	b   []byte
	mac [6]byte
}

// about is what a file says of where it was made.
type about struct {
	name, description, filter string
	mac                       [6]byte
	snap                      int
}

func (p *pcapng) begin(a *about) error {
	p.mac = a.mac
	p.open(blockSection)
	p.u32(byteOrderMagic)
	p.u16(1)
	p.u16(0)
	p.u64(1<<64 - 1) // the length of the section is not known
	p.text(optSectionOS, runtime.GOOS+"/"+runtime.GOARCH)
	p.text(optSectionApplication, "oobnet")
	if err := p.close(); err != nil {
		return err
	}
	p.open(blockInterface)
	p.u16(linkEthernet)
	p.u16(0)
	p.u32(uint32(a.snap))
	p.text(optInterfaceName, a.name)
	p.text(optInterfaceDescription, a.description)
	p.option(optInterfaceMAC, a.mac[:])
	p.option(optInterfaceResolution, []byte{nanoseconds})
	if a.filter != "" {
		p.text(optInterfaceFilter, "\x00"+a.filter) // 0: a filter in text
	}
	return p.close()
}

func (p *pcapng) packet(r *record) error {
	p.open(blockPacket)
	p.u32(0) // the interface
	p.time(r.wall)
	p.u32(uint32(len(r.b)))
	p.u32(uint32(r.length))
	p.b = append(p.b, r.b...)
	p.pad()
	p.number32(optPacketFlags, p.flags(r))
	if r.lostBefore != 0 {
		p.number64(optPacketDropCount, r.lostBefore)
	}
	p.number32(optPacketQueue, uint32(r.queue))
	p.text(optComment, r.remark())
	return p.close()
}

// flags are the direction and whom the frame is for.
func (p *pcapng) flags(r *record) uint32 {
	flags := uint32(flagInbound)
	if r.kind != kindReceived {
		flags = flagOutbound
	}
	switch {
	case len(r.b) < 6:
		return flags
	case [6]byte(r.b) == [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}:
		return flags | flagBroadcast
	case r.b[0]&1 != 0:
		return flags | flagMulticast
	case r.kind == kindReceived && [6]byte(r.b) != p.mac:
		return flags | flagPromiscuous
	}
	return flags | flagUnicast
}

func (p *pcapng) end(t *totals) error {
	p.open(blockStatistics)
	p.u32(0) // the interface
	p.time(t.end)
	p.optionTime(optStatisticsStart, t.begin)
	p.optionTime(optStatisticsEnd, t.end)
	p.number64(optStatisticsReceived, t.Received+t.linkDropped)
	p.number64(optStatisticsIfDrop, t.linkDropped)
	p.number64(optStatisticsAccepted, t.Received-t.Rejected)
	p.number64(optStatisticsOSDrop, t.Lost)
	p.number64(optStatisticsUser, t.Written)
	p.text(optComment, fmt.Sprintf("%d frames seen, %d refused by the filter, %d lost by the capture for want of room, %d written; %d lost by the link meanwhile",
		t.Received, t.Rejected, t.Lost, t.Written, t.linkDropped))
	return p.close()
}

// open begins a block; its length stands in front and behind, and is filled in
// by close.
func (p *pcapng) open(kind uint32) {
	p.b = p.b[:0]
	p.u32(kind)
	p.u32(0)
}

// close ends the options and writes the block, in one call.
func (p *pcapng) close() error {
	p.option(optEnd, nil)
	n := uint32(len(p.b) + 4)
	binary.LittleEndian.PutUint32(p.b[4:], n)
	p.u32(n)
	_, err := p.w.Write(p.b)
	return err
}

func (p *pcapng) u16(v uint16) { p.b = binary.LittleEndian.AppendUint16(p.b, v) }
func (p *pcapng) u32(v uint32) { p.b = binary.LittleEndian.AppendUint32(p.b, v) }
func (p *pcapng) u64(v uint64) { p.b = binary.LittleEndian.AppendUint64(p.b, v) }

// time is the upper half first, whatever the order of bytes.
func (p *pcapng) time(ns int64) {
	p.u32(uint32(uint64(ns) >> 32))
	p.u32(uint32(ns))
}

// pad fills up to a multiple of 4 bytes.
func (p *pcapng) pad() {
	for len(p.b)%4 != 0 {
		p.b = append(p.b, 0)
	}
}

func (p *pcapng) option(code uint16, value []byte) {
	p.u16(code)
	p.u16(uint16(len(value)))
	p.b = append(p.b, value...)
	p.pad()
}

// maxText is the longest text of an option, bytes: its length has 16 bits.
const maxText = 1<<16 - 1

func (p *pcapng) text(code uint16, text string) {
	text = text[:min(len(text), maxText)]
	p.u16(code)
	p.u16(uint16(len(text)))
	p.b = append(p.b, text...)
	p.pad()
}

func (p *pcapng) number32(code uint16, v uint32) {
	p.u16(code)
	p.u16(4)
	p.u32(v)
}

func (p *pcapng) number64(code uint16, v uint64) {
	p.u16(code)
	p.u16(8)
	p.u64(v)
}

func (p *pcapng) optionTime(code uint16, ns int64) {
	p.u16(code)
	p.u16(8)
	p.time(ns)
}

// remark says what became of a frame: the comment in a file, the end of a line
// of text.
func (r *record) remark() string {
	switch r.kind {
	case kindSent:
		return "sent"
	case kindNotSent:
		return "not sent"
	}
	text := r.outcome.Disposition.String()
	switch r.outcome.Disposition {
	case stack.Dropped, stack.Demoted:
		text += ": " + r.outcome.Reason.String()
	}
	if r.outcome.Filtered {
		text += ", verdict " + r.outcome.Verdict.String()
	}
	return text
}
