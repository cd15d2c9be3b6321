package udp_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

// TestCloseUnblocks: whoever waits on a socket returns when it closes, and
// when its stack does, however many there are.
func TestCloseUnblocks(t *testing.T) {
	closers := map[string]func(*udp.Conn, *stacktest.Host) error{
		"socket": func(c *udp.Conn, _ *stacktest.Host) error { return c.Close() },
		"stack":  func(_ *udp.Conn, h *stacktest.Host) error { return h.Stack.Close() },
	}
	for name, closer := range closers {
		for call, read := range readers {
			t.Run(call+" and "+name, func(t *testing.T) {
				a, _ := pair(t, nil)
				c := listen(t, a, 1000, nil)
				c.SetDeadline(time.Time{})
				done := make(chan error, 3)
				for range 3 {
					go func() { done <- read(c) }()
				}
				select {
				case err := <-done:
					t.Fatal("did not wait:", err)
				case <-time.After(2 * time.Millisecond):
				}
				if err := closer(c, a); err != nil {
					t.Error(err)
				}
				for range 3 {
					wantError(t, <-done, "read", net.ErrClosed)
				}
				wantError(t, read(c), "read", net.ErrClosed)
			})
		}
	}
	for call, write := range writers {
		t.Run(call, func(t *testing.T) {
			c, to, free := drained(t, nil)
			c.SetDeadline(time.Time{})
			done := make(chan error, 3)
			for range 3 {
				go func() { done <- write(c, to) }()
			}
			select {
			case err := <-done:
				t.Fatal("did not wait:", err)
			case <-time.After(2 * time.Millisecond):
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			for range 3 {
				wantError(t, <-done, "write", net.ErrClosed)
			}
			free()
			wantError(t, write(c, to), "write", net.ErrClosed)
		})
	}
}

// TestDeviceCloseUnblocks: a write that waits for a buffer of a device returns
// when the device closes, though buffers are still held.
func TestDeviceCloseUnblocks(t *testing.T) {
	a, b := pair(t, &stacktest.Options{Device: stack.DeviceConfig{PoolSize: 16}})
	c := dial(t, a, b.At(9), nil)
	var held []udp.Lease
	for range 16 {
		l, err := c.Reserve(1)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, l)
	}
	done := make(chan error, 1)
	go func() { _, err := c.Write(nil); done <- err }()
	select {
	case err := <-done:
		t.Fatal("did not wait:", err)
	case <-time.After(2 * time.Millisecond):
	}
	closing := make(chan error, 1)
	go func() { closing <- a.Device.Close() }()
	wantError(t, <-done, "write", net.ErrClosed)
	for i := range held {
		held[i].Discard()
	}
	if err := <-closing; err != nil && !errors.Is(err, syscall.EBUSY) {
		t.Error(err)
	}
}

func TestEverythingAfterClose(t *testing.T) {
	a, b := pair(t, nil)
	c := dial(t, a, b.At(9), nil)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		wantError(t, c.Close(), "close", net.ErrClosed)
	}
	_, err := c.Write(nil)
	wantError(t, err, "write", net.ErrClosed)
	_, err = c.WriteBatch(make([]udp.Message, 1))
	wantError(t, err, "write", net.ErrClosed)
	_, err = c.Reserve(0)
	wantError(t, err, "write", net.ErrClosed)
	for _, set := range []func(time.Time) error{c.SetDeadline, c.SetReadDeadline, c.SetWriteDeadline} {
		wantError(t, set(time.Now()), "set", net.ErrClosed)
	}
	// What it was stays known.
	if c.LocalAddr().String() == "" || c.RemoteAddr().String() != "10.0.0.2:9" {
		t.Errorf("%v-%v", c.LocalAddr(), c.RemoteAddr())
	}
}

// TestCloseGivesBack: what waits for a reader goes back to the device.
func TestCloseGivesBack(t *testing.T) {
	a, b := pair(t, nil)
	x, y := listen(t, a, 1000, nil), listen(t, b, 2000, nil)
	for range 20 {
		send(t, x, "unread", b.At(2000))
		send(t, x, pattern(2000), b.At(2000))
	}
	stacktest.Eventually(t, "all have come", func() bool { return y.Stats().Received == 40 })
	y.Close()
	if st := y.Stats(); st.Held != 0 {
		t.Errorf("%+v", st)
	}
	stacktest.AssertNothingHeld(t, b.Device)
}

