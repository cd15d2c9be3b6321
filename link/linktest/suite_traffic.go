package linktest

import (
	"testing"
	"time"

	"github.com/oobnet/oobnet/link"
)

// frameSizes are all sizes from the shortest frame of the wire to a full one.
func frameSizes(r *rig) []int {
	var sizes []int
	for size := r.MinFrame; size <= r.Link.MTU()+headerLen; size++ {
		sizes = append(sizes, size)
	}
	return sizes
}

// receiveAll sends the frames to the link, a window at a time, and receives
// them.
func (r *rig) receiveAll(l *ledger) {
	r.t.Helper()
	for seq, total := 0, len(l.sizes); seq < total; {
		for l.goal = min(seq+r.Window, total); seq < l.goal; seq++ {
			r.toLink(seq, l.sizes[seq])
		}
		r.receive(l, r.Timeout, true)
		if !l.complete() {
			r.t.Fatal(l.missing())
		}
	}
}

// sendAll sends the frames from the link in batches of 1 to Window, each on
// the next queue, and collects them at the far end.
func (r *rig) sendAll(l *ledger) {
	r.t.Helper()
	lanes := make([]int, len(l.sizes))
	queue, n := 0, 1
	for seq, total := 0, len(l.sizes); seq < total; {
		n = min(n, total-seq)
		for i := range n {
			lanes[seq+i] = queue
		}
		r.send(queue, seq, l.sizes[seq:seq+n], r.PeerMAC)
		seq += n
		l.goal = seq
		r.collect(l, r.Timeout, func(seq int) int {
			if seq < len(lanes) {
				return lanes[seq]
			}
			return 0
		})
		if !l.complete() {
			r.t.Fatal(l.missing())
		}
		queue = (queue + 1) % len(r.queues)
		n = n%r.Window + 1
	}
	r.reclaimAll()
}

func testReceiveSizes(t *testing.T, open func(t *testing.T) Wire) {
	r := newRig(t, open(t))
	r.fill()
	before := r.stats()
	r.receiveAll(newLedger(&r.Wire, r.Link.MAC(), frameSizes(r)))
	r.noLoss(before)
	r.finish()
}

func testSendSizes(t *testing.T, open func(t *testing.T) Wire) {
	r := newRig(t, open(t))
	r.fill()
	before := r.stats()
	r.sendAll(newLedger(&r.Wire, r.PeerMAC, frameSizes(r)))
	r.noLoss(before)
	r.finish()
}

const manyFrames = 10_000 // wraps any ring of a usual size several times

func testReceiveMany(t *testing.T, open func(t *testing.T) Wire) {
	r := newRig(t, open(t))
	r.fill()
	before := r.stats()
	r.receiveAll(newLedger(&r.Wire, r.Link.MAC(), repeatSizes(manyFrames, 64, 106, 590, 1300)))
	r.noLoss(before)
	r.finish()
}

func testSendMany(t *testing.T, open func(t *testing.T) Wire) {
	r := newRig(t, open(t))
	r.fill()
	before := r.stats()
	r.sendAll(newLedger(&r.Wire, r.PeerMAC, repeatSizes(manyFrames, 64, 106, 590, 1300)))
	r.noLoss(before)
	r.finish()
}

// testSmallRings runs far more frames than there are buffers: every index and
// every ring comes around many times.
func testSmallRings(t *testing.T, open func(t *testing.T) Wire) {
	const frames = 1000
	w := open(t).settled()
	w.Layout.RXBuffers, w.Layout.TXBuffers = w.MinBuffers, fewBuffers
	w.Window = min(w.Window, fewBuffers/2)
	r := newRig(t, w)
	r.fill()
	before := r.stats()
	r.receiveAll(newLedger(&r.Wire, r.Link.MAC(), repeatSizes(frames, 60, 1000)))
	r.reclaimAll()
	up := newLedger(&r.Wire, r.PeerMAC, repeatSizes(frames, 61, 900))
	r.sendAll(up)
	r.noLoss(before)
	r.finish()
}

