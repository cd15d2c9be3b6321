package stack

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"syscall"

	"github.com/oobnet/oobnet/internal/clock"
	"github.com/oobnet/oobnet/internal/ring"
	"github.com/oobnet/oobnet/link"
)

const (
	// DefaultTXTimes is how many times of sends wait for a socket's reader by
	// default: EVL's ring has as many.
	DefaultTXTimes = 128
	// MaxTXTimes is the most that a socket may ask for: at 64 bytes each, 4 MiB.
	MaxTXTimes = 1 << 16
)

// ErrTimesLost says that times of sends found the ring of their socket full,
// and were dropped: read them more often, or have a larger ring.
var ErrTimesLost = errors.New("stack: times of sends were lost: their ring was full")

// TXTimes collects the times of what a socket sends: for protocols. The sender
// begins a record, which stays with the buffer; whoever gives the frame to the
// link completes it and puts it on a bounded ring, without a lock; a reader
// takes it from there. A record that finds no room is dropped, and the next
// reader is told.
//
// Any goroutine may call its methods. One that is replaced is left to those who
// have frames on their way for it.
type TXTimes struct {
	flags   TimestampFlags
	records *ring.Ring[txRecord]
	// timed has the records with a time of the device: made by the first sender on
	// a device that tells them, put into by owners of TX queues.
	timed atomic.Pointer[ring.Ring[timedRecord]]
	// numbers counts sends: senders add. lost counts the records that were
	// dropped since a reader was told: owners of TX queues add, readers swap.
	numbers, lost atomic.Uint64
	// dropped counts them for good.
	dropped atomic.Uint64
	// sleepers counts readers that sleep or are about to: owners of TX queues
	// look at it.
	sleepers atomic.Int32
	readable chan struct{}
}

// txRecord is what is known of a send. It has four fields because the compiler
// moves such a struct in registers: through memory, a processor waits for what
// was just written.
type txRecord struct {
	device, queuing, delivery int64
	id                        uint64
}

// timedRecord is a record with the device's time.
type timedRecord struct {
	txRecord
	hardware int64
	clock    link.ClockDomain
}

// NewTXTimes makes one for the points in flags, with room for at least so many
// records; 0: DefaultTXTimes.
func NewTXTimes(flags TimestampFlags, room int) *TXTimes {
	if room == 0 {
		room = DefaultTXTimes
	}
	return &TXTimes{flags: flags, records: ring.New[txRecord](room), readable: make(chan struct{}, 1)}
}

// Begin begins the record of a frame that its caller is about to build, in a
// buffer of d that it owns, and returns the send's number. The caller gives the
// frame link.FlagTimed. delivery is Now's. The record is lost if the frame is
// not sent.
//
//oobnet:hot
func (t *TXTimes) Begin(d *Device, index uint32, delivery int64) uint64 {
	times := d.times.Load()
	id := t.numbers.Add(1)
	if times == nil {
		times = d.makeTimes()
	}
	if d.timer != nil && t.flags&TimeTXHardware != 0 && t.timed.Load() == nil {
		t.makeTimed()
	}
	e := &(*times)[index]
	e.Delivery, e.ID, e.to = delivery, id, t
	return id
}

// makeTimed makes the room for records with the device's time, once.
func (t *TXTimes) makeTimed() {
	t.timed.CompareAndSwap(nil, ring.New[timedRecord](t.records.Cap()))
}

// wantsHardware reports whether a frame's record is to have the device's time.
//
//oobnet:hot
func (e *bufferTimes) wantsHardware() bool { return e.to != nil && e.to.timed.Load() != nil }

// Demoted is Begin for a packet that goes in-band, where nobody takes times: its
// record is complete at once, and has no Device.
func (t *TXTimes) Demoted(delivery int64) uint64 {
	id := t.numbers.Add(1)
	t.put(0, clock.Now(), delivery, id)
	return id
}

// put masks a record and puts it on the ring.
//
//oobnet:hot
func (t *TXTimes) put(device, queuing, delivery int64, id uint64) {
	if t.flags&TimeTXDevice == 0 {
		device = 0
	}
	if t.flags&TimeTXQueuing == 0 {
		queuing = 0
	}
	t.wasPut(t.records.Push(&txRecord{device, queuing, delivery, id}))
}

// putTimed is put for a record with the device's time on a clock.
func (t *TXTimes) putTimed(e *bufferTimes, hardware int64, clock link.ClockDomain) {
	r := timedRecord{txRecord{e.Device, e.Queuing, e.Delivery, e.ID}, hardware, clock}
	if t.flags&TimeTXDevice == 0 {
		r.device = 0
	}
	if t.flags&TimeTXQueuing == 0 {
		r.queuing = 0
	}
	if hardware == 0 {
		r.clock = link.ClockNone
	}
	t.wasPut(t.timed.Load().Push(&r))
}

// wasPut counts a record that found no room, and wakes a reader.
//
//oobnet:hot
func (t *TXTimes) wasPut(fits bool) {
	if !fits {
		t.lost.Add(1)
		t.dropped.Add(1)
	}
	if t.sleepers.Load() != 0 {
		t.Wake()
	}
}

// Wake wakes one sleeping reader.
func (t *TXTimes) Wake() {
	select {
	case t.readable <- struct{}{}:
	default:
	}
}

