package igb

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/oobnet/oobnet/internal/clock"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio/internal/bus"
	"github.com/oobnet/oobnet/link/vfio/internal/driver"
)

// Bits of descriptors and registers that the tests play with.
const (
	rxDone         = 1 << 0
	rxEnd          = 1 << 1
	rxStampIn      = 1 << 15
	rxStamp        = 1 << 16
	txStamp        = 1 << 19
	tsyncValid     = 1 << 0
	rxSplitInFront = 1 << 30 // of SRRCTL
)

// PCI ids of one NIC of each clock.
const (
	id82576 = 0x10c9
	idI350  = 0x1521
	idI210  = 0x1533
)

// receiveRing is the ring of queue 0 as the device sees it.
func (c *card) receiveRing() []byte {
	return c.At(uint64(c.Get(regQueueRX+driver.RingLow))|uint64(c.Get(regQueueRX+driver.RingHigh))<<32, 16*driver.DescriptorSize)
}

// arrive plays the device: it completes a descriptor.
func arrive(ring []byte, slot int, status uint32, length int) {
	b := ring[slot*driver.DescriptorSize+8:]
	binary.LittleEndian.PutUint16(b[4:], uint16(length))
	binary.LittleEndian.PutUint16(b[6:], 0)
	binary.LittleEndian.PutUint32(b, status|rxDone|rxEnd)
}

// TestTimeBeforeTheFrame: a frame's time, in the clocks of I350 and I210, becomes
// one of CLOCK_MONOTONIC; also of a frame that came before the clock came around,
// and is taken after.
func TestTimeBeforeTheFrame(t *testing.T) {
	for _, c := range []struct {
		name            string
		id              uint16
		nowLow, nowHigh uint32 // the NIC's clock
		low, high       uint32 // the frame's time
		want            int64  // frame less clock, ns
	}{
		{"I350", idI350, 5000, 7, 4000, 7, -1000},
		{"I350 carry", idI350, 100, 8, 0xffffffff, 7, -101},
		{"I350 comes around", idI350, 100, 0, 0xffffff9c, 0xff, -200},
		{"I350 unused bits", idI350, 5000, 0xab000007, 4000, 0x12000007, -1000},
		{"I210", idI210, 900, 7, 400, 7, -500},
		{"I210 second", idI210, 100, 8, 999_999_900, 7, -200},
	} {
		card := newCard(t, c.id)
		_, queues := card.start(driver.Config{Queues: 1, Features: driver.RXTime, RXDescriptors: 16})
		q := queues[0]
		if got := card.to(regTSYNCRX); !slices.Equal(got[len(got)-1:], []uint32{tsyncOn | tsyncAll}) {
			t.Errorf("%s: TSYNCRXCTL %#x", c.name, got)
		}
		if got := card.Get(regQueueRX + rxSplit); got&rxSplitInFront == 0 {
			t.Errorf("%s: SRRCTL %#x", c.name, got)
		}
		q.Fill([]uint32{0, 1, 2})
		card.Set(regSYSTIML, c.nowLow)
		card.Set(regSYSTIMH, c.nowHigh)
		ring := card.receiveRing()
		b := card.mem.Buffer(0)
		binary.LittleEndian.PutUint32(b[driver.StampTime:], c.low)
		binary.LittleEndian.PutUint32(b[driver.StampTime+4:], c.high)
		arrive(ring, 0, rxStampIn, driver.StampRoom+100)
		arrive(ring, 1, 0, 100)                        // without
		arrive(ring, 2, rxStampIn, driver.StampRoom-1) // shorter than its own time
		in := make([]link.Frame, 4)
		before := clock.Now()
		n := q.Receive(in)
		after := clock.Now()
		if n != 2 {
			t.Fatalf("%s: %d frames", c.name, n)
		}
		if got := in[0].Time - c.want; got < before || got > after || in[0].Off != driver.StampRoom || in[0].Len != 100 {
			t.Errorf("%s: %+v: its clock was read at %d, want %d to %d", c.name, in[0], got, before, after)
		}
		if in[1].Time != 0 || in[1].Off != 0 || in[1].Len != 100 {
			t.Errorf("%s: without a time: %+v", c.name, in[1])
		}
		if _, invalid := q.Lost(); invalid != 1 {
			t.Errorf("%s: %d frames were dropped, want the short one", c.name, invalid)
		}
	}
}

// TestTimeInRegisters: of the 82576's frames one at a time has its time in
// registers, which are read once, and then let the next one in.
func TestTimeInRegisters(t *testing.T) {
	card := newCard(t, id82576)
	_, queues := card.start(driver.Config{Queues: 1, Features: driver.RXTime, RXDescriptors: 16})
	q := queues[0]
	if got := card.Get(regETQF); got != etqfOn|etqfPTP|etherPTP {
		t.Errorf("ETQF %#x", got)
	}
	q.Fill([]uint32{0, 1})
	set := func(low, high uint32, ns int64) {
		card.Set(low, uint32(ns<<fraction82576))
		card.Set(high, uint32(ns<<fraction82576>>32))
	}
	set(regSYSTIML, regSYSTIMH, 5_000_000)
	set(regSTMPL, regSTMPH, 4_999_000)
	ring := card.receiveRing()
	arrive(ring, 0, rxStamp, 100)
	arrive(ring, 1, 0, 100)
	in := make([]link.Frame, 4)
	before := clock.Now()
	n := q.Receive(in)
	after := clock.Now()
	if n != 2 || in[1].Time != 0 {
		t.Fatalf("%+v", in[:n])
	}
	if got := in[0].Time + 1000; got < before || got > after || in[0].Off != 0 {
		t.Errorf("%+v: its clock was read at %d, want %d to %d", in[0], got, before, after)
	}
}

