package driver

import (
	"encoding/binary"

	"github.com/oobnet/oobnet/internal/clock"
)

// Clock is how a NIC counts time, and where it leaves a frame's. Registers are
// byte offsets; 0: there is none.
type Clock struct {
	// Bits of the counter, after which it comes around, and Fraction of them below
	// a nanosecond. With Seconds its upper word counts seconds and the lower one
	// nanoseconds.
	Bits, Fraction uint
	Seconds        bool
	// Low and High are the counter: reading Low freezes High, or reading Freeze
	// both.
	Freeze, Low, High uint32
	// InFront: each frame has its time before it in its buffer. Otherwise one at a
	// time has it in RXLow and RXHigh, until RXNext is read, or RXHigh where there
	// is no such register; RXControl says whether there is one.
	InFront                          bool
	RXControl, RXLow, RXHigh, RXNext uint32
	// TXControl says whether there is the time of a frame sent, and TXLow and
	// TXHigh have it, until TXHigh is read.
	TXControl, TXLow, TXHigh uint32
}

const (
	// StampRoom is what stands before a frame that has its time there, bytes: 8
	// unused, then the time, low word first.
	StampRoom = 16
	// StampTime is where it stands.
	StampTime = 8
	// FreshFor is how long what is known of two clocks serves, ns, about 10 ms:
	// two that differ by 50 ppm drift 0.5 us apart.
	FreshFor = 10 << 20
	// CloseBy is how long the reading of both may take to serve for more than one
	// frame, ns. A register takes 1 or 2 us; a thread that loses its processor in
	// between takes ms, and all times would be that much late.
	CloseBy = 20_000

	splitStamp = 1 << 30 // of SRRCTL: a time before the frame
	tsyncValid = 1 << 0  // of RXControl and TXControl: there is a time
	second     = 1e9     // ns
)

// nanoseconds turns two words of the NIC's clock into ns.
func (c *Clock) nanoseconds(low, high uint32) int64 {
	if c.Seconds {
		return int64(high)*second + int64(low)
	}
	v := uint64(high)<<32 | uint64(low)
	return int64(v << (64 - c.Bits) >> (64 - c.Bits) >> c.Fraction)
}

// since is the time from one reading of the clock to another, which may have come
// around in between.
func (c *Clock) since(now, then int64) int64 {
	if c.Seconds {
		return now - then
	}
	unused := 64 - (c.Bits - c.Fraction)
	return (now - then) << unused >> unused
}

// reference is one moment on the NIC's clock and on CLOCK_MONOTONIC, ns. The
// receive side has its own, and so has the send side.
type reference struct {
	nic, host int64
	pace      uint32 // of the clock then
	known     bool
	loose     bool // the reading took long
}

// stamp returns what stands before the frame in a buffer, bytes, and its time; 0
// if that cannot be told now.
func (q *AdvancedQueue) stamp(w uint64, buffer uint32) (room uint16, at int64) {
	c := q.dev.Layout.Clock
	var low, high uint32
	switch {
	case !c.InFront && w&rxStamp != 0 && q.timed:
		if low, high = c.take(q.regs); q.doubtful.Load() { // by the control path
			return 0, 0
		}
	case c.InFront && w&rxStampIn != 0:
		b := q.mem.Buffer(buffer)[StampTime:StampRoom]
		low, high, room = binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:]), StampRoom
	default:
		return 0, 0
	}
	return room, q.clock.monotonic(q.dev, low, high)
}

// monotonic turns two words of the NIC's clock into ns on CLOCK_MONOTONIC; 0 if
// that cannot be told now.
func (ref *reference) monotonic(a *Advanced, low, high uint32) int64 {
	c := a.Layout.Clock
	t := c.nanoseconds(low, high)
	fresh := ref.known && !ref.loose && ref.pace == a.pace.Load() // the control path's
	if since := c.since(t, ref.nic); !fresh || since > FreshFor || since < -FreshFor {
		ref.refresh(a)
	}
	if !ref.known {
		return 0
	}
	return ref.host + c.since(t, ref.nic)
}

// refresh reads both clocks. The host's is read last, so that no frame has a time
// before its own. If another queue is at it, what is known serves on.
func (ref *reference) refresh(a *Advanced) {
	if a.reading.Swap(true) { // another side of a queue
		return
	}
	r, c := a.base.Regs, a.Layout.Clock
	before := clock.Now()
	if c.Freeze != 0 {
		r.Read32(c.Freeze)
	}
	low := r.Read32(c.Low)
	host := clock.Now() // between the two: the low word's moment is that of the freezing
	ref.nic = c.nanoseconds(low, r.Read32(c.High))
	ref.host, ref.known, ref.pace = host, true, a.pace.Load() // the control path's
	ref.loose = host-before > CloseBy
	a.reading.Store(false)
}

// Repace tells that the clock goes at another pace now.
func (a *Advanced) Repace() { a.pace.Add(1) } // the sides of queues compare it
