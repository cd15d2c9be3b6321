package udp_test

import (
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/proto/udp"
)

// TestHandler: the RX step runs the handler to completion; its answers are
// back with the peer when Poll returns.
func TestHandler(t *testing.T) {
	a, b := pair(t, &stacktest.Options{Manual: true})
	var server *udp.Conn
	calls := 0
	server = listen(t, b, 7, &udp.Config{Handler: func(d udp.Datagram) {
		calls++
		if _, err := server.WriteToUDPAddrPort(d.Payload(), d.From()); err != nil {
			t.Error(err)
		}
		d.Release()
	}})
	c := dial(t, a, b.At(7), nil)
	for i := range 300 {
		if _, err := fmt.Fprint(c, i); err != nil {
			t.Fatal(err)
		}
		if n := b.Poll(); n != 1 || calls != i+1 {
			t.Fatalf("polled %d frames, %d calls", n, calls)
		}
		a.Poll()
		receive(t, c, fmt.Sprint(i), b.At(7))
	}
	_, err := server.Read(make([]byte, 10))
	wantError(t, err, "read", syscall.EINVAL)
	if st := server.Stats(); st.Received != 300 || st.Held != 0 {
		t.Errorf("%+v", st)
	}
}

// TestHandlerOfEverything: what came fast, what was reassembled and what is
// from this very host reach the same handler, which may answer.
func TestHandlerOfEverything(t *testing.T) {
	a, b := strangers(t, nil)
	var server *udp.Conn
	var calls atomic.Int32
	server = listen(t, b, 7, &udp.Config{Handler: func(d udp.Datagram) {
		calls.Add(1)
		if _, err := server.WriteToUDPAddrPort(d.Payload(), d.From()); err != nil {
			t.Error(err)
		}
		d.Release()
	}})
	far, near := dial(t, a, b.At(7), nil), dial(t, b, b.At(7), nil)
	for i, size := range []int{10, 1472, 1473, 20000, udp.MaxPayload} {
		for k, c := range []*udp.Conn{far, near} {
			if _, err := c.Write([]byte(pattern(size))); err != nil {
				t.Fatal(err)
			}
			receive(t, c, pattern(size), b.At(7))
			if n := calls.Load(); int(n) != 2*i+k+1 {
				t.Fatalf("%d calls", n)
			}
		}
	}
	stacktest.Eventually(t, "all are released", func() bool { return server.Stats().Held == 0 })
	if st := server.Stats(); st.Received != 10 || st.InBand < 8 {
		t.Errorf("%+v", st)
	}
}

// TestHandlerKeeps: a handler may keep a datagram and release it elsewhere.
func TestHandlerKeeps(t *testing.T) {
	a, b := pair(t, nil)
	got := make(chan udp.Datagram, 10)
	server := listen(t, b, 7, &udp.Config{Handler: func(d udp.Datagram) { got <- d }})
	c := dial(t, a, b.At(7), nil)
	for i := range 10 {
		if _, err := fmt.Fprint(c, i); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 10 {
		d := <-got
		if string(d.Payload()) != fmt.Sprint(i) || d.From() != local(c) {
			t.Errorf("%q from %v, want %d", d.Payload(), d.From(), i)
		}
		d.Release()
	}
	if st := server.Stats(); st.Held != 0 || st.Received != 10 {
		t.Errorf("%+v", st)
	}
}

// TestHandlerCloses: a handler may close its own socket, fast or in-band.
func TestHandlerCloses(t *testing.T) {
	for _, size := range []int{10, 3000} {
		a, b := pair(t, nil)
		var server *udp.Conn
		ready := make(chan struct{})
		done := make(chan error, 1)
		server = listen(t, b, 7, &udp.Config{Handler: func(d udp.Datagram) {
			<-ready
			d.Release()
			done <- server.Close()
		}})
		close(ready)
		send(t, listen(t, a, 0, nil), pattern(size), b.At(7))
		if err := <-done; err != nil {
			t.Error(err)
		}
		listen(t, b, 7, nil) // the port is free
	}
}
