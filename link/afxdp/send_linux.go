package afxdp

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/link"
)

// Send implements link.Queue. A frame whose buffer the device already has is
// taken and counted as invalid; the buffer comes back once.
func (q *queue) Send(frames []link.Frame) int {
	n := int(q.tx.free(uint32(len(frames))))
	mark := uint16(q.slot*2 + markSend)
	var put uint32
	bad, taken := 0, 0
	for ; taken < n; taken++ {
		f := &frames[taken]
		exists := int(f.Index) < len(q.held)
		if exists && q.held[f.Index] != 0 {
			bad++
			continue
		}
		carried := exists && q.carries(f)
		if !carried && q.unsentCount == unsentRoom {
			break
		}
		if exists {
			q.held[f.Index] = mark
		}
		if !carried {
			q.unsent[q.unsentCount] = f.Index
			q.unsentCount++
			bad++
			continue
		}
		off, options := f.Off, uint32(0)
		if q.txRoom != 0 {
			off, options = q.request(f)
		}
		*q.tx.slot(q.tx.prod + put) = unix.XDPDesc{Addr: uint64(f.Index)<<q.shift + uint64(off), Len: uint32(f.Len), Options: options}
		put++
	}
	if put > 0 {
		q.tx.publish(put)
	}
	if bad > 0 {
		q.txInvalid.Add(uint64(bad))
	}
	return taken
}

// carries says whether the kernel would send the frame. One that it would not
// must not reach the ring: it vanishes there without a completion.
func (q *queue) carries(f *link.Frame) bool {
	if int(f.Len) < ethernetHeader || !q.memory.Valid(*f) || f.Flags&q.refused != 0 {
		return false
	}
	if f.Flags&link.FlagChecksumOffload != 0 {
		if _, _, ok := datagram(q.memory.Bytes(*f)); !ok {
			return false
		}
	}
	over := int(f.Len) - ethernetHeader - q.link.dev.mtu
	if over <= 0 {
		return true
	}
	switch binary.BigEndian.Uint16(q.memory.Bytes(*f)[12:]) {
	case etherTypeVLAN, etherTypeSTag:
		return over <= vlanTag
	}
	return false
}

// Reclaim implements link.Queue.
func (q *queue) Reclaim(bufs []uint32) int {
	total := q.reclaimUnsent(bufs)
	n := q.done.ready(uint32(len(bufs) - total))
	if n == 0 {
		q.reclaimIdle()
		return total
	}
	q.idle = 0
	got := bufs[total : total+int(n)]
	for i := range n {
		got[i] = uint32(*q.done.slot(q.done.cons + i) >> q.shift)
	}
	if q.link.stopped.Load() { // as in Receive
		return total
	}
	for _, b := range got {
		q.held[b] = 0
	}
	q.done.release(n)
	return total + int(n)
}

// reclaimUnsent gives back what Send has refused.
func (q *queue) reclaimUnsent(bufs []uint32) int {
	n := min(q.unsentCount, len(bufs))
	for i := range n {
		q.unsentCount--
		bufs[i] = q.unsent[q.unsentCount]
		if int(bufs[i]) < len(q.held) {
			q.held[bufs[i]] = 0
		}
	}
	return n
}
