package stack

import (
	"fmt"
	"net"
	"slices"
	"syscall"
	"time"

	"github.com/oobnet/oobnet/filter"
	"github.com/oobnet/oobnet/internal/clock"
	"github.com/oobnet/oobnet/link"
)

// Recorder is shown every frame of a device with what became of it: captures
// are made of it. Unlike a Tap it changes nothing: it takes no frame, and no
// claim of the link's. Its methods run on the packet path; they must not block,
// lock or allocate, and call nothing of the stack's.
type Recorder interface {
	// Arrived is shown a batch as the link handed it over, before the filter of
	// the device, on the RX thread of the queue. The bytes of the frames may be
	// read until it returns, and not after; Outcomes say nothing yet.
	Arrived(b *Arrivals)
	// Settled is shown the same batch again when the RX step is over, with
	// Outcomes filled in. The buffers have other owners by then. It follows each
	// Arrived, also after StopRecording.
	Settled(b *Arrivals)
	// Sent is shown frames that the link took, of sockets and of the in-band
	// stage, on the thread that gave them to the link: one at a time for each
	// TX queue. They have their tags and checksums, which are not left to the
	// device while somebody records. They are to be read until it returns. at is
	// when, on CLOCK_MONOTONIC, ns.
	Sent(d *Device, queue int, frames []link.Frame, at int64)
	// Unsent is shown a frame that will not be sent, because as many waited as
	// may, because a discipline dropped it, or because the device is closing. Any
	// number of threads call it.
	Unsent(d *Device, queue int, f link.Frame, at int64)
}

// Arrivals is a batch of received frames, of one RX step. It is the step's: what
// a Recorder wants to keep it copies.
type Arrivals struct {
	Device *Device
	// Queue from 0.
	Queue int
	// At is when the link handed them over, CLOCK_MONOTONIC ns.
	At     int64
	Frames []link.Frame
	// Outcomes of the frames, one for each.
	Outcomes []Outcome
}

// Disposition is what became of a received frame, in the words of the books.
type Disposition uint8

// Dispositions.
const (
	// Delivered to a socket, or to another protocol's own.
	Delivered Disposition = iota
	// Demoted to the in-band stage, for Outcome.Reason.
	Demoted
	// Forwarded as it is, by order of the device's filter.
	Forwarded
	// Dropped, for Outcome.Reason.
	Dropped
)

// String returns the name that statistics use.
func (d Disposition) String() string {
	switch d {
	case Delivered:
		return "delivered"
	case Demoted:
		return "demoted"
	case Forwarded:
		return "forwarded"
	case Dropped:
		return "dropped"
	}
	return fmt.Sprintf("disposition(%d)", uint8(d))
}

// Outcome is what became of a received frame. Copies that raw sockets got of
// it do not show.
type Outcome struct {
	Disposition Disposition
	// Reason of a frame that was demoted or dropped.
	Reason Reason
	// Verdict of the device's filter, if it has run here (Filtered). On a link
	// that filters by itself, what comes here was accepted.
	Verdict  filter.Action
	Filtered bool
}

// recorders are those of a device; immutable.
type recorders struct {
	list []Recorder
	// outcomes of the frames by their buffers: an entry is the RX step's that
	// has received into the buffer.
	outcomes []Outcome
}

// Record shows the recorder what the device receives and sends, from the next
// batch on, until StopRecording. Errors: EINVAL for nil, EEXIST if it records
// already, net.ErrClosed wrapped.
func (d *Device) Record(r Recorder) error {
	d.stack.mu.Lock()
	defer d.stack.mu.Unlock()
	switch {
	case r == nil:
		return fmt.Errorf("stack: device %s: no recorder: %w", d.name, syscall.EINVAL)
	case d.ending || d.stack.closed:
		return fmt.Errorf("stack: device %s: %w", d.name, net.ErrClosed)
	}
	next := &recorders{list: []Recorder{r}}
	if now := d.recorders.Load(); now != nil {
		if slices.Contains(now.list, r) {
			return fmt.Errorf("stack: device %s: the recorder is there already: %w", d.name, syscall.EEXIST)
		}
		next.list, next.outcomes = append(slices.Clone(now.list), r), now.outcomes
	} else {
		next.outcomes = make([]Outcome, d.layout.Buffers())
	}
	d.recorders.Store(next)
	return nil
}

