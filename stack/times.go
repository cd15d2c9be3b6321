package stack

import (
	"fmt"
	"syscall"

	"github.com/oobnet/oobnet/internal/clock"
	"github.com/oobnet/oobnet/link"
)

// IOTimes are the times of one packet, by EVL's points: CLOCK_MONOTONIC, ns; 0:
// not taken. Of a received packet Device <= Queuing <= Delivery, of a sent one
// Delivery <= Queuing <= Device.
type IOTimes struct {
	// Device: the link handed the packet's batch to the stack; or the packet
	// was about to be handed to the link.
	Device int64
	// Queuing: the RX step passed the packet's batch to the first protocol; or
	// the packet was left to the order of the TX queue. One that found nothing
	// before it goes straight to the link: then it is Device.
	Queuing int64
	// Delivery: just before the packet was queued on the socket, or shown to
	// its handler; or the packet began to be built.
	Delivery int64
	// Hardware is the device's own time of the packet on Clock; 0: it has none.
	// Never compare it with the others, unless Clock is link.ClockMonotonic.
	Hardware int64
	// ID is the number of a send, counted by the socket from 1; 0 of received
	// packets.
	ID    uint64
	Clock link.ClockDomain
}

// TimestampFlags say which times a socket wants, by direction and point.
type TimestampFlags uint32

// Points of time. Delivery is taken whenever a direction has any.
const (
	TimeRXDevice TimestampFlags = 1 << iota
	TimeRXQueuing
	TimeRXDelivery
	TimeRXHardware
	TimeTXDevice
	TimeTXQueuing
	TimeTXDelivery
	// TimeTXHardware: a record of a send is complete when the device has said when
	// the frame left, or has given its buffer back without: later than others, by
	// 0.1 s at most. Devices that do not say (link.Capabilities.TXClock) cost it
	// nothing.
	TimeTXHardware

	// TimeRX and TimeTX are all points of a direction, TimeAll those of both.
	TimeRX  = TimeRXDevice | TimeRXQueuing | TimeRXDelivery | TimeRXHardware
	TimeTX  = TimeTXDevice | TimeTXQueuing | TimeTXDelivery | TimeTXHardware
	TimeAll = TimeRX | TimeTX
)

// Check returns EINVAL wrapped for flags that mean nothing.
func (f TimestampFlags) Check() error {
	if f&^TimeAll != 0 {
		return fmt.Errorf("timestamp flags %#x: %w: want some of %#x", uint32(f), syscall.EINVAL, uint32(TimeAll))
	}
	return nil
}

// Received sets into to those of a received packet's times that the flags ask
// for. It goes field by field: a processor waits for what was just written when
// it copies the whole.
//
//oobnet:hot
func (f TimestampFlags) Received(t, into *IOTimes) {
	into.Device, into.Queuing, into.Delivery = 0, 0, 0
	into.Hardware, into.Clock, into.ID = 0, link.ClockNone, 0
	if f&TimeRX == 0 {
		return
	}
	into.Delivery = t.Delivery
	if f&TimeRXDevice != 0 {
		into.Device = t.Device
	}
	if f&TimeRXQueuing != 0 {
		into.Queuing = t.Queuing
	}
	if f&TimeRXHardware != 0 {
		into.Hardware, into.Clock = t.Hardware, t.Clock
	}
}

// bufferTimes are the times of the packet in a buffer: they belong to the
// buffer's owner, as its Packet does.
type bufferTimes struct {
	IOTimes
	// to is who wants to know them when the packet has been sent.
	to *TXTimes
	// launch is when a packet with link.FlagLaunchTime is to leave.
	launch int64
	// left: the link has the frame, and what lacks is the device's time of it.
	left bool
}

// Sockets that want times of what they receive are counted in one word, by the
// point: the RX step reads the clock for those that somebody wants. 2 million
// sockets find room.
const (
	wantsShift   = 21
	wantsDevice  = 1
	wantsQueuing = 1 << wantsShift
	wantsAny     = 1 << (2 * wantsShift)
	wantsMask    = 1<<wantsShift - 1
)

// rxWants is what a socket's flags add to the count.
func (f TimestampFlags) rxWants() (n uint64) {
	if f&TimeRX != 0 {
		n = wantsAny
	}
	if f&TimeRXDevice != 0 {
		n += wantsDevice
	}
	if f&TimeRXQueuing != 0 {
		n += wantsQueuing
	}
	return n
}

// SetTimestamping tells the stack that a socket's flags were before, and are
// after from now on: for protocols, one call at a time for each socket. From
// the next RX step on, the points in after are taken; Batch.Stamp notes them.
func (s *Stack) SetTimestamping(before, after TimestampFlags) {
	if after != 0 {
		s.timed.Store(true)
		for _, d := range s.Devices() {
			d.makeTimes()
		}
	}
	s.rxWanted.Add(after.rxWants() - before.rxWants())
}

// TimesWanted reports whether some socket wants times of what it receives.
func (s *Stack) TimesWanted() bool { return s.rxWanted.Load() != 0 }

// makeTimes makes the room for the times of each buffer, once.
func (d *Device) makeTimes() *[]bufferTimes {
	if d.times.Load() == nil {
		times := make([]bufferTimes, d.layout.Buffers())
		if d.cfg.Prefault {
			touch(times)
		}
		d.times.CompareAndSwap(nil, &times)
	}
	return d.times.Load()
}

// noteArrival reads the clock for the device point of a batch.
func (r *rxQueue) noteArrival() {
	r.arrived, r.passed = 0, 0
	if r.timesWanted&wantsMask != 0 {
		r.arrived = clock.Now()
	}
}

// notePassing reads the clock for the queuing point, once a batch.
func (r *rxQueue) notePassing() {
	if r.passed == 0 && r.timesWanted>>wantsShift&wantsMask != 0 {
		r.passed = clock.Now()
	}
}

// Stamp notes the times of packets that are about to be queued on a socket which
// wants them: Device.Times has them as long as the buffers are not released. It
// reads the clock once.
//
//oobnet:hot
func (b *Batch) Stamp(packets []*Packet) { b.StampAt(packets, clock.Now()) }

// StampAt is Stamp for who has read the clock (Now) for the batch before.
//
//oobnet:hot
func (b *Batch) StampAt(packets []*Packet, delivery int64) {
	times := b.Device.times.Load()
	if times == nil {
		return
	}
	var device, queuing int64
	if r := b.q; r.timesWanted != 0 {
		device, queuing = r.arrived, r.passed
	}
	for _, p := range packets {
		e := &(*times)[p.Frame.Index]
		e.Device, e.Queuing, e.Delivery, e.Hardware = device, queuing, delivery, p.Frame.Time
		e.to = nil
		p.Frame.Flags |= link.FlagTimed
	}
}

// Times sets into to what the flags ask for of the times of the packet in a
// received buffer, which Batch.Stamp noted; zero if nobody did. They belong to
// the buffer's owner.
//
//oobnet:hot
func (d *Device) Times(index uint32, flags TimestampFlags, into *IOTimes) {
	t := &noTimes
	if d.packets[index].Frame.Flags&link.FlagTimed != 0 {
		t = &(*d.times.Load())[index].IOTimes
	}
	flags.Received(t, into)
	if into.Hardware != 0 {
		into.Clock = d.rxClock
	}
}

// noTimes are those of a packet that nobody noted any of.
var noTimes IOTimes

// Now is CLOCK_MONOTONIC in ns: the clock of all times of the stack.
func Now() int64 { return clock.Now() }
