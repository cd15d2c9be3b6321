package bench

import (
	"fmt"
	"net"
	"time"

	"github.com/oobnet/oobnet/internal/offheap"
	"github.com/oobnet/oobnet/link"
)

// memHeadroom is what stands free before each received frame: as much as
// AF_XDP leaves for the program's metadata (XDP_PACKET_HEADROOM).
const memHeadroom = 256

// memLink is the least a link can be, so that a contest measures the stack
// and nothing below it: received frames are written into the buffers before
// the clock starts, and sent ones are forgotten as soon as they are taken. It
// is for one goroutine.
type memLink struct {
	region *offheap.Region
	mem    *link.Memory

	free   []uint32 // given by Fill, oldest first from head on; a ring, its length a power of two
	head   int
	filled int

	armed []link.Frame // placed by arm, not yet received
	taken int          // how many of armed Receive has handed out
	done  []uint32     // sent, not yet reclaimed
	sent  uint64
	stop  bool
}

func (l *memLink) Name() string      { return "bench0" }
func (l *memLink) MAC() link.MAC     { return ownMAC }
func (l *memLink) MTU() int          { return 1500 }
func (l *memLink) Queues() int       { return 1 }
func (l *memLink) State() link.State { return link.Up }

// Capabilities claim no checksum work, so that the stack does it.
func (l *memLink) Capabilities() link.Capabilities {
	return link.Capabilities{Driver: "bench", Mode: "memory", MaxBufferSize: link.MaxBufferSize, RXHeadroom: memHeadroom}
}

func (l *memLink) Attach(layout link.Layout) (*link.Memory, error) {
	region, err := offheap.Map(layout.Bytes())
	if err != nil {
		return nil, err
	}
	mem, err := link.NewMemory(region.Bytes(), layout)
	if err != nil {
		region.Close()
		return nil, err
	}
	l.region, l.mem = region, mem
	l.free = make([]uint32, layout.RXBuffers)
	l.armed = make([]link.Frame, 0, layout.RXBuffers)
	l.done = make([]uint32, 0, layout.Buffers())
	return mem, nil
}

func (l *memLink) Queue(int) link.Queue { return l }
func (l *memLink) Stop() error          { l.stop = true; return nil }

func (l *memLink) Close() error {
	l.stop = true
	if l.region == nil {
		return nil
	}
	return l.region.Close()
}

// arm writes frame into the next n buffers of the fill ring, as a device
// would, and lets port choose each one's destination port, unless it is nil.
func (l *memLink) arm(frame []byte, n int, port func() uint16) error {
	if l.taken < len(l.armed) {
		return fmt.Errorf("bench: %d frames were not received", len(l.armed)-l.taken)
	}
	l.armed, l.taken = l.armed[:0], 0
	if n > l.filled {
		return fmt.Errorf("bench: %d buffers in the fill ring, %d frames to place", l.filled, n)
	}
	for range n {
		f := link.Frame{Index: l.pop(), Off: memHeadroom, Len: uint16(len(frame))}
		b := l.mem.Bytes(f)
		copy(b, frame)
		if port != nil {
			setDstPort(b, port())
		}
		l.armed = append(l.armed, f)
	}
	return nil
}

func (l *memLink) pop() uint32 {
	i := l.free[l.head]
	l.head = (l.head + 1) & (len(l.free) - 1)
	l.filled--
	return i
}

func (l *memLink) Receive(frames []link.Frame) int {
	n := copy(frames, l.armed[l.taken:])
	l.taken += n
	return n
}

func (l *memLink) Fill(bufs []uint32) int {
	n := min(len(bufs), len(l.free)-l.filled)
	tail := l.head + l.filled
	for i, b := range bufs[:n] {
		l.free[(tail+i)&(len(l.free)-1)] = b
	}
	l.filled += n
	return n
}

func (l *memLink) Send(frames []link.Frame) int {
	for i := range frames {
		l.done = append(l.done, frames[i].Index)
	}
	l.sent += uint64(len(frames))
	return len(frames)
}

func (l *memLink) Flush() error { return nil }

func (l *memLink) Reclaim(bufs []uint32) int {
	n := min(len(bufs), len(l.done))
	copy(bufs, l.done[len(l.done)-n:])
	l.done = l.done[:len(l.done)-n]
	return n
}

func (l *memLink) WaitReceive(time.Duration) error { return l.wait() }
func (l *memLink) WaitSend(time.Duration) error    { return l.wait() }

// wait never waits: everything is done by the time of the call.
func (l *memLink) wait() error {
	if l.stop {
		return net.ErrClosed
	}
	return nil
}

func (l *memLink) Wake()                  {}
func (l *memLink) FD() int                { return -1 }
func (l *memLink) Stats() link.QueueStats { return link.QueueStats{} }

func (l *memLink) Drain(bufs []uint32) int {
	n := 0
	for n < len(bufs) && l.filled > 0 {
		bufs[n] = l.pop()
		n++
	}
	for n < len(bufs) && l.taken < len(l.armed) {
		bufs[n] = l.armed[l.taken].Index
		l.taken++
		n++
	}
	return n + l.Reclaim(bufs[n:])
}
