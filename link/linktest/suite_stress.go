package linktest

import (
	"bytes"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oobnet/oobnet/link"
)

// window bounds the frames on the wire between two goroutines: the sender
// enters, the receiver leaves.
type window chan struct{}

// enter waits for room, and says false if there was none in time.
func (w window) enter(limit time.Duration) bool {
	select {
	case w <- struct{}{}:
		return true
	default:
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case w <- struct{}{}:
		return true
	case <-timer.C:
		return false
	}
}

// leave makes room for n.
func (w window) leave(n int) {
	for range n {
		<-w
	}
}

// testConcurrent runs both sides of the link and both of the peer, each on a
// goroutine of its own.
func testConcurrent(t *testing.T, open func(t *testing.T) Wire) {
	const frames = 5000
	r := newRig(t, open(t))
	r.fill()
	before := r.stats()
	sizes := repeatSizes(frames, 70, 300, 1200)
	up := newLedger(&r.Wire, r.PeerMAC, sizes)
	upWindow := make(window, r.Window)
	var wg sync.WaitGroup
	wg.Go(func() { r.sendThrough(upWindow, sizes) })
	if r.Peer == nil {
		wg.Go(func() { r.receiveThrough(upWindow, up) })
	} else {
		down := newLedger(&r.Wire, r.Link.MAC(), sizes)
		downWindow := make(window, r.Window)
		wg.Go(func() { r.peerSendThrough(downWindow, sizes) })
		wg.Go(func() { r.receiveThrough(downWindow, down) })
		wg.Go(func() { r.peerReceiveThrough(upWindow, up) })
	}
	wg.Wait()
	if !t.Failed() {
		r.reclaimAll()
		r.noLoss(before)
	}
	r.finish()
}

func (r *rig) sendThrough(w window, sizes []int) {
	for seq := range sizes {
		if !w.enter(r.Timeout) {
			r.t.Errorf("frame %d could not be sent: the wire is full and nothing arrives", seq)
			return
		}
		r.send(seq%len(r.queues), seq, sizes[seq:seq+1], r.PeerMAC)
	}
}

func (r *rig) receiveThrough(w window, l *ledger) {
	for total := l.goal; l.arrived < total; {
		was := l.arrived
		l.goal = was + 1
		r.receive(l, r.Timeout, true)
		if l.arrived == was {
			l.goal = total
			r.t.Errorf("the link received nothing for %v: %s", r.Timeout, l.missing())
			return
		}
		w.leave(l.arrived - was)
	}
}

func (r *rig) peerSendThrough(w window, sizes []int) {
	b := make([]byte, r.Link.MTU()+headerLen)
	for seq, size := range sizes {
		if !w.enter(r.Timeout) {
			r.t.Errorf("peer: frame %d could not be sent: the wire is full and nothing arrives", seq)
			return
		}
		buildFrame(b[:size], r.Link.MAC(), uint32(seq))
		if err := r.Peer.Send(b[:size]); err != nil {
			r.t.Errorf("peer: frame %d: %v", seq, err)
			return
		}
	}
}

func (r *rig) peerReceiveThrough(w window, l *ledger) {
	for !l.complete() {
		b, err := r.Peer.Receive(r.Timeout)
		if err != nil {
			r.t.Errorf("peer: %v: %s", err, l.missing())
			return
		}
		seq, _ := frameNumber(b)
		was := l.arrived
		r.arrive(l, b, int(seq)%len(r.queues))
		w.leave(l.arrived - was)
	}
}

// testNoAllocation counts what the calls of a queue allocate. Others of the
// process allocate, too, so one clean attempt in five is the proof: a call that
// allocates spoils every one.
func testNoAllocation(t *testing.T, open func(t *testing.T) Wire) {
	const attempts, rounds = 5, 30
	r := newRig(t, open(t))
	if r.DeviceAllocates {
		t.Skip("the device is a model behind calls that allocate (Wire.DeviceAllocates): the link's own package counts")
	}
	r.fill()
	var allocs uint64
	for range attempts {
		allocs = 0
		for range rounds {
			allocs += r.roundAllocs()
		}
		if allocs == 0 {
			break
		}
	}
	if allocs != 0 {
		t.Errorf("%d allocations in %d rounds of batches", allocs, rounds)
	}
	r.finish()
}