// Take takes the oldest records, as many as there are and fit, and says whether
// some were lost since the last call. Those with the device's own time come after
// the others.
func (t *TXTimes) Take(into []IOTimes) (n int, lost bool) {
	lost = t.lost.Load() != 0 && t.lost.Swap(0) != 0
	var r txRecord
	for n < len(into) && t.records.Pop(&r) {
		o := &into[n]
		o.Device, o.Queuing, o.Delivery, o.ID = r.device, r.queuing, r.delivery, r.id
		o.Hardware, o.Clock = 0, link.ClockNone
		n++
	}
	if timed := t.timed.Load(); timed != nil {
		n += takeTimed(timed, into[n:])
	}
	return n, lost
}

func takeTimed(records *ring.Ring[timedRecord], into []IOTimes) (n int) {
	var r timedRecord
	for n < len(into) && records.Pop(&r) {
		into[n] = IOTimes{Device: r.device, Queuing: r.queuing, Delivery: r.delivery, Hardware: r.hardware, ID: r.id, Clock: r.clock}
		n++
	}
	return n
}

// Sleep says that a reader is about to wait for the channel, and to look (Take)
// once more before; Awake ends that. One word wakes one reader, which passes it
// on.
func (t *TXTimes) Sleep() <-chan struct{} {
	t.sleepers.Add(1)
	return t.readable
}

// Awake ends Sleep.
func (t *TXTimes) Awake() {
	if t.sleepers.Add(-1) > 0 {
		t.Wake()
	}
}

// Dropped counts the records that found no room.
func (t *TXTimes) Dropped() uint64 { return t.dropped.Load() }

// Room is how many records fit.
func (t *TXTimes) Room() int { return t.records.Cap() }

// CheckTXTimes says whether a socket may have a ring for so many records.
func CheckTXTimes(room int) error {
	if room < 0 || room > MaxTXTimes {
		return fmt.Errorf("room for %d times of sends: %w: want at most %d", room, syscall.EINVAL, MaxTXTimes)
	}
	return nil
}

// leaving reads the clock if times of one of the frames are wanted. Owner only,
// before it gives them to the link.
//
//oobnet:hot
func (t *txQueue) leaving(frames []link.Frame) {
	t.leftAt = 0
	for i := range frames {
		f := &frames[i]
		if f.Flags&link.FlagTimed == 0 {
			continue
		}
		if t.leftAt == 0 {
			t.leftAt = clock.Now()
		}
		if t.dev.timer != nil && (*t.dev.times.Load())[f.Index].wantsHardware() {
			f.Flags |= link.FlagTXTime
		}
		if f.Flags&link.FlagLaunchTime != 0 {
			t.launch(f)
		}
	}
}

// launch puts a frame's launch time where the link looks for it, and haveLeft
// back what was there.
//
//oobnet:hot
func (t *txQueue) launch(f *link.Frame) {
	e := &(*t.dev.times.Load())[f.Index]
	e.Queuing, f.Time = f.Time, e.launch
}

// LaunchAt says when the device is to send a frame that its caller builds in a
// buffer of its own: at, in ns on the link's clock (Capabilities.LaunchClock). It
// wraps link.ErrNotSupported where a link sends as soon as it can.
func (d *Device) LaunchAt(f *link.Frame, at int64) error {
	if d.link.Capabilities().LaunchClock == link.ClockNone {
		return fmt.Errorf("stack: device %s has no launch times: %w: sleep until then, and send", d.name, link.ErrNotSupported)
	}
	e := &(*d.makeTimes())[f.Index]
	e.launch, e.to = at, nil
	f.Flags |= link.FlagTimed | link.FlagLaunchTime
	return nil
}

// haveLeft completes the records of frames that the link took. The entries are
// the owner's until it reclaims.
//
//oobnet:hot
func (t *txQueue) haveLeft(frames []link.Frame) {
	times, now := *t.dev.times.Load(), t.leftAt
	t.leftAt = 0
	for i := range frames {
		f := &frames[i]
		if f.Flags&link.FlagTimed == 0 {
			continue
		}
		e := &times[f.Index]
		if f.Flags&link.FlagLaunchTime != 0 {
			f.Time = e.Queuing
		}
		to := e.to
		if to == nil {
			continue // a received frame, sent as it is
		}
		queuing := f.Time
		if queuing == 0 {
			queuing = now // nothing was before it
		}
		if f.Flags&link.FlagTXTime != 0 {
			e.Device, e.Queuing, e.left = now, queuing, true
			t.unreclaimed = txReclaim // the next send looks for it
			continue
		}
		e.to = nil
		to.put(now, queuing, e.Delivery, e.ID)
	}
}

// haveBeenSent completes the records of frames whose device says when it sent
// them, and has given their buffers back. Owner only.
func (t *txQueue) haveBeenSent(bufs []uint32) {
	times := t.dev.times.Load()
	if times == nil || !slices.ContainsFunc(bufs, func(i uint32) bool { return (*times)[i].left }) {
		return
	}
	t.dev.timer.SentAt(bufs, t.sentAt[:len(bufs)])
	for i, index := range bufs {
		e := &(*times)[index]
		if !e.left {
			continue
		}
		to := e.to
		e.left, e.to = false, nil
		to.putTimed(e, t.sentAt[i], t.dev.txClock)
	}
}

// neverLeft ends the record of a frame that is not sent; told: its sender is not
// told otherwise, so that the record shows it, by a Device of 0.
func (d *Device) neverLeft(f *link.Frame, told bool) {
	if f.Flags&link.FlagTimed == 0 {
		return
	}
	times := d.times.Load()
	if times == nil {
		return
	}
	e := &(*times)[f.Index]
	if e.to != nil && told {
		e.to.put(0, f.Time, e.Delivery, e.ID)
	}
	e.to = nil
}
