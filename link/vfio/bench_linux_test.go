package vfio

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/clock"
	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/link"
)

// freeRig is a link on a device that costs nothing, with what its caller holds.
type freeRig struct {
	t      testing.TB
	q      link.Queue
	mem    *link.Memory
	far    *FreeDevice
	frames []link.Frame // to send, one a TX buffer
	in     []link.Frame
	bufs   []uint32
}

const (
	freeRing = 512
	freeLen  = 64 // bytes of a frame
	// freeBurst is how many frames come, or leave, at a time: less than a ring.
	freeBurst = 480
)

func newFreeRig(t testing.TB, name string, hooked bool) *freeRig {
	t.Helper()
	l, far, err := OpenFree(name, &Config{Interrupts: NoInterrupts, Queues: 1, RXDescriptors: freeRing, TXDescriptors: freeRing})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !hooked {
			far.End()
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	layout := link.Layout{BufferSize: 2048, Queues: 1, RXBuffers: freeRing, TXBuffers: freeBurst}
	mem, err := l.Attach(layout)
	if err != nil {
		t.Fatal(err)
	}
	if !hooked {
		if err := far.Begin(); err != nil {
			t.Fatal(err)
		}
	}
	r := &freeRig{t: t, q: l.Queue(0), mem: mem, far: far, in: make([]link.Frame, 64), bufs: make([]uint32, 64)}
	for i := range freeRing - 1 {
		if r.q.Fill([]uint32{uint32(i)}) != 1 {
			t.Fatalf("Fill refused buffer %d", i)
		}
	}
	for i := range freeBurst {
		r.frames = append(r.frames, link.Frame{Index: uint32(freeRing + i), Len: freeLen})
	}
	return r
}

// arrive has frames come to a device that counts the writes of its registers.
func (r *freeRig) arrive(n int) {
	r.t.Helper()
	if err := r.far.Begin(); err != nil {
		r.t.Fatal(err)
	}
	defer r.far.End()
	if came := r.far.Arrive(n, freeLen); came != n {
		r.t.Fatalf("%d of %d frames could arrive", came, n)
	}
}

// receive takes and refills what has arrived, in batches.
func (r *freeRig) receive(batch int) (n int) {
	for {
		got := r.q.Receive(r.in[:batch])
		if got == 0 {
			return n
		}
		for i := range r.in[:got] {
			r.bufs[i] = r.in[i].Index
		}
		if r.q.Fill(r.bufs[:got]) != got {
			r.t.Fatal("the ring had no room for what it gave")
		}
		n += got
	}
}

// send sends a burst, in batches.
func (r *freeRig) send(batch int) {
	for at := 0; at < len(r.frames); at += batch {
		if n := r.q.Send(r.frames[at:min(at+batch, len(r.frames))]); n == 0 {
			r.t.Fatal("the ring had no room")
		}
		if err := r.q.Flush(); err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r *freeRig) reclaim(batch int) (n int) {
	for {
		got := r.q.Reclaim(r.bufs[:batch])
		if got == 0 {
			return n
		}
		for i, b := range r.bufs[:got] {
			r.frames[n+i].Index = b
		}
		n += got
	}
}

// burst is one burst each way. It returns how long the link's part of each took, ns.
func (r *freeRig) burst(batch int) (rx, tx int64) {
	if n := r.far.Arrive(freeBurst, freeLen); n != freeBurst {
		r.t.Fatalf("%d of %d frames could arrive", n, freeBurst)
	}
	start := clock.Now()
	if n := r.receive(batch); n != freeBurst {
		r.t.Fatalf("%d of %d frames were received", n, freeBurst)
	}
	received := clock.Now()
	r.send(batch)
	sent := clock.Now()
	if n := r.far.Leave(); n != freeBurst {
		r.t.Fatalf("%d of %d frames left", n, freeBurst)
	}
	left := clock.Now()
	if n := r.reclaim(batch); n != freeBurst {
		r.t.Fatalf("%d of %d buffers came back", n, freeBurst)
	}
	return received - start, sent - received + clock.Now() - left
}

// BenchmarkFree is what link and driver cost a frame on a device that costs
// nothing: receive with refill, and send with reclaim, a frame each. It is the
// median of bursts of some microseconds: others use the processors, too, and
// have them for milliseconds.
func BenchmarkFree(b *testing.B) {
	for _, name := range freeModels() {
		for _, batch := range []int{1, 8, 32, 64} {
			b.Run(fmt.Sprintf("%s/batch=%d", name, batch), func(b *testing.B) {
				r := newFreeRig(b, name, false)
				rx := make([]int64, 0, b.N/freeBurst+1)
				tx := make([]int64, 0, cap(rx))
				b.ReportAllocs()
				b.ResetTimer()
				for n := 0; n < b.N; n += freeBurst {
					r1, t1 := r.burst(batch)
					rx, tx = append(rx, r1), append(tx, t1)
				}
				b.ReportMetric(median(rx)/freeBurst, "rx-ns/frame")
				b.ReportMetric(median(tx)/freeBurst, "tx-ns/frame")
			})
		}
	}
}

func median(ns []int64) float64 {
	slices.Sort(ns)
	return float64(ns[len(ns)/2])
}

// freeModels names one model of each family that has a free device.
func freeModels() (names []string) {
	for _, d := range drivers {
		if d.Free != nil {
			names = append(names, d.Models[0].Name)
		}
	}
	return names
}

func TestFreeAllocatesNothing(t *testing.T) {
	leaktest.Check(t)
	for _, name := range freeModels() {
		t.Run(name, func(t *testing.T) {
			r := newFreeRig(t, name, false)
			if n := testing.AllocsPerRun(100, func() {
				r.burst(32)
				r.q.Wake()
				_ = r.q.WaitReceive(time.Millisecond) // woken
				_ = r.q.WaitReceive(time.Millisecond)
				_ = r.q.WaitSend(time.Millisecond)
				r.q.Stats()
			}); n != 0 {
				t.Errorf("%v allocations a burst of %d, want 0", n, freeBurst)
			}
		})
	}
}

// TestOneDoorbellABatch counts register writes of a batch each way.
func TestOneDoorbellABatch(t *testing.T) {
	leaktest.Check(t)
	const batch = 32
	for _, name := range freeModels() {
		t.Run(name, func(t *testing.T) {
			r := newFreeRig(t, name, true)
			before := r.far.Doorbells()
			r.q.Send(r.frames[:batch/2])
			r.q.Send(r.frames[batch/2 : batch])
			if n := r.far.Doorbells() - before; n != 0 {
				t.Errorf("Send wrote %d registers", n)
			}
			if err := r.q.Flush(); err != nil {
				t.Fatal(err)
			}
			if err := r.q.Flush(); err != nil { // of nothing
				t.Fatal(err)
			}
			if n := r.far.Doorbells() - before; n != 1 {
				t.Errorf("a batch of %d wrote %d registers, want 1", batch, n)
			}
			r.arrive(batch)
			before = r.far.Doorbells()
			if n := r.q.Receive(r.in[:batch]); n != batch {
				t.Fatalf("%d frames of %d were received", n, batch)
			}
			if n := r.far.Doorbells() - before; n != 0 {
				t.Errorf("Receive wrote %d registers", n)
			}
			for i := range r.in[:batch] {
				r.bufs[i] = r.in[i].Index
			}
			if n := r.q.Fill(r.bufs[:batch]); n != batch {
				t.Fatalf("Fill took %d buffers of %d", n, batch)
			}
			if n := r.far.Doorbells() - before; n != 1 {
				t.Errorf("a batch of %d, received and filled again, wrote %d registers, want 1", batch, n)
			}
			if n := r.q.Fill([]uint32{freeRing - 1}); n != 0 || r.far.Doorbells()-before != 1 {
				t.Errorf("a full ring took %d buffers, after %d writes, want none after 1", n, r.far.Doorbells()-before)
			}
		})
	}
}
