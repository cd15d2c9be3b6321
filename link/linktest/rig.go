package linktest

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/oobnet/oobnet/link"
)

// rig is a wire in use: the link under test in a Shadow, attached, with what
// its caller holds. Its receive methods belong to one goroutine, its send
// methods to another; tests that need no concurrency call all from one.
type rig struct {
	Wire
	t      *testing.T
	shadow *Shadow
	mem    *link.Memory
	queues []link.Queue

	rx      [][]uint32 // by queue: receive buffers that the caller holds
	in      []link.Frame
	tx      []uint32 // TX buffers that the caller holds
	scratch []uint32
	borrow  []uint32 // received buffers that the send side has sent, back by Reclaim
	tags    [][]Tag  // of the frames that are built, by number; nil: none
	inject  int      // the queue where the next injected frame leaves, if there is no peer
}

const batchSize = 64 // of Receive and Reclaim; the stack's largest receive batch

// newRig attaches the wire and gives the link nothing yet.
func newRig(t *testing.T, w Wire) *rig {
	t.Helper()
	w = w.settled()
	r := &rig{Wire: w, t: t, in: make([]link.Frame, batchSize), scratch: make([]uint32, batchSize)}
	r.shadow = NewShadow(w.Link, func(err error) { t.Error(err) })
	t.Cleanup(func() {
		if err := w.Link.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	mem, err := r.shadow.Attach(w.Layout)
	if err != nil {
		t.Fatalf("Attach(%+v): %v", w.Layout, err)
	}
	r.mem = mem
	for i := range w.Layout.Queues {
		r.queues = append(r.queues, r.shadow.Queue(i))
		var own []uint32
		for b := range w.Layout.RXBuffers {
			own = append(own, uint32(i*w.Layout.RXBuffers+b))
		}
		r.rx = append(r.rx, own)
	}
	for b := w.Layout.RXTotal(); b < w.Layout.Buffers(); b++ {
		r.tx = append(r.tx, uint32(b))
	}
	return r
}

// fill gives every receive buffer that the caller holds to the device.
func (r *rig) fill() {
	for i := range r.queues {
		r.fillQueue(i, len(r.rx[i]))
	}
}

// fillQueue gives at most n buffers of a queue, and returns how many it took.
func (r *rig) fillQueue(i, n int) int {
	took := r.queues[i].Fill(r.rx[i][:min(n, len(r.rx[i]))])
	r.rx[i] = r.rx[i][:copy(r.rx[i], r.rx[i][took:])]
	return took
}

// poll receives once from every queue, hands each frame to use, and takes the
// buffers.
func (r *rig) poll(use func(queue int, b []byte)) int {
	total := 0
	for i, q := range r.queues {
		n := q.Receive(r.in)
		for _, f := range r.in[:n] {
			use(i, restored(r.mem.Bytes(f), f))
			r.rx[i] = append(r.rx[i], f.Index)
		}
		total += n
	}
	return total
}

// receive polls into the ledger until it is complete or, after the last
// arrival, nothing has come for quiet. It gives the buffers back if refill.
func (r *rig) receive(l *ledger, quiet time.Duration, refill bool) {
	r.t.Helper()
	deadline := time.Now().Add(quiet)
	for !l.complete() && time.Now().Before(deadline) {
		if r.poll(func(queue int, b []byte) { r.arrive(l, b, queue) }) > 0 {
			deadline = time.Now().Add(quiet)
			if refill {
				r.fill()
			}
			continue
		}
		r.wait(time.Millisecond)
	}
}

// wait sleeps until a frame comes, for at most d.
func (r *rig) wait(d time.Duration) {
	if len(r.queues) > 1 {
		d = min(d, 50*time.Microsecond)
	}
	for _, q := range r.queues {
		if err := q.WaitReceive(d); err != nil {
			r.t.Errorf("WaitReceive: %v", err)
		}
	}
}

func (r *rig) arrive(l *ledger, b []byte, lane int) {
	_, foreign, err := l.arrive(b, lane)
	if foreign && !r.Shared {
		r.t.Errorf("a frame that nobody sent: %d bytes, % x", len(b), b[:min(len(b), headerLen)])
	}
	if err != nil {
		r.t.Error(err)
	}
}

// toLink puts frame seq on the wire, for the link under test to receive.
func (r *rig) toLink(seq, size int) {
	r.t.Helper()
	if r.Peer == nil {
		r.send(r.inject, seq, []int{size}, r.Link.MAC())
		r.inject = (r.inject + 1) % len(r.queues)
		return
	}
	b := make([]byte, size)
	buildTagged(b, r.Link.MAC(), uint32(seq), r.tags)
	if err := r.Peer.Send(b); err != nil {
		r.t.Fatalf("peer: frame %d of %d bytes: %v", seq, size, err)
	}
}

// send sends frames of these sizes, numbered from seq, on a queue, rings once,
// and takes back what is complete. It waits for buffers and for room.
func (r *rig) send(queue, seq int, sizes []int, dst link.MAC) {
	r.t.Helper()
	q := r.queues[queue]
	frames := make([]link.Frame, 0, len(sizes))
	for i, size := range sizes {
		frames = append(frames, r.build(queue, seq+i, size, dst))
	}
	for sent := 0; sent < len(frames); {
		n := q.Send(frames[sent:])
		sent += n
		if err := q.Flush(); err != nil {
			r.t.Errorf("Flush: %v", err)
		}
		if r.reclaim(queue) == 0 && n == 0 && q.WaitSend(time.Millisecond) != nil {
			r.t.Fatal("WaitSend failed while the ring was full")
		}
	}
}

// build makes frame seq in a free TX buffer, at an offset that depends on the
// number.
func (r *rig) build(queue, seq, size int, dst link.MAC) link.Frame {
	r.t.Helper()
	deadline := time.Now().Add(r.Timeout)
	for len(r.tx) == 0 {
		if time.Now().After(deadline) {
			r.t.Fatalf("queue %d: no TX buffer came back in %v", queue, r.Timeout)
		}
		r.queues[queue].Flush()
		n := 0
		for i := range r.queues { // the pool is all queues', and another may hold it whole
			n += r.reclaim(i)
		}
		if n == 0 {
			_ = r.queues[queue].WaitSend(time.Millisecond) // the loop looks itself
		}
	}
	index := r.tx[len(r.tx)-1]
	r.tx = r.tx[:len(r.tx)-1]
	f := link.Frame{Index: index, Len: uint16(size)}
	f.Off = uint16(min(seq*7%maxOffset, r.Layout.BufferSize-size))
	buildTagged(r.mem.Bytes(f), dst, uint32(seq), r.tags)
	return f
}

// reclaim takes back what is complete on a queue.
func (r *rig) reclaim(queue int) int {
	n := r.queues[queue].Reclaim(r.scratch)
	for _, b := range r.scratch[:n] {
		if r.mem.Home(b) >= 0 {
			r.borrow = append(r.borrow, b)
		} else {
			r.tx = append(r.tx, b)
		}
	}
	return n
}

// reclaimAll waits until every TX buffer is back.
func (r *rig) reclaimAll() {
	r.t.Helper()
	deadline := time.Now().Add(r.Timeout)
	for len(r.tx) < r.Layout.TXBuffers {
		n := 0
		for i := range r.queues {
			n += r.reclaim(i)
		}
		if n > 0 {
			continue
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("%d of %d TX buffers came back", len(r.tx), r.Layout.TXBuffers)
		}
		_ = r.queues[0].WaitSend(time.Millisecond) // the loop looks itself
	}
}

// senderLooks is how long a sender waits for what it has sent before it looks after
// its rings: a device that took nothing for a moment is not asked again by itself.
const senderLooks = 20 * time.Millisecond

// collect takes what the link has sent from the far end, until the ledger is
// complete or nothing has come for quiet. lane says by which queue a frame left.
func (r *rig) collect(l *ledger, quiet time.Duration, lane func(seq int) int) {
	r.t.Helper()
	if r.Peer == nil {
		r.receive(l, quiet, true)
		return
	}
	deadline := time.Now().Add(quiet)
	for !l.complete() {
		b, err := r.Peer.Receive(min(quiet, senderLooks))
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if time.Now().After(deadline) {
				return
			}
			for i := range r.queues {
				r.reclaim(i)
			}
			continue
		}
		deadline = time.Now().Add(quiet)
		if err != nil {
			r.t.Fatalf("peer: %v", err)
		}
		seq, _ := frameNumber(b)
		r.arrive(l, b, lane(int(seq)))
	}
}

// stats sums the counters of all queues.
func (r *rig) stats() link.QueueStats {
	var sum link.QueueStats
	for _, q := range r.queues {
		s := q.Stats()
		sum.RXNoBuffer += s.RXNoBuffer
		sum.RXRingFull += s.RXRingFull
		sum.RXInvalid += s.RXInvalid
		sum.TXInvalid += s.TXInvalid
		sum.TXDropped += s.TXDropped
		sum.Wakeups += s.Wakeups
	}
	return sum
}

// noLoss fails if a counter of lost frames is not where it was.
func (r *rig) noLoss(before link.QueueStats) {
	r.t.Helper()
	now := r.stats()
	before.Wakeups, now.Wakeups = 0, 0
	if !r.Shared && now != before {
		r.t.Errorf("counters moved on a wire that lost nothing: %+v, before %+v", now, before)
	}
}

// finish stops the link, drains it and closes the books: every buffer is back,
// each exactly once (the Shadow reports a second time).
func (r *rig) finish() {
	r.t.Helper()
	if err := r.shadow.Stop(); err != nil {
		r.t.Errorf("Stop: %v", err)
	}
	r.drain()
	if missing := r.shadow.Missing(); missing != nil {
		r.t.Errorf("after Stop and Drain the device still holds %d of %d buffers: %v", len(missing), r.Layout.Buffers(), missing[:min(8, len(missing))])
	}
	if err := r.shadow.Close(); err != nil {
		r.t.Errorf("Close: %v", err)
	}
}

// drain takes everything out of a stopped link, in small bites.
func (r *rig) drain() (total int) {
	r.t.Helper()
	const bite = 7
	for i, q := range r.queues {
		for n := q.Drain(r.scratch[:bite]); n > 0; n = q.Drain(r.scratch[:bite]) {
			if total += n; total > 2*r.Layout.Buffers() {
				r.t.Fatalf("queue %d: Drain does not end", i)
			}
		}
		if n := q.Drain(r.scratch); n != 0 {
			r.t.Errorf("queue %d: Drain returned 0, then %d", i, n)
		}
	}
	return total
}
