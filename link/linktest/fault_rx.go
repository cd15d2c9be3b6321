package linktest

import (
	"time"

	"github.com/oobnet/oobnet/link"
)

// faultRX is the receive side of a queue: between the device's receive ring
// and the user.
type faultRX struct {
	dice   dice
	hold   holdback
	number int
	inner  link.Queue
	mem    *link.Memory

	ready   fifo[link.Frame] // decided, for the user
	back    []uint32         // dropped, on their way to the device's fill ring
	spares  []uint32         // kept back from Fill, for duplicates
	reserve int              // how many spares there are to be
	given   int              // buffers that the device has
	batch   []link.Frame
}

func (r *faultRX) init(f *Fault, number int, inner link.Queue, mem *link.Memory) {
	r.dice.init(f.cfg.RX, f.cfg.Seed, uint64(2*number))
	r.hold.init(&f.cfg)
	r.number, r.inner, r.mem = number, inner, mem
	// Each entry of these is a buffer of this queue's own: there are no more.
	own := mem.Layout().RXBuffers
	r.ready.init(own)
	r.back = make([]uint32, 0, own)
	r.spares = make([]uint32, 0, f.cfg.Reserve)
	r.batch = make([]link.Frame, batchSize)
	if r.dice.active {
		r.reserve = f.cfg.Reserve
	}
}

// Receive implements [link.Queue].
func (q *faultQueue) Receive(frames []link.Frame) int {
	r := &q.rx
	if !r.dice.active {
		return q.Queue.Receive(frames)
	}
	r.releaseDue()
	for r.ready.n < len(frames) {
		n := r.inner.Receive(r.batch[:min(len(r.batch), len(frames)-r.ready.n, r.ready.room())])
		if n == 0 {
			break
		}
		r.given -= n
		for _, f := range r.batch[:n] {
			r.apply(f)
		}
	}
	r.giveBack()
	return r.ready.take(frames)
}

// apply decides on one frame.
func (r *faultRX) apply(f link.Frame) {
	b := r.mem.Bytes(f)
	if len(b) == 0 {
		r.pass(f)
		return
	}
	a, spot := r.dice.roll(b)
	switch a {
	case Drop:
		r.back = append(r.back, f.Index)
	case Corrupt:
		flip(b, spot)
		r.pass(f)
	case Duplicate:
		if len(r.spares) == 0 {
			r.dice.starve()
			r.pass(f)
			return
		}
		twin := f
		twin.Index = r.spares[len(r.spares)-1]
		r.spares = r.spares[:len(r.spares)-1]
		copy(r.mem.Bytes(twin), b)
		r.ready.push(f)
		r.pass(twin)
	case Reorder, Delay:
		if !r.hold.put(f, a) {
			r.dice.starve()
			r.pass(f)
			return
		}
	default:
		r.pass(f)
	}
	r.dice.count(a)
}

// pass hands a frame to the user, and after it those it has overtaken.
func (r *faultRX) pass(f link.Frame) {
	r.ready.push(f)
	r.hold.passed++
	for f, ok := r.hold.overtaken(); ok; f, ok = r.hold.overtaken() {
		r.ready.push(f)
	}
}

func (r *faultRX) releaseDue() {
	for f, ok := r.hold.due(); ok; f, ok = r.hold.due() {
		r.ready.push(f)
	}
}

// giveBack returns dropped buffers to the device; what its ring has no room
// for stays for the next call.
func (r *faultRX) giveBack() {
	if len(r.back) == 0 {
		return
	}
	n := r.inner.Fill(r.back)
	r.given += n
	r.back = r.back[:copy(r.back, r.back[n:])]
}

// Fill implements [link.Queue]. The device comes first, until it has as many
// buffers as the reserve is to have; then the reserve.
func (q *faultQueue) Fill(bufs []uint32) int {
	r := &q.rx
	if !r.dice.active || q.fault.stopped.Load() {
		return q.Queue.Fill(bufs)
	}
	r.giveBack()
	spare := len(bufs) - max(0, r.reserve-r.given)
	want := max(0, min(r.reserve-len(r.spares), spare))
	n := r.inner.Fill(bufs[:len(bufs)-want])
	r.given += n
	for ; want > 0 && r.mem.Home(bufs[n]) == r.number; want-- {
		r.spares = append(r.spares, bufs[n])
		n++
	}
	return n
}

// WaitReceive implements [link.Queue].
func (q *faultQueue) WaitReceive(d time.Duration) error {
	r := &q.rx
	if r.dice.active {
		r.giveBack()
		d = r.hold.bound(d)
		if r.ready.n > 0 {
			d = 0
		}
	}
	return q.Queue.WaitReceive(d)
}

// drain gives out what this side holds.
func (r *faultRX) drain(bufs []uint32) int {
	n := 0
	for n < len(bufs) {
		var one [1]link.Frame
		switch {
		case len(r.back) > 0:
			bufs[n], r.back = r.back[len(r.back)-1], r.back[:len(r.back)-1]
		case len(r.spares) > 0:
			bufs[n], r.spares = r.spares[len(r.spares)-1], r.spares[:len(r.spares)-1]
		case r.ready.take(one[:]) == 1:
			bufs[n] = one[0].Index
		default:
			f, ok := r.hold.any()
			if !ok {
				return n
			}
			bufs[n] = f.Index
		}
		n++
	}
	return n
}
