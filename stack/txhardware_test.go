package stack_test

import (
	"errors"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

// Where a device says when it sent a frame, the record of a send is complete with
// that, once the buffer is back, whether it said so or not; those who did not ask
// for it do not wait for it.
func TestTXHardware(t *testing.T) {
	leaktest.Check(t)
	l := newFakeLink(1)
	l.caps.TXClock = link.ClockDevice
	h := fakeHost(t, l, manual())
	if err := h.Stack.SetNeighbor(peerAddr, peerMAC); err != nil {
		t.Fatal(err)
	}
	tick(t)
	asks, other := listen(t, h, h.At(7), nil), listen(t, h, h.At(8), nil)
	defer asks.Close()
	defer other.Close()
	if err := errors.Join(asks.SetTimestamping(stack.TimeTX), other.SetTimestamping(stack.TimeTX&^stack.TimeTXHardware)); err != nil {
		t.Fatal(err)
	}
	q := l.queues[0]
	l.set(func() { q.hold = true })
	for _, c := range []*udp.Conn{asks, asks, other} {
		if _, err := c.WriteToUDPAddrPort([]byte("when"), netip.AddrPortFrom(peerAddr, 9)); err != nil {
			t.Fatal(err)
		}
	}
	l.set(func() {
		for i, asked := range []bool{true, true, false} {
			if got := q.metas[i].Flags&link.FlagTXTime != 0; got != asked {
				t.Errorf("frame %d: the device was asked: %v", i, got)
			}
		}
		l.sentAt = map[uint32]int64{q.ring[0]: 1 << 40} // and of the second it knows nothing
	})
	times := make([]stack.IOTimes, 4)
	if n, err := other.ReadTXTimes(times); n != 1 || err != nil || times[0].Hardware != 0 || times[0].Clock != link.ClockNone {
		t.Errorf("who does not ask has %d records, %v: %+v", n, err, times[0])
	}
	read := func() (int, error) {
		if err := asks.SetDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		return asks.ReadTXTimes(times)
	}
	if n, err := read(); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%d records of what the device still has, %v", n, err)
	}
	q.complete()
	h.Poll()
	if n, err := read(); n != 2 || err != nil {
		t.Fatalf("%d records, %v", n, err)
	}
	for i, want := range []stack.IOTimes{{Hardware: 1 << 40, Clock: link.ClockDevice, ID: 1}, {ID: 2}} {
		g := times[i]
		if g.Hardware != want.Hardware || g.Clock != want.Clock || g.ID != want.ID || g.Delivery == 0 || g.Delivery >= g.Queuing || g.Queuing > g.Device {
			t.Errorf("record %d: %+v", i, g)
		}
	}
	if n, err := read(); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%d records too many, %v", n, err)
	}
}

// The ring of records with the device's time is bounded as the other is: it drops
// the newest, and the next read says so, once.
func TestTXHardwareOverflow(t *testing.T) {
	leaktest.Check(t)
	l := newFakeLink(1)
	l.caps.TXClock = link.ClockDevice
	h := fakeHost(t, l, manual())
	if err := h.Stack.SetNeighbor(peerAddr, peerMAC); err != nil {
		t.Fatal(err)
	}
	const room = 4
	c := listen(t, h, h.At(7), &udp.Config{TXTimes: room})
	defer c.Close()
	if err := c.SetTimestamping(stack.TimeTX); err != nil {
		t.Fatal(err)
	}
	q := l.queues[0]
	send := func(n int) {
		t.Helper()
		l.set(func() { q.hold, l.sentAt = true, map[uint32]int64{} })
		for range n {
			if _, err := c.WriteToUDPAddrPort([]byte("when"), netip.AddrPortFrom(peerAddr, 9)); err != nil {
				t.Fatal(err)
			}
		}
		l.set(func() {
			for _, index := range q.ring {
				l.sentAt[index] = 1 << 40
			}
		})
		q.complete()
		h.Poll()
	}
	// read all, in two calls: what was lost is said by the first.
	read := func(first, n uint64, lost bool) {
		t.Helper()
		times := make([]stack.IOTimes, room+3)
		if got, err := c.ReadTXTimes(times); uint64(got) != n || errors.Is(err, stack.ErrTimesLost) != lost || err != nil && !lost {
			t.Fatalf("%d records, %v; want %d, lost: %v", got, err, n, lost)
		}
		for i, g := range times[:n] {
			if g.ID != first+uint64(i) || g.Hardware != 1<<40 || g.Clock != link.ClockDevice || g.Device == 0 {
				t.Errorf("record %d: %+v", i, g)
			}
		}
		if err := c.SetReadDeadline(time.Unix(1, 0)); err != nil {
			t.Fatal(err)
		}
		if got, err := c.ReadTXTimes(times); got != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%d records too many, %v", got, err)
		}
		if err := c.SetReadDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	send(room)
	read(1, room, false)
	send(room + 3)
	read(room+1, room, true)
	if n := c.Stats().TXTimesLost; n != 3 {
		t.Errorf("%d records lost by the statistics, want 3", n)
	}
	send(1)
	read(2*room+4, 1, false)
	if st := h.Device.Stats().Pool; st.Free != st.Size {
		t.Errorf("%d of %d buffers free", st.Free, st.Size)
	}
}
