package udp_test

import (
	"fmt"
	"sync"
	"syscall"
	"testing"

	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

// TestBatches: more messages than share a doorbell, of all sizes and to
// several sockets; those of a frame arrive in their order.
func TestBatches(t *testing.T) {
	a, b := pair(t, nil)
	x := listen(t, a, 1000, nil)
	y, z, long := listen(t, b, 2000, nil), listen(t, b, 3000, nil), listen(t, b, 4000, nil)
	const n = 180
	out := make([]udp.Message, n)
	for i := range out {
		out[i] = udp.Message{Buf: []byte(fmt.Sprint(i)), Addr: b.At(2000)}
		switch {
		case i%10 == 9:
			out[i] = udp.Message{Buf: []byte(pattern(3000)), Addr: b.At(4000)}
		case i%2 == 1:
			out[i].Addr = b.At(3000)
		}
	}
	if k, err := x.WriteBatch(out); k != n || err != nil {
		t.Fatal(k, err)
	}
	for i := range out {
		if out[i].N != len(out[i].Buf) {
			t.Errorf("message %d: %d bytes of %d", i, out[i].N, len(out[i].Buf))
		}
		switch {
		case i%10 == 9:
			receive(t, long, pattern(3000), a.At(1000))
		case i%2 == 1:
			receive(t, z, fmt.Sprint(i), a.At(1000))
		default:
			receive(t, y, fmt.Sprint(i), a.At(1000))
		}
	}
	if k, err := x.WriteBatch(nil); k != 0 || err != nil {
		t.Error(k, err)
	}
}

// TestBatchStops at the first message that cannot be sent; those before it
// leave, those after it do not.
func TestBatchStops(t *testing.T) {
	a, b := pair(t, nil)
	x, y := listen(t, a, 1000, nil), listen(t, b, 2000, nil)
	ms := []udp.Message{
		{Buf: []byte("one"), Addr: b.At(2000)},
		{Buf: []byte("two"), Addr: b.At(2000)},
		{Buf: make([]byte, udp.MaxPayload+1), Addr: b.At(2000)},
		{Buf: []byte("four"), Addr: b.At(2000)},
	}
	n, err := x.WriteBatch(ms)
	wantError(t, err, "write", syscall.EMSGSIZE)
	if n != 2 {
		t.Errorf("%d sent, want 2", n)
	}
	receive(t, y, "one", a.At(1000))
	receive(t, y, "two", a.At(1000))
	nothing(t, y, x)
}

// TestBatchSmallPool: a batch larger than the pool waits for its own buffers.
func TestBatchSmallPool(t *testing.T) {
	a, b := pair(t, &stacktest.Options{Device: stack.DeviceConfig{PoolSize: 8}})
	x, y := listen(t, a, 1000, nil), listen(t, b, 2000, nil)
	ms := make([]udp.Message, 100)
	for i := range ms {
		ms[i] = udp.Message{Buf: []byte(fmt.Sprint(i)), Addr: b.At(2000)}
	}
	if n, err := x.WriteBatch(ms); n != 100 || err != nil {
		t.Fatal(n, err)
	}
	for i := range ms {
		receive(t, y, fmt.Sprint(i), a.At(1000))
	}
}

// TestReadBatch takes what is there, and never waits for more.
func TestReadBatch(t *testing.T) {
	a, b := pair(t, nil)
	x, y := listen(t, a, 1000, nil), listen(t, b, 2000, nil)
	if n, err := y.ReadBatch(nil); n != 0 || err != nil {
		t.Error(n, err)
	}
	for i := range 5 {
		send(t, x, fmt.Sprint("datagram ", i), b.At(2000))
	}
	send(t, x, pattern(2000), b.At(2000))
	stacktest.Eventually(t, "all have come", func() bool { return y.Stats().Held == 6 })
	ms := make([]udp.Message, 4)
	for i := range ms {
		ms[i].Buf = make([]byte, 10)
	}
	ms[1].Buf = ms[1].Buf[:8]
	for _, want := range []int{4, 2} {
		n, err := y.ReadBatch(ms)
		if n != want || err != nil {
			t.Fatalf("%d messages, %v, want %d", n, err, want)
		}
		for i, m := range ms[:n] {
			if m.Addr != a.At(1000) || m.N != len(m.Buf) {
				t.Errorf("%d bytes from %v", m.N, m.Addr)
			}
			// Short are the second one's slice, and any for the long datagram.
			if short := i == 1; short != (m.Flags == 0x20) {
				t.Errorf("message %d of %d: flags %#x", i, n, m.Flags)
			}
		}
	}
}

// TestBatchesAtOnce: batches of several goroutines mix, and lose nothing.
func TestBatchesAtOnce(t *testing.T) {
	a, b := pair(t, nil)
	x, y := listen(t, a, 1000, nil), listen(t, b, 2000, &udp.Config{Queue: 400})
	const goroutines, each = 4, 80
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for i := 0; i < each; i += 10 {
				ms := make([]udp.Message, 10)
				for k := range ms {
					ms[k] = udp.Message{Buf: []byte{byte(g), byte(i + k)}, Addr: b.At(2000)}
				}
				if n, err := x.WriteBatch(ms); n != 10 || err != nil {
					t.Error(n, err)
				}
			}
		})
	}
	wg.Wait()
	var next [goroutines]int
	buf := make([]byte, 10)
	for range goroutines * each {
		if n, err := y.Read(buf); n != 2 || err != nil {
			t.Fatal(n, err)
		}
		if g := buf[0]; int(buf[1]) != next[g] {
			t.Fatalf("goroutine %d: datagram %d, want %d", g, buf[1], next[g])
		} else {
			next[g]++
		}
	}
}

// TestQueues: over a wire of several queues each socket's datagrams keep to
// one, and their order.
func TestQueues(t *testing.T) {
	o := &stacktest.Options{}
	o.Loopback.Queues = 4
	a, b := pair(t, o)
	y := listen(t, b, 2000, &udp.Config{Queue: 400})
	const socks, each = 8, 40
	var wg sync.WaitGroup
	for s := range socks {
		x := listen(t, a, uint16(1000+s), nil)
		wg.Go(func() {
			for i := range each {
				if _, err := x.WriteToUDPAddrPort([]byte{byte(i)}, b.At(2000)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	next := map[uint16]int{}
	buf := make([]byte, 10)
	for range socks * each {
		_, from, err := y.ReadFromUDPAddrPort(buf)
		if err != nil {
			t.Fatal(err)
		}
		if int(buf[0]) != next[from.Port()] {
			t.Fatalf("datagram %d of %v, want %d", buf[0], from, next[from.Port()])
		}
		next[from.Port()]++
	}
}
