package stack_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/loopback"
	"github.com/oobnet/oobnet/stack"
)

// Sizes of the resizable devices of these tests: chunks of 512 buffers, four for
// each queue and for the pool.
const (
	chunk    = link.ChunkSize / link.PageSize
	maxSize  = 4 * chunk
	halfSize = 2 * chunk
)

func resizable(rx, pool int) *stacktest.Options {
	return &stacktest.Options{Device: stack.DeviceConfig{
		BufferSize: link.PageSize, RXBuffers: rx, PoolSize: pool, MaxRXBuffers: maxSize, MaxPoolSize: maxSize,
	}}
}

// patient is a context that a test does not outlive.
func patient(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// impatient is a context that has ended.
func impatient() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// sizes checks what statistics and the machine say of a device's memory.
func sizes(t *testing.T, d *stack.Device, rx, pool int) {
	t.Helper()
	up := func(n int) int { return (n + chunk - 1) / chunk * chunk }
	queues := d.Memory().Layout().Queues
	want := (queues*up(rx) + up(pool)) * link.PageSize
	st := d.Stats().Pool
	if st.RXSize != queues*rx || st.Size != pool || st.Excess != 0 || st.Memory != want {
		t.Errorf("%d receive buffers, %d of the pool, %d too many, %d bytes; want %d, %d, 0, %d", st.RXSize, st.Size, st.Excess, st.Memory, queues*rx, pool, want)
	}
	if got, ok := resident(t, d.Memory()); ok && got != want {
		t.Errorf("%d bytes are resident, want %d", got, want)
	}
}

// resize is both calls, for all queues, which are to succeed.
func resize(t *testing.T, d *stack.Device, rx, pool int) {
	t.Helper()
	for q := range d.Memory().Layout().Queues {
		if out, err := d.ResizeRX(patient(t), q, rx); out != 0 || err != nil {
			t.Fatalf("queue %d to %d buffers: %d are out: %v", q, rx, out, err)
		}
	}
	if out, err := d.ResizePool(patient(t), pool); out != 0 || err != nil {
		t.Fatalf("the pool to %d buffers: %d are out: %v", pool, out, err)
	}
}

// TestResizeIdle: on a wire without traffic the device holds receive buffers for
// good, and gives them back nevertheless.
func TestResizeIdle(t *testing.T) {
	for _, queues := range []int{1, 2} {
		t.Run(fmt.Sprint(queues), func(t *testing.T) {
			leaktest.Check(t)
			o := resizable(halfSize, halfSize)
			o.Loopback.Queues = queues
			a, b := stacktest.Pair(t, o)
			sizes(t, a.Device, halfSize, halfSize)
			for _, s := range [][2]int{{maxSize, maxSize}, {100, 10}, {100, maxSize}, {chunk + 1, chunk}, {1, 1}, {maxSize, maxSize}} {
				resize(t, a.Device, s[0], s[1])
				sizes(t, a.Device, s[0], s[1])
				stacktest.AssertNothingHeld(t, a.Device)
			}
			sizes(t, b.Device, halfSize, halfSize)
			if c := a.Device.Config(); c.RXBuffers != halfSize || c.PoolSize != halfSize || c.QueueLength != maxSize {
				t.Errorf("the device was attached with %+v", c)
			}
		})
	}
}

// TestResizeHeld: what an application holds keeps its memory, is counted, and
// goes with the next call after it came home.
func TestResizeHeld(t *testing.T) {
	leaktest.Check(t)
	a, _ := stacktest.Pair(t, resizable(halfSize, maxSize))
	held := lease(t, a.Device, maxSize)
	// All buffers are leases: as many are out as are to go.
	if out, err := a.Device.ResizePool(impatient(), chunk); out != maxSize-chunk || !errors.Is(err, context.Canceled) {
		t.Fatalf("%d leases are out: %v; want %d", out, err, maxSize-chunk)
	}
	if st := a.Device.Stats().Pool; st.Excess != maxSize-chunk || st.Size != chunk || st.Memory != (halfSize+maxSize)*link.PageSize {
		t.Errorf("the pool: %+v", st)
	}
	var one link.Frame
	for _, f := range held {
		// The last chunk but one keeps one buffer, at its end.
		if f.Index == uint32(maxSize+3*chunk-1) {
			one = f
			continue
		}
		a.Device.Free(f)
	}
	if out, err := a.Device.ResizePool(impatient(), chunk); out != 1 || !errors.Is(err, context.Canceled) {
		t.Fatalf("%d leases are out: %v; want 1", out, err)
	}
	if got := a.Device.Stats().Pool.Memory; got != (halfSize+2*chunk)*link.PageSize {
		t.Errorf("%d bytes are left", got)
	}
	done := make(chan error, 1)
	go func() {
		_, err := a.Device.ResizePool(patient(t), chunk)
		done <- err
	}()
	// Another call waits for its turn, and goes when its time is over.
	stacktest.Eventually(t, "the first call has its turn", func() bool {
		out, err := a.Device.ResizePool(impatient(), chunk)
		return out == 0 && errors.Is(err, context.Canceled)
	})
	a.Device.Free(one)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	sizes(t, a.Device, halfSize, chunk)
}

// TestResizeHeldReceived is the same for a received frame that is not released.
func TestResizeHeldReceived(t *testing.T) {
	leaktest.Check(t)
	const few = 8
	a, b := stacktest.Pair(t, resizable(halfSize, halfSize))
	c := newCrosser(t, a, b)
	c.held = make(chan uint32, few)
	var stop atomic.Bool // ends the sender
	time.AfterFunc(10*time.Millisecond, func() { stop.Store(true) })
	c.send(&stop)
	stacktest.Eventually(t, "frames are held", func() bool { return b.Device.Stats().Pool.RXHeld == few })
	last := <-c.held
	for range few - 1 {
		index := <-c.held
		b.Device.Release(min(index, last))
		last = max(index, last)
	}
	size := int(last) // up to the one before
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if out, err := b.Device.ResizeRX(ctx, 0, size); out < 1 || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("%d received frames are out: %v; want 1", out, err)
	}
	stacktest.Eventually(t, "the others come home", func() bool {
		out, err := b.Device.ResizeRX(impatient(), 0, size)
		return out == 1 && errors.Is(err, context.Canceled)
	})
	if st := b.Device.Stats().Pool; st.RXHeld != 1 || st.Excess != 1 {
		t.Errorf("held %d, too many %d; want 1 and 1", st.RXHeld, st.Excess)
	}
	b.Device.Release(last)
	resize(t, b.Device, size, halfSize)
	sizes(t, b.Device, size, halfSize)
}

