package vfio

import (
	"fmt"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/clock"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio/internal/driver"
)

// unsentRoom bounds the frames that were refused and wait for Reclaim: a batch
// of the stack's. Send takes no further bad frame while there are as many.
const unsentRoom = 64

// Marks of a buffer that the device holds, in queue.held: twice the queue's
// number, and which of its sides took it. 0: the caller's.
const (
	markReceive = 1
	markSend    = 2
)

// queue is one queue of the NIC, as the contract has it: the driver's rings, and
// what a driver need not know. The fields of a side are used by that side
// alone, unless they are atomic.
type queue struct {
	link *Link
	id   int
	// fd is an eventfd: the queue's interrupt writes it, and so does Wake.
	fd    int
	rings driver.Queue
	mem   *link.Memory
	// held says for each buffer of the region, in a mark, which side of which
	// queue has it; all queues share it. An element belongs to the owner of the
	// buffer, as its bytes do: it needs no atomics.
	held []uint16
	// first and count are the buffers that are this queue's own: Memory.Home
	// would divide. size is a buffer's, bytes.
	first, count uint32
	size         int

	errGone, errDown error // made once: the fast path allocates nothing

	_ [64]byte // the sides are two goroutines': a cache line apart

	// Receive side.
	polled    [2]unix.PollFd
	armed     bool          // the interrupt is on, as far as we know
	sleeping  atomic.Uint32 // 1 while the receive side is, or is about to be, in poll; read by Wake
	woken     atomic.Uint32 // 1 from a Wake until a WaitReceive has seen it
	exported  atomic.Bool   // FD was called: set by anyone, read by Receive
	restartRX atomic.Bool   // the device was reset: set by the control path, cleared by the receive side
	rxInvalid atomic.Uint64 // counted by the receive side, read by Stats
	rxLost    atomic.Uint64 // frames that a reset lost: counted by the receive side, read by Stats
	rxCalls   atomic.Uint64 // waits that slept: counted by the receive side, read by Stats
	recall    recaller

	_ [64]byte

	// Send side.
	unsent    []uint32 // refused or lost frames, taken back by Reclaim
	refused   int      // how many of unsent Send has refused
	flying    int      // frames on the ring
	unflushed bool
	since     int64 // when a Reclaim first found nothing although frames were flying, CLOCK_MONOTONIC ns; 0: not so
	polledTX  [2]unix.PollFd
	restartTX atomic.Bool   // the device was reset: set by the control path, cleared by the send side
	txInvalid atomic.Uint64 // counted by the send side, read by Stats
	txDropped atomic.Uint64 // counted by the send side, read by Stats

	drained int // next buffer that Drain looks at
}

func (q *queue) init(rings driver.Queue, mem *link.Memory, held []uint16, txDescriptors int) {
	q.rings, q.mem, q.held = rings, mem, held
	layout := mem.Layout()
	q.count, q.size = uint32(layout.RXBuffers), layout.BufferSize
	q.first = uint32(q.id) * q.count
	q.unsent = make([]uint32, 0, unsentRoom+txDescriptors)
	q.polled = [2]unix.PollFd{{Fd: int32(q.fd), Events: unix.POLLIN}, {Fd: int32(q.link.trouble), Events: unix.POLLIN}}
	q.polledTX = [2]unix.PollFd{{Fd: int32(q.link.halt), Events: unix.POLLIN}, {Fd: int32(q.link.trouble), Events: unix.POLLIN}}
	q.errGone = fmt.Errorf("vfio: %s: the device is gone: close the link: %w", q.link.name, unix.ENODEV)
	q.errDown = fmt.Errorf("vfio: %s: the wire is down: frames wait until it is up: %w", q.link.name, unix.ENETDOWN)
}

// Receive implements link.Queue. What came before Stop can still be received
// after it, until Drain takes it.
//
//oobnet:hot
func (q *queue) Receive(frames []link.Frame) int {
	if q.restartRX.Load() {
		q.restartReceive()
	}
	var n int
	if q.recalling() {
		n = q.receiveRecalling(frames)
	} else {
		n = q.rings.Receive(frames)
	}
	for i := range frames[:n] {
		q.held[frames[i].Index] = 0
	}
	if n < len(frames) && q.exported.Load() {
		q.rearm()
	}
	return n
}

// Fill implements link.Queue. A buffer that is not this queue's own, or that
// the device already has, is taken and counted as invalid; if it was the
// caller's, Drain gives it back. It takes nothing after Stop.
//
//oobnet:hot
func (q *queue) Fill(bufs []uint32) int {
	if q.link.stopped.Load() {
		return 0
	}
	mark := uint16(q.id*2 + markReceive)
	for taken := 0; ; taken++ {
		good := taken
		for ; good < len(bufs); good++ {
			b := bufs[good]
			if b-q.first >= q.count || q.held[b] != 0 {
				break
			}
			q.held[b] = mark
		}
		n := q.rings.Fill(bufs[taken:good])
		for _, b := range bufs[taken+n : good] {
			q.held[b] = 0
		}
		taken += n
		if taken < good || good == len(bufs) {
			return taken
		}
		q.misfit(bufs[good], mark)
	}
}

// misfit takes a buffer that cannot be received into.
func (q *queue) misfit(b uint32, mark uint16) {
	if int(b) < len(q.held) && q.held[b] == 0 {
		q.held[b] = mark
	}
	q.rxInvalid.Add(1)
}

