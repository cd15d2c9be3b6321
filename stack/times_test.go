package stack_test

import (
	"errors"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"weak"

	"github.com/oobnet/oobnet/internal/clock"
	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/loopback"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

// tick replaces the clock of the process, until the end of the test, by one that
// goes on by 1 with each look at it.
func tick(t testing.TB) *atomic.Int64 {
	looks := new(atomic.Int64)
	t.Cleanup(clock.Fake(func() int64 { return looks.Add(1) }))
	return looks
}

// sendTimed sends a raw frame whose times are wanted.
func sendTimed(t testing.TB, d *stack.Device, times *stack.TXTimes, priority int) (uint64, error) {
	t.Helper()
	f, err := d.Alloc()
	if err != nil {
		t.Fatal(err)
	}
	id := times.Begin(d, f.Index, stack.Now())
	f.Flags |= link.FlagTimed
	return id, d.Send(rawFrame(d, f, []byte{1, 2}), 0, priority)
}

// taken takes all records.
func taken(times *stack.TXTimes) []stack.IOTimes {
	all := make([]stack.IOTimes, times.Room())
	n, _ := times.Take(all)
	return all[:n]
}

// What has to wait has a queuing point of its own, whatever orders it; what an
// order drops has no device point.
func TestTimesOfWhatWaits(t *testing.T) {
	for name, queueing := range map[string]stack.Queueing{"fifo": stack.FIFO, "strict": stack.StrictPriority, "own": &roundRobin{}} {
		t.Run(name, func(t *testing.T) {
			leaktest.Check(t)
			l := newFakeLink(1)
			o := manual()
			o.Device.Queueing = queueing
			h := fakeHost(t, l, o)
			l.set(func() { l.queues[0].txRoom = 0 })
			tick(t)
			times := stack.NewTXTimes(stack.TimeTX, 0)
			for i := range uint64(3) {
				if id, err := sendTimed(t, h.Device, times, 3); id != i+1 || err != nil {
					t.Fatal(id, err)
				}
			}
			if got := taken(times); len(got) != 0 {
				t.Fatalf("records of frames that wait: %+v", got)
			}
			l.set(func() { l.queues[0].txRoom = 1024 })
			h.Poll()
			got := taken(times)
			if len(got) != 3 {
				t.Fatalf("%d records, want 3", len(got))
			}
			for i, g := range got {
				if g.ID != uint64(i+1) || g.Delivery == 0 || g.Delivery >= g.Queuing || g.Queuing >= g.Device {
					t.Errorf("record %d: %+v", i, g)
				}
			}
			stacktest.AssertBooks(t, h.Device)
		})
	}
}

func TestTimesOfWhatIsDropped(t *testing.T) {
	leaktest.Check(t)
	l := newFakeLink(1)
	o := manual()
	o.Device.Queueing = &roundRobin{} // which drops priority 1
	o.Device.QueueLength = 2
	h := fakeHost(t, l, o)
	l.set(func() { l.queues[0].txRoom = 0 })
	tick(t)
	times := stack.NewTXTimes(stack.TimeTX, 0)
	for want := uint64(1); want <= 2; want++ {
		if id, err := sendTimed(t, h.Device, times, 1); id != want || err != nil && !errors.Is(err, syscall.ENOBUFS) {
			t.Fatal(id, err)
		}
	}
	l.set(func() { l.queues[0].txRoom = 1024 })
	h.Poll()
	got := taken(times)
	if len(got) != 2 {
		t.Fatalf("%+v, want two records", got)
	}
	for i, g := range got {
		if g.ID != uint64(i+1) || g.Device != 0 || g.Delivery == 0 || g.Queuing <= g.Delivery {
			t.Errorf("record %+v", g)
		}
	}
	// A full queue refuses: the sender is told, and there is no record.
	l.set(func() { l.queues[0].txRoom = 0 })
	refused := 0
	for range 4 {
		if _, err := sendTimed(t, h.Device, times, 3); errors.Is(err, syscall.ENOBUFS) {
			refused++
		}
	}
	l.set(func() { l.queues[0].txRoom = 1024 })
	h.Poll()
	if got := taken(times); refused == 0 || len(got) != 4-refused {
		t.Errorf("%d refused of 4, and %d records", refused, len(got))
	}
}

// A socket may close with records on their way: they end with their frames, and
// then nothing remembers the socket's ring.
func TestClosingWithRecordsOnTheWay(t *testing.T) {
	leaktest.Check(t)
	l := newFakeLink(1)
	h := fakeHost(t, l, manual())
	if err := h.Stack.SetNeighbor(peerAddr, peerMAC); err != nil {
		t.Fatal(err)
	}
	l.set(func() { l.queues[0].txRoom = 0 })
	c := listen(t, h, h.At(7), nil)
	if err := c.SetTimestamping(stack.TimeAll); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := c.WriteTimed([]byte("datagram"), netip.AddrPortFrom(peerAddr, 9)); err != nil {
			t.Fatal(err)
		}
	}
	ring := func() weak.Pointer[stack.TXTimes] {
		times := stack.NewTXTimes(stack.TimeTX, 0)
		if _, err := sendTimed(t, h.Device, times, 0); err != nil {
			t.Fatal(err)
		}
		return weak.Make(times)
	}()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	if ring.Value() == nil {
		t.Error("the ring has gone before its record")
	}
	l.set(func() { l.queues[0].txRoom = 1024 })
	h.Poll()
	if n := len(l.queues[0].wire()); n != 4 {
		t.Errorf("%d frames sent, want 4", n)
	}
	stacktest.Eventually(t, "the ring is collected", func() bool {
		runtime.GC()
		return ring.Value() == nil
	})
	if st := h.Device.Stats().Pool; st.Free != st.Size {
		t.Errorf("%d of %d buffers free", st.Free, st.Size)
	}
}

