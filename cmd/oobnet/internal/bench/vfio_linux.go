package bench

import (
	"context"
	"errors"
	"fmt"

	"github.com/oobnet/oobnet/cmd/oobnet/internal/report"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio"
)

// The free devices of the vfio suite, one a driver.
var freeModels = []string{"82540EM", "82576", "82599"}

const (
	// freeRing is how many descriptors a ring has, and buffers a side: more
	// than lie in the first cache, as on a real wire.
	freeRing = 512
	freeLen  = 64 // bytes of a frame
)

// freeBounds is the most that link and driver may cost a frame, ns, by the
// frames of a batch.
var freeBounds = map[int]float64{1: 60, 32: 25}

// goalFree: within the bound. goalSisters: a driver whose NIC has the same
// descriptors as another's costs what the other does.
var (
	goalFree    = report.Goal(1)
	goalSisters = report.Goal(1.1)
)

// vfioSuite measures link and driver on a device that costs nothing, beside the
// bound that they have and beside a copy of the same frames.
func vfioSuite() ([]contest, func(), error) {
	var list []contest
	for _, model := range freeModels {
		for _, batch := range []int{32, 1} {
			list = append(list, freeContest(model, batch, "rx", (*freeRig).receiving), freeContest(model, batch, "tx", (*freeRig).sending))
		}
	}
	return list, func() {}, nil
}

func freeContest(model string, batch int, way string, p func(*freeRig) path) contest {
	name := fmt.Sprintf("%s_%s%d", model, way, batch)
	driver := freeContender("driver", model, batch, p)
	c := contest{
		suite: "vfio", name: name,
		contenders: []contender{driver, freeContender("copy", model, batch, (*freeRig).copying), boundOf(freeBounds[batch])},
		rows: []rowSpec{
			{name: name, unit: "ns", metric: "ns", ours: driver.name, peer: "bound", goal: goalFree},
			{name: name, unit: "ns", metric: "ns", ours: driver.name, peer: "copy"},
			{name: name + "_allocs", unit: "allocs", metric: "allocs", ours: driver.name, peer: "bound", goal: report.Goal(0)},
		},
	}
	if model == "82599" && batch > 1 {
		c.contenders = append(c.contenders, freeContender("82576", "82576", batch, p))
		c.rows = append(c.rows, rowSpec{name: name, unit: "ns", metric: "ns", ours: driver.name, peer: "82576", goal: goalSisters})
	}
	return c
}

// freeRig is one queue of a link on a free device.
type freeRig struct {
	l     *vfio.Link
	q     link.Queue
	mem   *link.Memory
	far   *vfio.FreeDevice
	batch int

	in   []link.Frame // received
	out  []link.Frame // to send
	bufs []uint32
	next int // of the buffers that copying reads
	sink []byte
}

func freeContender(name, model string, size int, of func(*freeRig) path) contender {
	return contender{name: name, setUp: func(context.Context) (turn, func(), error) {
		r, err := newFreeRig(model, size)
		if err != nil {
			return nil, nil, err
		}
		return of(r).turn, r.close, nil
	}}
}

func newFreeRig(model string, size int) (_ *freeRig, err error) {
	l, far, err := vfio.OpenFree(model, &vfio.Config{Interrupts: vfio.NoInterrupts, Queues: 1, RXDescriptors: freeRing, TXDescriptors: freeRing})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Close())
		}
	}()
	r := &freeRig{l: l, far: far, batch: size, in: make([]link.Frame, batch), bufs: make([]uint32, batch), sink: make([]byte, freeLen)}
	if r.mem, err = l.Attach(link.Layout{BufferSize: link.MinBufferSize, Queues: 1, RXBuffers: freeRing, TXBuffers: batch}); err != nil {
		return nil, err
	}
	r.q = l.Queue(0)
	if err := far.Begin(); err != nil {
		return nil, err
	}
	for i := range uint32(freeRing - 1) { // a full ring has a place free
		if r.q.Fill([]uint32{i}) != 1 {
			return nil, fmt.Errorf("the ring refused buffer %d", i)
		}
	}
	for i := range uint32(batch) {
		r.out = append(r.out, link.Frame{Index: freeRing + i, Len: freeLen})
	}
	return r, nil
}

func (r *freeRig) close() {
	r.far.End()
	_ = r.l.Close() // plain memory: there is nothing that could be lost
}

// receiving takes what has come and gives the buffers back to the device.
func (r *freeRig) receiving() path {
	return path{
		before: func() { r.far.Arrive(batch, freeLen) },
		run: func() error {
			for n := 0; n < batch; {
				got := r.q.Receive(r.in[:r.batch])
				if got == 0 {
					return fmt.Errorf("%d of %d frames came", n, batch)
				}
				for i := range r.in[:got] {
					r.bufs[i] = r.in[i].Index
				}
				if r.q.Fill(r.bufs[:got]) != got {
					return errors.New("the ring had no room for what it gave")
				}
				n += got
			}
			return nil
		},
		after: nothingErr,
	}
}

// sending takes back the buffers of what has left, and sends them again.
func (r *freeRig) sending() path {
	sent := false
	return path{
		before: func() { r.far.Leave() },
		run: func() error {
			for n := 0; n < batch; n += r.batch {
				frames := r.out[n : n+r.batch]
				if sent {
					if r.q.Reclaim(r.bufs[:r.batch]) != r.batch {
						return errors.New("a buffer did not come back")
					}
					for i := range frames {
						frames[i].Index = r.bufs[i]
					}
				}
				if r.q.Send(frames) != r.batch {
					return errors.New("the ring had no room")
				}
				if err := r.q.Flush(); err != nil {
					return err
				}
			}
			sent = true
			return nil
		},
		after: nothingErr,
	}
}

// copying copies as many frames out of the ring's buffers, one after the other.
func (r *freeRig) copying() path {
	return path{
		before: nothing,
		run: func() error {
			for range batch {
				copy(r.sink, r.mem.Buffer(uint32(r.next)))
				r.next = (r.next + 1) % freeRing
			}
			return nil
		},
		after: nothingErr,
	}
}
