package packet_test

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/clock"
	"github.com/oobnet/oobnet/proto/packet"
	"github.com/oobnet/oobnet/stack"
)

// tick replaces the clock of the process, until the end of the test, by one that
// goes on by 1 with each look at it.
func tick(t testing.TB) *atomic.Int64 {
	looks := new(atomic.Int64)
	t.Cleanup(clock.Fake(func() int64 { return looks.Add(1) }))
	return looks
}

func setTimes(t testing.TB, c *packet.Conn, f stack.TimestampFlags) {
	t.Helper()
	if err := c.SetTimestamping(f); err != nil {
		t.Fatal(err)
	}
}

// txTimes reads the times of the only send that has any.
func txTimes(t testing.TB, c *packet.Conn) stack.IOTimes {
	t.Helper()
	var got [2]stack.IOTimes
	if n, err := c.ReadTXTimes(got[:]); n != 1 || err != nil {
		t.Fatalf("read %d times of sends, %v, want 1", n, err)
	}
	return got[0]
}

// Every way to send has its three points, and tells its number.
func TestSendTimes(t *testing.T) {
	for _, raw := range []bool{false, true} {
		a, b := pair(t, manual())
		x := listen(t, a.Port, etherCAT, &packet.Config{Raw: raw})
		dst := to(b.Port.MAC())
		data := frame(b.Port.MAC(), 0, etherCAT, "payload")
		looks := tick(t)
		setTimes(t, x, stack.TimeTX)
		ms := []packet.Message{{Buf: data, Addr: dst}}
		for i, send := range []func() (uint64, error){
			func() (uint64, error) { return x.WriteTimed(data, dst) },
			func() (uint64, error) {
				_, err := x.WriteBatch(ms)
				return ms[0].Times.ID, err
			},
			func() (uint64, error) {
				l, err := x.Reserve(len(data))
				if err != nil {
					return 0, err
				}
				copy(l.Payload(), data)
				err = l.SendTo(dst)
				return l.ID(), err
			},
		} {
			looks.Store(0)
			id, err := send()
			if want := uint64(i + 1); id != want || err != nil {
				t.Fatalf("raw %v, call %d: number %d, %v", raw, i, id, err)
			}
			if got, want := txTimes(t, x), (stack.IOTimes{Delivery: 1, Queuing: 2, Device: 2, ID: id}); got != want {
				t.Errorf("raw %v, call %d: %+v, want %+v", raw, i, got, want)
			}
		}
		if raw {
			if _, err := x.WriteFrame(data); err != nil {
				t.Fatal(err)
			}
			if got := txTimes(t, x); got.ID != 4 {
				t.Errorf("WriteFrame: %+v", got)
			}
		}
		b.Poll()
	}
}

// Each socket that gets a frame has its times, if it asks for them: that which
// gets the frame itself and those that get copies; and none of another's.
func TestReceiveTimes(t *testing.T) {
	a, b := pair(t, manual())
	x := listen(t, a.Port, etherCAT, nil)
	alone := listen(t, b.Port, etherCAT, nil)
	setTimes(t, alone, stack.TimeRX)
	looks := tick(t)
	read := func(c *packet.Conn) stack.IOTimes {
		t.Helper()
		m := packet.Message{Buf: make([]byte, 100)}
		if err := c.ReadMsg(&m); err != nil {
			t.Fatal(err)
		}
		return m.Times
	}
	exchange := func() {
		t.Helper()
		send(t, x, "frame", to(b.Port.MAC()))
		looks.Store(0)
		b.Poll()
	}
	want := stack.IOTimes{Device: 1, Queuing: 2, Delivery: 3}
	exchange()
	if got := read(alone); got != want {
		t.Errorf("alone: %+v, want %+v", got, want)
	}
	second := listen(t, b.Port, etherCAT, nil)
	third := listen(t, b.Port, packet.All, nil)
	setTimes(t, third, stack.TimeRXDelivery)
	exchange()
	if got := read(alone); got != want {
		t.Errorf("one of three: %+v, want %+v", got, want)
	}
	if got := read(second); got != (stack.IOTimes{}) {
		t.Errorf("one that does not ask: %+v", got)
	}
	if got := read(third); got != (stack.IOTimes{Delivery: 3}) {
		t.Errorf("one that asks for delivery: %+v", got)
	}
	if n := looks.Load(); n != 3 {
		t.Errorf("%d looks at the clock a batch, want 3", n)
	}
	for _, c := range []*packet.Conn{alone, third} {
		setTimes(t, c, 0)
	}
	exchange()
	if n := looks.Load(); n != 0 {
		t.Errorf("%d looks at the clock without timestamping", n)
	}
	for _, c := range []*packet.Conn{alone, second, third} {
		if got := read(c); got != (stack.IOTimes{}) {
			t.Errorf("times %+v without timestamping", got)
		}
	}
}

