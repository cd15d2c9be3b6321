package udp_test

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

// TestReadBuffer: a socket holds its quota and not one more; what finds it
// full is lost and counted, on the socket and on the device.
func TestReadBuffer(t *testing.T) {
	a, b := pair(t, nil)
	x, y := listen(t, a, 0, nil), listen(t, b, 2000, &udp.Config{Queue: 10})
	if got := y.ReadBuffer(); got != 10*link.PageSize {
		t.Errorf("read buffer of %d bytes", got)
	}
	for i, c := range []struct{ bytes, datagrams int }{
		{-1, 10}, {0, 1}, {1, 1}, {link.PageSize, 1}, {link.PageSize + 1, 2}, {5 * link.PageSize, 5}, {1 << 40, udp.MaxQueue},
	} {
		if err := y.SetReadBuffer(c.bytes); (err != nil) != (c.bytes < 0) {
			t.Error(err)
		}
		if got := y.ReadBuffer(); got != c.datagrams*link.PageSize {
			t.Errorf("%d: after %d bytes, holds %d bytes, want %d pages", i, c.bytes, got, c.datagrams)
		}
	}
	for _, quota := range []int{1, 5, 40} {
		if err := y.SetReadBuffer(quota * link.PageSize); err != nil {
			t.Fatal(err)
		}
		before, dropped := y.Stats(), b.Device.Stats().RX.Dropped[stack.ReasonSocketFull]
		for i := range quota + 7 {
			send(t, x, fmt.Sprint(i), b.At(2000))
		}
		stacktest.Eventually(t, "all have come", func() bool {
			return b.Device.Stats().RX.Dropped[stack.ReasonSocketFull] == dropped+7
		})
		st := y.Stats()
		if st.Held != quota || st.Full != before.Full+7 || st.Received != before.Received+uint64(quota) {
			t.Errorf("quota %d: %+v after %+v", quota, st, before)
		}
		// The first ones are kept, the last ones lost.
		for i := range quota {
			receive(t, y, fmt.Sprint(i), local(x))
		}
	}
}

// TestSlowReaderLosesItsOwn: however much one socket may hold, another one on
// the same queue loses nothing.
func TestSlowReaderLosesItsOwn(t *testing.T) {
	keep := make(map[int][]udp.Datagram)
	for i, slow := range []*udp.Config{
		{Queue: udp.MaxQueue},
		{Handler: func(d udp.Datagram) { keep[1] = append(keep[1], d) }}, // that does not release
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			a, b := pair(t, &stacktest.Options{Manual: true, Device: stack.DeviceConfig{RXBuffers: 64}})
			x := listen(t, a, 0, nil)
			var slows []*udp.Conn
			for k := range 4 {
				slows = append(slows, listen(t, b, uint16(3000+k), slow))
			}
			fast := listen(t, b, 2000, nil)
			for n := range 500 {
				for _, s := range slows {
					send(t, x, "slow", local(s))
				}
				send(t, x, fmt.Sprint(n), b.At(2000))
				b.Poll()
				receive(t, fast, fmt.Sprint(n), local(x))
			}
			held := 0
			for _, s := range slows {
				st := s.Stats()
				if st.Held == 0 || st.Full == 0 || st.Full+st.Received != 500 {
					t.Errorf("slow reader: %+v", st)
				}
				held += st.Held
			}
			if held > 60 {
				t.Errorf("%d of 64 buffers are held", held)
			}
			if st := b.Device.Stats(); st.RX.Dropped[stack.ReasonSocketFull] != 2000-uint64(held) || st.Queues[0].RXNoBuffer != 0 {
				t.Errorf("dropped %v, %+v", st.RX.Dropped.Map(), st.Queues[0])
			}
			for _, d := range keep[1] {
				d.Release()
			}
			keep[1] = nil
		})
	}
}

// TestLeasesCount: what is leased counts against the quota.
func TestLeasesCount(t *testing.T) {
	a, b := pair(t, nil)
	x, y := listen(t, a, 0, nil), listen(t, b, 2000, &udp.Config{Queue: 2})
	lost := func(want uint64) {
		t.Helper()
		stacktest.Eventually(t, "it has come", func() bool { st := y.Stats(); return st.Received+st.Full == want })
	}
	send(t, x, "one", b.At(2000))
	d, err := y.Receive()
	if err != nil {
		t.Fatal(err)
	}
	send(t, x, "two", b.At(2000))
	lost(2)
	send(t, x, "three is lost", b.At(2000))
	lost(3)
	if st := y.Stats(); st.Held != 2 || st.Full != 1 {
		t.Errorf("%+v", st)
	}
	d.Release()
	send(t, x, "four", b.At(2000))
	receive(t, y, "two", local(x))
	receive(t, y, "four", local(x))
	if st := y.Stats(); st.Held != 0 || st.Full != 1 || st.Received != 3 {
		t.Errorf("%+v", st)
	}
	wantError(t, y.SetReadBuffer(-5), "set", syscall.EINVAL)
}
