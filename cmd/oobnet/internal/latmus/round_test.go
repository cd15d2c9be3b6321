package latmus

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/stack"
)

// byHand is a run whose rounds the test calls: nobody sends but the test.
func byHand(t *testing.T, o Options) *run {
	t.Helper()
	leaktest.Check(t)
	o.switches = involuntary
	w, err := openWire(t.Context(), &o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.close(); err != nil {
			t.Error(err)
		}
	})
	r := &run{o: &o, wire: w, near: w.near, far: w.far, tally: newTally(&o)}
	if r.party, err = newParty(&o, w.near, w.far.addr.Addr(), -1); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.party.close(); err != nil {
			t.Error(err)
		}
	})
	r.begin()
	r.look()
	return r
}

// exchanged writes a round trip down as the threads do: it ends now.
func (r *run) exchanged(seq uint64, begun int64) {
	r.party.sent.Add(1)
	r.party.departures.Push(&departure{seq: seq, id: seq + 1, planned: begun, actual: begun, begun: begun})
	r.party.arrivals.Push(&arrival{seq: seq, times: stack.IOTimes{Device: begun, Queuing: begun, Delivery: begun}, read: stack.Now()})
}

// TestDemotionsAreOfTheirExchange: exchanges are booked a round late, and are
// explained by what was counted near them, not by what came since.
func TestDemotionsAreOfTheirExchange(t *testing.T) {
	o := short()
	o.RTT, o.Worst = true, 10
	r := byHand(t, o)
	nobody := netip.MustParseAddr("192.0.2.77")
	for seq := range uint64(5) {
		begun := stack.Now()
		if seq == 2 {
			if _, err := r.party.conn.WriteToUDPAddrPort([]byte("in-band"), netip.AddrPortFrom(nobody, Port)); err != nil {
				t.Fatal(err)
			}
		}
		r.exchanged(seq, begun)
		r.round()
	}
	r.round()
	if len(r.tally.worst.list) != 5 || r.demoted != 1 {
		t.Fatalf("%d exchanges, %d demotions", len(r.tally.worst.list), r.demoted)
	}
	for _, e := range r.tally.worst.list {
		if got := strings.Contains(strings.Join(e.Causes, ";"), "1 demotions within "); got != (e.Sequence == 2) {
			t.Errorf("%s", e)
		}
	}
}

// TestLossAtTheEnd: what is missing at the end of a sequence is lost, also where a
// packet that came twice makes up for it in number.
func TestLossAtTheEnd(t *testing.T) {
	for _, c := range []struct {
		name string
		came []uint64 // of 5 packets
		lost uint64
	}{
		{"nothing", []uint64{0, 1, 2, 3, 4}, 0},
		{"the last", []uint64{0, 1, 2, 3}, 1},
		{"the last, and one came twice", []uint64{0, 1, 1, 2, 3}, 1},
		{"the last, and two came twice", []uint64{0, 1, 1, 2, 3, 3}, 1},
		{"one in between, and one came twice", []uint64{0, 1, 1, 3, 4}, 1},
		{"nothing, and one came twice", []uint64{0, 1, 2, 3, 4, 4}, 0},
		{"nothing, and one came late", []uint64{0, 2, 1, 3, 4}, 0},
		{"all", nil, 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := short()
			o.RTT = true
			r := byHand(t, o)
			for seq := range uint64(5) {
				r.party.sent.Add(1)
				r.party.departures.Push(&departure{seq: seq, id: seq + 1, begun: stack.Now()})
			}
			for _, seq := range c.came {
				r.party.arrivals.Push(&arrival{seq: seq, read: stack.Now()})
			}
			r.round()
			r.round()
			if out := r.describe(); out.Lost != c.lost || out.Unmatched != 0 {
				t.Errorf("lost %d, want %d; %d not matched", out.Lost, c.lost, out.Unmatched)
			}
		})
	}
}

// TestUnmatchedIsReported: an answer to a packet, or times of a send, that nobody is
// known to have sent. Greetings are no part of it.
func TestUnmatchedIsReported(t *testing.T) {
	o := short()
	o.RTT = true
	r := byHand(t, o)
	r.party.txTimes.Push(&stack.IOTimes{ID: 3, Device: 1}) // before any packet of the run
	r.party.departures.Push(&departure{seq: 0, id: 4, begun: stack.Now()})
	r.party.txTimes.Push(&stack.IOTimes{ID: 2, Device: 1})
	r.party.txTimes.Push(&stack.IOTimes{ID: 4, Device: 1, Queuing: 1, Delivery: 1})
	r.party.txTimes.Push(&stack.IOTimes{ID: 5, Device: 1})
	r.party.arrivals.Push(&arrival{seq: 0, read: stack.Now()})
	r.party.arrivals.Push(&arrival{seq: 1, read: stack.Now()})
	r.round()
	r.round()
	out := r.describe()
	if out.Unmatched != 2 || out.InBand != 2 { // the arrivals have no times
		t.Errorf("%d not matched, %d in-band", out.Unmatched, out.InBand)
	}
	var text, page strings.Builder
	if err := errors.Join(out.WriteText(&text), out.WriteHTML(&page)); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text.String(), "could not match 2:") || !strings.Contains(page.String(), "<td>0, 2</td>") {
		t.Errorf("%s\n%s", text.String(), page.String())
	}
}
