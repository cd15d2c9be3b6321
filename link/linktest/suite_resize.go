package linktest

import (
	"errors"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/oobnet/oobnet/link"
)

// testResize takes the memory from buffers of a link that is a [link.Resizer],
// and gives it back: first the half of the pool that had none, then a queue's.
func testResize(t *testing.T, open func(t *testing.T) Wire) {
	w := open(t).settled()
	l, ok := w.Link.(link.Resizer)
	if !ok {
		w.Link.Close()
		t.Skip("the memory of this link is fixed at Attach: it is no link.Resizer")
	}
	w.Layout.TXBuffers = 2 * w.Layout.Chunk()
	w.Layout.RXPopulated, w.Layout.TXPopulated = w.Layout.RXBuffers, w.Layout.Chunk()
	r := newRig(t, w)
	r.fill()
	half := w.Layout.RXTotal() + w.Layout.Chunk()
	late := r.tx[w.Layout.Chunk():]
	r.have(r.tx[:w.Layout.Chunk()])
	r.unpopulated(half)
	r.exchange()

	r.resize(l.Populate, half, w.Layout.Chunk(), nil)
	r.reclaimAll()
	first := r.tx
	r.have(late)
	r.exchange()
	r.reclaimAll()
	r.resize(l.Populate, half, w.Layout.Chunk(), syscall.EINVAL)
	r.resize(l.Release, half, w.Layout.Chunk()-1, syscall.EINVAL)
	r.resize(l.Release, w.Layout.RXTotal(), w.Layout.Chunk(), nil)
	r.resize(l.Release, w.Layout.RXTotal(), w.Layout.Chunk(), syscall.EINVAL)
	r.unpopulated(w.Layout.RXTotal())
	r.exchange()

	r.resizeQueue(l)
	r.exchange()
	r.reclaimAll()
	r.resize(l.Populate, w.Layout.RXTotal(), w.Layout.Chunk(), nil)
	r.have(append(first, r.tx...))
	r.exchange()
	if err := r.shadow.Stop(); err != nil {
		t.Errorf("Stop: %v", err)
	}
	r.resize(l.Release, half, w.Layout.Chunk(), net.ErrClosed)
	r.resize(l.Populate, half, w.Layout.Chunk(), net.ErrClosed)
	r.finish()
}

// have makes bufs the TX buffers that there are.
func (r *rig) have(bufs []uint32) {
	r.tx, r.Layout.TXBuffers = append([]uint32(nil), bufs...), len(bufs)
}

// resize populates or releases buffers, and expects an error to be what it is.
func (r *rig) resize(call func(first, n int) error, first, n int, want error) {
	r.t.Helper()
	if err := call(first, n); !errors.Is(err, want) {
		r.t.Fatalf("buffers %d to %d: %v, want %v", first, first+n, err, want)
	}
}

// unpopulated sends a buffer without memory: it is taken, counted and comes back.
func (r *rig) unpopulated(index int) {
	r.t.Helper()
	q := r.queues[0]
	before := q.Stats().TXInvalid
	if r.mem.Valid(link.Frame{Index: uint32(index), Len: 100}) {
		r.t.Errorf("buffer %d has no memory and counts as valid", index)
	}
	if n := q.Send([]link.Frame{{Index: uint32(index), Len: 100}}); n != 1 {
		r.t.Fatalf("Send took %d frames without memory, want 1", n)
	}
	if err := q.Flush(); err != nil {
		r.t.Error(err)
	}
	for end := time.Now().Add(r.Timeout); ; _ = q.WaitSend(time.Millisecond) { // the loop looks itself
		if n := q.Reclaim(r.scratch); n == 1 && int(r.scratch[0]) == index {
			break
		} else if n > 0 || time.Now().After(end) {
			r.t.Fatalf("Reclaim returned %d buffers, %d first; want buffer %d, which has no memory", n, r.scratch[0], index)
		}
	}
	if n := q.Stats().TXInvalid - before; n != 1 {
		r.t.Errorf("%d frames without memory are counted as invalid, want 1", n)
	}
}

// exchange sends some frames each way.
func (r *rig) exchange() {
	r.t.Helper()
	sizes := repeatSizes(100, 64, 1000)
	r.receiveAll(newLedger(&r.Wire, r.Link.MAC(), sizes))
	r.reclaimAll()
	r.sendAll(newLedger(&r.Wire, r.PeerMAC, sizes))
	r.reclaimAll()
}

// resizeQueue takes the memory from all buffers of the last queue, which the
// device has, and gives it back.
func (r *rig) resizeQueue(l link.Resizer) {
	r.t.Helper()
	last, n := len(r.queues)-1, r.Layout.RXBuffers
	first := last * n
	r.fill()
	r.resize(l.Release, first, n, syscall.EBUSY)
	q := r.queues[last].(link.Recaller)
	for end := time.Now().Add(r.Timeout); len(r.rx[last]) < n; {
		got, again := q.Recall(uint32(first), r.scratch[:7])
		r.rx[last] = append(r.rx[last], r.scratch[:got]...)
		if !again && len(r.rx[last]) < n || time.Now().After(end) {
			r.t.Fatalf("%d of %d buffers were recalled, and again is %v", len(r.rx[last]), n, again)
		}
		if got == 0 {
			r.receiveOne(last)
			time.Sleep(time.Millisecond)
		}
	}
	r.resize(l.Release, first, n, nil)
	for b := first; b < first+n; b++ {
		if r.mem.Valid(link.Frame{Index: uint32(b), Len: 60}) {
			r.t.Fatalf("buffer %d has no memory and counts as valid", b)
		}
	}
	r.resize(l.Populate, first, n, nil)
	r.fill()
}

// receiveOne takes what a queue has received meanwhile.
func (r *rig) receiveOne(queue int) {
	n := r.queues[queue].Receive(r.in)
	for _, f := range r.in[:n] {
		r.rx[queue] = append(r.rx[queue], f.Index)
	}
}
