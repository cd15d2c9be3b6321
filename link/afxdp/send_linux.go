package afxdp

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/link"
)

// Send implements link.Queue. A frame whose buffer the device already has is
// taken and counted as invalid; the buffer comes back once.
func (q *queue) Send(frames []link.Frame) int {
	free := frames[:q.tx.free(uint32(len(frames)))]
	var taken, put int
	if q.txRoom == 0 {
		taken, put = q.put(free)
	} else {
		taken, put = q.putRequests(free)
	}
	if put > 0 {
		q.tx.publish(uint32(put))
	}
	if bad := taken - put; bad > 0 {
		q.txInvalid.Add(uint64(bad))
	}
	return taken
}

// put puts frames into free slots of the ring, without publishing them. It
// returns how many it took and how many of these it put there.
//
//oobnet:hot
func (q *queue) put(frames []link.Frame) (taken, put int) {
	mark := uint16(q.slot*2 + markSend)
	for taken = range frames {
		f := &frames[taken]
		exists := int(f.Index) < len(q.held)
		if exists && q.held[f.Index] != 0 {
			continue
		}
		if !exists || !q.carries(f, needed) {
			if !q.refuse(f.Index, mark) {
				return taken, put
			}
			continue
		}
		q.held[f.Index] = mark
		*q.tx.slot(q.tx.prod + uint32(put)) = unix.XDPDesc{Addr: uint64(f.Index)<<q.shift + uint64(f.Off), Len: uint32(f.Len)}
		put++
	}
	return len(frames), put
}

// refuse keeps a frame that is not sent for Reclaim, if there is room.
func (q *queue) refuse(index uint32, mark uint16) bool {
	if q.unsentCount == unsentRoom {
		return false
	}
	if int(index) < len(q.held) {
		q.held[index] = mark
	}
	q.unsent[q.unsentCount] = index
	q.unsentCount++
	return true
}

// carries says whether the kernel would send the frame, which is to have none of
// some flags. One that it would not must not reach the ring: it vanishes there
// without a completion.
//
//oobnet:hot
func (q *queue) carries(f *link.Frame, none link.Flags) bool {
	if int(f.Len) < ethernetHeader || !q.memory.Valid(*f) || f.Flags&none != 0 {
		return false
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
	if q.sentAt != nil {
		q.takeSent(n)
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