// The link's own time is a value of its own, on the link's clock.
func TestHardwareTime(t *testing.T) {
	leaktest.Check(t)
	l := newFakeLink(1)
	l.caps.RXClock = link.ClockDevice
	h := fakeHost(t, l, manual())
	tick(t)
	c := listen(t, h, h.At(7), nil)
	defer c.Close()
	for _, want := range []struct {
		flags    stack.TimestampFlags
		hardware int64
		clock    link.ClockDomain
	}{
		{stack.TimeRX, 777, link.ClockDevice},
		{stack.TimeRXHardware, 888, link.ClockDevice},
		{stack.TimeRX &^ stack.TimeRXHardware, 0, link.ClockNone},
		{stack.TimeRX, 0, link.ClockNone}, // the device says nothing of this one
	} {
		if err := c.SetTimestamping(want.flags); err != nil {
			t.Fatal(err)
		}
		l.arrive(packet{to: 7}.frame(), 0, 0)
		l.set(func() {
			l.queues[0].rx[0].Time = want.hardware
			if want.clock == link.ClockNone && want.flags != stack.TimeRX {
				l.queues[0].rx[0].Time = 999
			}
		})
		h.Poll()
		m := udp.Message{Buf: make([]byte, 100)}
		if err := c.ReadMsg(&m); err != nil {
			t.Fatal(err)
		}
		got := m.Times
		if got.Hardware != want.hardware || got.Clock != want.clock || got.Delivery == 0 {
			t.Errorf("flags %#x: %+v, want %+v", want.flags, got, want)
		}
	}
}

