package packet

import (
	"runtime"
	"sync/atomic"

	"github.com/oobnet/oobnet/internal/ring"
	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/stack"
)

// maxHeader of a frame: Ethernet with a tag, bytes.
const maxHeader = wire.EthernetHeaderLen + wire.VLANTagLen

// sentQueue is what an analyser has of the frames that its device sends: copies
// in slots that are made beforehand. A slot is free, or waits, or is a reader's.
type sentQueue struct {
	slots         []sentSlot
	free, waiting *ring.Ring[uint32]
	// Written by senders, read by Stats.
	got, dropped atomic.Uint64
}

type sentSlot struct {
	b      []byte // the frame, or as much of it as the socket's program lets through
	length int    // of the whole frame
	at     int64  // when it was taken, CLOCK_MONOTONIC ns; 0: nobody wanted to know
	room   []byte
}

func newSentQueue(slots, size int) *sentQueue {
	q := &sentQueue{slots: make([]sentSlot, slots), free: ring.New[uint32](slots), waiting: ring.New[uint32](slots)}
	room := make([]byte, slots*size)
	for i := range q.slots {
		q.slots[i].room = room[i*size:][:size:size]
		index := uint32(i)
		q.free.Push(&index)
	}
	return q
}

// Sent copies what a device sends for its analysers, on the sender's thread. It
// never waits: without a slot the copy is dropped.
//
//oobnet:hot
func (t *tap) Sent(d *stack.Device, frames []link.Frame) {
	r := t.rosters.Get(deviceKey(d))
	if r == nil || r.analysers == nil {
		return
	}
	for _, c := range r.analysers.conns {
		var now int64
		if c.attention.Load()&timed != 0 {
			now = stack.Now()
		}
		for i := range frames {
			c.noteSent(d.Memory().Bytes(frames[i]), now)
		}
	}
}

//oobnet:hot
func (c *Conn) noteSent(frame []byte, now int64) {
	snap := len(frame)
	if p := c.program.Load(); p != nil {
		h, _ := wire.ParseEthernet(frame)
		n := p.run(&subject{data: frame, etherType: h.Type, kind: kindOutgoing})
		if n == 0 {
			c.stats.filtered.Add(1)
			return
		}
		snap = int(min(uint32(snap), n))
	}
	q := c.sent
	var index uint32
	if !q.free.Pop(&index) {
		q.dropped.Add(1)
		return
	}
	s := &q.slots[index]
	s.b, s.length, s.at = s.room[:copy(s.room, frame[:snap])], len(frame), now
	if !q.waiting.Push(&index) {
		// A reader has stopped in the middle of a look.
		q.giveBack(index)
		q.dropped.Add(1)
		return
	}
	q.got.Add(1)
	if c.readers.Asleep() {
		c.readers.Wake()
	}
}

// giveBack makes a slot free. The ring has room for all; only a sender that
// has stopped in the middle of taking one can make it look full.
func (q *sentQueue) giveBack(index uint32) {
	for !q.free.Push(&index) {
		runtime.Gosched()
	}
}

// takeSent takes the oldest of them.
func (c *Conn) takeSent(r *received) bool {
	var index uint32
	if !c.sent.waiting.Pop(&index) {
		return false
	}
	*r = received{index: index, outgoing: true}
	return true
}
