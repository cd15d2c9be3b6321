package driver

import "github.com/oobnet/oobnet/link"

// An advanced receive descriptor (7.1.5). We write the buffer's address to the
// first word, and 0, for no header buffer, to the second; the device writes the
// hash to the first, which we do not need, and to the second what became of it:
//
//	0-19 status    20-31 errors    32-47 length    48-63 tag
const (
	rxDone    = 1 << 0        // DD: the device has written the descriptor
	rxEnd     = 1 << 1        // EOP: the frame ends in this buffer
	rxTagged  = 1 << 3        // VP: a tag, which is in the descriptor if it was stripped
	rxL4      = 1 << 5        // L4I: a UDP or TCP checksum was looked at
	rxIP      = 1 << 6        // IPCS: an IPv4 checksum was looked at
	rxStampIn = 1 << 15       // TSIP: a time stands before the frame
	rxStamp   = 1 << 16       // TS: a time is in registers
	rxLength  = 32            // shift
	rxTag     = rxLength + 16 // shift
)

// Receive implements Queue.
//
//oobnet:hot
func (q *AdvancedQueue) Receive(frames []link.Frame) int {
	n, dropped, modes := 0, uint64(0), q.modes.Load() // the control path's
	bad, damaged, hidden := q.badIP|q.badL4, q.damaged, uint64(0)
	if modes&modeSilence != 0 {
		hidden = bad | rxIP | rxL4
	}
	for n < len(frames) {
		buffer, w, ok := q.Next()
		if !ok {
			break
		}
		w &^= hidden
		length, off, at := uint16(w>>rxLength), uint16(0), int64(0)
		if w&(rxStamp|rxStampIn) != 0 {
			off, at = q.stamp(w, buffer)
			length -= off // if it is shorter, it is too long now
		}
		if w&(rxEnd|damaged) != rxEnd || q.chained || length > q.longest {
			q.chained = w&rxEnd == 0
			q.Post(buffer)
			dropped++
			continue
		}
		frames[n] = link.Frame{Index: buffer, Off: off, Len: length, Meta: link.Meta{Flags: Checksums(w, rxIP, rxL4, bad), Time: at}}
		if w&rxTagged != 0 && modes&modeStrip != 0 {
			frames[n].VLAN = uint16(w >> rxTag)
			frames[n].Flags |= link.FlagVLANStripped
		}
		if w&bad != 0 && q.zeroIsBad && w&q.badIP == 0 {
			q.doubt(&frames[n])
		}
		n++
	}
	if dropped != 0 {
		q.invalid.Add(dropped)
		q.RingRX()
	}
	return n
}

// doubt takes back the verdict on a UDP datagram that has no checksum (82599
// specification update, 324510).
func (q *AdvancedQueue) doubt(f *link.Frame) {
	b := q.mem.Bytes(*f)
	if start, ok := UDPStart(b); ok && b[start+UDPChecksumAt] == 0 && b[start+UDPChecksumAt+1] == 0 {
		f.Flags &^= link.FlagChecksumBad
	}
}
