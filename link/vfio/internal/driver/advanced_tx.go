package driver

import "github.com/oobnet/oobnet/link"

// Advanced transmit descriptors (7.2.2): the second word, by bits. The first of
// a data descriptor is the buffer's address.
//
//	data      0-15 length   20-23 type   24-31 command   32-35 status   40-45 offload   46-63 length of the frame
//	context   9-19 layers   20-23 type   24-31 command   36-38 number
const (
	ctxIPv4    = 1 << 10 // TUCMD: IPv4, and with the two bits after it 0, UDP
	ctxType    = 2 << 20 // DTYP of a context
	txData     = 3 << 20 // DTYP of a data descriptor
	txStamp    = 1 << 19 // 1588: take the time
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

// Send implements Queue.
//
//oobnet:hot
func (q *AdvancedQueue) Send(frames []link.Frame) int {
	for i := range frames {
		f := &frames[i]
		length := uint64(f.Len)
		if length < MinFrame {
			length = q.lengthen(f)
		}
		second := length | length<<txPayload | txData | txEnd | txFCS | txAdvanced
		if f.Flags&(link.FlagChecksumOffload|link.FlagVLANStripped) != 0 {
			offload, ok := q.putContext(f)
			if !ok {
				return i
			}
			second |= offload
		}
		if !q.Room(1) {
			return i
		}
		if f.Flags&link.FlagTXTime != 0 && q.time(f.Index) {
			second |= txStamp
		}
		q.PutFrame(f, second)
	}
	return len(frames)
}

// lengthen pads a short frame, but for one whose checksum the NIC completes: UDP
// over IPv4 has more than the 17 bytes that the NIC wants to pad it itself, and
// QEMU's models take the end of a frame for the end of its datagram.
func (q *AdvancedQueue) lengthen(f *link.Frame) uint64 {
	if f.Flags&link.FlagChecksumOffload != 0 {
		return uint64(f.Len)
	}
	return Pad(q.mem, f)
}

// putContext writes a context for a frame with a tag or a checksum to be put in
// (7.2.2.2), if the last one does not fit, and returns what the frame's own
// descriptor says of it. It reports false if there is no room for both.
func (q *AdvancedQueue) putContext(f *link.Frame) (offload uint64, ok bool) {
	const header, tag = 14, 4 // bytes
	maclen, iplen := uint64(header), uint64(0)
	if f.Flags&link.FlagChecksumOffload != 0 {
		offload = txL4Sum
		b := q.mem.Bytes(*f)
		if b[12] == 0x81 && b[13] == 0 {
			maclen += tag
		}
		start, _ := UDPStart(b)
		iplen = uint64(start) - maclen
	}
	context := iplen | maclen<<ctxMAC
	if f.Flags&link.FlagVLANStripped != 0 {
		offload |= txTag
		context |= uint64(f.VLAN) << ctxTag
	}
	if context == q.context {
		return offload, true
	}
	if !q.Room(2) {
		return 0, false
	}
	q.Put(context, ctxType|ctxIPv4|txAdvanced)
	q.context = context
	return offload, true
}
