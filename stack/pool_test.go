package stack_test

import (
	"errors"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/stack"
)

// takeAll empties the pool.
func takeAll(t *testing.T, d *stack.Device) (frames []link.Frame) {
	t.Helper()
	for {
		f, err := d.Alloc()
		if errors.Is(err, syscall.ENOBUFS) {
			return frames
		}
		if err != nil {
			t.Fatal(err)
		}
		frames = append(frames, f)
	}
}

func TestPoolRunsDry(t *testing.T) {
	leaktest.Check(t)
	h := fakeHost(t, newFakeLink(1), manual())
	d := h.Device
	frames := takeAll(t, d)
	st := d.Stats().Pool
	if len(frames) != st.Size || st.Size != 64 || st.Free != 0 || st.Empty != 1 {
		t.Errorf("%d frames of a pool %+v", len(frames), st)
	}
	seen := map[uint32]bool{}
	for _, f := range frames {
		if seen[f.Index] || d.Memory().Home(f.Index) != -1 {
			t.Fatalf("buffer %d twice, or of the receive side", f.Index)
		}
		seen[f.Index] = true
		if f.Len != 0 || f.Off < stack.HeaderRoom || int(f.Off)+d.MTU() > st.BufferSize {
			t.Fatalf("frame at %d, %d long: no room for headers before, or for the MTU behind", f.Off, f.Len)
		}
	}
	for _, f := range frames {
		d.Free(f)
	}
	if st := d.Stats().Pool; st.Free != st.Size {
		t.Errorf("%d of %d came home", st.Free, st.Size)
	}
}

// TestPoolLooksForCompletions before it says that it is empty.
func TestPoolLooksForCompletions(t *testing.T) {
	leaktest.Check(t)
	l := newFakeLink(1)
	h := fakeHost(t, l, &stacktest.Options{Manual: true, Device: stack.DeviceConfig{PoolSize: 8}})
	for i := range byte(100) {
		sendRaw(t, h.Device, 0, 0, i)
	}
	if st := h.Device.Stats(); st.Pool.Empty != 0 || st.TX.Packets != 100 {
		t.Errorf("empty %d times, sent %d", st.Pool.Empty, st.TX.Packets)
	}
}

func TestAllocWait(t *testing.T) {
	leaktest.Check(t)
	l := newFakeLink(1)
	h := fakeHost(t, l, manual())
	d := h.Device
	frames := takeAll(t, d)
	past := make(chan struct{})
	close(past)
	if _, err := d.AllocWait(0, past, nil); !errors.Is(err, syscall.ENOBUFS) {
		t.Errorf("past the deadline: %v", err)
	}
	if _, err := d.AllocWait(0, nil, past); !errors.Is(err, net.ErrClosed) {
		t.Errorf("on a closed socket: %v", err)
	}
	// wait waits for a buffer in a goroutine of its own, until something happens.
	wait := func(what string, happens func()) {
		t.Helper()
		type result struct {
			f   link.Frame
			err error
		}
		got := make(chan result, 1)
		go func() {
			f, err := d.AllocWait(0, nil, nil)
			got <- result{f, err}
		}()
		select {
		case r := <-got:
			t.Fatalf("%s: %v before anything happened", what, r.err)
		case <-time.After(20 * time.Millisecond):
		}
		happens()
		select {
		case r := <-got:
			if r.err != nil {
				t.Fatalf("%s: %v", what, r.err)
			}
			frames = append(frames, r.f)
		case <-time.After(20 * time.Second):
			t.Fatalf("%s: still waiting", what)
		}
	}
	pop := func() link.Frame {
		f := frames[len(frames)-1]
		frames = frames[:len(frames)-1]
		return f
	}
	wait("a buffer is freed", func() { d.Free(pop()) })
	l.set(func() { l.queues[0].hold = true })
	wait("a frame completes, and nobody says so", func() {
		if err := d.Send(rawFrame(d, pop(), []byte{1, 1}), 0, 0); err != nil {
			t.Error(err)
		}
		l.queues[0].complete()
	})
	closed := make(chan error, 1)
	go func() {
		_, err := d.AllocWait(0, nil, nil)
		closed <- err
	}()
	time.Sleep(5 * time.Millisecond)
	for len(frames) > 1 {
		// All but one: the waiter may take the last, or Close comes first.
		frames = frames[:len(frames)-1]
	}
	go d.Close()
	select {
	case err := <-closed:
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("the device closes: %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the device closes: still waiting")
	}
	// The frames are the pool's by number: give each back for the last Close.
	for i := d.Memory().Layout().RXTotal(); i < d.Memory().Layout().Buffers(); i++ {
		d.Free(link.Frame{Index: uint32(i)})
	}
}

// TestManyWaiters share a pool of three; none starves.
func TestManyWaiters(t *testing.T) {
	leaktest.Check(t)
	h := fakeHost(t, newFakeLink(1), &stacktest.Options{Manual: true, Device: stack.DeviceConfig{PoolSize: 3}})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				f, err := h.Device.AllocWait(0, nil, nil)
				if err != nil {
					t.Error(err)
					return
				}
				h.Device.Free(f)
			}
		})
	}
	wg.Wait()
	if st := h.Device.Stats().Pool; st.Free != 3 {
		t.Errorf("%d of 3 came home", st.Free)
	}
}

// TestInBandShare: a quarter of the pool is the sockets' alone.
func TestInBandShare(t *testing.T) {
	leaktest.Check(t)
	l := newFakeLink(1)
	h := fakeHost(t, l, manual())
	d := h.Device
	var held []link.Frame
	for range 48 { // of 64
		f, err := d.Alloc()
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, f)
	}
	ask := func() {
		l.arrive(arpFrame(wire.ARPRequest, broadcast, ownAddr), 0, 0)
		h.Poll()
	}
	ask()
	stacktest.Eventually(t, "the in-band stage is refused a buffer", func() bool { return d.Stats().TX.InBandNoBuffer == 1 })
	d.Free(held[0])
	ask()
	stacktest.Eventually(t, "it gets one when there are more", func() bool {
		h.Poll()
		return len(l.queues[0].wire()) == 1
	})
	for _, f := range held[1:] {
		d.Free(f)
	}
}

// TestInBandShareCountsWhatHasLeft: frames that are complete, and that nobody
// has taken back yet, do not keep the in-band stage from answering.
func TestInBandShareCountsWhatHasLeft(t *testing.T) {
	leaktest.Check(t)
	l := newFakeLink(1)
	h := fakeHost(t, l, &stacktest.Options{Device: stack.DeviceConfig{PoolSize: 16}})
	const sent = 14 // fewer than a sender lets pass before it looks itself
	for i := range byte(sent) {
		sendRaw(t, h.Device, 0, 0, i)
	}
	l.arrive(arpFrame(wire.ARPRequest, broadcast, ownAddr), 0, 0)
	// Statistics would take them back: look at the wire alone.
	stacktest.Eventually(t, "the in-band stage answers", func() bool { return len(l.queues[0].wire()) == sent+1 })
	if n := h.Device.Stats().TX.InBandNoBuffer; n != 0 {
		t.Errorf("%d frames of the in-band stage found no buffer", n)
	}
}