// A frame that goes on to the protocols after a raw socket had a copy has times
// in both.
func TestTimesOfACopyAndTheFrame(t *testing.T) {
	a, b := pair(t, manual())
	x, y := udpPair(t, a, b)
	raw := listen(t, b.Port, 0x0800, nil)
	setTimes(t, raw, stack.TimeRX)
	if err := y.SetTimestamping(stack.TimeRX); err != nil {
		t.Fatal(err)
	}
	looks := tick(t)
	if _, err := x.Write([]byte("datagram")); err != nil {
		t.Fatal(err)
	}
	looks.Store(0)
	b.Poll()
	f, err := raw.Receive()
	if err != nil {
		t.Fatal(err)
	}
	d, err := y.Receive()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := f.Times(), (stack.IOTimes{Device: 1, Queuing: 2, Delivery: 3}); got != want {
		t.Errorf("the copy: %+v, want %+v", got, want)
	}
	if got, want := d.Times(), (stack.IOTimes{Device: 1, Queuing: 2, Delivery: 4}); got != want {
		t.Errorf("the frame: %+v, want %+v", got, want)
	}
	f.Release()
	d.Release()
	if f.Times() != (stack.IOTimes{}) {
		t.Error("a released frame has times")
	}
}

func TestHandlerSeesTimes(t *testing.T) {
	a, b := pair(t, manual())
	x := listen(t, a.Port, etherCAT, nil)
	var seen stack.IOTimes
	y := listen(t, b.Port, etherCAT, &packet.Config{Handler: func(f packet.Frame) {
		seen = f.Times()
		f.Release()
	}})
	setTimes(t, y, stack.TimeRX)
	looks := tick(t)
	send(t, x, "frame", to(b.Port.MAC()))
	looks.Store(0)
	b.Poll()
	if want := (stack.IOTimes{Device: 1, Queuing: 2, Delivery: 3}); seen != want {
		t.Errorf("the handler saw %+v, want %+v", seen, want)
	}
}

// An analyser has a time for what the device sends, too.
func TestAnalyserTimes(t *testing.T) {
	a, b := pair(t, manual())
	x, all := listen(t, a.Port, etherCAT, nil), analyse(t, a.Device, nil)
	setTimes(t, all, stack.TimeRX)
	tick(t)
	send(t, x, "frame", to(b.Port.MAC()))
	f, err := all.Receive()
	if err != nil {
		t.Fatal(err)
	}
	if got := f.Times(); !f.Outgoing() || got != (stack.IOTimes{Device: 1, Delivery: 1}) {
		t.Errorf("outgoing %v, %+v", f.Outgoing(), got)
	}
	f.Release()
	b.Poll()
}

func TestTimesOverflowAndSettingAgain(t *testing.T) {
	a, b := pair(t, manual())
	x := listen(t, a.Port, etherCAT, &packet.Config{TXTimes: 2})
	setTimes(t, x, stack.TimeTX)
	for range 4 {
		send(t, x, "frame", to(b.Port.MAC()))
	}
	var got [4]stack.IOTimes
	n, err := x.ReadTXTimes(got[:])
	if n != 2 || got[0].ID != 1 || got[1].ID != 2 {
		t.Errorf("read %d, %+v", n, got)
	}
	wantError(t, err, "read", stack.ErrTimesLost)
	if st := x.Stats(); st.TXTimesLost != 2 {
		t.Errorf("%d times lost, want 2", st.TXTimesLost)
	}
	send(t, x, "frame", to(b.Port.MAC()))
	setTimes(t, x, stack.TimeTX)
	_ = x.SetReadDeadline(time.Unix(1, 0))
	if _, err := x.ReadTXTimes(got[:]); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after another setting: %v", err)
	}
	send(t, x, "frame", to(b.Port.MAC()))
	if got := txTimes(t, x); got.ID != 1 {
		t.Errorf("after another setting: %+v", got)
	}
	b.Poll()
}