// Send implements link.Queue. A frame whose buffer the device already has is
// taken and counted as invalid; the buffer comes back once. One of fewer than 60
// bytes leaves with zeros behind it, which are written to its buffer.
//
//oobnet:hot
func (q *queue) Send(frames []link.Frame) int {
	if q.restartTX.Load() {
		q.restartSend()
	}
	if q.link.stopped.Load() {
		return 0
	}
	mark := uint16(q.id*2 + markSend)
	for taken := 0; ; taken++ {
		good := taken
		for ; good < len(frames); good++ {
			f := &frames[good]
			if int(f.Index) >= len(q.held) || q.held[f.Index] != 0 || !q.carries(f) {
				break
			}
			q.held[f.Index] = mark
		}
		n := q.rings.Send(frames[taken:good])
		for i := range frames[taken+n : good] {
			q.held[frames[taken+n+i].Index] = 0
		}
		taken += n
		q.flying += n
		q.unflushed = q.unflushed || n > 0
		if taken < good || good == len(frames) || !q.refuse(frames[good].Index, mark) {
			return taken
		}
	}
}

// refuse takes a frame that cannot be sent, if there is room to remember it.
func (q *queue) refuse(b uint32, mark uint16) bool {
	own := int(b) < len(q.held) && q.held[b] != markAbsent
	if own && q.held[b] != 0 {
		// The device has the buffer: it comes back from there.
		q.txInvalid.Add(1)
		return true
	}
	if q.refused == unsentRoom {
		return false
	}
	if own {
		q.held[b] = mark
	}
	q.unsent = append(q.unsent, b)
	q.refused++
	q.txInvalid.Add(1)
	return true
}

// carries says whether the frame lies in its buffer, which exists, with room for
// the zeros that a short one needs behind it, and the wire takes it.
//
//oobnet:hot
func (q *queue) carries(f *link.Frame) bool {
	if int(f.Len) < frameHeader || int(f.Off)+max(int(f.Len), driver.MinFrame) > q.size {
		return false
	}
	if f.Flags&(link.FlagVLANStripped|link.FlagChecksumOffload) != 0 && !q.offloads(f) {
		return false
	}
	over := int(f.Len) - frameHeader - q.link.mtu
	return over <= 0 || over <= vlanTag && tagged(q.mem.Bytes(*f))
}

// tagged says whether a VLAN tag stands in the frame: 802.1Q or 802.1ad.
func tagged(b []byte) bool { return b[12] == 0x81 && b[13] == 0 || b[12] == 0x88 && b[13] == 0xa8 }

// offloads says whether what the frame's flags ask for is switched on and can
// be done.
func (q *queue) offloads(f *link.Frame) bool {
	on := driver.Features(q.link.features.Load())
	if f.Flags&link.FlagVLANStripped != 0 && on&VLANInsert == 0 {
		return false
	}
	if f.Flags&link.FlagChecksumOffload == 0 {
		return true
	}
	_, udp := driver.UDPStart(q.mem.Bytes(*f))
	return udp && on&TXChecksum != 0
}

// Flush implements link.Queue.
//
//oobnet:hot
func (q *queue) Flush() error {
	if q.restartTX.Load() {
		q.restartSend()
	}
	if q.unflushed {
		q.unflushed = false
		q.rings.Flush()
	}
	if w := q.link.wire.Load(); w != uint32(link.Up) {
		return q.wireError(link.State(w))
	}
	return nil
}

func (q *queue) wireError(s link.State) error {
	if s == link.Gone {
		return q.errGone
	}
	return q.errDown
}

// Reclaim implements link.Queue. When nothing has left although there is
// something on the ring, it looks how long that has been so.
//
//oobnet:hot
func (q *queue) Reclaim(bufs []uint32) int {
	if q.restartTX.Load() {
		q.restartSend()
	}
	total := 0
	if len(q.unsent) > 0 {
		total = q.reclaimUnsent(bufs)
	}
	n := q.rings.Reclaim(bufs[total:])
	for _, b := range bufs[total : total+n] {
		q.held[b] = 0
	}
	q.flying -= n
	switch {
	case n > 0:
		q.since = 0
	case q.flying > 0 && !q.unflushed && total < len(bufs):
		q.watch(clock.Now())
	}
	return total + n
}

// reclaimUnsent gives back what Send has refused, or a reset has lost.
func (q *queue) reclaimUnsent(bufs []uint32) int {
	n := min(len(q.unsent), len(bufs))
	for i := range n {
		bufs[i] = q.unsent[len(q.unsent)-1]
		q.unsent = q.unsent[:len(q.unsent)-1]
		if int(bufs[i]) < len(q.held) && q.held[bufs[i]] != markAbsent {
			q.held[bufs[i]] = 0
		}
	}
	if len(q.unsent) == 0 {
		q.refused = 0
	}
	return n
}

// Drain implements link.Queue: the marks say what the device still holds.
func (q *queue) Drain(bufs []uint32) int {
	if !q.link.stopped.Load() {
		return 0
	}
	receive, send := uint16(q.id*2+markReceive), uint16(q.id*2+markSend)
	n := q.reclaimUnsent(bufs)
	for ; q.drained < len(q.held) && n < len(bufs); q.drained++ {
		if m := q.held[q.drained]; m == receive || m == send {
			q.held[q.drained] = 0
			bufs[n] = uint32(q.drained)
			n++
		}
	}
	return n
}

// Stats implements link.Queue.
func (q *queue) Stats() link.QueueStats {
	l := q.link
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count()
	s := link.QueueStats{
		RXInvalid: q.rxInvalid.Load() + q.rxLost.Load(), TXInvalid: q.txInvalid.Load(), TXDropped: q.txDropped.Load(),
		Wakeups: q.rxCalls.Load(),
	}
	if q.rings != nil {
		noBuffer, invalid := q.rings.Lost()
		s.RXNoBuffer, s.RXInvalid = noBuffer, s.RXInvalid+invalid
	}
	return s
}
