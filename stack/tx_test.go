package stack_test

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/stack"
)

// marks are the two bytes of each raw frame that went over the wire; "in-band"
// for a frame that is none.
func marks(q *fakeQueue) (ms []string) {
	for _, b := range q.wire() {
		if h, ok := wire.ParseEthernet(b); !ok || h.Type != testEtherType {
			ms = append(ms, "in-band")
		} else {
			ms = append(ms, fmt.Sprintf("%d.%d", b[14], b[15]))
		}
	}
	return ms
}

// askInBand has the peer ask for our address, and waits until the answer of
// the in-band stage is on the TX list, or on the wire.
func askInBand(t *testing.T, l *fakeLink, h *stacktest.Host) {
	t.Helper()
	free := h.Device.Stats().Pool.Free
	l.arrive(arpFrame(wire.ARPRequest, broadcast, ownAddr), 0, 0)
	if _, err := h.Device.Poll(0); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Device.Poll(stack.MaxBatch); err != nil {
		t.Fatal(err)
	}
	stacktest.Eventually(t, "the in-band stage takes a buffer for its answer", func() bool {
		return h.Device.Stats().Pool.Free == free-1
	})
}

// TestStrictPriority fills the link, queues frames of all priorities, and
// looks at the order in which they leave when it has room.
func TestStrictPriority(t *testing.T) {
	leaktest.Check(t)
	l := newFakeLink(1)
	h := fakeHost(t, l, strict())
	q := l.queues[0]
	l.set(func() { q.txRoom = 0 })
	askInBand(t, l, h)
	var want []string
	for i := range byte(4) {
		for _, p := range []byte{3, 0, 7, 5} {
			sendRaw(t, h.Device, int(p), p, i)
		}
	}
	for _, p := range []byte{7, 5, 3, 0} {
		for i := range 4 {
			want = append(want, fmt.Sprintf("%d.%d", p, i))
		}
	}
	if got := marks(q); len(got) != 0 {
		t.Fatalf("%v left by a full ring", got)
	}
	l.set(func() { q.txRoom = 1024 })
	h.Poll()
	if got := marks(q); !slices.Equal(got, append(want, "in-band")) {
		t.Errorf("left in the order %v", got)
	}
	if st := h.Device.Stats(); st.TX.Queued != 16 || st.TX.Packets != 17 {
		t.Errorf("queued %d, sent %d: want 16 and 17", st.TX.Queued, st.TX.Packets)
	}
}

// strict is manual with strict priority.
func strict() *stacktest.Options {
	o := manual()
	o.Device.Queueing = stack.StrictPriority
	return o
}

// TestTinyRing lets two frames leave at a time. What found no room goes back in
// front of its own priority, so that nobody's order is lost, and what is more
// urgent and comes then goes before it.
func TestTinyRing(t *testing.T) {
	leaktest.Check(t)
	l := newFakeLink(1)
	h := fakeHost(t, l, strict())
	q := l.queues[0]
	l.set(func() { q.txRoom = 0 })
	askInBand(t, l, h)
	const low, more = 20, 8 // more than a burst of 16
	for i := range byte(low) {
		sendRaw(t, h.Device, 1, 1, i)
	}
	l.set(func() { q.txRoom, q.hold = 2, true })
	sent := 0
	for round := 0; sent < low+more+1; round++ {
		if round > 100 {
			t.Fatalf("stuck after %v", marks(q))
		}
		q.complete()
		h.Poll()
		if sent = len(q.wire()); round == 0 {
			if sent != 2 {
				t.Fatalf("%d frames left through a ring of two", sent)
			}
			for i := range byte(more) {
				sendRaw(t, h.Device, 6, 6, i)
			}
		}
	}
	got := marks(q)
	if got[len(got)-1] != "in-band" {
		t.Errorf("the in-band stage did not come last: %v", got)
	}
	next := map[byte]int{'1': 0, '6': 0}
	position := map[byte]int{}
	for i, m := range got[:len(got)-1] {
		if want := fmt.Sprintf("%c.%d", m[0], next[m[0]]); m != want {
			t.Fatalf("%s where %s is due: %v", m, want, got)
		}
		next[m[0]]++
		position[m[0]] = i
	}
	if next['1'] != low || next['6'] != more {
		t.Fatalf("not all frames left: %v", got)
	}
	if position['6'] != 2+more-1 {
		t.Errorf("urgent frames waited for more than the two that were gone: %v", got)
	}
}

