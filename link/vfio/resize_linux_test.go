package vfio

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio/internal/bus"
	"github.com/oobnet/oobnet/link/vfio/internal/bus/model"
	"github.com/oobnet/oobnet/link/vfio/internal/driver"
	"github.com/oobnet/oobnet/stack"
)

// resizable has chunks of 512 buffers: four in its queue, of which one and a bit
// have memory, and two and a bit in its pool, of which one has.
var resizable = link.Layout{BufferSize: 4096, Queues: 1, RXBuffers: 2048, TXBuffers: 1100, RXPopulated: 513, TXPopulated: 512}

// modelLink is an attached link on a NIC of memory.
func modelLink(t *testing.T, layout link.Layout) (*Link, *model.Bus, *link.Memory) {
	t.Helper()
	var b *model.Bus
	l, _ := openModel(t, func(made *model.Bus) bus.Bus { b = made; return b }, nil)
	mem, err := l.Attach(layout)
	if err != nil {
		t.Fatal(err)
	}
	return l, b, mem
}

// openModel opens an 82574 of memory, on a bus made of its own, without interrupts.
func openModel(t *testing.T, plug func(*model.Bus) bus.Bus, onEvent func(Event)) (*Link, driver.Free) {
	t.Helper()
	b, err := model.New(bus.ID{Vendor: 0x8086, Device: 0x10d3}, modelRegisters)
	if err != nil {
		t.Fatal(err)
	}
	family, _, err := find(b.ID())
	if err != nil {
		t.Fatal(err)
	}
	far := family.Free(b)
	l, err := open(plug(b), &Config{Interrupts: NoInterrupts, OnEvent: onEvent})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l, far
}

// TestResizeMappings: what the device reaches, and what the kernel keeps in
// memory, is what has been populated, at its own address each.
func TestResizeMappings(t *testing.T) {
	leaktest.Check(t)
	l, b, mem := modelLink(t, resizable)
	const chunk = 512
	check := func(chunks ...int) {
		t.Helper()
		want := map[int]bool{}
		pages := 0
		for _, c := range chunks {
			want[c] = true
			pages += min(chunk, resizable.Buffers()-c*chunk)
		}
		for buffer := range resizable.Buffers() {
			at := b.At(l.region.IOVA+uint64(buffer)*4096, 4096)
			if has := at != nil; has != want[buffer/chunk] || has != mem.Valid(link.Frame{Index: uint32(buffer), Len: 60}) {
				t.Fatalf("the device reaches buffer %d: %v; want %v", buffer, has, want[buffer/chunk])
			}
			if at != nil && &at[0] != &mem.Buffer(uint32(buffer))[0] {
				t.Fatalf("the device has another memory for buffer %d than we", buffer)
			}
		}
		if got := resident(t, mem); got != pages {
			t.Errorf("%d pages are in memory, want %d", got, pages)
		}
	}
	do := func(call func(first, n int) error, first, n int) {
		t.Helper()
		if err := call(first, n); err != nil {
			t.Fatal(err)
		}
	}
	check(0, 1, 4)
	do(l.Populate, 2*chunk, 2*chunk)
	check(0, 1, 2, 3, 4)
	do(l.Populate, 6*chunk, resizable.Buffers()-6*chunk)
	check(0, 1, 2, 3, 4, 6)
	do(l.Release, chunk, 4*chunk)
	check(0, 6)
	do(l.Release, 6*chunk, resizable.Buffers()-6*chunk)
	do(l.Populate, chunk, chunk)
	check(0, 1)

	// The second of three chunks cannot be had.
	calls := 0
	b.OnPopulate = func() error {
		if calls++; calls == 2 {
			return unix.ENOMEM
		}
		return nil
	}
	if err := l.Populate(2*chunk, 3*chunk); !errors.Is(err, unix.ENOMEM) {
		t.Errorf("no memory: %v", err)
	}
	check(0, 1)
	b.OnPopulate = nil

	// What the device has it keeps.
	q := l.Queue(0)
	if n := q.Fill([]uint32{chunk + 7, 2 * chunk, 0}); n != 3 {
		t.Errorf("Fill took %d buffers", n)
	}
	if n := q.Stats().RXInvalid; n != 1 {
		t.Errorf("%d buffers without memory were refused, want 1", n)
	}
	if err := l.Release(chunk, chunk); !errors.Is(err, unix.EBUSY) {
		t.Errorf("a buffer on the ring: %v, want EBUSY", err)
	}
	for what, err := range map[string]error{
		"half a chunk":        l.Release(0, 100),
		"without memory":      l.Release(2*chunk, chunk),
		"with memory already": l.Populate(0, 3*chunk),
		"beyond the end":      l.Populate(7*chunk, chunk),
	} {
		if !errors.Is(err, unix.EINVAL) {
			t.Errorf("%s: %v, want EINVAL", what, err)
		}
	}
	check(0, 1)
	if err := l.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := l.Populate(2*chunk, chunk); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Stop: %v, want ErrClosed", err)
	}
}

func TestResizeFixed(t *testing.T) {
	leaktest.Check(t)
	fixed := resizable
	fixed.RXPopulated, fixed.TXPopulated = 0, 0
	l, _, _ := modelLink(t, fixed)
	for _, call := range []func(first, n int) error{l.Populate, l.Release} {
		if err := call(0, 512); !errors.Is(err, link.ErrNotSupported) {
			t.Errorf("a fixed layout: %v, want ErrNotSupported", err)
		}
	}
}

// resident is how many pages of a region are in memory, as the kernel says.
func resident(t *testing.T, m *link.Memory) (n int) {
	t.Helper()
	size := m.Layout().Bytes()
	pages := make([]byte, size/unix.Getpagesize())
	if err := mincore(m.Buffer(0), size, pages); err != nil {
		t.Fatal(err)
	}
	for _, p := range pages {
		n += int(p & 1)
	}
	return n
}

