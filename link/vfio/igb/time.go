package igb

import (
	"encoding/binary"

	"github.com/oobnet/oobnet/internal/clock"
	"github.com/oobnet/oobnet/link/vfio/internal/driver"
)

// clockKind is how a NIC counts time, and which frames it tells it of.
type clockKind int

const (
	// clock82576: a binary fraction of nanoseconds (7.9). One frame at a time has
	// its time in registers, until that is read, and only the Sync messages of
	// PTP over Ethernet (IEEE Std 1588-2008, annex F) have one.
	clock82576 clockKind = iota
	// clockI350: nanoseconds, in 40 bits (I350 7.9). Each frame has its time
	// before it in its buffer.
	clockI350
	// clockI210: seconds and nanoseconds (I210 7.8), otherwise as clockI350.
	clockI210
)

const (
	fraction82576 = 19       // bits of the counter below a nanosecond
	bitsI350      = 40       // of the counter; it comes around after 18 minutes
	stampRoom     = 16       // bytes before a frame: 8 unused, then the time, low word first
	stampTime     = 8        // where it stands
	etherPTP      = 0x88f7   // IEEE Std 1588-2008, annex F
	second        = 1e9      // ns
	freshFor      = 10 << 20 // ns, about 10 ms: two clocks that differ by 50 ppm drift 0.5 us apart
)

// headroom is what the NIC writes before a frame, bytes.
func (d *device) headroom() int {
	if d.About.On&driver.RXTime == 0 || d.chip.clock == clock82576 {
		return 0
	}
	return stampRoom
}

// programTime starts the clock and says which frames are to have a time.
func (d *device) programTime() {
	const received, sent = driver.RXTime, driver.TXTime
	r, on := d.Regs, d.About.On
	r.Write32(regTSYNCRX, 0)
	r.Write32(regTSYNCTX, 0)
	if on&(received|sent) != 0 {
		if d.chip.clock == clock82576 {
			r.Write32(regTIMINCA, timincaNominal)
		} else {
			r.Write32(regTSAUXC, 0)
		}
	}
	if on&sent != 0 {
		r.Write32(regTSYNCTX, tsyncOn)
		r.Read32(regTXSTMPH) // what is left there
	}
	switch {
	case on&received == 0:
	case d.chip.clock != clock82576:
		r.Write32(regTSYNCRX, tsyncOn|tsyncAll)
	default:
		r.Write32(regTSYNCCFG, 0) // message type 0: Sync
		r.Write32(regETQF, etqfOn|etqfPTP|etherPTP)
		r.Write32(regTSYNCRX, tsyncOn)
		r.Read32(regSATRH) // what is left there
	}
}

// nanoseconds turns two words of the NIC's clock into ns.
func (k clockKind) nanoseconds(low, high uint32) int64 {
	switch k {
	case clockI350:
		return int64(high&(1<<(bitsI350-32)-1))<<32 | int64(low)
	case clockI210:
		return int64(high)*second + int64(low)
	}
	return int64((uint64(high)<<32 | uint64(low)) >> fraction82576)
}

// since is the time from one reading of the clock to another, which may have come
// around in between.
func (k clockKind) since(now, then int64) int64 {
	unused := 0
	switch k {
	case clockI350:
		unused = 64 - bitsI350
	case clock82576:
		unused = fraction82576
	}
	return (now - then) << unused >> unused
}

// reference is one moment on the NIC's clock and on CLOCK_MONOTONIC, ns. The
// receive side has its own, and so has the send side.
type reference struct {
	nic, host int64
	known     bool
}

// stamp returns what stands before the frame in a buffer, bytes, and its time; 0
// if that cannot be told now.
func (q *queue) stamp(w uint64, buffer uint32) (room uint16, at int64) {
	kind := q.dev.chip.clock
	var low, high uint32
	switch {
	case kind == clock82576 && w&rxStamp != 0 && q.timed:
		low, high = q.regs.Read32(regSTMPL), q.regs.Read32(regSTMPH)
		q.regs.Read32(regSATRH)
	case kind != clock82576 && w&rxStampIn != 0:
		b := q.mem.Buffer(buffer)[stampTime:stampRoom]
		low, high, room = binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:]), stampRoom
	default:
		return 0, 0
	}
	return room, q.clock.monotonic(q.dev, low, high)
}

// monotonic turns two words of the NIC's clock into ns on CLOCK_MONOTONIC; 0 if
// that cannot be told now.
func (ref *reference) monotonic(d *device, low, high uint32) int64 {
	kind := d.chip.clock
	t := kind.nanoseconds(low, high)
	if since := kind.since(t, ref.nic); !ref.known || since > freshFor || since < -freshFor {
		ref.refresh(d)
	}
	if !ref.known {
		return 0
	}
	return ref.host + kind.since(t, ref.nic)
}

// refresh reads both clocks. If another queue is at it, what is known serves on.
func (ref *reference) refresh(d *device) {
	if d.reading.Swap(true) { // another side of a queue
		return
	}
	if d.chip.clock != clock82576 {
		d.Regs.Read32(regSYSTIMR) // freezes the words above it
	}
	low := d.Regs.Read32(regSYSTIML)
	host := clock.Now() // between the two: the low word's moment is that of the freezing
	ref.nic = d.chip.clock.nanoseconds(low, d.Regs.Read32(regSYSTIMH))
	ref.host, ref.known = host, true
	d.reading.Store(false)
}
