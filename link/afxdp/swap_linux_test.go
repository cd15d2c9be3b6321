package afxdp

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oobnet/oobnet/filter"
	"github.com/oobnet/oobnet/internal/netnstest"
	"github.com/oobnet/oobnet/link"
)

// claimSuite claims the frames of these tests.
var claimSuite = &link.Claims{EtherTypes: []link.ClaimEtherType{{EtherType: suiteType}}}

// tally counts the numbers of frames that came somewhere.
type tally map[uint32]int

func (n tally) note(frame []byte) { n[binary.BigEndian.Uint32(frame[ethernetHeader+1:])]++ }

// flowWindow bounds the frames of a flow that are on their way: all queues
// between sender and receivers hold more.
const flowWindow = 128

// flow sends numbered frames until told to stop, and collects what comes to
// us and to the kernel.
type flow struct {
	r            *filterRig
	sent         uint32
	us, kernel   tally
	came         atomic.Uint32 // frames that came, to the one or the other
	stop, over   chan struct{} // for the sender, and for the others after it
	sender, taps sync.WaitGroup
}

func startFlow(r *filterRig) *flow {
	f := &flow{r: r, us: tally{}, kernel: tally{}, stop: make(chan struct{}), over: make(chan struct{})}
	f.sender.Go(func() {
		for {
			select {
			case <-f.stop:
				return
			default:
			}
			if err := r.sender.Send(saying(1, f.sent)); err != nil {
				r.t.Error(err)
				return
			}
			f.sent++
			// One that is lost is found in the end, by its number.
			for deadline := time.Now().Add(2 * time.Second); f.sent-f.came.Load() >= flowWindow && time.Now().Before(deadline); {
				time.Sleep(100 * time.Microsecond)
			}
		}
	})
	f.taps.Go(func() {
		for {
			got := r.receive(silence)
			if got != nil {
				f.us.note(got)
				f.came.Add(1)
				continue
			}
			select {
			case <-f.over:
				return
			default:
			}
		}
	})
	f.taps.Go(func() {
		for {
			got, err := r.kernel.Receive(silence)
			if err == nil {
				f.kernel.note(got)
				f.came.Add(1)
				continue
			}
			select {
			case <-f.over:
				return
			default:
			}
		}
	})
	return f
}

// end stops the flow and wants each frame exactly once, here or there.
func (f *flow) end() {
	t := f.r.t
	t.Helper()
	close(f.stop)
	f.sender.Wait()
	for deadline := time.Now().Add(2 * time.Second); f.came.Load() < f.sent && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	close(f.over)
	f.taps.Wait()
	for i := range f.sent {
		if f.us[i]+f.kernel[i] != 1 {
			t.Fatalf("frame %d of %d came %d times to us and %d times to the kernel", i, f.sent, f.us[i], f.kernel[i])
		}
	}
	if len(f.us) == 0 || len(f.kernel) == 0 {
		t.Errorf("%d frames came to us and %d to the kernel: nothing was swapped", len(f.us), len(f.kernel))
	}
}

// TestSwap exchanges filters and claims for each other while frames come, and
// switches the diversion: each frame meets one of them, and none is lost.
func TestSwap(t *testing.T) {
	for _, mode := range bothModes {
		t.Run(mode.String(), func(t *testing.T) {
			r := newFilterRig(t, &Config{Mode: mode}, claimSuite)
			accept, skip := program(t, "always"), program(t, "always", filter.Section("oobnet/skip"))
			verdict, actions := program(t, "verdict"), program(t, "xsk") // of 1: accept, and XDP_DROP
			f := startFlow(r)
			for i := range 15 {
				for _, next := range []filter.Filter{skip, accept, nil, verdict, skip} {
					r.setFilter(next)
					time.Sleep(time.Millisecond)
				}
				if err := r.Divert(i%2 == 1); err != nil {
					t.Fatal(err)
				}
			}
			if err := r.Divert(true); err != nil {
				t.Fatal(err)
			}
			f.end()
			s := r.FilterStats()
			if got := accepted(s); got != uint64(len(f.us)) {
				t.Errorf("%d accepted by the counters, %d came", got, len(f.us))
			}
			if n := accepted(s) + s.Verdicts[filter.Skip]; n > uint64(f.sent) || s.Errors+s.Verdicts[filter.Drop] != 0 {
				t.Errorf("%d frames sent, counters %+v", f.sent, s)
			}
			// What was counted stays when another filter comes.
			r.setFilter(actions)
			if after := r.FilterStats(); !sameStats(s, after) {
				t.Errorf("%+v before another filter, %+v after", s, after)
			}
		})
	}
}

// TestAcceptedStay: what was accepted is received, whatever is set after.
func TestAcceptedStay(t *testing.T) {
	r := newFilterRig(t, nil, nil)
	if r.card {
		t.Skip("needs a veth pair: over a card frames are accepted some time after they were sent")
	}
	r.setFilter(program(t, "always"))
	const frames = 100
	for i := range uint32(frames) {
		if err := r.sender.Send(saying(0, i)); err != nil {
			t.Fatal(err)
		}
	}
	r.setFilter(program(t, "always", filter.Function("drop_all")))
	if err := r.Divert(false); err != nil {
		t.Fatal(err)
	}
	got := tally{}
	for range frames {
		frame := r.receive(time.Second)
		if frame == nil {
			break
		}
		got.note(frame)
	}
	if len(got) != frames {
		t.Errorf("%d of %d accepted frames came", len(got), frames)
	}
}

