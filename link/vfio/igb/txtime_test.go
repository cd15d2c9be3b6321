package igb

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/clock"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio/internal/bus"
	"github.com/oobnet/oobnet/link/vfio/internal/driver"
)

// txCard is a card with times of sending, and what the device sees of the transmit
// ring of a queue.
func txCard(t *testing.T, id uint16, queues int) (*card, *device, []*queue) {
	card := newCard(t, id)
	d, q := card.start(driver.Config{Queues: queues, Interrupts: bus.None, Features: driver.TXTime, TXDescriptors: 16})
	return card, d, q
}

// fetched marks what was sent on a queue as done, and returns for each frame
// whether it was to have a time.
func (c *card) fetched(queue uint32) (asked []bool) {
	at := regQueueTX + queueStep*queue
	ring := c.At(uint64(c.Get(at+driver.RingLow))|uint64(c.Get(at+driver.RingHigh))<<32, 16*driver.DescriptorSize)
	for i := range c.Get(at + driver.RingTail) {
		b := ring[i*driver.DescriptorSize+8:]
		asked = append(asked, binary.LittleEndian.Uint32(b)&txStamp != 0)
		b[4] |= 1 // DD
	}
	return asked
}

// TestSentAt: one frame at a time has one, also of several queues, and is given
// back when its time is there, in each NIC's clock.
func TestSentAt(t *testing.T) {
	for id, clocks := range map[uint16][4]uint32{ // clock and stamp, 1 us apart: low and high words
		id82576: {5000 << fraction82576 & (1<<32 - 1), 5000 >> (32 - fraction82576), 4000 << fraction82576 & (1<<32 - 1), 4000 >> (32 - fraction82576)},
		idI350:  {500, 1, 1<<32 - 500, 0},
		idI210:  {500, 8, 999_999_500, 7},
	} {
		card, d, queues := txCard(t, id, 2)
		card.Set(regSYSTIML, clocks[0])
		card.Set(regSYSTIMH, clocks[1])
		frame := func(i uint32) link.Frame {
			return link.Frame{Index: i, Len: 60, Meta: link.Meta{Flags: link.FlagTXTime}}
		}
		d.SentTimes[64], d.SentTimes[65] = 77, 77 // of frames before
		queues[0].Send([]link.Frame{frame(64), frame(65), {Index: 66, Len: 60}})
		queues[0].Flush()
		queues[1].Send([]link.Frame{frame(67)})
		queues[1].Flush()
		if got := card.fetched(0); !got[0] || got[1] || got[2] {
			t.Errorf("%x: asked for times: %v, want one", id, got)
		}
		if got := card.fetched(1); got[0] {
			t.Errorf("%x: another queue has asked for a time meanwhile", id)
		}
		var bufs [4]uint32
		if n := queues[1].Reclaim(bufs[:]); n != 1 {
			t.Errorf("%x: a frame without a time is held back", id)
		}
		if n := queues[0].Reclaim(bufs[:]); n != 0 || queues[0].Done() {
			t.Errorf("%x: %d frames came back before the time", id, n)
		}
		card.Set(regTXSTMPL, clocks[2])
		card.Set(regTXSTMPH, clocks[3])
		card.Set(regTSYNCTX, tsyncOn|tsyncValid)
		before := clock.Now()
		if !queues[0].Done() {
			t.Errorf("%x: nothing is done", id)
		}
		after := clock.Now()
		if n := queues[0].Reclaim(bufs[:]); n != 3 {
			t.Fatalf("%x: %d frames came back", id, n)
		}
		times := make([]int64, 3)
		d.SentAt(bufs[:3], times)
		if at := times[0] + 1000; at < before || at > after || times[1] != 0 || times[2] != 0 {
			t.Errorf("%x: sent at %v, want 1 us before %d to %d", id, times, before, after)
		}
		queues[1].Send([]link.Frame{frame(68)})
		queues[1].Flush()
		if got := card.fetched(1); !got[1] {
			t.Errorf("%x: the next frame does not ask", id)
		}
	}
}

// TestTimeNeverComes: the frame comes back nevertheless, and after a restart.
func TestTimeNeverComes(t *testing.T) {
	card, d, queues := txCard(t, idI350, 1)
	q := queues[0]
	send := func(i uint32) {
		q.Send([]link.Frame{{Index: i, Len: 60, Meta: link.Meta{Flags: link.FlagTXTime}}})
		q.Flush()
	}
	var bufs [1]uint32
	times := []int64{77}
	reclaim := func() {
		t.Helper()
		for end := time.Now().Add(5 * time.Second); q.Reclaim(bufs[:]) == 0; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("the frame does not come back")
			}
		}
		if d.SentAt(bufs[:], times); times[0] != 0 {
			t.Errorf("a time of %d", times[0])
		}
	}
	send(32)
	card.fetched(0)
	start := clock.Now()
	reclaim()
	if took := clock.Now() - start; took < driver.StampWait {
		t.Errorf("it came back after %d ns", took)
	}
	send(33)
	if err := d.Restart(); err != nil {
		t.Fatal(err)
	}
	if got := q.RestartSend(nil); len(got) != 1 || got[0] != 33 {
		t.Errorf("%v were on the ring", got)
	}
	send(34)
	if asked := card.fetched(0); len(asked) != 1 || !asked[0] {
		t.Errorf("after a restart: %v", asked)
	}
	card.OnRead = func(uint32) uint32 { return bus.AllOnes } // gone
	reclaim()
}

// TestSentAtOff: without the feature nobody asks, and nothing is known.
func TestSentAtOff(t *testing.T) {
	card := newCard(t, idI210)
	d, queues := card.start(driver.Config{Queues: 1, TXDescriptors: 16})
	queues[0].Send([]link.Frame{{Index: 40, Len: 60, Meta: link.Meta{Flags: link.FlagTXTime}}})
	queues[0].Flush()
	if asked := card.fetched(0); asked[0] || card.Get(regTSYNCTX) != 0 {
		t.Error("a time was asked for")
	}
	times := []int64{5}
	if d.SentAt([]uint32{40}, times); times[0] != 0 {
		t.Errorf("a time of %d", times[0])
	}
}