// lease takes n buffers of the TX pool.
func lease(t *testing.T, d *stack.Device, n int) []link.Frame {
	t.Helper()
	frames := make([]link.Frame, n)
	for i := range frames {
		f, err := d.Alloc()
		if err != nil {
			t.Fatal(err)
		}
		frames[i] = f
	}
	return frames
}

// TestResizeManual: a goroutine that polls resizes with a context that has ended,
// polls, and looks again.
func TestResizeManual(t *testing.T) {
	leaktest.Check(t)
	o := resizable(maxSize, maxSize)
	o.Manual = true
	a, _ := stacktest.Pair(t, o)
	calls := 0
	stacktest.Eventually(t, "the buffers come home", func() bool {
		a.Poll()
		calls++
		out, err := a.Device.ResizeRX(impatient(), 0, chunk)
		if err == nil {
			return out == 0
		}
		if out == 0 || !errors.Is(err, context.Canceled) {
			t.Fatalf("%d are out: %v", out, err)
		}
		// What the device's ring holds it is asked for after a while only.
		return false
	})
	sizes(t, a.Device, chunk, maxSize)
}

// stingy is a link that has no memory left when it is told so.
type stingy struct {
	*loopback.Link
	after int // populating works that often
}

func (s *stingy) Populate(first, n int) error {
	if s.after--; s.after < 0 {
		return fmt.Errorf("stingy: %w", syscall.ENOMEM)
	}
	return s.Link.Populate(first, n)
}

