package afxdp

import (
	"errors"
	"fmt"
	"math/bits"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/link"
)

const (
	cacheLine = 64 // bytes, on amd64 and on most arm64
	// minRing is the smallest receive and fill ring: drivers with zero copy
	// take buffers in batches of up to 64.
	minRing = 64
	// unsentRoom bounds the frames that were refused and wait for Reclaim: a
	// batch of the stack's. Send takes no further bad frame while it is full.
	unsentRoom = 64
	// kickStalls bounds the doorbells of one Flush that moved nothing.
	kickStalls = 4
	// idleKicks: with zero copy every so many empty Reclaims ring the doorbell
	// while frames are with the driver: some reap finished ones only when
	// called.
	idleKicks = 64
	// kickAgain is how soon an empty Reclaim rings again for frames that the
	// last doorbell could not move. By time, not by count: who spins must not
	// call the kernel each time, and who looks ten times a second must not let
	// the last frames of a burst wait for seconds. A device of 1 Gbit/s sends
	// 80 frames of 1500 bytes meanwhile.
	kickAgain = time.Millisecond
)

// Marks of a buffer that the device holds, in queue.held: twice the queue's
// number in the link, and which of its sides took it. 0: the caller's.
const (
	markReceive = 1
	markSend    = 2
)

// queue is one queue of the interface: two sockets, four rings. The fields of
// a side are used by that side alone, unless they are atomic.
type queue struct {
	link *Link
	id   int // the interface's number for it
	slot int // the link's

	rxFD, txFD     int    // AF_XDP sockets; after Stop, the eventfds under the same numbers
	sentinel       *probe // in zero copy: tells when the device is done with the buffers
	wakeFD, haltFD int    // eventfds: wake a WaitReceive, end a WaitSend

	memory *link.Memory
	shift  uint32 // log2 of the buffer size
	// held says for each buffer of the region, in a mark, which side of which
	// queue has it; all queues share it. An element belongs to the owner of
	// the buffer, as its bytes do: it needs no atomics.
	held []uint16

	errGone, errDown, errFailed error // made once: the fast path allocates nothing

	// Receive side.
	polled    [2]unix.PollFd
	sleeping  atomic.Uint32 // 1 while the receive side is, or is about to be, in poll; read by Wake
	woken     atomic.Uint32 // 1 from a Wake until a WaitReceive has seen it
	rxInvalid atomic.Uint64
	rxCalls   atomic.Uint64

	mappedRings

	// Send side.
	unsent      [unsentRoom]uint32 // refused frames, taken back by Reclaim
	unsentCount int
	again       bool  // the kernel would take no more at the last doorbell
	kicked      int64 // when an empty Reclaim last rang for that, CLOCK_MONOTONIC ns
	idle        int   // empty Reclaims in a row
	sendPolled  [1]unix.PollFd
	sendSleeps  atomic.Uint32 // 1 while the send side is in poll; read by Stop
	txInvalid   atomic.Uint64
	txDropped   atomic.Uint64
	txCalls     atomic.Uint64

	stamped bool       // received frames may have a stamp before them
	txFlags link.Flags // requests for frames to send that are honoured
	txRoom  uint16     // for requests before each frame to send, bytes
	sentAt  []int64    // the link's

	drained int // next buffer that Drain looks at
	last    unix.XDPStatistics
}

// newQueue opens the descriptors of a queue, in the calling thread's namespace.
func newQueue(l *Link, id, slot int) (q *queue, err error) {
	say := func(what string, errno unix.Errno) error {
		return fmt.Errorf("afxdp: %s: queue %d: %s: %w", l.dev.name, id, what, errno)
	}
	q = &queue{
		link: l, id: id, slot: slot, rxFD: -1, txFD: -1, wakeFD: -1, haltFD: -1,
		errGone:   say("the interface is gone: close the link", unix.ENODEV),
		errDown:   say("the interface is down: frames wait until it is up", unix.ENETDOWN),
		errFailed: say("the socket has failed: close the link and open it again", unix.EIO),
	}
	for _, fd := range []*int{&q.rxFD, &q.txFD} {
		if *fd, err = newSocket(); err != nil {
			return nil, errors.Join(err, q.close())
		}
	}
	for _, fd := range []*int{&q.wakeFD, &q.haltFD} {
		if *fd, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
			return nil, errors.Join(fmt.Errorf("make an eventfd: %w", err), q.close())
		}
	}
	return q, nil
}