// TestDivert: off, all is the kernel's; on, what was set is there again, or
// what was set meanwhile.
func TestDivert(t *testing.T) {
	r := newFilterRig(t, nil, claimSuite)
	divert := func(on bool) func() error { return func() error { return r.Divert(on) } }
	set := func(f filter.Filter) func() error { return func() error { return r.SetFilter(f) } }
	drop := program(t, "always", filter.Section("oobnet/drop"))
	for i, step := range []struct {
		do   func() error
		what string
		want string
	}{
		{divert(true), "on as it was", "us"},
		{divert(false), "off", "kernel"},
		{divert(false), "off again", "kernel"},
		{divert(true), "on", "us"},
		{set(drop), "a filter", "nobody"},
		{divert(false), "off", "kernel"},
		{divert(true), "on, with the filter", "nobody"},
		{divert(false), "off", "kernel"},
		{set(program(t, "verdict")), "another filter while off", "kernel"},
		{divert(true), "on, with the other filter", "us"},
		{divert(false), "off", "kernel"},
		{set(nil), "no filter while off", "kernel"},
		{func() error { return r.Select(claimOurs) }, "other claims while off", "kernel"},
		{divert(true), "on, with the other claims", "kernel"},
		{func() error { return r.Select(claimSuite) }, "the former claims", "us"},
		{set(drop), "a filter", "nobody"},
		{func() error { return r.Select(claimOurs) }, "claims behind a filter", "nobody"},
		{set(nil), "the claims", "kernel"},
	} {
		if err := step.do(); err != nil {
			t.Fatalf("step %d, %s: %v", i, step.what, err)
		}
		if got := r.comes(saying(1, uint32(i))); got != step.want {
			t.Errorf("step %d, %s: a frame comes to %s, want %s", i, step.what, got, step.want)
		}
	}
}

// TestRules: rules go through the same gate, and their hits are counted.
func TestRules(t *testing.T) {
	for _, mode := range bothModes {
		t.Run(mode.String(), func(t *testing.T) {
			r := newFilterRig(t, &Config{Mode: mode}, nil)
			rules, err := filter.NewRules(filter.Skip,
				filter.Rule{Verdict: filter.Drop, SrcMACs: [][6]byte{{2, 0, 0, 0, 0, 9}}},
				filter.Rule{Verdict: filter.Accept, EtherTypes: []uint16{suiteType}})
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // hits are counted anew
				r.setFilter(rules)
				if got := r.comes(saying(0, 1)); got != "us" {
					t.Errorf("a frame of the EtherType comes to %s", got)
				}
				other := saying(0, 2)
				other[11] = 9 // its source address
				if got := r.comes(other); got != "nobody" {
					t.Errorf("a frame of the other source comes to %s", got)
				}
				if s := r.FilterStats(); !slices.Equal(s.Rules, []uint64{1, 1, 0}) {
					t.Errorf("hits %v", s.Rules)
				}
			}
			if s := r.FilterStats(); s.Verdicts != [4]uint64{filter.Drop: 2, filter.Accept: 2} {
				t.Errorf("verdicts %v since Open", s.Verdicts)
			}
			r.setFilter(nil)
			if s := r.FilterStats(); s.Rules != nil {
				t.Errorf("hits %v without rules", s.Rules)
			}
		})
	}
}

// TestFilterStop: a stopped link leaves what its filter accepts to the kernel.
func TestFilterStop(t *testing.T) {
	r := newFilterRig(t, nil, nil)
	r.setFilter(program(t, "always"))
	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
	frame := saying(1, 7)
	if err := r.sender.Send(frame); err != nil {
		t.Fatal(err)
	}
	if got, err := r.kernel.Receive(2 * time.Second); err != nil || string(got) != string(frame) {
		t.Errorf("the kernel received % x, %v", got, err)
	}
	if s := r.FilterStats(); s.Verdicts[filter.Skip] != 1 || accepted(s) != 0 {
		t.Errorf("%+v, want one skipped: there is no socket", s)
	}
}

// TestSetFilterConcurrent: everything at once, by many goroutines.
func TestSetFilterConcurrent(t *testing.T) {
	r := newFilterRig(t, nil, claimSuite)
	filters := []filter.Filter{nil, program(t, "verdict"), program(t, "xsk")}
	var running sync.WaitGroup
	const rounds = 20
	for g := range 2 {
		running.Go(func() {
			for i := range rounds {
				if err := r.SetFilter(filters[(g+i)%len(filters)]); err != nil {
					t.Error(err)
				}
			}
		})
	}
	running.Go(func() {
		for range rounds {
			if m, err := r.FilterMap("seen"); err == nil {
				_ = m.Each(func(_, _ []byte) bool { return true }) // the filter may go under way
			}
			r.FilterStats()
		}
	})
	running.Go(func() {
		for i := range rounds {
			if err := r.Divert(i%2 == 1); err != nil {
				t.Error(err)
			}
			if err := r.Select([]*link.Claims{claimSuite, claimOurs}[i%2]); err != nil {
				t.Error(err)
			}
		}
	})
	running.Wait()
}

// BenchmarkFilter runs filters in the kernel.
func BenchmarkFilter(b *testing.B) {
	netnstest.RequireRoot(b)
	g, err := newGate(1, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer g.close()
	for _, object := range []string{"always", "verdict", "xsk"} {
		k, err := loadFilter(program(b, object), g.maps)
		if err != nil {
			b.Fatal(err)
		}
		if err := g.setFilter(k); err != nil {
			b.Fatal(err)
		}
		for _, what := range []byte{1, 2} {
			b.Run(fmt.Sprintf("%s, %d", object, what), func(b *testing.B) {
				_, took, err := g.program().Benchmark(saying(what, 0), max(1, b.N), nil)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(took.Nanoseconds()), "ns/frame")
			})
		}
	}
}
