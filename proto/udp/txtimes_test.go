package udp_test

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/link/loopback"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

// Overflow drops the newest, and the next read tells it once.
func TestOverflowIsToldOnce(t *testing.T) {
	r := newRig(t, nil)
	x := listen(t, r.a, 4000, &udp.Config{TXTimes: 4})
	setTimes(t, x, stack.TimeTX)
	for range 7 {
		send(t, x, "datagram", r.to)
	}
	got := make([]stack.IOTimes, 2)
	n, err := x.ReadTXTimes(got)
	if n != 2 || got[0].ID != 1 || got[1].ID != 2 {
		t.Errorf("read %d, %+v, want the two oldest", n, got)
	}
	wantError(t, err, "read", stack.ErrTimesLost)
	for i, times := range txTimes(t, x, 1+1) {
		if times.ID != uint64(i+3) {
			t.Errorf("record of send %d, want %d", times.ID, i+3)
		}
	}
	noTXTimes(t, x)
	if st := x.Stats(); st.TXTimesLost != 3 {
		t.Errorf("%d times lost, want 3", st.TXTimesLost)
	}
	r.b.Poll()
}

func TestDefaultRingHasEVLsSize(t *testing.T) {
	r := newRig(t, nil)
	setTimes(t, r.x, stack.TimeTX)
	for range 128 {
		r.write()
		r.b.Poll()
	}
	txTimes(t, r.x, 128)
}

// Each call of SetTimestamping begins anew.
func TestSettingAgainEmptiesTheRing(t *testing.T) {
	r := newRig(t, nil)
	setTimes(t, r.x, stack.TimeTX)
	r.write()
	setTimes(t, r.x, stack.TimeTX)
	noTXTimes(t, r.x)
	r.write()
	if got := txTimes(t, r.x, 1)[0]; got.ID != 1 {
		t.Errorf("the first send has number %d", got.ID)
	}
	setTimes(t, r.x, stack.TimeRX)
	var one [1]stack.IOTimes
	_, err := r.x.ReadTXTimes(one[:])
	wantError(t, err, "read", syscall.EINVAL)
	if id, err := r.x.WriteTimed(r.out, r.to); id != 0 || err != nil {
		t.Errorf("a send without times has number %d, %v", id, err)
	}
	if r.x.Timestamping() != stack.TimeRX {
		t.Errorf("flags %#x", r.x.Timestamping())
	}
	r.b.Poll()
}

// Every way to send tells its number, and the record has it.
func TestNumbersOfAllSends(t *testing.T) {
	r := newRig(t, nil)
	setTimes(t, r.x, stack.TimeTX)
	setTimes(t, r.c, stack.TimeTX)
	r.write() // 1
	id, err := r.x.WriteTimed(r.out, r.to)
	if id != 2 || err != nil {
		t.Fatal(id, err)
	}
	l, err := r.x.Reserve(10)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.SendTo(r.to); err != nil || l.ID() != 3 {
		t.Fatal(l.ID(), err)
	}
	end := udp.Batching(r.x) // another batch is under way: one by one
	ms := []udp.Message{{Buf: r.out, Addr: r.to}}
	if _, err := r.x.WriteBatch(ms); err != nil || ms[0].Times.ID != 4 {
		t.Fatal(ms[0].Times, err)
	}
	end()
	for i, times := range txTimes(t, r.x, 4) {
		if times.ID != uint64(i+1) {
			t.Errorf("record %d is of send %d", i, times.ID)
		}
	}
	if id, err := r.c.WriteTimed(r.out, netip.AddrPort{}); id != 1 || err != nil {
		t.Errorf("connected: %d, %v", id, err)
	}
	if _, err := r.c.WriteTimed(r.out, r.to); !errors.Is(err, net.ErrWriteToConnected) {
		t.Errorf("connected, with an address: %v", err)
	}
	if _, err := r.x.WriteTimed(r.out, netip.AddrPort{}); !errors.Is(err, syscall.EDESTADDRREQ) {
		t.Errorf("without an address: %v", err)
	}
	r.b.Poll()
}

// A datagram that goes in-band has a record without Device; what comes in-band
// has a delivery point.
func TestInBandTimes(t *testing.T) {
	a, b := strangers(t, nil)
	x, y := listen(t, a, 1000, nil), listen(t, b, 2000, nil)
	setTimes(t, x, stack.TimeTX)
	setTimes(t, y, stack.TimeRX)
	big := []byte(pattern(5000)) // fragmented, and reassembled
	id, err := x.WriteTimed(big, b.At(2000))
	if err != nil || id != 1 {
		t.Fatal(id, err)
	}
	if got := txTimes(t, x, 1)[0]; got.ID != 1 || got.Device != 0 || got.Delivery == 0 || got.Queuing < got.Delivery {
		t.Errorf("sent in-band: %+v", got)
	}
	m := udp.Message{Buf: make([]byte, 8000)}
	if err := y.ReadMsg(&m); err != nil || m.N != len(big) {
		t.Fatal(m.N, err)
	}
	if m.Times.Delivery == 0 || m.Times.Device != 0 {
		t.Errorf("received in-band: %+v", m.Times)
	}
}