// A received frame that has times, and is sent as it is, is nobody's send; and
// its buffer has none of its times when it is received into again.
func TestTimedFrameSentAsItIs(t *testing.T) {
	leaktest.Check(t)
	l := newFakeLink(1)
	h := fakeHost(t, l, manual())
	h.Stack.SetTimestamping(0, stack.TimeAll)
	stamp := true
	p := newTestProtocol(func(b *stack.Batch) {
		for _, p := range b.Packets {
			var got stack.IOTimes
			h.Device.Times(p.Frame.Index, stack.TimeRX, &got)
			if got != (stack.IOTimes{}) {
				t.Errorf("before anyone noted them: %+v", got)
			}
			if stamp {
				b.Stamp([]*stack.Packet{p})
				h.Device.Times(p.Frame.Index, stack.TimeRX, &got)
				if got.Device == 0 || got.Device > got.Queuing || got.Queuing > got.Delivery {
					t.Errorf("noted: %+v", got)
				}
			}
			p.Take()
			if err := h.Device.Send(p.Frame, 0, 0); err != nil {
				t.Error(err)
			}
		}
	})
	if err := h.Stack.RegisterProtocol(stack.EtherType(testEtherType), p); err != nil {
		t.Fatal(err)
	}
	frame := packet{}.frame()
	frame[12], frame[13] = testEtherType>>8, testEtherType&0xff
	for i := range 1200 { // each buffer twice
		stamp = i%2 == 0
		l.arrive(frame, 0, 0)
		h.Poll()
	}
	if n := len(l.queues[0].wire()); n != 1200 {
		t.Errorf("%d frames sent", n)
	}
	stacktest.AssertBooks(t, h.Device)
}

// A device that comes later has room for the times that somebody wants.
func TestDeviceAfterTimestamping(t *testing.T) {
	leaktest.Check(t)
	h := fakeHost(t, newFakeLink(1), manual())
	h.Stack.SetTimestamping(0, stack.TimeAll)
	l := newFakeLink(1)
	l.name = "fake1"
	d, err := h.Stack.Attach(l, &stack.DeviceConfig{Poll: link.Manual, PoolSize: 8, RXBuffers: 64})
	if err != nil {
		t.Fatal(err)
	}
	times := stack.NewTXTimes(stack.TimeTX, 0)
	if _, err := sendTimed(t, d, times, 0); err != nil {
		t.Fatal(err)
	}
	if got := taken(times); len(got) != 1 {
		t.Errorf("%+v", got)
	}
	other := fakeHost(t, newFakeLink(1), manual())
	if _, err := sendTimed(t, other.Device, times, 0); err != nil {
		t.Fatal(err)
	}
	if got := taken(times); len(got) != 1 || got[0].ID != 2 {
		t.Errorf("on a stack that was not told: %+v", got)
	}
}

