package stack

import (
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/oobnet/oobnet/internal/ring"
	"github.com/oobnet/oobnet/link"
)

// EVL's sizes of a TX pool (its documentation, evl-net(1) and the port
// parameters).
const (
	// DefaultPoolSize and MaxPoolSize of a device's TX pool, buffers.
	DefaultPoolSize = 2048
	MaxPoolSize     = 32768
)

// HeaderRoom is what Alloc leaves in front of a frame's payload, bytes: an
// Ethernet header with a tag, an IPv4 and a UDP header take 46, and a payload
// that starts a cache line is copied fastest.
const HeaderRoom = 64

// cacheLine of the machines that oobnet runs on, bytes.
const cacheLine = 64

// inBandShare of the pool, as a divisor, is what the in-band stage leaves to
// the sockets: it gets no buffer when no more than 1/inBandShare is free.
const inBandShare = 4

// allocPoll is how often a sender that waits for a buffer looks for completed
// ones itself: devices that complete in silence wake nobody.
const allocPoll = time.Millisecond

// pool is a device's TX pool. Buffers of sockets, of the in-band stage and of
// zero-copy leases all come from it.
type pool struct {
	section
	free ring.List
	// stash takes from free what stays while ResizePool looks through it: senders
	// that find free empty look here.
	stash ring.List
	// first is the pool's first buffer. Those from first+used on are put aside by
	// who brings them home: ResizePool writes it, everybody reads it.
	first uint32
	used  atomic.Uint32
	// leave is how many buffers senders of each priority leave to those of
	// higher ones; all 0 where the device does not tell them apart. ResizePool
	// writes it, senders read it.
	leave    [Priorities]atomic.Int32
	queueing Queueing
	// colours - 1: buffers are a power of two apart, so that the same offset
	// in each of them falls on the same few sets of a cache. Frames start at
	// one of so many lines instead.
	colourMask uint32
	// waiters counts the senders in allocWait; freed wakes one of them.
	waiters atomic.Int32
	freed   chan struct{}
	empty   atomic.Uint64 // times that the pool was found empty
}

func (p *pool) init(d *Device) {
	layout, size := d.layout, d.cfg.PoolSize
	links := ring.NewLinks(layout.Buffers())
	p.free.Init(links)
	p.stash.Init(links)
	p.section.init(d, "TX pool", layout.RXTotal(), layout.TXBuffers, size)
	p.first, p.queueing = uint32(layout.RXTotal()), d.cfg.Queueing
	p.bound(size)
	p.freed = make(chan struct{}, 1)
	for i := layout.RXTotal() + size - 1; i >= layout.RXTotal(); i-- {
		p.free.Push(uint32(i))
	}
	colours := 16
	for colours > 1 && HeaderRoom+d.link.MTU()+colours*cacheLine > layout.BufferSize {
		colours /= 2
	}
	p.colourMask = uint32(colours - 1)
}

// take takes a buffer, if there is one.
//
//oobnet:hot
func (p *pool) take() (index uint32, ok bool) {
	if index, ok = p.free.Pop(); !ok {
		index, ok = p.stash.Pop()
	}
	return index, ok
}

// put takes a buffer back.
//
//oobnet:hot
func (p *pool) put(index uint32) {
	if index-p.first >= p.used.Load() {
		p.aside.Push(index)
		return
	}
	p.free.Push(index)
	p.wake()
}

// left is how many buffers are free.
func (p *pool) left() int { return p.free.Len() + p.stash.Len() }

// frame is an empty frame in a buffer: its payload starts at a cache line.
//
//oobnet:hot
func (p *pool) frame(index uint32) link.Frame {
	return link.Frame{Index: index, Off: uint16(HeaderRoom + (index&p.colourMask)*cacheLine)}
}

// wake wakes a sender that waits, if there is one.
func (p *pool) wake() {
	if p.waiters.Load() > 0 {
		select {
		case p.freed <- struct{}{}:
		default:
		}
	}
}