// TestResizeNoMemory: what fails leaves everything as it was, also what had
// memory already.
func TestResizeNoMemory(t *testing.T) {
	leaktest.Check(t)
	l, err := loopback.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &stingy{Link: l, after: 1}
	a := stacktest.On(t, s, ownNet, resizable(halfSize, maxSize))
	// A lease in the third chunk keeps it, so that two runs are to be populated.
	var one link.Frame
	for _, f := range lease(t, a.Device, maxSize) {
		if f.Index == uint32(maxSize+2*chunk) {
			one = f
			continue
		}
		a.Device.Free(f)
	}
	if out, err := a.Device.ResizePool(impatient(), chunk); out != 1 || err == nil {
		t.Fatalf("%d are out: %v", out, err)
	}
	before := a.Device.Stats().Pool
	for _, after := range []int{0, 1} {
		s.after = after
		if _, err := a.Device.ResizePool(patient(t), maxSize); !errors.Is(err, syscall.ENOMEM) {
			t.Fatalf("after %d: %v, want ENOMEM", after, err)
		}
		if got := a.Device.Stats().Pool; got != before {
			t.Errorf("after %d: %+v, was %+v", after, got, before)
		}
		if _, err := a.Device.ResizeRX(patient(t), 0, maxSize); after == 0 && !errors.Is(err, syscall.ENOMEM) {
			t.Errorf("receive buffers: %v, want ENOMEM", err)
		}
	}
	s.after = 100
	a.Device.Free(one)
	resize(t, a.Device, maxSize, maxSize)
	sizes(t, a.Device, maxSize, maxSize)
}

func TestResizeErrors(t *testing.T) {
	leaktest.Check(t)
	a, _ := stacktest.Pair(t, resizable(halfSize, halfSize))
	for _, n := range []int{-1, 0, maxSize + 1} {
		if _, err := a.Device.ResizePool(patient(t), n); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("a pool of %d: %v, want EINVAL", n, err)
		}
		if _, err := a.Device.ResizeRX(patient(t), 0, n); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("a queue of %d: %v, want EINVAL", n, err)
		}
	}
	for _, q := range []int{-1, 1} {
		if _, err := a.Device.ResizeRX(patient(t), q, 1); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("queue %d: %v, want EINVAL", q, err)
		}
	}
	fixed, _ := stacktest.Pair(t, nil)
	if _, err := fixed.Device.ResizePool(patient(t), 1); !errors.Is(err, link.ErrNotSupported) {
		t.Errorf("a fixed pool: %v, want ErrNotSupported", err)
	}
	if got, want := fixed.Device.Stats().Pool.Memory, (stack.DefaultRXBuffers+stack.DefaultPoolSize)*link.PageSize; got != want {
		t.Errorf("a fixed device has %d bytes, want %d", got, want)
	}
	l := newFakeLink(1)
	defer l.Close()
	for name, c := range map[string]struct {
		cfg  stack.DeviceConfig
		l    link.Link
		want error
	}{
		"a link that cannot":   {stack.DeviceConfig{MaxPoolSize: 4096}, l, link.ErrNotSupported},
		"less RX than at once": {stack.DeviceConfig{RXBuffers: 1000, MaxRXBuffers: 512}, a.Link, syscall.EINVAL},
		"not a power of two":   {stack.DeviceConfig{MaxRXBuffers: 3000}, a.Link, syscall.EINVAL},
		"less TX than at once": {stack.DeviceConfig{MaxPoolSize: 1000}, a.Link, syscall.EINVAL},
		"too large a pool":     {stack.DeviceConfig{MaxPoolSize: stack.MaxPoolSize + 1}, a.Link, syscall.EINVAL},
		"negative":             {stack.DeviceConfig{MaxRXBuffers: -1}, a.Link, syscall.EINVAL},
		"chunks too small":     {stack.DeviceConfig{RXBuffers: 8, MaxRXBuffers: 8}, a.Link, syscall.EINVAL},
	} {
		if _, err := a.Stack.Attach(c.l, &c.cfg); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if err := a.Device.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Device.ResizePool(patient(t), 1); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a closed device: %v, want ErrClosed", err)
	}
}

// TestResizeClose: Close ends a Resize that waits.
func TestResizeClose(t *testing.T) {
	leaktest.Check(t)
	a, _ := stacktest.Pair(t, resizable(halfSize, halfSize))
	held := lease(t, a.Device, halfSize)
	done := make(chan error, 2)
	for range 2 {
		go func() {
			_, err := a.Device.ResizePool(context.Background(), 1)
			done <- err
		}()
	}
	stacktest.Eventually(t, "one of them waits", func() bool { return a.Device.Stats().Pool.Excess == halfSize-1 })
	closed := make(chan error, 1)
	go func() { closed <- a.Device.Close() }()
	for range 2 {
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Resize: %v, want ErrClosed", err)
		}
	}
	for _, f := range held {
		a.Device.Free(f)
	}
	if err := <-closed; err != nil {
		// A loaded machine may take longer than Close waits.
		if err = a.Device.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
