package stack_test

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
	"testing"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/loopback"
	"github.com/oobnet/oobnet/stack"
)

// TestFloodDelaysNoUrgentFrame keeps priority 0 flooding a ring of eight that
// lets one frame leave at a time. Whenever one of priority 7 comes, it is
// behind the frames that the link has, and behind nothing else.
func TestFloodDelaysNoUrgentFrame(t *testing.T) {
	leaktest.Check(t)
	l := newFakeLink(1)
	h := fakeHost(t, l, strict())
	q := l.queues[0]
	l.set(func() { q.txRoom, q.hold = 8, true })
	flood := func(n int) {
		for range n {
			f, err := h.Device.AllocFor(0)
			if errors.Is(err, syscall.ENOBUFS) {
				return // the rest is left for what is urgent
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := h.Device.Send(rawFrame(h.Device, f, []byte{0, 0}), 0, 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	flood(40)
	for i := range byte(50) {
		given := len(q.wire())
		sendRaw(t, h.Device, 7, 7, i)
		for step := 0; ; step++ {
			flood(3)
			if wire := q.wire(); len(wire) > given {
				if wire[given][14] != 7 || wire[given][15] != i {
					t.Fatalf("urgent frame %d: after %d frames went %d.%d", i, given, wire[given][14], wire[given][15])
				}
				break
			}
			if step > 20 {
				t.Fatal("stuck")
			}
			l.set(func() { // one leaves
				if len(q.ring) > 0 {
					q.done, q.ring = append(q.done, q.ring[0]), q.ring[1:]
				}
			})
			h.Poll()
		}
	}
	st := h.Device.Stats().TX.Queueing
	if st.Discipline != "strict" || st.Bands[7].Queued != 50 || st.Bands[7].Length != 0 || st.Bands[0].Length == 0 {
		t.Errorf("%+v", st)
	}
	l.set(func() { q.txRoom = 1024 })
	h.Poll()
	if st := h.Device.Stats().TX.Queueing; st.Length != 0 || st.Bands[0].LongestWait <= 0 {
		t.Errorf("%+v", st)
	}
}

// TestFIFOKeepsOrder of all that waits, whatever its priority.
func TestFIFOKeepsOrder(t *testing.T) {
	leaktest.Check(t)
	l := newFakeLink(1)
	h := fakeHost(t, l, manual())
	q := l.queues[0]
	l.set(func() { q.txRoom = 0 })
	var want []string
	for i := range byte(40) {
		sendRaw(t, h.Device, int(i)%8, i%8, i)
		want = append(want, fmt.Sprintf("%d.%d", i%8, i))
	}
	l.set(func() { q.txRoom, q.hold = 3, true })
	for len(q.wire()) < len(want) {
		h.Poll()
		q.complete()
	}
	if got := marks(q); !slices.Equal(got, want) {
		t.Errorf("left in the order %v", got)
	}
	st := h.Device.Stats().TX
	if st.Queued != 40 || st.Queueing.Discipline != "fifo" || st.Queueing.Bands[3].Queued != 5 || st.Queueing.Peak != 40 || st.Queueing.Length != 0 {
		t.Errorf("%+v", st)
	}
	if len(st.Queues) != 1 || st.Queues[0] != st.Queueing {
		t.Errorf("one queue, and %+v is not %+v", st.Queues, st.Queueing)
	}
}

// TestFloodLeavesInBandItsShare: whoever floods, by waiting frames or by frames
// that go directly, an answer to ARP leaves after inBandAfter frames or so; and
// an urgent frame does not wait for it.
func TestFloodLeavesInBandItsShare(t *testing.T) {
	const share = 64 + 16 + 4 // what may overtake it, a burst under way, the burst of its turn
	for name, o := range map[string]*stacktest.Options{"strict": strict(), "fifo": manual()} {
		t.Run(name+", waiting", func(t *testing.T) {
			leaktest.Check(t)
			l := newFakeLink(1)
			o.Device.PoolSize = 256
			h := fakeHost(t, l, o)
			q := l.queues[0]
			l.set(func() { q.txRoom = 0 })
			askInBand(t, l, h)
			for i := range byte(120) {
				sendRaw(t, h.Device, 5, 5, i)
			}
			l.set(func() { q.txRoom, q.hold = 16, true })
			for range 10 {
				sendRaw(t, h.Device, 7, 7, 0)
				h.Poll()
				q.complete()
			}
			got := marks(q)
			at := slices.Index(got, "in-band")
			if at < 0 || at > share {
				t.Errorf("the in-band stage was in turn at %d of %v", at, got)
			}
			if name == "strict" && at > 0 && got[at-1] == "7.0" {
				t.Errorf("a turn for the in-band stage with room for others: %v", got)
			}
		})
		t.Run(name+", direct", func(t *testing.T) {
			leaktest.Check(t)
			l := newFakeLink(1)
			h := fakeHost(t, l, o)
			q := l.queues[0]
			l.set(func() { q.txRoom = 0 }) // or a Poll sends it at once
			askInBand(t, l, h)
			l.set(func() { q.txRoom = 1024 })
			n := 0
			for ; n < 500 && !slices.Contains(marks(q), "in-band"); n++ {
				sendRaw(t, h.Device, 5, 5, 0)
			}
			if n > share {
				t.Errorf("in turn after %d frames", n)
			}
		})
	}
}

// TestQueueBound: what finds the queue full is ENOBUFS, lost, counted, and its
// buffer is back.
func TestQueueBound(t *testing.T) {
	for _, queueing := range []stack.Queueing{stack.FIFO, stack.StrictPriority, &roundRobin{}} {
		t.Run(queueing.Name(), func(t *testing.T) {
			leaktest.Check(t)
			l := newFakeLink(1)
			o := manual()
			o.Device.Queueing, o.Device.QueueLength = queueing, 10
			h := fakeHost(t, l, o)
			q := l.queues[0]
			l.set(func() { q.txRoom = 0 })
			frame := func(i int) link.Frame {
				f, err := h.Device.Alloc()
				if err != nil {
					t.Fatal(err)
				}
				return rawFrame(h.Device, f, []byte{0, byte(i)})
			}
			for i := range 6 {
				if err := h.Port.Send(frame(i), 0, 2); err != nil {
					t.Fatal(err)
				}
			}
			if n, err := h.Port.SendBatch([]link.Frame{frame(6), frame(7), frame(8), frame(9), frame(10), frame(11)}, 0, 3); n != 4 || !errors.Is(err, syscall.ENOBUFS) {
				t.Errorf("batch: %d, %v", n, err)
			}
			if err := h.Port.Send(frame(12), 0, 7); !errors.Is(err, syscall.ENOBUFS) {
				t.Errorf("send: %v", err)
			}
			st := h.Device.Stats()
			if w := st.TX.Queueing; st.TX.Dropped != 3 || w.Dropped != 3 || w.Bands[3].Dropped != 2 || w.Bands[7].Dropped != 1 || w.Length != 10 || w.Limit != 10 || w.Peak != 10 {
				t.Errorf("%+v", w)
			}
			if st.Pool.Free != st.Pool.Size-10 {
				t.Errorf("%d of %d buffers free", st.Pool.Free, st.Pool.Size)
			}
			if n := h.Port.Stats().TXPackets; n != 10 {
				t.Errorf("the port counts %d frames", n)
			}
			l.set(func() { q.txRoom = 64 })
			h.Poll()
			if n := len(q.wire()); n != 10 {
				t.Errorf("%d frames left", n)
			}
		})
	}
}

func TestQueueingConfigErrors(t *testing.T) {
	leaktest.Check(t)
	odd := errors.New("odd")
	for name, c := range map[string]struct {
		cfg  stack.DeviceConfig
		want error
	}{
		"length":       {stack.DeviceConfig{QueueLength: -1}, syscall.EINVAL},
		"no such":      {stack.DeviceConfig{Queueing: stack.BuiltIn(9)}, syscall.EINVAL},
		"no object":    {stack.DeviceConfig{Queueing: failing{nil}}, syscall.EINVAL},
		"its own word": {stack.DeviceConfig{Queueing: failing{odd}}, odd},
	} {
		s, err := stack.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		l := newFakeLink(1)
		if _, err := s.Attach(l, &c.cfg); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if err := errors.Join(s.Close(), l.Close()); err != nil {
			t.Error(err)
		}
	}
}

// TestWaitingAllocatesNothing: a frame that waits, under each discipline of ours
// and under one of the application's that allocates nothing either.
func TestWaitingAllocatesNothing(t *testing.T) {
	for _, queueing := range []stack.Queueing{stack.FIFO, stack.StrictPriority, &lastFirst{}} {
		t.Run(queueing.Name(), func(t *testing.T) {
			leaktest.Check(t)
			wired, err := loopback.New(nil)
			if err != nil {
				t.Fatal(err)
			}
			l := &doorLink{Link: wired}
			o := manual()
			o.Device.Queueing = queueing
			h := stacktest.On(t, l, ownNet, o)
			h.Poll() // what the in-band stage says to begin with
			allocs := testing.AllocsPerRun(100, func() {
				l.q.shut = true
				for i := range 20 {
					f, err := h.Device.Alloc()
					if err != nil {
						t.Fatal(err)
					}
					if err := h.Port.Send(rawFrame(h.Device, f, nil), 0, i%8); err != nil {
						t.Fatal(err)
					}
				}
				l.q.shut = false
				if _, err := h.Device.Poll(stack.MaxBatch); err != nil {
					t.Fatal(err)
				}
			})
			if allocs != 0 {
				t.Errorf("%v allocations", allocs)
			}
			if w := h.Device.Stats().TX.Queueing; w.Length != 0 || w.Peak < 20 {
				t.Errorf("%+v", w)
			}
		})
	}
}

// doorLink is a link of one queue that takes no frame while its door is shut.
type doorLink struct {
	link.Link
	q doorQueue
}

func (l *doorLink) Queue(i int) link.Queue {
	l.q.Queue = l.Link.Queue(i)
	return &l.q
}

type doorQueue struct {
	link.Queue
	shut bool
}

func (q *doorQueue) Send(frames []link.Frame) int {
	if q.shut {
		return 0
	}
	return q.Queue.Send(frames)
}

// lastFirst is a discipline that sends what came last first.
type lastFirst struct{ frames []stack.Queued }

func (*lastFirst) Name() string { return "last first" }

func (s *lastFirst) New(q stack.TXQueueInfo) (stack.Discipline, error) {
	s.frames = make([]stack.Queued, 0, q.Limit)
	return s, nil
}

func (s *lastFirst) Enqueue(frames []stack.Queued) { s.frames = append(s.frames, frames...) }

func (s *lastFirst) Dequeue(frames []stack.Queued, _ int64) int {
	n := min(len(frames), len(s.frames))
	for i := range n {
		frames[i] = s.frames[len(s.frames)-1-i]
	}
	s.frames = s.frames[:len(s.frames)-n]
	return n
}

func (s *lastFirst) Requeue(frames []stack.Queued) {
	for _, f := range slices.Backward(frames) {
		s.frames = append(s.frames, f)
	}
}

// TestFloodLeavesRoom: a flood of the lowest priority can fill neither the pool
// nor the queue for those above it, and each of them leaves the next its part.
func TestFloodLeavesRoom(t *testing.T) {
	for _, c := range []struct {
		name        string
		pool, queue int
	}{{"pool", 32, 0}, {"queue", 64, 32}} {
		t.Run(c.name, func(t *testing.T) {
			leaktest.Check(t)
			l := newFakeLink(1)
			o := strict()
			o.Device.PoolSize, o.Device.QueueLength = c.pool, c.queue
			h := fakeHost(t, l, o)
			l.set(func() { l.queues[0].txRoom = 0 })
			total := 0
			for priority, want := range []int{18, 20, 22, 24, 26, 28, 30, 32} {
				for {
					f, err := h.Device.AllocFor(priority)
					if err == nil {
						err = h.Device.Send(rawFrame(h.Device, f, []byte{byte(priority), 0}), 0, priority)
					}
					if errors.Is(err, syscall.ENOBUFS) {
						break
					}
					if err != nil {
						t.Fatal(err)
					}
					total++
				}
				if total != want {
					t.Errorf("priority %d: %d frames wait, want %d", priority, total, want)
				}
			}
			l.set(func() { l.queues[0].txRoom = 1024 })
			h.Poll()
			if n := len(l.queues[0].wire()); n != total {
				t.Errorf("%d frames left, want %d", n, total)
			}
		})
	}
}
