package udp_test

import (
	"errors"
	"net/netip"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/clock"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

// ticking is a clock that goes on by 1 with each look at it, and counts them.
type ticking struct{ looks atomic.Int64 }

// tick replaces the clock of the process until the end of the test.
func tick(t testing.TB) *ticking {
	c := new(ticking)
	t.Cleanup(clock.Fake(func() int64 { return c.looks.Add(1) }))
	return c
}

// set sets a socket's flags.
func setTimes(t testing.TB, c *udp.Conn, f stack.TimestampFlags) {
	t.Helper()
	if err := c.SetTimestamping(f); err != nil {
		t.Fatal(err)
	}
}

// txTimes reads all records that wait, which must be n.
func txTimes(t testing.TB, c *udp.Conn, n int) []stack.IOTimes {
	t.Helper()
	got := make([]stack.IOTimes, n+1)
	if k, err := c.ReadTXTimes(got); err != nil || k != n {
		t.Fatalf("read %d times of sends, %v, want %d", k, err, n)
	}
	return got[:n]
}

// noTXTimes wants none to wait.
func noTXTimes(t testing.TB, c *udp.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Unix(1, 0))
	var one [1]stack.IOTimes
	n, err := c.ReadTXTimes(one[:])
	if n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read %d times of sends, %v, want none: %+v", n, err, one)
	}
	_ = c.SetReadDeadline(time.Now().Add(patience))
}

// With the clock that ticks, the points of a received datagram are three looks
// that follow each other.
func TestReceiveTimesAreTheThreePointsInOrder(t *testing.T) {
	r := newRig(t, nil)
	setTimes(t, r.y, stack.TimeRX)
	c := tick(t)
	r.write()
	before := c.looks.Load()
	r.poll(1)
	m := udp.Message{Buf: r.buf}
	if err := r.y.ReadMsg(&m); err != nil {
		t.Fatal(err)
	}
	want := stack.IOTimes{Device: before + 1, Queuing: before + 2, Delivery: before + 3}
	if m.Times != want {
		t.Errorf("times %+v, want %+v", m.Times, want)
	}
	if m.N != len(r.out) || m.Addr != local(r.x) {
		t.Errorf("read %d bytes from %v", m.N, m.Addr)
	}
}

func TestSendTimesAreTheThreePointsInOrder(t *testing.T) {
	r := newRig(t, nil)
	setTimes(t, r.x, stack.TimeTX)
	c := tick(t)
	id, err := r.x.WriteTimed(r.out, r.to)
	if err != nil || id != 1 {
		t.Fatal(id, err)
	}
	// What finds nothing before it is not queued: the device point is both.
	if got, want := txTimes(t, r.x, 1)[0], (stack.IOTimes{ID: 1, Delivery: 1, Queuing: 2, Device: 2}); got != want {
		t.Errorf("times %+v, want %+v", got, want)
	}
	if c.looks.Load() != 2 {
		t.Errorf("%d looks at the clock a send, want 2", c.looks.Load())
	}
	r.poll(1)
	receive(t, r.y, string(r.out), local(r.x))
}

// Flags leave out what was not asked for; delivery comes with any of them.
func TestFlagsChooseThePoints(t *testing.T) {
	for _, f := range []struct {
		flags           stack.TimestampFlags
		device, queuing bool
	}{
		{stack.TimeRXDevice | stack.TimeTXDevice, true, false},
		{stack.TimeRXQueuing | stack.TimeTXQueuing, false, true},
		{stack.TimeRXDelivery | stack.TimeTXDelivery, false, false},
		{stack.TimeAll, true, true},
	} {
		r := newRig(t, nil)
		setTimes(t, r.x, f.flags)
		setTimes(t, r.y, f.flags)
		r.write()
		r.poll(1)
		d, err := r.y.Receive()
		if err != nil {
			t.Fatal(err)
		}
		for what, times := range map[string]stack.IOTimes{"receive": d.Times(), "send": txTimes(t, r.x, 1)[0]} {
			if times.Delivery == 0 || (times.Device != 0) != f.device || (times.Queuing != 0) != f.queuing {
				t.Errorf("flags %#x: %s: %+v", f.flags, what, times)
			}
		}
		d.Release()
		if d.Times() != (stack.IOTimes{}) {
			t.Error("a released datagram has times")
		}
	}
}

// Without timestamping, nobody looks at the clock: neither who receives, nor
// who sends, singly, in batches and by leases.
func TestWithoutTimestampingNoLookAtTheClock(t *testing.T) {
	r := newRig(t, nil)
	for range 2 { // the second time after timestamping has been on
		c := tick(t)
		for range 50 {
			oneOfEach(t, r)
		}
		if n := c.looks.Load(); n != 0 {
			t.Errorf("%d looks at the clock on the packet path, want none", n)
		}
		for _, s := range []*udp.Conn{r.x, r.c, r.y} {
			setTimes(t, s, stack.TimeAll)
		}
		oneOfEach(t, r)
		if c.looks.Load() == 0 {
			t.Error("no look at the clock with timestamping: this test shows nothing")
		}
		for _, s := range []*udp.Conn{r.x, r.c, r.y} {
			setTimes(t, s, 0)
		}
	}
}