// start makes the rings after the layout and binds the sockets. The first
// queue's receive socket has the UMEM; the others share it.
func (q *queue) start(m *link.Memory, held []uint16) error {
	layout := m.Layout()
	q.memory, q.held = m, held
	q.txFlags, q.txRoom = q.link.requests.flags, uint16(q.link.requests.room)
	q.sentAt = q.link.sentAt
	q.stamped = q.link.gate.maps.rx != nil
	q.shift = uint32(bits.TrailingZeros(uint(layout.BufferSize)))
	q.polled = [2]unix.PollFd{{Fd: int32(q.rxFD), Events: unix.POLLIN}, {Fd: int32(q.wakeFD), Events: unix.POLLIN}}
	q.sendPolled = [1]unix.PollFd{{Fd: int32(q.haltFD), Events: unix.POLLIN}}
	// Each buffer of the region, received ones of other queues included, may
	// be sent here: with room for all, Send never finds the ring full, and
	// the kernel never lacks room for a completion.
	txSize := uint32(1) << bits.Len(uint(max(layout.Buffers(), minRing)-1))
	rxSize := uint32(max(layout.RXBuffers, minRing))
	if err := q.makeRings(q.rxFD, q.txFD, rxSize, txSize); err != nil {
		return err
	}
	to := unix.SockaddrXDP{Ifindex: uint32(q.link.dev.index), QueueID: uint32(q.id), Flags: unix.XDP_USE_NEED_WAKEUP | unix.XDP_COPY}
	if q.link.capabilities.ZeroCopy {
		to.Flags = unix.XDP_USE_NEED_WAKEUP | unix.XDP_ZEROCOPY
	}
	if q.slot > 0 {
		to.Flags, to.SharedUmemFD = unix.XDP_SHARED_UMEM, uint32(q.link.queues[0].rxFD)
	}
	if err := bindSocket(q.rxFD, &to); err != nil {
		return err
	}
	to.Flags, to.SharedUmemFD = unix.XDP_SHARED_UMEM, uint32(q.rxFD)
	if err := bindSocket(q.txFD, &to); err != nil {
		return err
	}
	tuneSend(q.txFD, txSize)
	if got, err := isZeroCopy(q.rxFD); err != nil || got != q.link.capabilities.ZeroCopy {
		return errors.Join(fmt.Errorf("queue %d: zero copy is %v and was %v at Open", q.id, got, q.link.capabilities.ZeroCopy), err)
	}
	return nil
}

// detach takes the sockets from the queue: see Link.halt. An eventfd that is
// readable takes their numbers, so that a number in use by a side of the queue
// cannot become another file of the process.
func (q *queue) detach() error {
	q.last = q.counters()
	err := q.mappedRings.detach()
	return errors.Join(err, unix.Dup3(q.haltFD, q.txFD, unix.O_CLOEXEC), unix.Dup3(q.wakeFD, q.rxFD, unix.O_CLOEXEC))
}

// close gives back the descriptors and the rings' addresses.
func (q *queue) close() error {
	err := q.unmap()
	q.sentinel.close()
	for _, fd := range []*int{&q.rxFD, &q.txFD, &q.wakeFD, &q.haltFD} {
		if *fd >= 0 {
			err = errors.Join(err, unix.Close(*fd))
			*fd = -1
		}
	}
	return err
}

// Receive implements link.Queue.
func (q *queue) Receive(frames []link.Frame) int {
	n := q.take(frames)
	if q.stamped {
		q.takeStamps(frames[:n])
	}
	return n
}