// recorderTimeout is how long StopRecording waits for an RX step: a thousand
// times as long as the longest one that is well.
const recorderTimeout = time.Second

// StopRecording ends Record. When it returns, the RX steps that were under way
// are over, unless one takes more than a second; a frame that is being sent
// at that moment may still be shown. Without Record before it does nothing.
func (d *Device) StopRecording(r Recorder) {
	if !d.unrecord(r) {
		return
	}
	deadline := time.Now().Add(recorderTimeout)
	for _, q := range d.rx {
		for begun := q.begun.Load(); q.stats.received.Load() < begun; {
			if !waitUntil(deadline) {
				return
			}
		}
	}
}

func (d *Device) unrecord(r Recorder) bool {
	d.stack.mu.Lock()
	defer d.stack.mu.Unlock()
	now := d.recorders.Load()
	if now == nil || !slices.Contains(now.list, r) {
		return false
	}
	next := &recorders{outcomes: now.outcomes}
	next.list = slices.DeleteFunc(slices.Clone(now.list), func(o Recorder) bool { return o == r })
	if len(next.list) == 0 {
		next = nil
	}
	d.recorders.Store(next)
	return true
}

// recording is an RX step's part in it; its fields are the step's.
type recording struct {
	// to is whom this step shows its frames; nil: nobody.
	to       *recorders
	arrivals Arrivals
	frames   [MaxBatch]link.Frame
	outcomes [MaxBatch]Outcome
}

// beginRecord shows what has arrived. Until the step ends, note keeps what
// becomes of each.
func (r *rxQueue) beginRecord(to *recorders, frames []link.Frame) {
	c := &r.record
	c.to = to
	n := copy(c.frames[:], frames)
	for i := range frames {
		to.outcomes[frames[i].Index] = Outcome{}
	}
	at := r.arrived
	if r.timesWanted == 0 || at == 0 {
		at = clock.Now()
	}
	c.arrivals = Arrivals{Device: r.dev, Queue: r.number, At: at, Frames: c.frames[:n], Outcomes: c.outcomes[:n]}
	for _, o := range to.list {
		o.Arrived(&c.arrivals)
	}
}

// note keeps what became of a frame, if somebody records; not so for those that
// are delivered, which is what is not noted otherwise.
//
//oobnet:hot
func (r *rxQueue) note(index uint32, d Disposition, reason Reason) {
	if r.record.to == nil {
		return
	}
	o := &r.record.to.outcomes[index]
	o.Disposition, o.Reason = d, reason
}

// noteVerdict keeps what the device's filter said.
//
//oobnet:hot
func (r *rxQueue) noteVerdict(index uint32, a filter.Action) {
	if r.record.to == nil {
		return
	}
	o := &r.record.to.outcomes[index]
	o.Verdict, o.Filtered = a, true
}

// endRecord shows what became of the step's frames.
func (r *rxQueue) endRecord() {
	c := &r.record
	for i := range c.arrivals.Frames {
		c.outcomes[i] = c.to.outcomes[c.frames[i].Index]
	}
	for _, o := range c.to.list {
		o.Settled(&c.arrivals)
	}
	c.to = nil
}

// recordSent shows what the link took. Owner only: what it shows cannot come
// back before this owner reclaims.
func (t *txQueue) recordSent(to *recorders, frames []link.Frame) {
	at := t.leftAt
	if at == 0 {
		at = clock.Now()
	}
	for whole := range wholes(frames) {
		for _, o := range to.list {
			o.Sent(t.dev, t.number, whole, at)
		}
	}
}

// recordUnsent shows a frame that will not be sent, by its owner, before the
// buffer goes back. It goes by value: a sender's array must not escape.
func (t *txQueue) recordUnsent(f link.Frame) {
	to := t.dev.recorders.Load()
	if to == nil {
		return
	}
	t.dev.complete(&f, offloads)
	at := clock.Now()
	for _, o := range to.list {
		o.Unsent(t.dev, t.number, f, at)
	}
}