func TestTimestampingErrors(t *testing.T) {
	r := newRig(t, nil)
	wantError(t, r.x.SetTimestamping(1<<31), "set", syscall.EINVAL)
	if _, err := udp.Listen(r.a.Stack, r.a.At(0), &udp.Config{TXTimes: -1}); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("room for -1: %v", err)
	}
	if _, err := udp.Listen(r.a.Stack, r.a.At(0), &udp.Config{TXTimes: stack.MaxTXTimes + 1}); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("too much room: %v", err)
	}
	setTimes(t, r.x, stack.TimeTX)
	if n, err := r.x.ReadTXTimes(nil); n != 0 || err != nil {
		t.Errorf("a read into nothing: %d, %v", n, err)
	}
	if err := r.x.Close(); err != nil {
		t.Fatal(err)
	}
	wantError(t, r.x.SetTimestamping(stack.TimeTX), "set", net.ErrClosed)
	_, err := r.x.ReadTXTimes(make([]stack.IOTimes, 1))
	wantError(t, err, "read", net.ErrClosed)
}

// A reader of times waits: a send, another setting and Close each end it.
func TestReaderOfTimesWaits(t *testing.T) {
	r := newRig(t, nil)
	setTimes(t, r.x, stack.TimeTX)
	type result struct {
		n     int
		times [1]stack.IOTimes
		err   error
	}
	read := func() <-chan result {
		done := make(chan result, 1)
		go func() {
			var got result
			got.n, got.err = r.x.ReadTXTimes(got.times[:])
			done <- got
		}()
		time.Sleep(5 * time.Millisecond) // so that it most likely waits
		return done
	}
	done := read()
	r.write()
	if got := <-done; got.n != 1 || got.err != nil || got.times[0].ID != 1 {
		t.Errorf("%+v", got)
	}
	done = read()
	setTimes(t, r.x, stack.TimeTX) // it goes on, with the new ring
	r.write()
	if got := <-done; got.n != 1 || got.err != nil {
		t.Errorf("after another setting: %+v", got)
	}
	done = read()
	_ = r.x.SetReadDeadline(time.Unix(1, 0))
	if got := <-done; !errors.Is(got.err, os.ErrDeadlineExceeded) {
		t.Errorf("after the deadline: %+v", got)
	}
	_ = r.x.SetReadDeadline(time.Time{})
	done = read()
	if err := r.x.Close(); err != nil {
		t.Fatal(err)
	}
	if got := <-done; !errors.Is(got.err, net.ErrClosed) {
		t.Errorf("after Close: %+v", got)
	}
	r.b.Poll()
}

// Sockets come and go, and change their minds, in traffic of several queues:
// what is read is in order, and no buffer is lost (the rig looks).
func TestTimestampingInTraffic(t *testing.T) {
	a, b := pair(t, &stacktest.Options{Loopback: loopback.Config{Queues: 2}})
	y := listen(t, b, 2000, nil)
	setTimes(t, y, stack.TimeRX)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for w := range 3 {
		wg.Go(func() {
			times := make([]stack.IOTimes, 16)
			for round := 0; ; round++ {
				select {
				case <-stop:
					return
				default:
				}
				c, err := udp.Listen(a.Stack, a.At(uint16(3000+w)), &udp.Config{NoWait: true, TXTimes: 16})
				if err != nil {
					t.Error(err)
					return
				}
				if err := c.SetTimestamping(stack.TimeTX); err != nil {
					t.Error(err)
				}
				for range 40 {
					_, _ = c.WriteTimed([]byte("datagram"), b.At(2000)) // ENOBUFS is none of this test's business
				}
				_ = c.SetReadDeadline(time.Unix(1, 0))
				n, _ := c.ReadTXTimes(times)
				for _, got := range times[:n] {
					if got.ID == 0 || got.ID > 40 || got.Delivery == 0 || got.Delivery > got.Queuing || got.Queuing > got.Device {
						t.Errorf("sent: %+v", got)
					}
				}
				if round%2 == 0 {
					_ = c.SetTimestamping(stack.TimeAll)
				}
				_ = c.Close()
			}
		})
	}
	m := udp.Message{Buf: make([]byte, 100)}
	for range 3000 {
		if err := y.ReadMsg(&m); err != nil {
			t.Fatal(err)
		}
		if !inOrder(m.Times) {
			t.Fatalf("received: %+v", m.Times)
		}
	}
	close(stop)
	wg.Wait()
	_ = y.Close()
}

func TestNoAllocWithTimes(t *testing.T) {
	r := newRig(t, nil)
	setTimes(t, r.x, stack.TimeTX)
	setTimes(t, r.y, stack.TimeRX)
	times := make([]stack.IOTimes, 4)
	m := udp.Message{Buf: r.buf}
	gate(t, func() {
		if _, err := r.x.WriteTimed(r.out, r.to); err != nil {
			t.Fatal(err)
		}
		if n, err := r.x.ReadTXTimes(times); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		r.poll(1)
		if err := r.y.ReadMsg(&m); err != nil {
			t.Fatal(err)
		}
	})
}
