package ixgbe

import (
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/clock"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio/internal/driver"
)

// eventMessage is a PTP Sync message over Ethernet to the model's address.
func eventMessage() []byte {
	f := make([]byte, 60)
	copy(f, []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 0x88, 0xf7, 0x00, 0x02, 0, 44})
	return f
}

// TestReceiveTime: an event message of PTP has the time at which it came, on
// CLOCK_MONOTONIC, and other frames have none; the next message has one again.
func TestReceiveTime(t *testing.T) {
	for _, id := range []uint16{idFiber, idCopper} {
		card := newModel(t, id)
		_, queues := card.start(driver.Config{Queues: 1, Features: driver.RXTime})
		q := queues[0]
		q.Fill([]uint32{0, 1, 2, 3})
		receive := func(f []byte, age time.Duration) (frame link.Frame, before, after int64) {
			t.Helper()
			if !card.model.Receive(f) {
				t.Fatalf("%x: the frame did not come", id)
			}
			card.now += age // on the NIC's clock alone, until the frame is taken
			in := make([]link.Frame, 1)
			before = clock.Now()
			if n := q.Receive(in); n != 1 {
				t.Fatalf("%x: %d frames", id, n)
			}
			return in[0], before, clock.Now()
		}
		for i, age := range []time.Duration{3 * time.Millisecond, 50 * time.Millisecond} {
			card.now += 100 * time.Millisecond // what was known of the clocks is old
			f, before, after := receive(eventMessage(), age)
			// The pace is rounded by 4 millionths.
			if at := f.Time + int64(age); at < before-1000 || at > after+1000 {
				t.Errorf("%x, message %d: its clock was read at %d, want %d to %d", id, i, at, before, after)
			}
			other := eventMessage()
			other[13] = 0xb5
			if f, _, _ := receive(other, 0); f.Time != 0 {
				t.Errorf("%x: a frame that is none of PTP's has a time", id)
			}
		}
	}
}

// sync is what a receiver of event messages does once: one comes, and is taken.
func (c *card) sync(q driver.Queue) link.Frame {
	c.t.Helper()
	in := make([]link.Frame, 2)
	if !c.model.Receive(eventMessage()) {
		c.t.Fatal("the frame did not come")
	}
	if n := q.Receive(in); n != 1 {
		c.t.Fatalf("%d frames", n)
	}
	return in[0]
}

// TestTimeOfALostFrame: the NIC takes the time of a frame that finds no descriptor,
// and keeps it; it is given free, counted, and frames have times again.
func TestTimeOfALostFrame(t *testing.T) {
	now := int64(1 << 40)
	defer clock.Fake(func() int64 { return now })()
	for _, id := range []uint16{idFiber, idCopper} {
		card := newModel(t, id)
		d, queues := card.start(driver.Config{Queues: 2, Features: driver.RXTime})
		if card.model.Receive(eventMessage()) {
			t.Fatalf("%x: a queue without descriptors has a frame", id)
		}
		queues[0].Fill([]uint32{0, 1, 2, 3})
		after := func(s int64) (f link.Frame, freed uint64) {
			t.Helper()
			now += s * 1e9
			d.Status()
			f = card.sync(queues[0])
			queues[0].Receive(make([]link.Frame, 1)) // finds the ring without frames
			var c driver.Counters
			d.Count(&c)
			return f, c.TimesFreed
		}
		if f, n := after(1); f.Time != 0 || n != 0 {
			t.Errorf("%x: %+v, %d times freed, though the lost frame's has yet to get old", id, f, n)
		}
		if f, n := after(4); f.Time != 0 || n != 0 {
			t.Errorf("%x: %+v, %d times freed after 4 s", id, f, n)
		}
		now += 2e9
		d.Status()
		queues[0].Pending() // finds the ring without frames, as a wait does
		if f, n := after(0); f.Time == 0 || n != 1 {
			t.Errorf("%x: %+v, %d times freed after 6 s, want a time, and 1", id, f, n)
		}
		if f, n := after(60); f.Time == 0 || n != 0 {
			t.Errorf("%x: %+v, %d times freed of those that were taken", id, f, n)
		}
	}
}

