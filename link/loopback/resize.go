package loopback

import (
	"fmt"
	"net"
	"syscall"
	"time"

	"github.com/oobnet/oobnet/internal/offheap"
	"github.com/oobnet/oobnet/link"
)

// holdTimeout is how long Release waits for a Send under way, which takes
// microseconds, but can be off the processor.
const holdTimeout = time.Second

// makeRegion maps the memory of a layout, all of it or what it asks for. wire.mu
// is held.
func (l *Link) makeRegion(layout link.Layout) (*link.Memory, error) {
	if !layout.Resizable() {
		region, err := offheap.Map(layout.Bytes())
		if err != nil {
			return nil, err
		}
		l.wire.regions = append(l.wire.regions, region)
		return link.NewMemory(region.Bytes(), layout)
	}
	sparse, err := offheap.Reserve(layout.Bytes())
	if err != nil {
		return nil, err
	}
	l.wire.regions = append(l.wire.regions, sparse)
	mem, err := link.NewSparseMemory(sparse.Bytes(), layout)
	if err != nil {
		return nil, err
	}
	for first, n := range layout.Populated() {
		if err := populate(sparse, mem, first, n); err != nil {
			return nil, err
		}
	}
	l.sparse = sparse
	return mem, nil
}

func populate(sparse *offheap.Sparse, mem *link.Memory, first, n int) error {
	size := mem.Layout().BufferSize
	if _, err := sparse.Populate(first*size, n*size); err != nil {
		return err
	}
	mem.Mark(first, n, true)
	return nil
}

// Populate implements [link.Resizer].
func (l *Link) Populate(first, n int) error {
	l.wire.mu.Lock()
	defer l.wire.mu.Unlock()
	err := l.checkChunks(first, n, false)
	if err == nil {
		err = populate(l.sparse, l.mem, first, n)
	}
	if err != nil {
		return fmt.Errorf("loopback: %s: populate: %w", l.id.name, err)
	}
	return nil
}

// Release implements [link.Resizer].
func (l *Link) Release(first, n int) error {
	l.wire.mu.Lock()
	defer l.wire.mu.Unlock()
	err := l.checkChunks(first, n, true)
	if err == nil {
		err = l.release(first, n)
	}
	if err != nil {
		return fmt.Errorf("loopback: %s: release: %w", l.id.name, err)
	}
	return nil
}

func (l *Link) release(first, n int) error {
	for i := range l.queues {
		q := &l.queues[i]
		for end := time.Now().Add(holdTimeout); !q.hold(); time.Sleep(50 * time.Microsecond) {
			if time.Now().After(end) {
				return fmt.Errorf("the other end has been sending for %v: %w", holdTimeout, syscall.EBUSY)
			}
		}
		b, has := q.receiving(uint32(first), uint32(n))
		q.letGo()
		if has {
			return fmt.Errorf("queue %d still has buffer %d to receive into: %w", i, b, syscall.EBUSY)
		}
	}
	l.mem.Mark(first, n, false)
	size := l.mem.Layout().BufferSize
	return l.sparse.Release(first*size, n*size)
}

// checkChunks says why the memory of buffers cannot come, or go. wire.mu is held.
func (l *Link) checkChunks(first, n int, have bool) error {
	switch {
	case l.phase.Load() != running:
		return net.ErrClosed
	case l.sparse == nil:
		return fmt.Errorf("the layout says nothing of memory that comes and goes: set Layout.RXPopulated and TXPopulated: %w", link.ErrNotSupported)
	}
	layout := l.mem.Layout()
	if err := layout.CheckChunks(first, n); err != nil {
		return err
	}
	for b := first; b < first+n; b += layout.Chunk() {
		if l.mem.Populated(uint32(b)) != have {
			return fmt.Errorf("buffer %d has memory: %v: %w", b, !have, syscall.EINVAL)
		}
	}
	return nil
}

// hold keeps the peer's senders out of the rings of the receive side, until
// letGo. It reports false if one is in there, or another holds it. A sender sets
// its flag before it looks at ours, and we ours before we look at its: one of
// the two sees the other.
func (q *queue) hold() bool {
	if !q.rx.held.CompareAndSwap(0, 1) {
		return false
	}
	if q.peer.tx.sending.Load() != 0 {
		q.letGo()
		return false
	}
	return true
}

func (q *queue) letGo() { q.rx.held.Store(0) }

// receiving looks for a buffer, of n from first on, among those that the peer can
// write, and those that it has written. The queue is held: slots that are in use
// stay as they are, even if the receive side works meanwhile.
func (q *queue) receiving(first, n uint32) (uint32, bool) {
	fill, frames := &q.rx.fill, &q.rx.frames
	for at, head := fill.cons.tail.Load(), fill.prod.head.Load(); at != head; at++ {
		if b := fill.slots[at&fill.mask]; b-first < n {
			return b, true
		}
	}
	for at, head := frames.cons.tail.Load(), frames.prod.head.Load(); at != head; at++ {
		if b := frames.slots[at&frames.mask].Index; b-first < n {
			return b, true
		}
	}
	return 0, false
}

// Recall implements [link.Recaller].
func (q *queue) Recall(from uint32, bufs []uint32) (n int, again bool) {
	if q.link.phase.Load() != running || len(bufs) == 0 {
		return 0, false
	}
	if !q.hold() {
		return 0, true
	}
	defer q.letGo()
	// Held, the receive side is both parties of the ring. Each buffer goes once
	// round: out in front, and back in behind or to the caller.
	fill := &q.rx.fill
	_, ready := fill.ready(len(fill.slots))
	var one [1]uint32
	for range ready {
		fill.take(one[:])
		if one[0] >= from && n < len(bufs) {
			bufs[n] = one[0]
			n++
			continue
		}
		again = again || one[0] >= from
		fill.put(one[:])
	}
	return n, again
}

var _ link.Recaller = (*queue)(nil)
