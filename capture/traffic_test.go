package capture_test

import (
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oobnet/oobnet/capture"
	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/link/loopback"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

// TestStartStopInTraffic: sessions come and go on both ends of a wire with two
// queues while several threads send; the stage's books add up, and so do those of
// each session when its traffic has ended.
func TestStartStopInTraffic(t *testing.T) {
	leaktest.Check(t)
	a, b := stacktest.Pair(t, &stacktest.Options{Loopback: loopback.Config{Queues: 2}, Device: stack.DeviceConfig{QueueLength: 8}})
	stacktest.Know(t, a, b)
	sink, err := udp.Listen(b.Stack, b.At(7), &udp.Config{Queue: 16, Handler: func(d udp.Datagram) { d.Release() }})
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	var stopped atomic.Bool
	senders := make(chan error, 3)
	for i := range cap(senders) {
		c, err := udp.Dial(a.Stack, a.At(uint16(4000+i)), b.At(uint16(7+i%2)), &udp.Config{NoWait: true}) // one port has nobody
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for !stopped.Load() {
				// It may be refused: the queue is short, so that frames are unsent.
				_, _ = c.Write([]byte("hello"))
				time.Sleep(20 * time.Microsecond)
			}
			senders <- c.Close()
		}()
	}
	var whole []*capture.Session
	for _, h := range []*stacktest.Host{a, b} {
		whole = append(whole, start(t, h.Device, io.Discard, &capture.Config{Slots: 256}))
	}
	for i := range 20 {
		h, filter := a, []string{"", "dropped or demoted or unsent", "udp port 8"}[i%3]
		if i%2 == 0 {
			h = b
		}
		s := start(t, h.Device, io.Discard, &capture.Config{Filter: filter, Slots: 64})
		stacktest.Eventually(t, "the session sees frames", func() bool { return s.Stats().Received > 100 })
		if err := s.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	stopped.Store(true)
	for range cap(senders) {
		if err := <-senders; err != nil {
			t.Error(err)
		}
	}
	for _, h := range []*stacktest.Host{a, b} {
		stacktest.AssertBooks(t, h.Device)
	}
	for _, s := range whole {
		stacktest.Eventually(t, "all is written", func() bool {
			st := s.Stats()
			return st.Received == st.Rejected+st.Lost+st.Written
		})
		if st := stop(t, s); st.Written == 0 {
			t.Errorf("%+v", st)
		}
	}
}
