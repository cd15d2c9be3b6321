package check

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/clock"
	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/loopback"
	"github.com/oobnet/oobnet/link/vfio"
)

// fault is what is wrong with a fake NIC.
type fault int

const (
	none fault = iota
	damages
	miscounts
	misjudges
	mixesTags
	misleads
	takesAll
	noTimes
	loses
	keepsBuffer
	renames
	deaf
	hasLess
	hasNothing
)

// fake is a NIC that is a wire in memory, with counters, a filter and times.
type fake struct {
	*loopback.Link
	memory  *link.Memory
	fault   fault
	address link.MAC

	mu          sync.Mutex // of what follows: both sides of a queue use it
	stats       vfio.Statistics
	promiscuous bool
	sent        map[uint32]int64
}

// opener makes fakes with a fault.
func opener(f fault) Opener {
	opened := 0
	return func(cfg *vfio.Config) (NIC, error) {
		opened++
		queues := 1
		if cfg.Queues == 0 && f == misleads {
			queues = 2
		}
		with := loopback.TXChecksum | loopback.RXChecksum
		if cfg.With&vfio.VLANStrip != 0 {
			with |= loopback.VLANInsert | loopback.VLANStrip
		}
		l, err := loopback.New(&loopback.Config{Queues: queues, With: with, MACs: [2]link.MAC{{2, 0, 0, 0, 0, 7}}})
		if err != nil {
			return nil, err
		}
		n := &fake{Link: l, fault: f, address: l.MAC(), sent: map[uint32]int64{}}
		if f == renames {
			n.address[5] = byte(opened)
		}
		return n, nil
	}
}

func (f *fake) MAC() link.MAC                { return f.address }
func (f *fake) Queue(i int) link.Queue       { return &fakeQueue{f.Link.Queue(i), f} }
func (f *fake) Speed() (int, bool)           { return 10000, true }
func (f *fake) Fault() error                 { return nil }
func (f *fake) SetPromiscuous(on bool) error { f.promiscuous = on; return nil }

func (f *fake) Depths() (rx, tx int) { return loopback.DefaultRingSize, loopback.DefaultRingSize }

func (f *fake) Registers() []vfio.Register {
	return []vfio.Register{{Name: "FAULT", Value: uint32(f.fault)}}
}

func (f *fake) Features() (supported, on vfio.Features) {
	switch f.fault {
	case hasLess:
		return vfio.Loopback, 0
	case hasNothing:
		return 0, 0
	}
	return vfio.RXChecksum | vfio.TXChecksum | vfio.VLANStrip | vfio.VLANInsert | vfio.RSS | vfio.RXTime | vfio.TXTime | vfio.Loopback, vfio.RSS
}

func (f *fake) RSS() (c vfio.RSSConfig, err error) {
	for i := range c.Key {
		c.Key[i] = byte(i * 31)
	}
	for i := range c.Table {
		c.Table[i] = uint8(i % f.Queues())
	}
	return c, nil
}

func (f *fake) Statistics() vfio.Statistics {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stats
}

func (f *fake) SentAt(bufs []uint32, times []int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, b := range bufs {
		times[i] = f.sent[b]
	}
}

func (f *fake) Attach(layout link.Layout) (m *link.Memory, err error) {
	m, err = f.Link.Attach(layout)
	f.memory = m
	return m, err
}

type fakeQueue struct {
	link.Queue
	f *fake
}

func (q *fakeQueue) Send(frames []link.Frame) int {
	n := q.Queue.Send(frames)
	q.f.mu.Lock()
	defer q.f.mu.Unlock()
	for _, f := range frames[:n] {
		q.f.stats.TXPackets++
		q.f.stats.TXBytes += uint64(f.Len) + 4
		if q.f.fault != noTimes {
			q.f.sent[f.Index] = clock.Now()
		}
	}
	return n
}

func (q *fakeQueue) Receive(frames []link.Frame) int {
	n, kept := q.Queue.Receive(frames), 0
	q.f.mu.Lock()
	defer q.f.mu.Unlock()
	for _, f := range frames[:n] {
		if !q.wanted(f) {
			q.Queue.Fill([]uint32{f.Index})
			continue
		}
		f.Time = clock.Now()
		q.spoil(&f)
		q.f.stats.RXPackets++
		q.f.stats.RXBytes += uint64(f.Len) + 4
		frames[kept] = f
		kept++
	}
	return kept
}

func (q *fakeQueue) wanted(f link.Frame) bool {
	if q.f.fault == loses && q.f.stats.RXPackets%1000 == 999 && f.Len == shortest {
		q.f.stats.RXPackets++
		return false
	}
	if q.f.promiscuous || q.f.fault == takesAll {
		return true
	}
	to := wire.MAC(q.f.memory.Bytes(f))
	return to == q.f.address || to == wire.BroadcastMAC
}