// roundAllocs receives a batch and sends one, and returns how much the link's
// calls allocated. What the peer allocates is not counted.
func (r *rig) roundAllocs() (allocs uint64) {
	const n = 8
	count := func(f func()) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		allocs += after.Mallocs - before.Mallocs
	}
	if r.Peer != nil {
		for seq := range n {
			r.toLink(seq, 100)
		}
	}
	frames := make([]link.Frame, n)
	for i := range frames {
		frames[i] = r.build(0, i, 100, r.PeerMAC)
	}
	received := 0
	count(func() {
		r.queues[0].Send(frames)
		r.queues[0].Flush()
		_ = r.queues[0].WaitSend(0) // counted here, not judged
		r.reclaim(0)
		for deadline := time.Now().Add(r.Timeout); received < n && time.Now().Before(deadline); {
			received += r.poll(discard)
			r.fill()
			r.wait(20 * time.Microsecond)
		}
		for _, q := range r.queues {
			q.Wake()
			_ = q.WaitReceive(0)
			q.Stats()
		}
	})
	if received < n {
		r.t.Fatalf("%d of %d frames came", received, n)
	}
	r.reclaimAll()
	if r.Peer != nil {
		l := newLedger(&r.Wire, r.PeerMAC, repeatSizes(n, 100))
		r.collect(l, r.Timeout, func(int) int { return 0 })
	}
	return allocs
}

func discard(int, []byte) {}

// testStopDrain stops a link that holds buffers in every state.
func testStopDrain(t *testing.T, open func(t *testing.T) Wire) {
	const sent, injected = 9, 6
	r := newRig(t, open(t))
	for i := range r.queues {
		r.fillQueue(i, r.Layout.RXBuffers/2)
	}
	// Received and not yet taken; without a peer these are sent and not yet
	// reclaimed, too.
	for seq := range injected {
		r.toLink(seq, 100)
	}
	for i, q := range r.queues {
		frames := make([]link.Frame, 0, sent)
		for seq := range sent {
			frames = append(frames, r.build(i, seq, 100, r.PeerMAC))
		}
		if n := q.Send(frames); n != sent {
			t.Fatalf("queue %d: Send took %d of %d", i, n, sent)
		}
		// Flushed on every other queue only: Stop comes at any moment.
		if i%2 == 0 {
			q.Flush()
		}
	}
	if err := r.shadow.Stop(); err != nil {
		t.Fatalf("Stop: %v", err)
	}
	held := len(r.shadow.Missing())
	if drained := r.drain(); drained != held {
		t.Errorf("Drain gave back %d buffers, the device held %d", drained, held)
	}
	r.finish()
}

// testStopUnderLoad stops a link in full traffic: Stop returns, nothing
// changes afterwards, and every buffer is there.
func testStopUnderLoad(t *testing.T, open func(t *testing.T) Wire) {
	r := newRig(t, open(t))
	r.fill()
	var (
		own, peer sync.WaitGroup
		stop      atomic.Bool // the link's own goroutines are to end
		stopPeer  atomic.Bool // the same for the other end, which ends last
	)
	own.Go(func() { r.hammer(&stop) })
	own.Go(func() {
		for !stop.Load() {
			r.poll(discard)
			r.fill()
		}
	})
	if r.Peer != nil {
		peer.Go(func() {
			b := make([]byte, 300)
			for seq := uint32(0); !stopPeer.Load(); seq++ {
				buildFrame(b, r.Link.MAC(), seq)
				// Refused once the link has stopped, which is the point.
				if r.Peer.Send(b) != nil {
					runtime.Gosched()
				}
			}
		})
	}
	time.Sleep(aWhile)
	within(t, 2*r.Timeout, "Stop under load", func() {
		if err := r.shadow.Stop(); err != nil {
			t.Errorf("Stop: %v", err)
		}
	})
	stop.Store(true)
	own.Wait()
	all := make([]byte, 0, r.Layout.Bytes())
	for i := range r.Layout.Buffers() {
		all = append(all, r.mem.Buffer(uint32(i))...)
	}
	time.Sleep(aWhile)
	for i := range r.Layout.Buffers() {
		if !bytes.Equal(all[i*r.Layout.BufferSize:][:r.Layout.BufferSize], r.mem.Buffer(uint32(i))) {
			t.Errorf("buffer %d changed after Stop", i)
		}
	}
	stopPeer.Store(true)
	peer.Wait()
	r.finish()
}

// hammer sends on all queues as fast as it can.
func (r *rig) hammer(stop *atomic.Bool) {
	one := make([]link.Frame, 1)
	for seq := 0; !stop.Load(); seq++ {
		queue := seq % len(r.queues)
		q := r.queues[queue]
		r.reclaim(queue)
		if len(r.tx) == 0 {
			continue
		}
		one[0] = r.build(queue, seq, 200, r.PeerMAC)
		if q.Send(one) == 0 {
			r.tx = append(r.tx, one[0].Index)
			continue
		}
		q.Flush() // fails once the link has stopped
	}
}
