package stack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/oobnet/oobnet/internal/ring"
	"github.com/oobnet/oobnet/link"
)

// A Resize that takes buffers away looks for them at these intervals, doubling:
// most are at home, or come home with the traffic, and a look at the whole of a
// large pool takes a tenth of a millisecond.
const (
	firstShrinkPause = 500 * time.Microsecond
	lastShrinkPause  = 20 * time.Millisecond
)

// recallAfter is how long a Resize leaves it to the traffic to bring buffers out
// of a device's receive ring: 4096 of them in 20 ms are 200 000 frames a second.
// After that the queue has little to do, and misses little when it is recalled.
const recallAfter = 20 * time.Millisecond

// ResizeRX changes how many receive buffers a queue has, from 1 to
// DeviceConfig.MaxRXBuffers, while frames flow. New buffers get memory first; the
// memory of those that go, the last ones, goes back to the machine in chunks of
// 2 MiB, each when all its buffers have come home.
//
// Buffers come home as sockets and applications release them, and out of the
// device's ring as frames come into them; the ring of a queue that receives
// little is emptied after 20 ms, where frames that come in that moment can be lost.
// ResizeRX waits for all of them, and returns how many are still out when ctx
// ends: then the error wraps ctx.Err, what is out stays so until it comes home,
// and another call, with the same size, takes up where this one ended. In manual
// mode the buffers move when the application polls; with a ctx that has ended
// ResizeRX does not wait, for a goroutine that polls itself.
//
// Any goroutine; calls go one after the other. Errors wrap EINVAL for a size or
// queue out of range, link.ErrNotSupported where DeviceConfig has no maxima,
// ENOMEM or what else the link says (then nothing has changed), net.ErrClosed.
func (d *Device) ResizeRX(ctx context.Context, queue, buffers int) (out int, err error) {
	if queue < 0 || queue >= len(d.rx) {
		return 0, fmt.Errorf("stack: resize %s: queue %d: %w: there are %d, from 0", d.name, queue, syscall.EINVAL, len(d.rx))
	}
	return d.resize(ctx, d.rx[queue], &d.rx[queue].section, buffers)
}

// ResizePool changes the size of the TX pool, from 1 to DeviceConfig.MaxPoolSize
// buffers, while frames flow: see ResizeRX. Buffers come home as frames leave, and
// as applications send or discard their leases. Senders notice only that there is
// more, or less.
func (d *Device) ResizePool(ctx context.Context, buffers int) (out int, err error) {
	return d.resize(ctx, &d.pool, &d.pool.section, buffers)
}

// section is a part of the index space whose size changes: a queue's receive
// buffers, or the TX pool.
type section struct {
	dev  *Device
	what string
	// from is its first buffer, max how many there can be.
	from, max int
	// size is how many there are to be, away how many have been put aside and are
	// the control path's: a Resize writes them, statistics read them.
	size, away atomic.Int32
	// aside takes what is to go: whoever finds it pushes, a Resize takes.
	aside ring.Pile
	// begun is when the buffers that are out were asked for: who has the turn.
	begun time.Time
}

// pooled is what a Resize asks of a section, on the control path.
type pooled interface {
	// bound has buffers from size on put aside from now on, settled says that
	// none of them is out.
	bound(size int)
	settled()
	// nudge looks for buffers that are to go, also in the device's ring.
	nudge(recall bool)
	// add puts buffers into circulation.
	add(indexes []uint32)
}

func (s *section) init(d *Device, what string, from, most, size int) {
	s.dev, s.what, s.from, s.max = d, what, from, most
	s.aside.Init(d.next)
	s.size.Store(int32(size))
	for i := from + size; i < from+most; i++ {
		d.memory.parked.flip(uint32(i))
	}
	s.away.Store(int32(most - size))
}

// excess is how many buffers are to go and still out.
func (s *section) excess() int {
	return max(0, s.max-int(s.size.Load())-int(s.away.Load())-s.aside.Len())
}

// circulating is how many buffers are in use, or could be.
func (s *section) circulating() int { return s.max - int(s.away.Load()) - s.aside.Len() }

// memory is what a device knows of the memory behind its buffers. It belongs to
// whoever has the turn.
type memory struct {
	// turn has room for one: the Resize under way, or Close, which keeps it.
	turn chan struct{}
	link link.Resizer // nil: the memory does not change
	// parked are the buffers that nobody has: with or without memory.
	parked bitset
	// populated says of each chunk whether it has memory.
	populated []bool
	chunk     int // buffers
	// bytes that have memory: written with the turn, read by statistics.
	bytes atomic.Int64
}

func (m *memory) init(d *Device) {
	m.turn = make(chan struct{}, 1)
	m.parked = make(bitset, (d.layout.Buffers()+63)/64)
	m.bytes.Store(int64(d.layout.Bytes()))
	if !d.layout.Resizable() {
		return
	}
	m.link, _ = d.link.(link.Resizer)
	m.chunk = d.layout.Chunk()
	m.populated = make([]bool, (d.layout.Buffers()+m.chunk-1)/m.chunk)
	m.bytes.Store(0)
	for first, n := range d.layout.Populated() {
		m.note(d, first, n, true)
	}
}

// note notes that whole chunks have memory, or have none.
func (m *memory) note(d *Device, first, n int, populated bool) {
	for i := first / m.chunk; i*m.chunk < first+n; i++ {
		m.populated[i] = populated
	}
	if !populated {
		n = -n
	}
	m.bytes.Add(int64(n) * int64(d.layout.BufferSize))
}