// TestOneDoorbellABatch, and a batch larger than the ring waits in the list.
func TestOneDoorbellABatch(t *testing.T) {
	leaktest.Check(t)
	l := newFakeLink(1)
	h := fakeHost(t, l, manual())
	q := l.queues[0]
	batch := func(n int, mark byte) {
		t.Helper()
		var frames []link.Frame
		for i := range n {
			f, err := h.Device.Alloc()
			if err != nil {
				t.Fatal(err)
			}
			frames = append(frames, rawFrame(h.Device, f, []byte{mark, byte(i)}))
		}
		if n, err := h.Port.SendBatch(frames, 0, 0); err != nil || n != len(frames) {
			t.Fatal(n, err)
		}
	}
	batch(10, 0)
	if n := len(q.wire()); n != 10 || q.doorbells != 1 {
		t.Errorf("%d frames by %d doorbells", n, q.doorbells)
	}
	h.Poll() // takes the ten back
	l.set(func() { q.txRoom, q.hold = 4, true })
	batch(10, 1)
	if n := len(q.wire()); n != 14 {
		t.Errorf("%d frames left, want 14", n)
	}
	q.complete()
	l.set(func() { q.txRoom, q.hold = 1024, false })
	batch(1, 2) // waits behind the others, though there is room now
	h.Poll()
	got := marks(q)
	for i := range 10 {
		if got[10+i] != fmt.Sprintf("1.%d", i) {
			t.Fatalf("order %v", got[10:])
		}
	}
	if len(got) != 21 || got[20] != "2.0" {
		t.Errorf("order %v", got[10:])
	}
	if st := h.Port.Stats(); st.TXPackets != 21 || st.TXBytes != 21*16 {
		t.Errorf("the port counts %d frames, %d bytes", st.TXPackets, st.TXBytes)
	}
	if st := h.Device.Stats().TX; st.Packets != 21 || st.Bytes != 21*16 || st.Queued != 7 {
		t.Errorf("the device counts %+v", st)
	}
}

// TestForward sends a received buffer as it is: its way home is its own queue.
func TestForward(t *testing.T) {
	leaktest.Check(t)
	l := newFakeLink(1)
	h := fakeHost(t, l, manual())
	d := h.Device
	p := newTestProtocol(func(b *stack.Batch) {
		for _, pkt := range b.Packets {
			pkt.Take()
			if err := b.Device.Send(pkt.Frame, 0, 0); err != nil {
				t.Error(err)
			}
		}
	})
	if err := h.Stack.RegisterProtocol(stack.EtherType(testEtherType), p); err != nil {
		t.Fatal(err)
	}
	frame := packet{}.frame()
	frame[12], frame[13] = testEtherType>>8, testEtherType&0xff
	for range 40 {
		l.arrive(frame, 0, 0)
	}
	h.Poll()
	if n := len(l.queues[0].wire()); n != 40 {
		t.Errorf("%d frames were sent on, want 40", n)
	}
	if st := d.Stats(); st.RX.Delivered != 40 || st.Pool.RXHeld != 0 || st.Pool.Free != st.Pool.Size {
		t.Errorf("delivered %d, held %d, free %d of %d", st.RX.Delivered, st.Pool.RXHeld, st.Pool.Free, st.Pool.Size)
	}
}

// TestConcurrentSenders: frames of each sender keep their order while a tiny
// ring makes the senders, the TX thread and Close meet in every way.
func TestConcurrentSenders(t *testing.T) {
	for _, closing := range []bool{false, true} {
		t.Run(fmt.Sprintf("closing=%v", closing), func(t *testing.T) {
			leaktest.Check(t)
			l := newFakeLink(2)
			h := fakeHost(t, l, nil)
			for _, q := range l.queues {
				q.txRoom = 3
			}
			d := h.Device
			const senders, each = 6, 200
			var wg sync.WaitGroup
			for s := range senders {
				wg.Go(func() {
					for i := range each {
						f, err := d.AllocWait(0, nil, nil)
						if err == nil {
							err = d.Send(rawFrame(d, f, []byte{byte(s), byte(i)}), s, s%stack.Priorities)
						}
						switch {
						case err == nil:
						case closing && errors.Is(err, net.ErrClosed):
							return
						default:
							t.Errorf("sender %d, frame %d: %v", s, i, err)
							return
						}
					}
				})
			}
			if closing {
				if err := d.Close(); err != nil {
					t.Error(err)
				}
			}
			wg.Wait()
			if !closing {
				stacktest.Eventually(t, "all frames are on the wire", func() bool {
					return d.Stats().TX.Packets == senders*each
				})
				if st := d.Stats(); st.TX.Bytes != senders*each*16 {
					t.Errorf("%d bytes sent", st.TX.Bytes)
				}
			}
			next := map[byte]int{}
			for i, q := range l.queues {
				for _, b := range q.wire() {
					if b[14]%2 != byte(i) {
						t.Fatalf("sender %d on queue %d", b[14], i)
					}
					if int(b[15]) != next[b[14]] {
						t.Fatalf("sender %d: frame %d where %d is due", b[14], b[15], next[b[14]])
					}
					next[b[14]]++
				}
			}
		})
	}
}