func testEmptyBatches(t *testing.T, open func(t *testing.T) Wire) {
	r := newRig(t, open(t))
	for i, q := range r.queues {
		if n := q.Receive(nil) + q.Fill(nil) + q.Send(nil) + q.Reclaim(nil) + q.Drain(nil); n != 0 {
			t.Errorf("queue %d: empty batches moved %d", i, n)
		}
		if err := q.Flush(); err != nil {
			t.Errorf("queue %d: Flush of nothing: %v", i, err)
		}
		if n := q.Reclaim(r.scratch); n != 0 {
			t.Errorf("queue %d: Reclaim returned %d buffers before any Send", i, n)
		}
		if n := q.Drain(r.scratch); n != 0 {
			t.Errorf("queue %d: Drain returned %d buffers before Stop", i, n)
		}
	}
	// A receiver with room for two takes two at a time.
	r.fill()
	l := newLedger(&r.Wire, r.Link.MAC(), repeatSizes(9, 100))
	for seq, size := range l.sizes {
		r.toLink(seq, size)
	}
	r.in = r.in[:2]
	r.receive(l, r.Timeout, true)
	if !l.complete() {
		t.Error(l.missing())
	}
	r.finish()
}

// testFillExhaustion lets the device run out of buffers: what it loses it
// counts, and it goes on as soon as it has buffers again.
func testFillExhaustion(t *testing.T, open func(t *testing.T) Wire) {
	const perQueue, extra, after = 8, 40, 20
	r := newRig(t, open(t))
	filled := 0
	for i := range r.queues {
		filled += r.fillQueue(i, perQueue)
	}
	if filled != perQueue*len(r.queues) {
		t.Fatalf("the device took %d of %d buffers", filled, perQueue*len(r.queues))
	}
	before := r.stats()
	flood := filled + extra
	l := newLedger(&r.Wire, r.Link.MAC(), repeatSizes(flood+after, 100))
	for seq := range flood {
		r.toLink(seq, l.sizes[seq])
	}
	r.receive(l, r.Timeout/10, false)
	if l.arrived == 0 {
		t.Error("nothing came although there were buffers")
	}
	// The device may keep some frames in memory of its own; they come now.
	r.fill()
	r.receive(l, r.Timeout/10, true)
	now := r.stats()
	lost := now.RXNoBuffer + now.RXRingFull - before.RXNoBuffer - before.RXRingFull
	switch {
	case l.arrived == flood && !r.Shared:
		t.Logf("the device lost none of %d frames with %d buffers", flood, filled)
	case !r.LossUncounted && uint64(l.arrived)+lost < uint64(flood):
		t.Errorf("%d frames sent, %d came, %d counted as lost", flood, l.arrived, lost)
	case !r.LossUncounted && !r.Shared && uint64(l.arrived)+lost != uint64(flood):
		t.Errorf("%d frames sent, %d came, %d counted as lost", flood, l.arrived, lost)
	}
	l.goal = l.arrived + after
	for seq := flood; seq < flood+after; seq++ {
		r.toLink(seq, l.sizes[seq])
	}
	r.receive(l, r.Timeout, true)
	if !l.complete() {
		t.Errorf("after the buffers were back: %s", l.missing())
	}
	r.finish()
}