func (d *Device) resize(ctx context.Context, p pooled, s *section, buffers int) (out int, err error) {
	fail := func(err error) error { return fmt.Errorf("stack: resize %s: %s: %w", d.name, s.what, err) }
	m := &d.memory
	switch {
	case m.link == nil:
		return 0, fail(fmt.Errorf("%w: their memory is fixed: set DeviceConfig.MaxRXBuffers or MaxPoolSize", link.ErrNotSupported))
	case buffers < 1 || buffers > s.max:
		return 0, fail(fmt.Errorf("%d buffers: %w: want 1 to %d", buffers, syscall.EINVAL, s.max))
	}
	if err := m.begin(ctx, d); err != nil {
		return 0, fail(err)
	}
	defer func() { <-m.turn }()
	if err := m.populate(d, s, buffers); err != nil {
		return 0, fail(err)
	}
	if int(s.size.Swap(int32(buffers))) != buffers {
		s.begun = time.Now()
	}
	p.bound(buffers)
	m.park(d, s)
	m.unpark(p, s, buffers)
	out, err = m.shrink(ctx, d, p, s)
	if err != nil {
		return out, fail(err)
	}
	p.settled()
	return 0, nil
}

// begin waits for the turn. With a ctx that has ended it does not wait.
func (m *memory) begin(ctx context.Context, d *Device) error {
	select {
	case m.turn <- struct{}{}:
	default:
		select {
		case m.turn <- struct{}{}:
		case <-ctx.Done():
			return fmt.Errorf("another Resize is under way: %w", ctx.Err())
		case <-d.closing:
			return net.ErrClosed
		}
	}
	err := error(nil)
	if d.stopping.Load() {
		err = net.ErrClosed
	} else if d.dead.Load() {
		err = d.Fault()
	}
	if err != nil {
		<-m.turn
	}
	return err
}

// populate gives memory to the chunks of the first buffers of a section that
// have none; on an error to none of them.
func (m *memory) populate(d *Device, s *section, buffers int) error {
	var runs [][2]int
	for first := s.from; first < s.from+buffers; first += m.chunk {
		if m.populated[first/m.chunk] {
			continue
		}
		n := min(m.chunk, d.layout.Buffers()-first)
		if last := len(runs) - 1; last >= 0 && runs[last][0]+runs[last][1] == first {
			runs[last][1] += n
			continue
		}
		runs = append(runs, [2]int{first, n})
	}
	for i, run := range runs {
		err := m.link.Populate(run[0], run[1])
		if err == nil {
			m.note(d, run[0], run[1], true)
			continue
		}
		for _, done := range runs[:i] {
			err = errors.Join(err, m.release(d, done[0], done[1]))
		}
		return err
	}
	return nil
}

func (m *memory) release(d *Device, first, n int) error {
	err := m.link.Release(first, n)
	if err == nil {
		m.note(d, first, n, false)
	}
	return err
}

// park takes what was put aside.
func (m *memory) park(d *Device, s *section) {
	n := 0
	top, _ := s.aside.TakeAll()
	d.follow(top, func(index uint32) {
		m.parked.flip(index)
		n++
	})
	s.away.Add(int32(n))
}

// unpark puts those of the first buffers of a section that are nobody's into
// circulation.
func (m *memory) unpark(p pooled, s *section, buffers int) {
	bite := make([]uint32, 0, txDone)
	for i := s.from; i < s.from+buffers; i++ {
		if m.parked.has(uint32(i)) {
			m.parked.flip(uint32(i))
			bite = append(bite, uint32(i))
		}
		if len(bite) == cap(bite) || len(bite) > 0 && i == s.from+buffers-1 {
			s.away.Add(-int32(len(bite)))
			p.add(bite)
			bite = bite[:0]
		}
	}
}

// shrink waits for the buffers beyond the size of a section, and gives the memory
// of whole chunks back. It returns how many are still out.
func (m *memory) shrink(ctx context.Context, d *Device, p pooled, s *section) (out int, err error) {
	pause := firstShrinkPause
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		if out = s.max - int(s.size.Load()) - int(s.away.Load()); out > 0 {
			p.nudge(time.Since(s.begun) >= recallAfter)
			m.park(d, s)
			out = s.max - int(s.size.Load()) - int(s.away.Load())
		}
		if err := m.releaseWhole(d, s); err != nil || out == 0 {
			return out, err
		}
		timer.Reset(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			return out, fmt.Errorf("%d of the buffers beyond %d are still out, with sockets, leases, or a device that receives nothing: release them, and call again: %w",
				out, s.size.Load(), ctx.Err())
		case <-d.closing:
			return out, net.ErrClosed
		}
		if d.dead.Load() {
			return out, d.Fault()
		}
		pause = min(2*pause, lastShrinkPause)
	}
}

// releaseWhole gives back the memory of the chunks of which nobody has a buffer.
func (m *memory) releaseWhole(d *Device, s *section) error {
	for first := (s.from + int(s.size.Load()) + m.chunk - 1) / m.chunk * m.chunk; first < s.from+s.max; first += m.chunk {
		n := min(m.chunk, d.layout.Buffers()-first)
		if !m.populated[first/m.chunk] || !m.allParked(first, n) {
			continue
		}
		if err := m.release(d, first, n); err != nil {
			return err
		}
	}
	return nil
}

func (m *memory) allParked(first, n int) bool {
	for i := first; i < first+n; i++ {
		if !m.parked.has(uint32(i)) {
			return false
		}
	}
	return true
}
