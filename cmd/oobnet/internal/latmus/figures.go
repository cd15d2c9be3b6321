package latmus

import (
	"github.com/oobnet/oobnet/cmd/oobnet/internal/hist"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/stack"
)

// The figures of a side: first those of EVL's latmus, in the order of its columns
// and with its points of time, of which the second two begin with the first two.
const (
	rxSched    = iota // device to queuing: the RX step had the packet, and looked at it
	rxUser            // device to delivery: the socket had it
	txSched           // delivery to queuing: the packet was built
	txUser            // delivery to device: it was with the link
	rxRead            // delivery to the application's read
	roundTrip         // send to read, with RTT
	kernelTrip        // the same through sockets of the kernel
	nFigures
)

var figureNames = [nFigures]string{"rx sched", "rx user", "tx sched", "tx user", "rx read", "rtt", "kernel rtt"}

// tally is what was found so far: the collector's alone.
type tally struct {
	figures [nFigures]hist.Histogram
	cells   [nFigures][]uint64 // of 1 us, the last for all beyond
	now     [nFigures]int64    // the most since the last line

	noCheck    bool
	order      order
	received   uint64
	badCRC     uint64
	inBand     uint64      // packets that the in-band stage carried: they have no times
	odd        uint64      // figures below 0
	unmatched  uint64      // answers, and times of sends, whose departure is not known
	firstSend  uint64      // number of the first send of the run; those before are greetings
	manual     bool        // one thread sends and receives
	echoes     []answer    // by sequence number, modulo
	departures []departure // by sequence number, modulo
	sent       []stack.IOTimes
	bySend     []uint64 // sequence number + 1 by the number of a send, modulo

	lateTimes    []stack.IOTimes // read in the last round: their departures are there by now
	lateArrivals []arrival
	worst        worst
}

func newTally(o *Options) *tally {
	t := &tally{
		echoes: make([]answer, logRoom), departures: make([]departure, logRoom), sent: make([]stack.IOTimes, logRoom), bySend: make([]uint64, logRoom),
		worst: worst{limit: o.Worst}, noCheck: o.NoCheck, manual: o.Poll == link.Manual,
	}
	for i := range t.cells {
		t.cells[i] = make([]uint64, o.Cells)
	}
	return t
}

// record books a figure, ns.
func (t *tally) record(figure int, ns int64) {
	if ns < 0 {
		t.odd++
		return
	}
	t.figures[figure].Record(ns)
	cells := t.cells[figure]
	cells[min(int(ns/1000), len(cells)-1)]++
	t.now[figure] = max(t.now[figure], ns)
}

// collect books what the threads have written down. Times and arrivals wait for
// the next round: the thread that sent may not have written down its part when
// the packet is back.
func (t *tally) collect(p *party, rtt bool) {
	times, arrivals := t.lateTimes, t.lateArrivals
	t.lateTimes, t.lateArrivals = nil, nil
	var s stack.IOTimes
	for p.txTimes.Pop(&s) {
		t.lateTimes = append(t.lateTimes, s)
	}
	var a arrival
	for p.arrivals.Pop(&a) {
		t.lateArrivals = append(t.lateArrivals, a)
	}
	var e answer
	for p.answers.Pop(&e) {
		t.echoes[e.seq%logRoom] = e
	}
	var d departure
	for p.departures.Pop(&d) {
		i := d.seq % logRoom
		t.departures[i], t.sent[i] = d, stack.IOTimes{}
		if t.firstSend == 0 {
			t.firstSend = d.id
		}
		if d.id != 0 {
			t.bySend[d.id%logRoom] = d.seq + 1
		}
	}
	for i := range times {
		t.left(&times[i], rtt)
	}
	for i := range arrivals {
		t.came(&arrivals[i], rtt)
	}
	if p.other != nil {
		p.other.drain(t)
	}
}

// departure that a send's number stands for; nil: not known.
func (t *tally) bySendID(id uint64) *departure {
	if seq := t.bySend[id%logRoom]; seq != 0 {
		if d := &t.departures[(seq-1)%logRoom]; d.id == id {
			return d
		}
	}
	return nil
}

func (t *tally) left(s *stack.IOTimes, rtt bool) {
	if s.ID < t.firstSend || t.firstSend == 0 {
		return // a greeting
	}
	if s.Device == 0 {
		t.inBand++
		return
	}
	d := t.bySendID(s.ID)
	if d == nil {
		t.unmatched++
		return
	}
	t.record(txSched, s.Queuing-s.Delivery)
	t.record(txUser, s.Device-s.Delivery)
	t.sent[d.seq%logRoom] = *s
	if !rtt {
		t.worst.offer(outward(d, s))
	}
}

func (t *tally) came(a *arrival, rtt bool) {
	if a.bad {
		t.badCRC++
		return
	}
	if a.seq == greeting {
		return
	}
	t.received++
	if !t.noCheck && !t.order.take(a.seq) {
		return
	}
	if a.times.Device == 0 {
		t.inBand++
	} else {
		t.record(rxSched, a.times.Queuing-a.times.Device)
		t.record(rxUser, a.times.Delivery-a.times.Device)
		t.record(rxRead, a.read-a.times.Delivery)
	}
	if !rtt {
		t.worst.offer(inward(a))
		return
	}
	i := a.seq % logRoom
	d := &t.departures[i]
	if d.seq != a.seq || d.begun == 0 {
		t.unmatched++
		return
	}
	t.record(roundTrip, a.read-d.begun)
	echo := &t.echoes[i]
	if echo.seq != a.seq {
		echo = nil
	}
	t.worst.offer(around(d, &t.sent[i], echo, a, t.manual))
}

// newPage forgets what the last line has shown.
func (t *tally) newPage() { clear(t.now[:]) }