// TestTimeOfALateFrame: the time of a frame that was given free before somebody took
// the frame is not replaced by another's. One that waits in the NIC keeps its own.
func TestTimeOfALateFrame(t *testing.T) {
	now := int64(1 << 40)
	defer clock.Fake(func() int64 { return now })()
	card := newModel(t, idFiber)
	d, queues := card.start(driver.Config{Queues: 1, Features: driver.RXTime})
	q := queues[0]
	look := func() {
		for _, s := range []int64{2, 6} {
			now += s * 1e9
			d.Status()
		}
	}
	if !card.model.Receive(eventMessage()) { // waits for a descriptor
		t.Fatal("the frame did not come")
	}
	look()
	q.Fill([]uint32{0, 1, 2, 3, 4})
	in := make([]link.Frame, 4)
	if n := q.Receive(in); n != 1 || in[0].Time == 0 {
		t.Errorf("%d frames, %+v: want the one that had waited, with its time", n, in[0])
	}
	for range 2 { // the second one's time is taken when that of the first is given free
		card.model.Receive(eventMessage())
		look()
	}
	if n := q.Receive(in); n != 2 || in[0].Time != 0 {
		t.Errorf("%d frames, %+v: want two, the first without a time", n, in[:n])
	}
	if q.Receive(in) != 0 {
		t.Fatal("there is another frame")
	}
	if f := card.sync(q); f.Time == 0 {
		t.Error("a frame that came afterwards has no time")
	}
	var c driver.Counters
	if d.Count(&c); c.TimesFreed == 0 {
		t.Error("nothing was given free")
	}
}

// TestSentAt: a frame that asks has the time at which it left, and comes back with
// it; one at a time.
func TestSentAt(t *testing.T) {
	for _, id := range []uint16{idFiber, idCopper} {
		card := newModel(t, id)
		d, queues := card.start(driver.Config{Queues: 2, Features: driver.TXTime})
		ask := func(q driver.Queue, i uint32) {
			if q.Send([]link.Frame{{Index: i, Len: 60, Meta: link.Meta{Flags: link.FlagTXTime}}}) != 1 {
				t.Fatal("Send took nothing")
			}
			q.Flush()
		}
		for range 2 {
			ask(queues[0], 64)
			ask(queues[1], 65)
			card.now += 2 * time.Millisecond
			var bufs [1]uint32
			times := []int64{7}
			if n := queues[1].Reclaim(bufs[:]); n != 1 {
				t.Fatalf("%x: the other queue's frame did not come back", id)
			}
			if d.SentAt(bufs[:], times); times[0] != 0 {
				t.Errorf("%x: two frames have a time at once", id)
			}
			before := clock.Now()
			if n := queues[0].Reclaim(bufs[:]); n != 1 {
				t.Fatalf("%x: the frame did not come back", id)
			}
			after := clock.Now()
			if d.SentAt(bufs[:], times); times[0]+2e6 < before-1000 || times[0]+2e6 > after+1000 {
				t.Errorf("%x: sent at %d, want 2 ms before %d to %d", id, times[0], before, after)
			}
			card.now += 100 * time.Millisecond
		}
	}
}

// TestPace: the clock is told of each change of the wire's speed, and what was known
// of it before is not used any more.
func TestPace(t *testing.T) {
	for id, each := range map[uint16]uint32{idFiber: 1 << 24, idCopper: 0} {
		card := newCard(t, id)
		d, _ := card.start(driver.Config{Queues: 1, Features: driver.RXTime})
		for i, c := range []struct {
			speed uint32 // in LINKS
			want  uint32 // ns a cycle, in fractions
		}{{3, 104858}, {2, 64 << fraction}, {1, 640 << fraction}, {3, 104858}} {
			card.Set(regLINKS, linksUp|c.speed<<linksSpeed)
			card.writes = nil
			d.Status()
			if got := card.Get(regTIMINCA); got != each|c.want {
				t.Errorf("%x: at speed %d TIMINCA is %#x, want %#x", id, c.speed, got, each|c.want)
			}
			d.Status()
			if n := len(card.to(regTIMINCA)); n != min(i, 1) {
				t.Errorf("%x: it was written %d times", id, n)
			}
		}
	}
}

// TestTimesAreOff: nothing is asked of the clock.
func TestTimesAreOff(t *testing.T) {
	card := newCard(t, idFiber)
	d, _ := card.start(driver.Config{Queues: 1})
	if len(card.to(regTIMINCA)) != 0 || card.Get(regTSYNCRX)|card.Get(regTSYNCTX) != 0 || d.Info().RXHeadroom != 0 {
		t.Error("times are on")
	}
}
