package vfio

import (
	"errors"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio/internal/driver"
)

// TestHangOfQueues has a device of several queues take frames and send none. The
// callers of all queues wait, and notice at about the same time: there is one reset,
// which costs all queues what was on their rings. That is counted, the buffers come
// back, and all callers, of both sides, go on.
func TestHangOfQueues(t *testing.T) {
	for _, name := range []string{"82576", "I350", "82599", "X540"} {
		t.Run(name, func(t *testing.T) {
			leaktest.Check(t)
			h := newHang(t, name)
			for i := range h.Queues() {
				h.arrive(i, lost(i))
				h.send(i)
			}
			for i := range h.Queues() {
				h.callers.Go(func() { h.receiver(i) })
				h.callers.Go(func() { h.reclaim(i) })
			}
			h.callers.Wait()
			h.books()
			// All rings work as before: the device begins anew with them as they are.
			for i := range h.Queues() {
				h.arrive(i, hangPosted)
				h.works(i)
			}
		})
	}
}

// TestHangNoticedTwice: a queue that notices a hang when another has just had the
// device reset for it does not have it reset again.
func TestHangNoticedTwice(t *testing.T) {
	leaktest.Check(t)
	h := newHang(t, "82576")
	for i := range h.Queues() {
		h.send(i)
	}
	h.recover(1)
	h.recover(0)
	for i := range h.Queues() {
		h.reclaim(i)
	}
	if s := h.Statistics(); s.Hangs != 1 || s.TXLost != hangQueues*hangSent {
		t.Errorf("%d hangs lost %d frames, want 1 and %d", s.Hangs, s.TXLost, hangQueues*hangSent)
	}
	h.send(0) // and again: that is another hang
	h.recover(0)
	h.reclaim(0)
	if n := h.Statistics().Hangs; n != 2 {
		t.Errorf("%d hangs, want 2", n)
	}
}

// Of each queue: frames that are sent, and buffers on the receive ring.
const (
	hangSent   = 3
	hangPosted = 8
	hangQueues = 4
	// hangWait is far more than the device is given to send.
	hangWait = 20 * time.Second
)

// lost is how many frames lie on the receive ring of queue i, and nobody has taken
// them, when the device is reset: none on odd ones, of which the receive side sleeps.
func lost(i int) int { return 2 * (1 - i%2) }

// hang is an attached link of several queues on a device that costs nothing.
type hang struct {
	*Link
	t       *testing.T
	far     *FreeDevice
	seen    events
	callers sync.WaitGroup
}

func newHang(t *testing.T, name string) *hang {
	t.Helper()
	h := &hang{t: t}
	var err error
	if h.Link, h.far, err = OpenFree(name, &Config{Interrupts: NoInterrupts, Queues: hangQueues, OnEvent: h.seen.add}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
		h.callers.Wait()
	})
	if _, err := h.Attach(link.Layout{BufferSize: 2048, Queues: hangQueues, RXBuffers: 16, TXBuffers: 16}); err != nil {
		t.Fatal(err)
	}
	for i := range hangQueues {
		for b := range uint32(hangPosted) {
			if n := h.Queue(i).Fill([]uint32{uint32(i)*16 + b}); n != 1 {
				t.Fatalf("queue %d: Fill refused buffer %d", i, b)
			}
		}
	}
	return h
}

// tx are the buffers that queue i sends.
func (h *hang) tx(i int) (bufs []uint32) {
	for b := range uint32(hangSent) {
		bufs = append(bufs, 16*hangQueues+hangSent*uint32(i)+b)
	}
	return bufs
}

// ring is the far end of queue i's rings as they are now.
func (h *hang) ring(i int) *driver.FreeRings {
	first := h.far.Free.(*driver.FreeRings)
	step := uint32(i) * driver.AdvancedStep
	return &driver.FreeRings{
		Bus: first.Bus, RX: first.RX + step, TX: first.TX + step, Came: first.Came, LengthAt: first.LengthAt,
		Report: first.Report, Finished: first.Finished, Last: first.Last,
	}
}