// take is Receive without times.
//
//oobnet:hot
func (q *queue) take(frames []link.Frame) int {
	n := q.rx.ready(uint32(len(frames)))
	if n == 0 {
		return 0
	}
	mask := uint64(1)<<q.shift - 1
	valid := 0
	for i := range n {
		d := q.rx.slot(q.rx.cons + i)
		f := link.Frame{Index: uint32(d.Addr >> q.shift), Off: uint16(d.Addr & mask), Len: uint16(d.Len)}
		if !q.memory.Valid(f) {
			continue
		}
		frames[valid] = f
		valid++
	}
	// Stop sets this long before it takes the ring away: if it is not set
	// now, what was read above was the kernel's.
	if q.link.stopped.Load() {
		return 0
	}
	// A driver with an error may hand out a buffer that the device has not.
	mark := uint16(q.slot*2 + markReceive)
	good := 0
	for _, f := range frames[:valid] {
		if q.held[f.Index] != mark {
			continue
		}
		q.held[f.Index] = 0
		frames[good] = f
		good++
	}
	q.rx.release(n)
	if bad := n - uint32(good); bad > 0 {
		q.rxInvalid.Add(uint64(bad))
	}
	return good
}

// Fill implements link.Queue. A buffer that is not this queue's own, or that
// the device already has, is taken and counted as invalid; if it was the
// caller's, Drain gives it back.
func (q *queue) Fill(bufs []uint32) int {
	n := q.fill.free(uint32(len(bufs)))
	if n == 0 {
		return 0
	}
	mark := uint16(q.slot*2 + markReceive)
	var put uint32
	for _, b := range bufs[:n] {
		if int(b) >= len(q.held) || q.held[b] != 0 {
			continue
		}
		q.held[b] = mark
		if q.memory.Home(b) != q.slot {
			continue
		}
		*q.fill.slot(q.fill.prod + put) = uint64(b) << q.shift
		put++
	}
	q.fill.publish(put)
	if put != n {
		q.rxInvalid.Add(uint64(n - put))
	}
	if q.fill.needWakeup() {
		// A driver with zero copy that ran dry sleeps until it is called.
		q.rxCalls.Add(1)
		_, _, _ = unix.Syscall6(unix.SYS_RECVFROM, uintptr(q.rxFD), 0, 0, unix.MSG_DONTWAIT, 0, 0)
	}
	return int(n)
}

// Drain implements link.Queue. The rings are gone by now; the marks are not.
func (q *queue) Drain(bufs []uint32) int {
	if !q.link.stopped.Load() {
		return 0
	}
	receive, send := uint16(q.slot*2+markReceive), uint16(q.slot*2+markSend)
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

// FD implements link.Queue: the receive socket. After Stop it is readable.
func (q *queue) FD() int { return q.rxFD }

// Stats implements link.Queue.
func (q *queue) Stats() link.QueueStats {
	q.link.mu.Lock()
	defer q.link.mu.Unlock()
	c := q.counters()
	s := link.QueueStats{
		RXNoBuffer: c.Rx_fill_ring_empty_descs,
		RXRingFull: c.Rx_ring_full,
		RXInvalid:  c.Rx_invalid_descs + q.rxInvalid.Load(),
		TXInvalid:  c.Tx_invalid_descs + q.txInvalid.Load(),
		TXDropped:  q.txDropped.Load(),
		Wakeups:    q.rxCalls.Load() + q.txCalls.Load(),
	}
	// A copied frame that found no buffer is counted as dropped as well.
	if c.Rx_dropped > s.RXNoBuffer {
		s.RXInvalid += c.Rx_dropped - s.RXNoBuffer
	}
	return s
}

// counters asks the kernel, or returns what it said last: the sockets of a
// stopped link are gone. The link's lock is held.
func (q *queue) counters() unix.XDPStatistics {
	if q.link.stopped.Load() && q.last != (unix.XDPStatistics{}) {
		return q.last
	}
	var rx, tx unix.XDPStatistics
	if socketOption(q.rxFD, unix.XDP_STATISTICS, &rx) != nil || socketOption(q.txFD, unix.XDP_STATISTICS, &tx) != nil {
		return q.last
	}
	rx.Tx_invalid_descs += tx.Tx_invalid_descs
	return rx
}