// TestTimeOfALostFrame: a time that nobody takes is given free, counted, on the NIC
// that keeps one; the others keep none, and are asked for none.
func TestTimeOfALostFrame(t *testing.T) {
	now := int64(1 << 40)
	defer clock.Fake(func() int64 { return now })()
	for id, want := range map[uint16]uint64{id82576: 1, idI350: 0, idI210: 0} {
		card := newCard(t, id)
		d, _ := card.start(driver.Config{Queues: 2, Features: driver.RXTime, RXDescriptors: 16})
		reads := 0
		card.OnRead = func(offset uint32) uint32 {
			switch v := card.Get(offset); offset {
			case regTSYNCRX:
				reads++
				return v | tsyncValid
			case regSATRH: // gives it free
				card.Set(regSTMPL, card.Get(regSTMPL)+1)
				return v
			default:
				return v
			}
		}
		var c driver.Counters
		for range 80 {
			now += 1e8
			d.Status()
		}
		if d.Count(&c); c.TimesFreed != want || reads > 8 {
			t.Errorf("%x: in 8 s %d times were freed, want %d, and TSYNCRXCTL was read %d times", id, c.TimesFreed, want, reads)
		}
		if want == 0 && reads != 0 {
			t.Errorf("%x: TSYNCRXCTL was read", id)
		}
	}
}

// TestClockIsReadSeldom: what is known of the two clocks serves for 10 ms, if the
// thread was not held up between them.
func TestClockIsReadSeldom(t *testing.T) {
	host := int64(1 << 40)
	defer clock.Fake(func() int64 { host++; return host })()
	card := newCard(t, idI350)
	_, queues := card.start(driver.Config{Queues: 1, Features: driver.RXTime, RXDescriptors: 16})
	q := queues[0]
	q.Fill([]uint32{0, 1, 2, 3, 4})
	card.Set(regSYSTIML, 1000)
	ring := card.receiveRing()
	in := make([]link.Frame, 1)
	receive := func(slot int, ns uint32) link.Frame {
		binary.LittleEndian.PutUint32(card.mem.Buffer(uint32(slot))[driver.StampTime:], ns)
		arrive(ring, slot, rxStampIn, driver.StampRoom+64)
		if n := q.Receive(in); n != 1 {
			t.Fatalf("%d frames", n)
		}
		return in[0]
	}
	first := receive(0, 2000)
	card.Set(regSYSTIML, 77) // it is not looked at
	if second := receive(1, 1000+driver.FreshFor); second.Time-first.Time != driver.FreshFor-1000 {
		t.Errorf("%d ns between two frames, want %d", second.Time-first.Time, driver.FreshFor-1000)
	}
	card.Set(regSYSTIML, 3000+driver.FreshFor)
	before := clock.Now()
	if third := receive(2, 3000+driver.FreshFor); third.Time < before || third.Time > clock.Now() {
		t.Errorf("time %d, want the one of the new reading", third.Time)
	}
	const late = 10 * driver.CloseBy
	card.Set(regSYSTIML, 9000+2*driver.FreshFor)
	card.OnRead = func(offset uint32) uint32 {
		if offset == regSYSTIML {
			host += late
		}
		return card.Get(offset)
	}
	before = clock.Now()
	if fourth := receive(3, 9000+2*driver.FreshFor); fourth.Time < before+late || fourth.Time > clock.Now() {
		t.Errorf("time %d, want the one of the new reading, which was held up", fourth.Time)
	}
	card.OnRead = nil
	before = clock.Now()
	if fifth := receive(4, 9000+2*driver.FreshFor); fifth.Time < before || fifth.Time > clock.Now() {
		t.Errorf("time %d, want %d or a little more: a reading that was held up served for a second frame", fifth.Time, before)
	}
}

// TestTimesAreOff: nothing is written before frames, and what a register holds
// is nobody's.
func TestTimesAreOff(t *testing.T) {
	for _, id := range []uint16{id82576, idI350} {
		card := newCard(t, id)
		d, queues := card.start(driver.Config{Queues: 1, RXDescriptors: 16})
		q := queues[0]
		if d.Info().RXHeadroom != 0 || card.Get(regTSYNCRX) != 0 || card.Get(regQueueRX+rxSplit)&rxSplitInFront != 0 {
			t.Errorf("%x: times are on", id)
		}
		q.Fill([]uint32{0})
		arrive(card.receiveRing(), 0, rxStamp, 64)
		in := make([]link.Frame, 1)
		if n := q.Receive(in); n != 1 || in[0].Time != 0 || in[0].Off != 0 {
			t.Errorf("%x: %+v", id, in)
		}
	}
}

// TestTimesAreSwitchedAtOpen: they move the frames in their buffers.
func TestTimesAreSwitchedAtOpen(t *testing.T) {
	card := newCard(t, idI350)
	d, _ := card.start(driver.Config{Queues: 1, Interrupts: bus.None, RXDescriptors: 16})
	if err := d.SetFeatures(d.Info().On | driver.RXTime); err == nil {
		t.Error("they were switched on while frames flow")
	}
}