// play has the far end of a queue do something.
func (h *hang) play(i int, do func(*driver.FreeRings)) {
	h.t.Helper()
	ring := h.ring(i)
	if err := ring.Begin(); err != nil {
		h.t.Fatal(err)
	}
	defer ring.Hook()
	do(ring)
}

// arrive has n frames come to a queue whose rings are new.
func (h *hang) arrive(i, n int) {
	h.t.Helper()
	h.play(i, func(r *driver.FreeRings) {
		if came := r.Arrive(n, freeLen); came != n {
			h.t.Fatalf("queue %d: %d frames of %d could come", i, came, n)
		}
	})
}

func (h *hang) send(i int) {
	h.t.Helper()
	var frames []link.Frame
	for _, b := range h.tx(i) {
		frames = append(frames, link.Frame{Index: b, Len: freeLen})
	}
	q := h.Queue(i)
	if n := q.Send(frames); n != hangSent {
		h.t.Fatalf("queue %d: Send took %d", i, n)
	}
	if err := q.Flush(); err != nil {
		h.t.Fatalf("queue %d: %v", i, err)
	}
}

// receiver is a receive side that the reset has to wake, or that finds frames and
// takes none.
func (h *hang) receiver(i int) {
	q := h.Queue(i)
	for end := time.Now().Add(hangWait); h.Statistics().Hangs == 0; time.Sleep(time.Millisecond) {
		if err := q.WaitReceive(hangWait); err != nil {
			h.t.Errorf("queue %d: WaitReceive: %v", i, err)
			return
		}
		if time.Now().After(end) {
			h.t.Errorf("queue %d: the device was not reset, or that did not end the wait", i)
			return
		}
	}
	var in [2 * hangPosted]link.Frame
	if n := q.Receive(in[:]); n != 0 {
		h.t.Errorf("queue %d: %d frames came out of a reset", i, n)
	}
}

// reclaim waits until the frames of queue i have come back.
func (h *hang) reclaim(i int) {
	h.t.Helper()
	q, n := h.Queue(i), 0
	var bufs [hangSent + 1]uint32
	for end := time.Now().Add(hangWait); n < hangSent && time.Now().Before(end); {
		if err := q.WaitSend(hangWait); err != nil {
			h.t.Errorf("queue %d: WaitSend: %v", i, err)
			return
		}
		n += q.Reclaim(bufs[n:])
	}
	if slices.Sort(bufs[:n]); !slices.Equal(bufs[:n], h.tx(i)) {
		h.t.Errorf("queue %d: buffers %v came back, want %v", i, bufs[:n], h.tx(i))
	}
}

// books checks what was counted.
func (h *hang) books() {
	h.t.Helper()
	s := h.Statistics()
	const arrived = hangQueues / 2 * 2
	if s.Hangs != 1 || s.TXLost != hangQueues*hangSent || s.RXLost != arrived {
		h.t.Errorf("%d hangs lost %d and %d frames, want 1, %d and %d", s.Hangs, s.TXLost, s.RXLost, hangQueues*hangSent, arrived)
	}
	for i := range h.Queues() {
		if q := h.Queue(i).Stats(); q.TXDropped != hangSent || q.RXInvalid != uint64(lost(i)) || q.TXInvalid != 0 {
			h.t.Errorf("queue %d: %+v", i, q)
		}
	}
	if !h.seen.have(func(e Event) bool { return errors.Is(e.Err, syscall.ETIMEDOUT) }) {
		h.t.Error("no event told of it")
	}
}

// works checks that a queue gets the frames that have come, in order, and sends.
func (h *hang) works(i int) {
	h.t.Helper()
	q := h.Queue(i)
	var in [2 * hangPosted]link.Frame
	n := q.Receive(in[:])
	var got, want []uint32
	for b := range uint32(hangPosted) {
		want = append(want, uint32(i)*16+b)
	}
	for _, f := range in[:n] {
		got = append(got, f.Index)
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		h.t.Errorf("queue %d: frames came in buffers %v after the reset, want %v", i, got, want)
	}
	h.play(i, func(r *driver.FreeRings) {
		h.send(i)
		if left := r.Leave(); left != hangSent {
			h.t.Errorf("queue %d: %d frames of %d left after the reset", i, left, hangSent)
		}
	})
	h.reclaim(i)
}