// TestCloseRace: sockets close under traffic, reading and writing; every
// buffer comes home, every frame is counted.
func TestCloseRace(t *testing.T) {
	a, b := pair(t, &stacktest.Options{Device: stack.DeviceConfig{PoolSize: 128, RXBuffers: 256}})
	stop := make(chan struct{})
	var senders sync.WaitGroup
	end := sync.OnceFunc(func() { close(stop); senders.Wait() })
	defer end() // nobody sends, and fails, in a test that has ended
	x := listen(t, a, 1000, nil)
	for i := range 2 {
		senders.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				size := 20
				if n%64 == i {
					size = 2000
				}
				if _, err := x.WriteToUDPAddrPort(make([]byte, size), b.At(2000)); err != nil && !errors.Is(err, syscall.ENOBUFS) {
					t.Error(err)
				}
			}
		})
	}
	rounds := 100
	if testing.Short() {
		rounds = 10
	}
	for range rounds {
		ready(x) // its deadline is that of a round, not of all of them
		y := listen(t, b, 2000, nil)
		var users sync.WaitGroup
		for range 2 {
			users.Go(func() {
				for {
					d, err := y.Receive()
					if err != nil {
						wantError(t, err, "read", net.ErrClosed)
						return
					}
					d.Release()
				}
			})
			users.Go(func() {
				for {
					if _, err := y.WriteToUDPAddrPort(nil, a.At(1)); err != nil {
						wantError(t, err, "write", net.ErrClosed)
						return
					}
					runtime.Gosched()
				}
			})
		}
		stacktest.Eventually(t, "traffic", func() bool { return y.Stats().Received > 20 })
		var closed atomic.Int32
		for range 3 {
			users.Go(func() {
				if y.Close() == nil {
					closed.Add(1)
				}
			})
		}
		users.Wait()
		if closed.Load() != 1 {
			t.Errorf("%d of 3 calls closed the socket", closed.Load())
		}
		// An RX thread may be in the middle of a delivery, which it takes back
		// when it sees that the socket has closed.
		stacktest.Eventually(t, "no datagram stays behind", func() bool { return y.Stats().Held == 0 })
	}
	end()
	stacktest.AssertNothingHeld(t, b.Device)
}

// TestConcurrentUse: many goroutines use one connected pair in every way at
// once. What arrives is whole and of its kind, and nothing arrives twice.
func TestConcurrentUse(t *testing.T) {
	a, b := pair(t, nil)
	y := listen(t, b, 2000, &udp.Config{Queue: 512})
	x := dial(t, a, b.At(2000), nil)
	const goroutines, each = 8, 500
	var seen [goroutines * each]atomic.Int32
	var readers, writers sync.WaitGroup
	take := func(p []byte) {
		if len(p) < 8 {
			t.Errorf("%d bytes", len(p))
			return
		}
		id := binary.LittleEndian.Uint32(p)
		if !bytes.Equal(p[4:], bytes.Repeat([]byte{byte(id)}, len(p)-4)) {
			t.Errorf("datagram %d is mixed up", id)
		}
		if seen[id].Add(1) > 1 {
			t.Errorf("datagram %d came twice", id)
		}
	}
	for i := range 4 {
		readers.Go(func() {
			buf := make([]byte, 2000)
			ms := []udp.Message{{Buf: make([]byte, 2000)}, {Buf: make([]byte, 2000)}}
			for k := i; ; k++ {
				var err error
				switch k % 3 {
				case 0:
					var n int
					if n, err = y.Read(buf); err == nil {
						take(buf[:n])
					}
				case 1:
					var n int
					n, err = y.ReadBatch(ms)
					for _, m := range ms[:n] {
						take(m.Buf[:m.N])
					}
				case 2:
					var d udp.Datagram
					if d, err = y.Receive(); err == nil {
						take(d.Payload())
						d.Release()
					}
				}
				if errors.Is(err, os.ErrDeadlineExceeded) {
					continue // the meddler's
				}
				if err != nil {
					wantError(t, err, "read", net.ErrClosed)
					return
				}
			}
		})
	}
	var sent atomic.Uint32
	for g := range goroutines {
		writers.Go(func() {
			for i := range each {
				// As many under way and unread as the socket may hold, no more.
				for st := y.Stats(); int(sent.Load())-int(st.Received+st.Full) > 64 || st.Held > 64; st = y.Stats() {
					runtime.Gosched()
				}
				id := uint32(g*each + i)
				p := bytes.Repeat([]byte{byte(id)}, 8+rand.IntN(1000))
				binary.LittleEndian.PutUint32(p, id)
				sent.Add(1)
				var err error
				switch i % 3 {
				case 0:
					_, err = x.Write(p)
				case 1:
					_, err = x.WriteBatch([]udp.Message{{Buf: p}})
				case 2:
					var l udp.Lease
					if l, err = x.Reserve(len(p)); err == nil {
						copy(l.Payload(), p)
						err = l.Send()
					}
				}
				if err != nil {
					t.Error(err)
				}
				if i%100 == 0 {
					// A meddler: changes that hold for everybody.
					y.SetReadDeadline(past)
					y.SetReadDeadline(time.Time{})
					x.SetPriority(i / 100 % 8)
				}
			}
		})
	}
	writers.Wait()
	stacktest.Eventually(t, "all are read", func() bool {
		st := y.Stats()
		return st.Received+st.Full == goroutines*each && st.Held == 0
	})
	if st := y.Stats(); st.Full > 0 {
		t.Errorf("%d datagrams found the socket full", st.Full)
	}
	y.Close()
	readers.Wait()
	got := uint64(0)
	for i := range seen {
		got += uint64(seen[i].Load())
	}
	if st := y.Stats(); got != st.Received {
		t.Errorf("read %d, counted %d", got, st.Received)
	}
}