// TestLinkFails: the one who rings learns it, and those after it before they
// build a frame; the keeper finds the link up again and rings for the rest.
func TestLinkFails(t *testing.T) {
	leaktest.Check(t)
	l := newFakeLink(1)
	h := fakeHost(t, l, manual())
	d := h.Device
	frame := func() link.Frame {
		f, err := d.Alloc()
		if err != nil {
			t.Fatal(err)
		}
		return rawFrame(d, f, []byte{1, 2})
	}
	first, second := frame(), frame()
	l.set(func() { l.state, l.flushErr = link.Down, fmt.Errorf("fake: %w", syscall.ENETDOWN) })
	if err := d.Send(first, 0, 0); !errors.Is(err, syscall.ENETDOWN) {
		t.Errorf("send: %v", err)
	}
	if _, err := d.Alloc(); !errors.Is(err, syscall.ENETDOWN) {
		t.Errorf("alloc: %v", err)
	}
	if _, err := d.AllocWait(0, nil, nil); !errors.Is(err, syscall.ENETDOWN) {
		t.Errorf("alloc that waits: %v", err)
	}
	if _, err := d.SendBatch([]link.Frame{second}, 0, 0); !errors.Is(err, syscall.ENETDOWN) {
		t.Errorf("send batch: %v", err)
	}
	if st := d.Stats().TX; st.Errors != 2 {
		t.Errorf("%d errors counted, want 2", st.Errors)
	}
	rung := 0
	l.set(func() { rung, l.state, l.flushErr = l.queues[0].doorbells, link.Up, nil })
	stacktest.Eventually(t, "the device has no fault", func() bool { return d.Fault() == nil })
	stacktest.Eventually(t, "the doorbell is rung for what was left", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.queues[0].doorbells > rung
	})
	// Other errors are the caller's alone.
	odd := errors.New("odd")
	l.set(func() { l.flushErr = odd })
	if err := d.Send(frame(), 0, 0); !errors.Is(err, odd) || d.Fault() != nil {
		t.Errorf("send: %v, fault %v", err, d.Fault())
	}
	l.set(func() { l.flushErr = nil })
}

// TestFullRingWaits: with nothing but a full ring to work on, the TX thread
// waits for the link and does not spin.
func TestFullRingWaits(t *testing.T) {
	leaktest.Check(t)
	l := newFakeLink(1)
	h := fakeHost(t, l, nil)
	q := l.queues[0]
	l.set(func() { q.txRoom = 0 })
	sendRaw(t, h.Device, 0, 1, 1)
	stacktest.Eventually(t, "the TX thread waits for room", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return q.waits > 3
	})
	l.set(func() { q.txRoom = 1 })
	stacktest.Eventually(t, "the frame leaves", func() bool { return len(q.wire()) == 1 })
}

// TestSendAfterClose: a frame that somebody still has is refused and comes home.
func TestSendAfterClose(t *testing.T) {
	leaktest.Check(t)
	l := newFakeLink(1)
	h := fakeHost(t, l, nil)
	d := h.Device
	l.set(func() { l.queues[0].txRoom = 0 })
	var held []link.Frame
	for range 3 {
		f, err := d.Alloc()
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, f)
	}
	sendRaw(t, d, 0, 1, 1) // never leaves
	if err := d.Close(); !errors.Is(err, syscall.EBUSY) {
		t.Fatalf("close with three buffers out: %v", err)
	}
	if err := d.Send(held[0], 0, 0); !errors.Is(err, net.ErrClosed) {
		t.Errorf("send: %v", err)
	}
	if _, err := d.SendBatch(held[1:2], 0, 7); !errors.Is(err, net.ErrClosed) {
		t.Errorf("send batch: %v", err)
	}
	d.Free(held[2])
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// TestPriorityOutOfRange is cut to the range, and no reason to fall over.
func TestPriorityOutOfRange(t *testing.T) {
	leaktest.Check(t)
	l := newFakeLink(1)
	h := fakeHost(t, l, strict())
	q := l.queues[0]
	l.set(func() { q.txRoom = 0 })
	for i, p := range []int{3, -1, stack.Priorities, 0, 7, 1 << 40} {
		sendRaw(t, h.Device, p, 0, byte(i))
	}
	l.set(func() { q.txRoom = 16 })
	h.Poll()
	if got, want := fmt.Sprint(marks(q)), "[0.2 0.4 0.5 0.0 0.1 0.3]"; got != want {
		t.Errorf("order %v, want %v", got, want)
	}
}