// Several owners of queues complete the records of one socket at once: each send
// has one record, or is counted as lost.
func TestManyOwnersCompleteForOneSocket(t *testing.T) {
	leaktest.Check(t)
	a, b := stacktest.Pair(t, &stacktest.Options{Loopback: loopback.Config{Queues: 4}})
	times := stack.NewTXTimes(stack.TimeTX, 256)
	const senders, each = 4, 2000
	var wg sync.WaitGroup
	var sent, dropped atomic.Int64
	for s := range senders {
		wg.Go(func() {
			for range each {
				f, err := a.Device.AllocWait(0, nil, nil)
				if err != nil {
					t.Error(err)
					return
				}
				times.Begin(a.Device, f.Index, stack.Now())
				f.Flags |= link.FlagTimed
				if err := a.Device.Send(rawFrame(a.Device, f, []byte{1, 2}), s, 0); err != nil {
					dropped.Add(1)
				} else {
					sent.Add(1)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	seen := make(map[uint64]bool)
	look := func() {
		for _, g := range taken(times) {
			if seen[g.ID] || g.ID == 0 || g.ID > senders*each {
				t.Errorf("record %+v comes twice, or is nobody's", g)
			}
			seen[g.ID] = true
		}
	}
	for running := true; running; look() {
		select {
		case <-done:
			running = false
		default:
		}
	}
	stacktest.Eventually(t, "every send has a record, or is counted", func() bool {
		look()
		return uint64(len(seen))+times.Dropped() == uint64(sent.Load())
	})
	stacktest.AssertBooks(t, b.Device)
}

func TestTimestampFlags(t *testing.T) {
	if err := stack.TimeAll.Check(); err != nil {
		t.Error(err)
	}
	if err := (stack.TimeAll + 1).Check(); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("flags that mean nothing: %v", err)
	}
	for room, want := range map[int]error{0: nil, 1: nil, stack.MaxTXTimes: nil, -1: syscall.EINVAL, stack.MaxTXTimes + 1: syscall.EINVAL} {
		if err := stack.CheckTXTimes(room); !errors.Is(err, want) {
			t.Errorf("room for %d: %v", room, err)
		}
	}
	if n := stack.NewTXTimes(stack.TimeTX, 0).Room(); n != stack.DefaultTXTimes {
		t.Errorf("room for %d by default", n)
	}
}

// A launch time reaches the link, at once and after a wait, and costs the send
// none of its own times; a link that has none refuses it.
func TestLaunchTime(t *testing.T) {
	leaktest.Check(t)
	l := newFakeLink(1)
	l.caps.LaunchClock = link.ClockTAI
	h := fakeHost(t, l, manual())
	if err := h.Stack.SetNeighbor(peerAddr, peerMAC); err != nil {
		t.Fatal(err)
	}
	tick(t)
	c := listen(t, h, h.At(7), nil)
	defer c.Close()
	if err := c.SetTimestamping(stack.TimeTX); err != nil {
		t.Fatal(err)
	}
	q := l.queues[0]
	const at = 1 << 40
	send := func(launch int64) {
		t.Helper()
		lease, err := c.Reserve(10)
		if err != nil {
			t.Fatal(err)
		}
		if launch != 0 {
			if err := lease.SetLaunchTime(launch); err != nil {
				t.Fatal(err)
			}
		}
		if err := lease.SendTo(netip.AddrPortFrom(peerAddr, 9)); err != nil {
			t.Fatal(err)
		}
	}
	send(at)
	l.set(func() { q.txRoom = 0 })
	send(at + 1)
	send(0)
	l.set(func() { q.txRoom = 1024 })
	h.Poll()
	if len(q.metas) != 3 {
		t.Fatalf("%d frames sent, want 3", len(q.metas))
	}
	for i, want := range []int64{at, at + 1, 0} {
		m := q.metas[i]
		if launches := m.Flags&link.FlagLaunchTime != 0; launches != (want != 0) || launches && m.Time != want {
			t.Errorf("frame %d: %+v, want it to leave at %d", i, m, want)
		}
	}
	times := make([]stack.IOTimes, 4)
	if n, err := c.ReadTXTimes(times); n != 3 || err != nil {
		t.Fatal(n, err)
	}
	for i, g := range times[:3] {
		if g.ID != uint64(i+1) || g.Delivery == 0 || g.Delivery >= g.Queuing || g.Queuing > g.Device || g.Device >= at {
			t.Errorf("record %d: %+v", i, g)
		}
	}
	if longest := h.Device.Stats().TX.Queueing.Bands[0].LongestWait; longest <= 0 || longest >= at {
		t.Errorf("the longest wait is %d", longest)
	}
	elsewhere, err := c.Reserve(10)
	if err != nil {
		t.Fatal(err)
	}
	if err := elsewhere.SetLaunchTime(at); err != nil {
		t.Fatal(err)
	}
	// Nobody knows that neighbour: the datagram would go in-band.
	if err := elsewhere.SendTo(netip.AddrPortFrom(peerAddr.Next(), 9)); !errors.Is(err, link.ErrNotSupported) {
		t.Errorf("a launch time in-band: %v", err)
	}
	if st := h.Device.Stats().Pool; st.Free != st.Size {
		t.Errorf("%d of %d buffers free", st.Free, st.Size)
	}
	none := fakeHost(t, newFakeLink(1), manual())
	other := listen(t, none, none.At(7), nil)
	defer other.Close()
	lease, err := other.Reserve(10)
	if err != nil {
		t.Fatal(err)
	}
	if err := lease.SetLaunchTime(at); !errors.Is(err, link.ErrNotSupported) {
		t.Errorf("a link without launch times: %v", err)
	}
	lease.Discard()
}
