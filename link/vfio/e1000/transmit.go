package e1000

import (
	"github.com/oobnet/oobnet/link"
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

// startSend points the device at an empty ring: SDM 14.5.
func (q *queue) startSend() {
	r := q.regs
	q.TXRing.Point()
	r.Write32(regTIDV, 0)
	r.Write32(regTADV, 0)
	v := uint32(txdctlGRAN | wthresh1)
	if q.dev.express {
		v |= txdctlCount
	}
	r.Write32(regTX+driver.RingControl, v)
	r.Write32(driver.RegTCTL, driver.TctlEN|driver.TctlPSP|driver.TctlCT|tctlCOLD)
}

// Send implements driver.Queue.
//
//oobnet:hot
func (q *queue) Send(frames []link.Frame) int {
	for i := range frames {
		f := &frames[i]
		length := uint64(f.Len)
		if length < driver.MinFrame {
			length = q.lengthen(f)
		}
		if f.Flags&(link.FlagChecksumOffload|link.FlagVLANStripped) != 0 {
			if !q.putExtended(f, length) {
				return i
			}
			continue
		}
		if !q.Room(1) {
			return i
		}
		q.PutFrame(f, length|txEnd|txFCS)
	}
	return len(frames)
}

// lengthen pads a short frame, on the 82574 but for one whose checksum the NIC
// completes: UDP over IPv4 has more than the 17 bytes that the NIC wants to pad it
// itself, and QEMU's model takes the end of a frame for the end of its datagram.
func (q *queue) lengthen(f *link.Frame) uint64 {
	if q.dev.express && f.Flags&link.FlagChecksumOffload != 0 {
		return uint64(f.Len)
	}
	return driver.Pad(q.mem, f)
}

// putExtended writes a frame of a length with a tag or a checksum to be put in, and before
// it a context if the last one does not fit. It reports false if there is no room.
func (q *queue) putExtended(f *link.Frame, length uint64) bool {
	second := length | txEnd | txFCS | txExtended | txData
	if f.Flags&link.FlagVLANStripped != 0 {
		second |= txTag | uint64(f.VLAN)<<48
	}
	if f.Flags&link.FlagChecksumOffload != 0 {
		second |= txL4Sum
		start, _ := driver.UDPStart(q.mem.Bytes(*f))
		context := uint64(start)<<ctxL4Start | uint64(start+driver.UDPChecksumAt)<<ctxL4Field
		if context != q.context {
			if !q.Room(2) {
				return false
			}
			q.Put(context, txExtended)
			q.context = context
		}
	}
	if !q.Room(1) {
		return false
	}
	q.PutFrame(f, second)
	return true
}

// RestartSend implements driver.Queue.
func (q *queue) RestartSend(bufs []uint32) []uint32 {
	bufs = q.Unsend(bufs)
	q.context = 0
	q.startSend()
	return bufs
}
