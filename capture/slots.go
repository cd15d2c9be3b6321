package capture

import (
	"encoding/binary"
	"sync/atomic"

	"github.com/oobnet/oobnet/internal/ring"
	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/stack"
)

// recordKind says which way a frame went.
type recordKind uint8

const (
	kindReceived recordKind = iota
	kindSent
	kindNotSent
)

// slot holds the copy of a frame. It is free, or a batch's on the packet path,
// or waits, or is the writer's.
type slot struct {
	room []byte
	// b is the frame as it was on the wire, or its first bytes; length is that of
	// the whole, bytes.
	b      []byte
	length int
	at     int64 // CLOCK_MONOTONIC, ns
	queue  int
	kind   recordKind
	// outcome of a received frame.
	outcome stack.Outcome
}

// slots are what the packet path fills and the writer empties. Nobody waits for
// anybody: without a free slot the frame is lost to the capture, and counted.
type slots struct {
	expr *Expr
	// deviceTime: frames bring the time of their device, on our clock.
	deviceTime bool
	list       []slot
	// free and waiting hold indexes of slots: RX threads and senders take from
	// free and put on waiting, the writer the other way round. Neither can be
	// full, so putting never waits.
	free    ring.List
	waiting ring.Pile
	// batches are what has arrived and is not settled, by queue; each is the RX
	// step's of its queue.
	batches []batch
	// Written by RX threads and senders, read by Stats and the writer.
	received, rejected, lost atomic.Uint64
}

// batch has the slot of each frame; ring.Nil: none.
type batch struct {
	slots [stack.MaxBatch]uint32
	// Its own line of the cache: queues are on several processors.
	_ [64]byte
}

var _ stack.Recorder = (*slots)(nil)

func newSlots(n, size, queues int, expr *Expr) *slots {
	s := &slots{
		expr: expr, list: make([]slot, n), batches: make([]batch, queues),
	}
	s.free.Init(ring.NewLinks(n))
	s.waiting.Init(make(ring.Next, n))
	room := make([]byte, n*size)
	for i := range s.list {
		s.list[i].room = room[i*size:][:size:size]
		s.free.Push(uint32(i))
	}
	return s
}

// Arrived copies a batch before anyone can change it.
//
//oobnet:hot
func (s *slots) Arrived(a *stack.Arrivals) {
	mem := a.Device.Memory()
	at := &s.batches[a.Queue].slots
	var rejected, lost uint64
	for i := range a.Frames {
		f := &a.Frames[i]
		at[i] = ring.Nil
		if !s.expr.late && !s.wants(f, mem.Bytes(*f), a.Queue, kindReceived) {
			rejected++
			continue
		}
		when := a.At
		if s.deviceTime && f.Time != 0 {
			when = f.Time
		}
		if at[i] = s.take(f, mem.Bytes(*f), a.Queue, when); at[i] == ring.Nil {
			lost++
		}
	}
	s.count(len(a.Frames), rejected, lost)
}

// Settled notes what became of the batch, and gives it to the writer.
//
//oobnet:hot
func (s *slots) Settled(a *stack.Arrivals) {
	at := &s.batches[a.Queue].slots
	var rejected uint64
	for i := range a.Frames {
		if at[i] == ring.Nil {
			continue
		}
		l := &s.list[at[i]]
		l.kind, l.outcome = kindReceived, a.Outcomes[i]
		if s.expr.late && !s.wantsSlot(l) {
			s.free.Push(at[i])
			rejected++
			continue
		}
		s.waiting.Push(at[i])
	}
	if rejected != 0 {
		s.rejected.Add(rejected)
	}
}

// Sent copies what the device has taken.
//
//oobnet:hot
func (s *slots) Sent(d *stack.Device, queue int, frames []link.Frame, at int64) {
	mem := d.Memory()
	var rejected, lost uint64
	for i := range frames {
		f := &frames[i]
		b := mem.Bytes(*f)
		if !s.wants(f, b, queue, kindSent) {
			rejected++
			continue
		}
		index := s.take(f, b, queue, at)
		if index == ring.Nil {
			lost++
			continue
		}
		s.list[index].kind = kindSent
		s.waiting.Push(index)
	}
	s.count(len(frames), rejected, lost)
}

// Unsent copies what will not be sent.
//
//oobnet:hot
func (s *slots) Unsent(d *stack.Device, queue int, f link.Frame, at int64) {
	b := d.Memory().Bytes(f)
	if !s.wants(&f, b, queue, kindNotSent) {
		s.count(1, 1, 0)
		return
	}
	index := s.take(&f, b, queue, at)
	if index == ring.Nil {
		s.count(1, 0, 1)
		return
	}
	s.list[index].kind = kindNotSent
	s.waiting.Push(index)
	s.count(1, 0, 0)
}

// wants asks the expression about a frame in its buffer.
//
//oobnet:hot
func (s *slots) wants(f *link.Frame, b []byte, queue int, kind recordKind) bool {
	if len(s.expr.nodes) == 0 {
		return true
	}
	stripped := f.Flags&link.FlagVLANStripped != 0
	length := len(b)
	if stripped {
		length += wire.VLANTagLen
	}
	var h headers
	h.parse(b, f.VLAN, stripped)
	return s.expr.match(&subject{h: &h, length: length, queue: queue, kind: kind})
}

// wantsSlot asks it about the copy.
//
//oobnet:hot
func (s *slots) wantsSlot(l *slot) bool {
	var h headers
	h.parse(l.b, 0, false)
	return s.expr.match(&subject{h: &h, length: l.length, queue: l.queue, kind: l.kind, outcome: l.outcome})
}

// take copies a frame into a free slot, with the tag that the device has
// stripped, or was to put in; ring.Nil: there is none.
//
//oobnet:hot
func (s *slots) take(f *link.Frame, b []byte, queue int, at int64) uint32 {
	index, ok := s.free.Pop()
	if !ok {
		return ring.Nil
	}
	l := &s.list[index]
	l.at, l.queue, l.length = at, queue, len(b)
	if f.Flags&link.FlagVLANStripped == 0 || len(b) < wire.EthernetHeaderLen {
		l.b = l.room[:copy(l.room, b)]
	} else {
		l.length += wire.VLANTagLen
		n := copy(l.room, b[:2*6])
		binary.BigEndian.PutUint16(l.room[n:], wire.TypeVLAN)
		binary.BigEndian.PutUint16(l.room[n+2:], f.VLAN)
		n += wire.VLANTagLen
		l.b = l.room[:n+copy(l.room[n:], b[2*6:])]
	}
	return index
}

//oobnet:hot
func (s *slots) count(received int, rejected, lost uint64) {
	s.received.Add(uint64(received))
	if rejected != 0 {
		s.rejected.Add(rejected)
	}
	if lost != 0 {
		s.lost.Add(lost)
	}
}