// testSendInvalid mixes frames that no device can carry with good ones.
func testSendInvalid(t *testing.T, open func(t *testing.T) Wire) {
	r := newRig(t, open(t))
	r.fill()
	l := newLedger(&r.Wire, r.PeerMAC, repeatSizes(2, 100))
	first, last := r.build(0, 0, 100, r.PeerMAC), r.build(0, 1, 100, r.PeerMAC)
	outside := r.build(0, 0, 100, r.PeerMAC)
	outside.Off = uint16(r.Layout.BufferSize - 99)
	wrapped := r.build(0, 0, 100, r.PeerMAC)
	wrapped.Off, wrapped.Len = 0xffff, 0xffff
	batch := []link.Frame{first, outside, wrapped, {Index: uint32(r.Layout.Buffers()), Len: 100}, {Index: 1<<32 - 1, Len: 100}}
	if tooLong := r.Link.MTU() + headerLen + tagLen + 1; tooLong <= r.Layout.BufferSize {
		f := r.build(0, 0, 100, r.PeerMAC)
		f.Off, f.Len = 0, uint16(tooLong)
		batch = append(batch, f)
	}
	batch = append(batch, last)
	before := r.stats()
	q := r.queues[0]
	if n := q.Send(batch); n != len(batch) {
		t.Fatalf("Send took %d of %d", n, len(batch))
	}
	if err := q.Flush(); err != nil {
		t.Errorf("Flush: %v", err)
	}
	r.collect(l, r.Timeout, func(int) int { return 0 })
	if !l.complete() {
		t.Errorf("the good frames of the batch: %s", l.missing())
	}
	back := make(map[uint32]int)
	for deadline := time.Now().Add(r.Timeout); len(back) < len(batch) && time.Now().Before(deadline); {
		n := q.Reclaim(r.scratch)
		for _, b := range r.scratch[:n] {
			back[b]++
		}
		if n == 0 {
			_ = q.WaitSend(time.Millisecond) // the loop looks itself
		}
	}
	for _, f := range batch {
		if back[f.Index] != 1 {
			t.Errorf("buffer %d came back %d times", f.Index, back[f.Index])
		}
	}
	if got, want := r.stats().TXInvalid-before.TXInvalid, uint64(len(batch)-2); got != want {
		t.Errorf("TXInvalid rose by %d, want %d", got, want)
	}
	r.finish()
}

// testForward sends received buffers on as they are: the way of a zero-copy
// echo. They come back by Reclaim and go home by Fill.
func testForward(t *testing.T, open func(t *testing.T) Wire) {
	const n, rounds = 8, 50
	r := newRig(t, open(t))
	r.fill()
	l := newLedger(&r.Wire, r.PeerMAC, repeatSizes(n*rounds, 80, 700))
	for seq := 0; seq < n*rounds; {
		for range n {
			r.toLink(seq, l.sizes[seq])
			seq++
		}
		r.forward(n)
		l.goal = seq
		// Without a peer the forwarded frames come in by the same receive side.
		r.collect(l, r.Timeout, func(int) int { return 0 })
		if !l.complete() {
			t.Fatal(l.missing())
		}
		r.goHome()
	}
	r.reclaimAll()
	r.finish()
}

// forward takes n frames of the suite off the wire and sends each on by the
// queue it came from, addressed to the peer.
func (r *rig) forward(n int) {
	r.t.Helper()
	deadline := time.Now().Add(r.Timeout)
	for n > 0 {
		if time.Now().After(deadline) {
			r.t.Fatalf("%d frames to forward did not come in %v", n, r.Timeout)
		}
		for i, q := range r.queues {
			for _, f := range r.in[:q.Receive(r.in[:min(n, len(r.in))])] {
				b := r.mem.Bytes(f)
				if _, ours := frameNumber(b); !ours {
					r.rx[i] = append(r.rx[i], f.Index)
					continue
				}
				copy(b, r.PeerMAC[:])
				if q.Send([]link.Frame{f}) != 1 {
					r.t.Fatalf("queue %d: no room to forward", i)
				}
				n--
			}
			if err := q.Flush(); err != nil {
				r.t.Errorf("Flush: %v", err)
			}
			r.reclaim(i)
		}
		r.wait(time.Millisecond)
	}
}

// goHome gives forwarded buffers back to the queues they belong to.
func (r *rig) goHome() {
	for i := range r.queues {
		r.reclaim(i)
	}
	for _, b := range r.borrow {
		home := r.mem.Home(b)
		r.rx[home] = append(r.rx[home], b)
	}
	r.borrow = r.borrow[:0]
	r.fill()
}
