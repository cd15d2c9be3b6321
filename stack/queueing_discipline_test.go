package stack_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/clock"
	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/stack"
)

// failing makes no discipline.
type failing struct{ err error }

func (f failing) Name() string                                    { return "failing" }
func (f failing) New(stack.TXQueueInfo) (stack.Discipline, error) { return nil, f.err }

// roundRobin gives each port one frame in turn: a discipline of the test.
type roundRobin struct {
	mu    sync.Mutex
	made  []*robin
	shape bool
}

func (*roundRobin) Name() string { return "round robin" }

func (r *roundRobin) New(q stack.TXQueueInfo) (stack.Discipline, error) {
	d := &robin{limit: q.Limit}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.made = append(r.made, d)
	if r.shape {
		return &shaper{robin: d}, nil
	}
	return d, nil
}

// robin has a queue for each port. It is as simple as can be, and allocates.
type robin struct {
	limit  int
	queues [][]stack.Queued
	next   int
	calls  int
	bad    []stack.Queued // returned beside what it has
}

func (r *robin) queueOf(p *stack.Port) *[]stack.Queued {
	for i := range r.queues {
		if len(r.queues[i]) > 0 && r.queues[i][0].Port == p {
			return &r.queues[i]
		}
	}
	for i := range r.queues {
		if len(r.queues[i]) == 0 {
			return &r.queues[i]
		}
	}
	r.queues = append(r.queues, make([]stack.Queued, 0, r.limit))
	return &r.queues[len(r.queues)-1]
}

func (r *robin) Enqueue(frames []stack.Queued) {
	r.calls++
	for _, f := range frames {
		q := r.queueOf(f.Port)
		*q = append(*q, f)
	}
}

func (r *robin) Dequeue(frames []stack.Queued, now int64) (n int) {
	r.calls++
	for _, b := range r.bad {
		frames[n] = b
		n++
	}
	r.bad = nil
	for idle := 0; n < len(frames) && idle < len(r.queues); {
		q := &r.queues[r.next]
		r.next = (r.next + 1) % len(r.queues)
		if len(*q) == 0 {
			idle++
			continue
		}
		idle = 0
		frames[n] = (*q)[0]
		frames[n].Drop = (*q)[0].Priority == 1
		*q = append((*q)[:0], (*q)[1:]...)
		n++
	}
	return n
}

func (r *robin) Requeue(frames []stack.Queued) {
	r.calls++
	for _, f := range slices.Backward(frames) {
		q := r.queueOf(f.Port)
		*q = slices.Insert(*q, 0, f)
	}
}

// TestDiscipline of the application's own: its order holds, also when the link
// takes less than it gave; what it drops is counted; what it never had is not
// sent; it is called once a batch.
func TestDiscipline(t *testing.T) {
	leaktest.Check(t)
	l := newFakeLink(1)
	rr := &roundRobin{}
	o := manual()
	o.Device.Queueing = rr
	h := fakeHost(t, l, o)
	other, err := h.Device.EnablePort(&stack.PortConfig{VLAN: 7})
	if err != nil {
		t.Fatal(err)
	}
	q := l.queues[0]
	l.set(func() { q.txRoom = 0 })
	send := func(p *stack.Port, a, b byte, priority int) {
		f, err := h.Device.Alloc()
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Send(rawFrame(h.Device, f, []byte{a, b}), 0, priority); err != nil {
			t.Fatal(err)
		}
	}
	for i := range byte(6) {
		send(h.Port, 0, i, 0)
	}
	for i := range byte(3) {
		send(other, 7, i, 4)
	}
	send(other, 9, 9, 1) // the discipline drops those
	if st := h.Device.Stats().TX.Queueing; st.Length != 9 || st.Dropped != 1 || st.Discipline != "round robin" {
		t.Errorf("%+v", st)
	}
	r := rr.made[0]
	r.bad = []stack.Queued{{Frame: link.Frame{Index: 1 << 30, Len: 60}}, {Frame: link.Frame{Index: 3, Len: 60}}}
	calls := r.calls
	l.set(func() { q.txRoom, q.hold = 2, true })
	for len(q.wire()) < 9 {
		h.Poll()
		q.complete()
	}
	want := []string{"0.0", "7.0", "0.1", "7.1", "0.2", "7.2"}
	got := marks(q)
	// Where a round begins is the discipline's own; that ports alternate is ours.
	for i := range 5 {
		if got[i][0] == got[i+1][0] {
			t.Fatalf("order %v, want something like %v", got, want)
		}
	}
	for _, port := range []string{"0.", "7."} {
		n := 0
		for _, m := range got {
			if strings.HasPrefix(m, port) {
				if m != fmt.Sprint(port, n) {
					t.Fatalf("%s where %s%d is due: %v", m, port, n, got)
				}
				n++
			}
		}
	}
	st := h.Device.Stats()
	if w := st.TX.Queueing; w.Astray != 2 || w.Dropped != 1 || w.Bands[1].Dropped != 1 || w.Length != 0 || w.Bands[1].Length != 0 {
		t.Errorf("%+v", w)
	}
	if st.Pool.Free != st.Pool.Size {
		t.Errorf("%d of %d buffers free", st.Pool.Free, st.Pool.Size)
	}
	if n := r.calls - calls; n > 40 {
		t.Errorf("%d calls", n)
	}
}

// shaper holds all frames until it is told otherwise.
type shaper struct {
	*robin
	open bool
}

func (*shaper) Shapes() {}

func (s *shaper) Dequeue(frames []stack.Queued, now int64) int {
	if now > clock.Now() || !s.open {
		return 0
	}
	return s.robin.Dequeue(frames, now)
}

// TestShaper sees every frame, is asked again, and what it keeps is found when
// the device closes.
func TestShaper(t *testing.T) {
	leaktest.Check(t)
	l := newFakeLink(1)
	rr := &roundRobin{shape: true}
	h := fakeHost(t, l, &stacktest.Options{Device: stack.DeviceConfig{Queueing: rr}})
	for i := range byte(20) {
		sendRaw(t, h.Device, 0, 0, i)
	}
	stacktest.Eventually(t, "all are with the shaper", func() bool { return h.Device.Stats().TX.Queueing.Length == 20 })
	if n := len(l.queues[0].wire()); n != 0 {
		t.Errorf("%d frames passed by the shaper", n)
	}
}

// TestShaperOpens: held frames leave without another one coming.
func TestShaperOpens(t *testing.T) {
	leaktest.Check(t)
	l := newFakeLink(1)
	gate := &timedGate{at: clock.Now() + int64(30*time.Millisecond)}
	h := fakeHost(t, l, &stacktest.Options{Device: stack.DeviceConfig{Queueing: gate}})
	for i := range byte(20) {
		sendRaw(t, h.Device, 0, 0, i)
	}
	stacktest.Eventually(t, "the gate opens", func() bool { return len(l.queues[0].wire()) == 20 })
	if clock.Now() < gate.at {
		t.Error("frames left before their time")
	}
	if w := h.Device.Stats().TX.Queueing.Bands[0]; w.LongestWait < int64(time.Millisecond) {
		t.Errorf("%+v", w)
	}
}

// timedGate is a shaper whose only rule is a moment.
type timedGate struct {
	robin
	at int64
}

func (*timedGate) Name() string                                      { return "gate" }
func (*timedGate) Shapes()                                           {}
func (g *timedGate) New(stack.TXQueueInfo) (stack.Discipline, error) { return g, nil }
func (g *timedGate) Dequeue(frames []stack.Queued, now int64) int {
	if now < g.at {
		return 0
	}
	return g.robin.Dequeue(frames, now)
}