func (q *fakeQueue) spoil(f *link.Frame) {
	switch q.f.fault {
	case damages:
		q.f.memory.Bytes(*f)[f.Len-1] ^= 1
	case miscounts:
		q.f.stats.RXBytes++
	case misjudges:
		f.Flags |= link.FlagChecksumGood
		f.Flags &^= link.FlagChecksumBad
	case mixesTags:
		f.VLAN ^= 1
	}
}

func (q *fakeQueue) WaitReceive(d time.Duration) error {
	if q.f.fault == deaf {
		return errors.New("deaf")
	}
	return q.Queue.WaitReceive(d)
}

func (q *fakeQueue) Drain(bufs []uint32) int {
	n := q.Queue.Drain(bufs)
	if n > 0 && q.f.fault == keepsBuffer {
		n--
	}
	return n
}

// results runs all steps on a fake.
func results(t *testing.T, f fault) map[string]Step {
	t.Helper()
	told := 0
	by := map[string]Step{}
	for _, s := range Run(context.Background(), opener(f), func(Step) { told++ }) {
		by[s.Name] = s
		t.Logf("%s %s: %s", s.Result, s.Name, s.Found)
	}
	if told != len(by) {
		t.Errorf("%d steps were told, %d done", told, len(by))
	}
	return by
}

func TestAllIsWell(t *testing.T) {
	leaktest.Check(t)
	by := results(t, none)
	if len(by) != len(steps) {
		t.Errorf("%d steps were done, of %d", len(by), len(steps))
	}
	for _, s := range by {
		if s.Result != Pass || (len(s.Registers) > 0) != (s.Name == "the wire") {
			t.Errorf("%s: %s: %s %v", s.Name, s.Result, s.Found, s.Registers)
		}
	}
}

// TestFaults: each fault is found by the step that is there for it.
func TestFaults(t *testing.T) {
	leaktest.Check(t)
	for f, c := range map[fault]struct{ step, found string }{
		renames:     {"open and close", "address"},
		damages:     {"frames", "not the same"},
		miscounts:   {"frames", "bytes received"},
		misjudges:   {"checksums", "not called bad"},
		mixesTags:   {"VLAN tags", "the tag came back"},
		misleads:    {"spread by hash", "by the hash"},
		takesAll:    {"address filter", "another station: it was received"},
		deaf:        {"interrupts", "deaf"},
		noTimes:     {"hardware times", "no time of when the frame was sent"},
		loses:       {"full speed", "lost by the NIC's counters"},
		keepsBuffer: {"closed in the midst", "buffers came back"},
	} {
		var s Step
		i := slices.IndexFunc(steps, func(s step) bool { return s.name == c.step })
		run(context.Background(), steps[i:i+1], opener(f), func(done Step) { s = done })
		if s.Result != Fail || !strings.Contains(s.Found, c.found) {
			t.Errorf("%s: %s: %s, want a failure with %q", c.step, s.Result, s.Found, c.found)
		}
		if len(s.Registers) != 1 || s.Registers[0].Value != uint32(f) {
			t.Errorf("%s: registers %v of a NIC that failed", c.step, s.Registers)
		}
	}
}

// TestLess: what a NIC has not is skipped, and is no failure.
func TestLess(t *testing.T) {
	leaktest.Check(t)
	by := results(t, hasLess)
	for _, name := range []string{"checksums", "VLAN tags", "spread by hash", "hardware times"} {
		if s := by[name]; s.Result != Skip || !strings.Contains(s.Found, "this NIC has no") {
			t.Errorf("%s: %s: %s", name, s.Result, s.Found)
		}
	}
}

// TestNoLoopback: without it there is not much to test, and nothing to fail.
func TestNoLoopback(t *testing.T) {
	leaktest.Check(t)
	for name, s := range results(t, hasNothing) {
		want := Skip
		if name == "open and close" || name == "the wire" {
			want = Pass
		}
		if s.Result != want {
			t.Errorf("%s: %s: %s", name, s.Result, s.Found)
		}
	}
}

// TestNoNIC: what cannot be opened is not tested further.
func TestNoNIC(t *testing.T) {
	leaktest.Check(t)
	none := errors.New("there is none")
	all := Run(context.Background(), func(*vfio.Config) (NIC, error) { return nil, none }, func(Step) {})
	if len(all) != 1 || Failed(all) != 1 || all[0].Found != none.Error() {
		t.Errorf("%+v", all)
	}
	ended, end := context.WithCancel(context.Background())
	end()
	if all := Run(ended, opener(0), func(Step) {}); len(all) != 0 {
		t.Errorf("after the end: %+v", all)
	}
}
