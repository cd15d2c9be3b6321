package stack

import (
	"sync/atomic"

	"github.com/oobnet/oobnet/internal/ring"
)

// Inbox is a FIFO of received buffers of one device, from its RX threads to a
// socket. It has no memory of its own: a buffer is in one place at a time, and
// the device has room for one link of each. So a socket costs nothing that it does not
// hold, no inbox can be full, and whoever puts sees to the bounds.
//
// Put may be called by any number of RX threads. Take is for one reader at a
// time: another one that comes meanwhile is told that there is nothing yet,
// and looks again.
type Inbox struct {
	dev *Device
	// in takes what arrives, newest first.
	in ring.Pile
	// out is the first of what was taken off in, oldest first. Who holds
	// taking owns it.
	out    uint32
	taking atomic.Uint32
}

// Init makes the inbox empty, for buffers of d; nil: for none, ever. It goes
// before anybody else knows the inbox.
func (b *Inbox) Init(d *Device) {
	b.dev = d
	var next ring.Next
	if d != nil {
		next = d.next
	}
	b.in.Init(next)
	b.out = ring.Nil
}

// Device is whose buffers the inbox takes, or nil.
func (b *Inbox) Device() *Device { return b.dev }

// Put puts a buffer behind the others. It is the reader's from then on.
//
//oobnet:hot
func (b *Inbox) Put(index uint32) { b.in.Push(index) }

// PutAll is Put for a run of packets, oldest first, at the price of one.
//
//oobnet:hot
func (b *Inbox) PutAll(run []*Packet) {
	bottom := run[0].Frame.Index
	top := bottom
	for _, p := range run[1:] {
		b.in.SetNext(p.Frame.Index, top)
		top = p.Frame.Index
	}
	b.in.PushChain(top, bottom, len(run))
}

// Take takes the oldest buffer. It reports false if there is none, or if
// another reader is just taking one. Whoever takes one tells those that may
// have been turned away meanwhile.
//
//oobnet:hot
func (b *Inbox) Take() (index uint32, ok bool) {
	for b.taking.CompareAndSwap(0, 1) {
		if b.out == ring.Nil {
			b.out = b.in.TakeOldest()
		}
		index = b.out
		if index != ring.Nil {
			b.out = b.in.Next(index)
			b.taking.Store(0)
			return index, true
		}
		b.taking.Store(0)
		// What came behind the look above may have sent another reader here,
		// who was turned away and relies on this one.
		if b.in.Len() == 0 {
			break
		}
	}
	return 0, false
}