// Alloc takes a buffer from the TX pool. The frame is empty: Off is where the
// payload goes, with HeaderRoom bytes before it for headers; whoever sends it
// sets Off and Len to what was built. The buffer is the caller's until Send,
// SendBatch or Free. It does not wait: an empty pool is ENOBUFS, a device that
// is down ENETDOWN, one that is closed net.ErrClosed.
//
//oobnet:hot
func (d *Device) Alloc() (link.Frame, error) {
	if err := d.fault.Load(); err != nil {
		return link.Frame{}, err.error
	}
	index, ok := d.pool.free.Pop()
	if !ok {
		return d.allocSlow()
	}
	return d.pool.frame(index), nil
}

// allocSlow looks for completed buffers before it gives up.
func (d *Device) allocSlow() (link.Frame, error) {
	d.settle()
	if index, ok := d.pool.take(); ok {
		return d.pool.frame(index), nil
	}
	d.pool.empty.Add(1)
	return link.Frame{}, errNoBuffer
}

// errNoBuffer is one value: a sender that polls an empty pool allocates nothing.
var errNoBuffer = fmt.Errorf("stack: the TX pool is empty: %w", syscall.ENOBUFS)

// AllocFor is Alloc for a sender of a priority. With StrictPriority it leaves
// the last buffers to those of higher priorities: for them the pool is not empty
// yet (ENOBUFS).
//
//oobnet:hot
func (d *Device) AllocFor(priority int) (link.Frame, error) {
	if leave := int(d.pool.leave[priority&(Priorities-1)].Load()); leave != 0 && d.pool.free.Len() <= leave {
		return d.allocShare(leave)
	}
	return d.Alloc()
}

// allocShare looks for completed buffers before it gives up.
func (d *Device) allocShare(leave int) (link.Frame, error) {
	d.settle()
	if d.pool.left() > leave {
		return d.Alloc()
	}
	if err := d.fault.Load(); err != nil {
		return link.Frame{}, err.error
	}
	d.pool.empty.Add(1)
	return link.Frame{}, errNoBuffer
}

// AllocWait is AllocFor that waits for a buffer until one of the channels
// closes: after deadline it returns ENOBUFS wrapped, and what to make of it is
// the caller's to say; after closed, net.ErrClosed. A nil channel never closes.
func (d *Device) AllocWait(priority int, deadline, closed <-chan struct{}) (f link.Frame, err error) {
	f, err = d.AllocFor(priority)
	if !errors.Is(err, errNoBuffer) {
		return f, err
	}
	d.pool.waiters.Add(1)
	defer d.pool.waiters.Add(-1)
	timer := time.NewTimer(allocPoll)
	defer timer.Stop()
	for {
		f, err = d.AllocFor(priority)
		if !errors.Is(err, errNoBuffer) {
			return f, err
		}
		select {
		case <-d.pool.freed:
		case <-timer.C:
			timer.Reset(allocPoll)
		case <-deadline:
			return f, errNoBuffer
		case <-closed:
			return f, net.ErrClosed
		case <-d.closing:
			return f, net.ErrClosed
		}
	}
}

// Free gives back a buffer that was not sent.
//
//oobnet:hot
func (d *Device) Free(f link.Frame) { d.pool.put(f.Index) }

// Release gives back a received buffer that a protocol took, or a copy of one.
// Any goroutine.
//
//oobnet:hot
func (d *Device) Release(index uint32) {
	if q := int(index >> d.rxShift); q < len(d.rx) {
		d.rx[q].home.Push(index)
		return
	}
	d.pool.put(index)
}

// Share makes n sockets the owners of one received buffer, before any of them
// can know it; each gives it back by ReleaseShared. They may read it only.
func (d *Device) Share(index uint32, n int) { d.shares[index].Store(int32(n)) }

// ReleaseShared gives back one socket's part in a shared buffer; the last one
// returns the buffer to its queue.
//
//oobnet:hot
func (d *Device) ReleaseShared(index uint32) {
	if d.shares[index].Add(-1) == 0 {
		d.Release(index)
	}
}

// takeBack returns completed buffers to where they are at home. Received ones
// that were sent as they are go to their queue, and what the pool is to lose is
// put aside.
//
//oobnet:hot
func (d *Device) takeBack(indexes []uint32) {
	own, first, used := 0, d.pool.first, d.pool.used.Load()
	for _, index := range indexes {
		if index-first >= used { // a received one's is below first
			d.Release(index)
			continue
		}
		indexes[own] = index
		own++
	}
	d.pool.free.PushAll(indexes[:own])
	d.pool.wake()
}
