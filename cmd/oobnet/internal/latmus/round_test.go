package latmus

import (
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
	w, err := openWire(&o)
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