// TestRecall takes buffers out of a ring that has received: what has come is
// there, once and in order, and what comes afterwards, too.
func TestRecall(t *testing.T) {
	onCards(t, func(t *testing.T, card string) {
		r := newRig(t, card, nil)
		for i := range byte(3) {
			r.arrive(i)
		}
		r.await("all three to be there", func() bool { return r.Statistics().RXPackets >= 3 })
		const from = rigRX / 2
		recalled := map[uint32]bool{}
		bufs := make([]uint32, 5)
		q := r.q.(link.Recaller)
		for again, end := true, time.Now().Add(wireTime); again; time.Sleep(time.Millisecond) {
			var n int
			n, again = q.Recall(from, bufs)
			for _, b := range bufs[:n] {
				if b < from || recalled[b] {
					t.Fatalf("buffer %d came back", b)
				}
				recalled[b] = true
			}
			if time.Now().After(end) {
				t.Fatal("there is no end to it")
			}
		}
		if n, again := q.Recall(from, bufs); n != 0 || again {
			t.Errorf("%d more buffers came back, and again is %v", n, again)
		}
		for i := range byte(3) {
			r.expect(i)
		}
		// One of the ring's descriptors is always free, and three frames may lie in
		// any half.
		if n := len(recalled); n < rigRX/2-4 || n > rigRX/2 {
			t.Errorf("%d buffers came back, want about %d", n, rigRX/2)
		}
		for i := range byte(100) {
			r.arrive(i)
			r.expect(i)
		}
	})
}

// TestRecallAbandoned: whoever asks once, and not again, has a queue that goes on.
func TestRecallAbandoned(t *testing.T) {
	onCards(t, func(t *testing.T, card string) {
		r := newRig(t, card, nil)
		bufs := make([]uint32, rigRX)
		n, again := r.q.(link.Recaller).Recall(rigRX-1, bufs)
		t.Logf("%d buffers came back at once, and again is %v", n, again)
		// A wait that sleeps would never end the pause: it returns at once.
		for end := time.Now().Add(wireTime); r.q.(*queue).recalling(); {
			if err := r.q.WaitReceive(-1); err != nil {
				t.Fatal(err)
			}
			r.q.Receive(nil)
			if time.Now().After(end) {
				t.Fatal("the queue is paused for good")
			}
		}
		r.arrive(1)
		r.expect(1)
	})
}

// arrive puts a frame with a number on the wire.
func (r *rig) arrive(number byte) {
	r.t.Helper()
	f := testFrame(r.MAC(), nil)
	f[20] = number
	if err := r.peer.Send(f); err != nil {
		r.t.Fatal(err)
	}
}

// expect receives it.
func (r *rig) expect(number byte) {
	r.t.Helper()
	content, f := r.receive(wireTime)
	if content == nil || content[20] != number {
		r.t.Fatalf("frame %d did not come: %v", number, f)
	}
}

// TestStackResize: a stack extends and shrinks its memory on each card, idle, and
// frames flow between.
func TestStackResize(t *testing.T) {
	onCards(t, func(t *testing.T, card string) {
		c := startCard(t, card)
		l, err := open(c.plug(), &Config{Queues: 1})
		if err != nil {
			t.Fatal(err)
		}
		peer := c.far
		const chunk, most = 512, 1024
		h := stacktest.On(t, l, netip.MustParsePrefix("10.0.0.1/24"), &stacktest.Options{NoPort: true, Device: stack.DeviceConfig{
			BufferSize: 4096, RXBuffers: most, PoolSize: most, MaxRXBuffers: most, MaxPoolSize: most,
		}})
		d := h.Device
		received := uint64(0)
		flow := func() {
			t.Helper()
			for range 50 {
				if err := peer.Send(testFrame(l.MAC(), nil)); err != nil {
					t.Fatal(err)
				}
				received++
				stacktest.Eventually(t, "the frame is received", func() bool { return d.Stats().RX.Packets >= received })
			}
			f, err := d.AllocWait(0, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			f.Len = uint16(copy(d.Memory().Buffer(f.Index)[f.Off:], testFrame(peerMAC, nil)))
			if err := d.Send(f, 0, 0); err != nil {
				t.Fatal(err)
			}
			if _, err := peer.Receive(wireTime); err != nil {
				t.Fatal(err)
			}
		}
		stacktest.Eventually(t, "the wire is up", func() bool { return l.State() == link.Up && d.Fault() == nil })
		for _, s := range []int{most, 100, chunk + 100, 1, most, 16} {
			ctx, cancel := context.WithTimeout(t.Context(), wireTime)
			for what, call := range map[string]func() (int, error){
				"receive buffers": func() (int, error) { return d.ResizeRX(ctx, 0, s) },
				"pool":            func() (int, error) { return d.ResizePool(ctx, s) },
			} {
				if out, err := call(); err != nil {
					t.Fatalf("%s to %d: %d are out: %v", what, s, out, err)
				}
			}
			cancel()
			want := (s + chunk - 1) / chunk * chunk * 4096 * 2
			if st := d.Stats().Pool; st.Memory != want || st.Excess != 0 {
				t.Errorf("%d buffers each: %+v; want %d bytes", s, st, want)
			}
			flow()
		}
		stacktest.AssertBooks(t, d)
	})
}

func mincore(b []byte, size int, pages []byte) error {
	_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&b[0])), uintptr(size), uintptr(unsafe.Pointer(&pages[0])))
	if errno != 0 {
		return errno
	}
	return nil
}