func TestTimestampingErrors(t *testing.T) {
	a, _ := pair(t, manual())
	x := listen(t, a.Port, etherCAT, nil)
	wantError(t, x.SetTimestamping(1<<31), "set", syscall.EINVAL)
	_, err := x.ReadTXTimes(make([]stack.IOTimes, 1))
	wantError(t, err, "read", syscall.EINVAL)
	if _, err := packet.Listen(a.Port, etherCAT, &packet.Config{TXTimes: -1}); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("room for -1: %v", err)
	}
	setTimes(t, x, stack.TimeAll)
	if x.Timestamping() != stack.TimeAll {
		t.Errorf("flags %#x", x.Timestamping())
	}
	_ = x.Close()
	wantError(t, x.SetTimestamping(0), "set", net.ErrClosed)
	_, err = x.ReadTXTimes(make([]stack.IOTimes, 1))
	wantError(t, err, "read", net.ErrClosed)
}

// A reader of times that waits is told when the port ends.
func TestReaderOfTimesEndsWithThePort(t *testing.T) {
	a, _ := pair(t, manual())
	x := listen(t, a.Port, etherCAT, nil)
	setTimes(t, x, stack.TimeTX)
	done := make(chan error, 1)
	go func() {
		_, err := x.ReadTXTimes(make([]stack.IOTimes, 1))
		done <- err
	}()
	time.Sleep(5 * time.Millisecond) // so that it most likely waits
	if err := a.Port.Disable(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

// Sockets come and go in traffic, with times on: no race, no buffer lost.
func TestTimestampingInTraffic(t *testing.T) {
	a, b := pair(t, nil)
	y := listen(t, b.Port, etherCAT, nil)
	setTimes(t, y, stack.TimeRX)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				c, err := packet.Listen(a.Port, etherCAT, &packet.Config{NoWait: true, TXTimes: 8})
				if err != nil {
					t.Error(err)
					return
				}
				_ = c.SetTimestamping(stack.TimeAll)
				for range 20 {
					_, _ = c.WriteTimed([]byte("frame"), to(b.Port.MAC())) // ENOBUFS is none of this test's business
				}
				_ = c.SetReadDeadline(time.Unix(1, 0))
				var got [8]stack.IOTimes
				n, _ := c.ReadTXTimes(got[:])
				for _, g := range got[:n] {
					if g.Delivery == 0 || g.Delivery > g.Queuing || g.Queuing > g.Device {
						t.Errorf("sent: %+v", g)
					}
				}
				_ = c.Close()
			}
		})
	}
	m := packet.Message{Buf: make([]byte, 100)}
	for range 2000 {
		if err := y.ReadMsg(&m); err != nil {
			t.Fatal(err)
		}
		if g := m.Times; g.Device == 0 || g.Device > g.Queuing || g.Queuing > g.Delivery {
			t.Fatalf("received: %+v", g)
		}
	}
	close(stop)
	wg.Wait()
	_ = y.Close()
}

func TestNoAllocWithTimes(t *testing.T) {
	a, b := pair(t, manual())
	x, y := listen(t, a.Port, etherCAT, nil), listen(t, b.Port, etherCAT, nil)
	setTimes(t, x, stack.TimeTX)
	setTimes(t, y, stack.TimeRX)
	data, dst := make([]byte, 64), to(b.Port.MAC())
	var got [1]stack.IOTimes
	m := packet.Message{Buf: make([]byte, 100)}
	exchange := func() {
		if _, err := x.WriteTimed(data, dst); err != nil {
			t.Fatal(err)
		}
		if n, err := x.ReadTXTimes(got[:]); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		b.Device.Poll(stack.MaxBatch)
		if err := y.ReadMsg(&m); err != nil {
			t.Fatal(err)
		}
	}
	for range 100 {
		exchange()
	}
	if n := testing.AllocsPerRun(2000, exchange); n != 0 {
		t.Errorf("%v allocations an exchange", n)
	}
}