// oneOfEach sends by each call that sends, and reads by each that reads.
func oneOfEach(t *testing.T, r *rig) {
	t.Helper()
	r.write()
	if _, err := r.c.Write(r.out); err != nil {
		t.Fatal(err)
	}
	ms := []udp.Message{{Buf: r.out, Addr: r.to}, {Buf: r.out, Addr: r.to}}
	if n, err := r.x.WriteBatch(ms); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	l, err := r.x.Reserve(10)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.SendTo(r.to); err != nil {
		t.Fatal(err)
	}
	r.poll(5)
	in := []udp.Message{{Buf: r.buf}, {Buf: r.buf[1000:]}}
	if n, err := r.y.ReadBatch(in); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	for range 2 {
		if _, _, err := r.y.ReadFromUDPAddrPort(r.buf); err != nil {
			t.Fatal(err)
		}
	}
	d, err := r.y.Receive()
	if err != nil {
		t.Fatal(err)
	}
	d.Release()
}

// A batch costs a look for each point, whatever its length.
func TestBatchLooksAtTheClockOnceAPoint(t *testing.T) {
	r := newRig(t, nil)
	setTimes(t, r.x, stack.TimeTX)
	setTimes(t, r.y, stack.TimeRX)
	c := tick(t)
	ms := make([]udp.Message, 40)
	for i := range ms {
		ms[i] = udp.Message{Buf: r.out, Addr: r.to}
	}
	if n, err := r.x.WriteBatch(ms); n != len(ms) || err != nil {
		t.Fatal(n, err)
	}
	if n := c.looks.Load(); n != 2 {
		t.Errorf("%d looks at the clock for a batch that is sent, want 2", n)
	}
	for i, times := range txTimes(t, r.x, len(ms)) {
		if want := (stack.IOTimes{ID: uint64(i + 1), Delivery: 1, Queuing: 2, Device: 2}); times != want || ms[i].Times.ID != want.ID {
			t.Fatalf("record %d: %+v, want %+v; message %+v", i, times, want, ms[i].Times)
		}
	}
	r.poll(len(ms))
	if n := c.looks.Load(); n != 5 {
		t.Errorf("%d looks at the clock for a batch that is received, want 3", n-2)
	}
	in := make([]udp.Message, len(ms))
	for i := range in {
		in[i].Buf = r.buf
	}
	if n, err := r.y.ReadBatch(in); n != len(in) || err != nil {
		t.Fatal(n, err)
	}
	for i := range in {
		if want := (stack.IOTimes{Device: 3, Queuing: 4, Delivery: 5}); in[i].Times != want {
			t.Fatalf("datagram %d: %+v, want %+v", i, in[i].Times, want)
		}
	}
}

// Sockets that share a multicast datagram share its times, if they ask for them.
func TestSharedDatagramHasTimesForThoseWhoAsk(t *testing.T) {
	leave := netip.MustParseAddr("239.1.2.3")
	r := newRig(t, nil)
	cfg := &udp.Config{ReusePort: true}
	any := netip.AddrPortFrom(netip.IPv4Unspecified(), 3000)
	u, v := listenOn(t, r.b.Stack, any, cfg), listenOn(t, r.b.Stack, any, cfg)
	for _, c := range []*udp.Conn{u, v} {
		if err := c.JoinGroup(leave, nil); err != nil {
			t.Fatal(err)
		}
	}
	r.b.Poll() // what joining sent
	setTimes(t, v, stack.TimeRX)
	send(t, r.x, "to all", netip.AddrPortFrom(leave, 3000))
	r.b.Poll()
	for _, c := range []*udp.Conn{u, v} {
		m := udp.Message{Buf: r.buf}
		if err := c.ReadMsg(&m); err != nil {
			t.Fatal(err)
		}
		if ok := inOrder(m.Times); ok != (c == v) {
			t.Errorf("times %+v, asked for: %v", m.Times, c == v)
		}
	}
}

// inOrder: a received packet has all three points, in order.
func inOrder(t stack.IOTimes) bool {
	return t.Device != 0 && t.Device <= t.Queuing && t.Queuing <= t.Delivery
}

func TestHandlerSeesTimes(t *testing.T) {
	var seen []stack.IOTimes
	r := newRig(t, &udp.Config{Handler: func(d udp.Datagram) {
		seen = append(seen, d.Times())
		d.Release()
	}})
	r.write()
	r.poll(1)
	setTimes(t, r.y, stack.TimeRX)
	r.write()
	r.poll(1)
	if len(seen) != 2 || seen[0] != (stack.IOTimes{}) || !inOrder(seen[1]) {
		t.Errorf("the handler saw %+v", seen)
	}
}

// What came before timestamping was asked for has no times, and those of an
// earlier use of a buffer do not show.
func TestOnlyWhatArrivesAfterwardsHasTimes(t *testing.T) {
	r := newRig(t, nil)
	setTimes(t, r.y, stack.TimeRX)
	for range 3 * stack.DefaultRXBuffers / 64 {
		for range 64 {
			r.write()
		}
		r.poll(64)
		for range 64 {
			if _, _, err := r.y.ReadFromUDPAddrPort(r.buf); err != nil {
				t.Fatal(err)
			}
		}
	}
	setTimes(t, r.y, 0)
	r.write()
	r.poll(1)
	setTimes(t, r.y, stack.TimeRX)
	r.write()
	r.poll(1)
	for i := range 2 {
		m := udp.Message{Buf: r.buf}
		if err := r.y.ReadMsg(&m); err != nil {
			t.Fatal(err)
		}
		if ok := inOrder(m.Times); ok != (i == 1) {
			t.Errorf("datagram %d: %+v", i, m.Times)
		}
	}
}
