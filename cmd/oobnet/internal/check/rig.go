package check

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio"
)

const (
	rxBuffers = 256 // a queue
	txBuffers = 256
	batch     = 32
	// patience is for a frame to come back: it takes microseconds, and seconds in
	// an emulator on a busy machine.
	patience = 5 * time.Second
	// silence is how long nothing must come.
	silence = 100 * time.Millisecond
	// wireWait is how long a link takes to negotiate at most.
	wireWait = 10 * time.Second
)

// rig is an open NIC with its buffers. All queues are worked by one goroutine, but
// for what a step says.
type rig struct {
	NIC
	memory *link.Memory
	layout link.Layout
	free   []uint32 // to send with
	in     [batch]link.Frame
	bufs   [batch]uint32
}

// arrived is a received frame: a copy.
type arrived struct {
	queue int
	bytes []byte
	link.Meta
}

// newRig opens the NIC with its loopback, and waits until it is up.
func newRig(open Opener, cfg vfio.Config) (*rig, error) {
	first, err := open(&vfio.Config{Queues: 1})
	if err != nil {
		return nil, err
	}
	lacks := wants(first, vfio.Loopback, "loopback")
	if err := first.Close(); err != nil {
		return nil, err
	}
	if lacks != nil {
		return nil, lacks
	}
	cfg.With |= vfio.Loopback
	r, err := newRigOnWire(open, cfg)
	if err != nil {
		return nil, err
	}
	if !r.awaitUp() {
		return nil, r.end(fmt.Errorf("no link in %v, with the loopback on", wireWait))
	}
	return r, nil
}

// newRigOnWire opens the NIC as the config says.
func newRigOnWire(open Opener, cfg vfio.Config) (*rig, error) {
	n, err := open(&cfg)
	if err != nil {
		return nil, err
	}
	r := &rig{NIC: n, layout: link.Layout{BufferSize: link.MinBufferSize, Queues: n.Queues(), RXBuffers: rxBuffers, TXBuffers: txBuffers}}
	if r.memory, err = n.Attach(r.layout); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	for i := range uint32(r.layout.Buffers()) {
		if q := r.memory.Home(i); q >= 0 {
			r.Queue(q).Fill([]uint32{i})
		} else {
			r.free = append(r.free, i)
		}
	}
	return r, nil
}

func (r *rig) awaitUp() bool {
	for end := time.Now().Add(wireWait); r.State() != link.Up; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// end closes the NIC, and joins what goes wrong to the error of the step.
func (r *rig) end(err error) error { return errors.Join(err, r.Fault(), r.Close()) }

// endSkipped is end of a step that there is nothing to do for.
func (r *rig) endSkipped(why error) error {
	if err := r.end(nil); err != nil {
		return err
	}
	return why
}

// send puts a frame on a queue and rings the doorbell.
func (r *rig) send(queue int, frame []byte, m link.Meta) error {
	for end := time.Now().Add(patience); len(r.free) == 0; r.reclaim() {
		if time.Now().After(end) {
			return errors.New("buffers that were sent do not come back")
		}
	}
	i := r.free[len(r.free)-1]
	f := link.Frame{Index: i, Len: uint16(len(frame)), Meta: m}
	copy(r.memory.Buffer(i), frame)
	if r.Queue(queue).Send([]link.Frame{f}) != 1 {
		return fmt.Errorf("queue %d takes no frame", queue)
	}
	r.free = r.free[:len(r.free)-1]
	return r.Queue(queue).Flush()
}

func (r *rig) reclaim() {
	for q := range r.layout.Queues {
		n := r.Queue(q).Reclaim(r.bufs[:])
		r.free = append(r.free, r.bufs[:n]...)
	}
}

// receive waits for a frame on any queue.
func (r *rig) receive(limit time.Duration) (arrived, bool) {
	for end := time.Now().Add(limit); ; {
		for q := range r.layout.Queues {
			if r.Queue(q).Receive(r.in[:1]) == 1 {
				f := r.in[0]
				a := arrived{q, bytes.Clone(r.memory.Bytes(f)), f.Meta}
				r.Queue(q).Fill([]uint32{f.Index})
				return a, true
			}
		}
		r.reclaim()
		if time.Now().After(end) {
			return arrived{}, false
		}
	}
}

// echo sends a frame and waits for it to come back.
func (r *rig) echo(queue int, frame []byte, m link.Meta) (arrived, error) {
	if err := r.send(queue, frame, m); err != nil {
		return arrived{}, err
	}
	a, ok := r.receive(patience)
	if !ok {
		return a, fmt.Errorf("a frame of %d bytes, sent on queue %d, did not come back in %v", len(frame), queue, patience)
	}
	return a, nil
}

// quiet wants that a frame does not come back.
func (r *rig) quiet(frame []byte) error {
	if err := r.send(0, frame, link.Meta{}); err != nil {
		return err
	}
	if _, ok := r.receive(silence); ok {
		return errors.New("it was received")
	}
	return nil
}
