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
	n, dropped, modes, odd := 0, uint64(0), q.modes.Load(), q.odd // modes are the control path's
	for n < len(frames) {
		buffer, w, ok := q.Next()
		if !ok {
			q.trust()
			break
		}
		f, length := &frames[n], uint16(w>>rxLength)
		switch {
		case w&(rxEnd|odd) == rxEnd && length <= q.longest && !q.chained:
			*f = link.Frame{Index: buffer, Len: length, Meta: link.Meta{Flags: Checksums(w, rxIP, rxL4, 0)}}
		case !q.unusual(f, buffer, w):
			q.Post(buffer)
			dropped++
			continue
		}
		if w&rxTagged != 0 && modes&modeStrip != 0 {
			f.VLAN = uint16(w >> rxTag)
			f.Flags |= link.FlagVLANStripped
		}
		n++
	}
	if modes&modeSilence != 0 {
		silence(frames[:n])
	}
	if dropped != 0 {
		q.invalid.Add(dropped)
		q.RingRX()
	}
	return n
}

// unusual makes a frame of a descriptor that says more of it than most, or reports
// that it is none.
func (q *AdvancedQueue) unusual(f *link.Frame, buffer uint32, w uint64) bool {
	length, off, at := uint16(w>>rxLength), uint16(0), int64(0)
	if w&(rxStamp|rxStampIn) != 0 {
		off, at = q.stamp(w, buffer)
		length -= off // if it is shorter, it is too long now
	}
	l := &q.dev.Layout
	if w&(rxEnd|l.Damaged) != rxEnd || q.chained || length > q.longest {
		q.chained = w&rxEnd == 0
		return false
	}
	*f = link.Frame{Index: buffer, Off: off, Len: length, Meta: link.Meta{Flags: Checksums(w, rxIP, rxL4, l.BadIP|l.BadL4), Time: at}}
	if l.ZeroIsBad && w&(l.BadIP|l.BadL4) == l.BadL4 {
		q.doubt(f)
	}
	return true
}

// silence takes back what the NIC has found of checksums, which nobody wants to know.
func silence(frames []link.Frame) {
	for i := range frames {
		frames[i].Flags &^= link.FlagChecksumGood | link.FlagChecksumBad
	}
}

// doubt takes back the verdict on a UDP datagram that has no checksum (82599
// specification update, 324510).
func (q *AdvancedQueue) doubt(f *link.Frame) {
	b := q.mem.Bytes(*f)
	if start, ok := UDPStart(b); ok && b[start+UDPChecksumAt] == 0 && b[start+UDPChecksumAt+1] == 0 {
		f.Flags &^= link.FlagChecksumBad
	}
}
