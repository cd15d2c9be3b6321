package guestbench

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/link/vfio"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

// ourSide is the stack on the card, in manual mode.
type ourSide struct {
	*stacktest.Host
	nic *vfio.Link
	t   testing.TB
}

func (o *ourSide) poll() {
	if _, err := o.Device.Poll(stack.MaxBatch); err != nil {
		o.t.Fatal(err)
	}
}

func (o *ourSide) dial(port uint16, handler func(udp.Datagram)) *udp.Conn {
	c, err := udp.Dial(o.Stack, netip.AddrPort{}, netip.AddrPortFrom(theirs.Addr(), port), &udp.Config{NoWait: true, Handler: handler})
	if err != nil {
		o.t.Fatal(err)
	}
	return c
}

func (o *ourSide) send(limit time.Duration) float64 {
	c := o.dial(sinkPort, nil)
	defer c.Close()
	ms := make([]udp.Message, batchSize)
	for i := range ms {
		ms[i].Buf = make([]byte, payloadSize)
	}
	end := time.Now().Add(limit)
	before, start := o.nic.Statistics().TXPackets, time.Now()
	for time.Now().Before(end) {
		if _, err := c.WriteBatch(ms); err != nil && !errors.Is(err, unix.ENOBUFS) {
			o.t.Fatal(err)
		}
		o.poll()
	}
	return rate(o.nic.Statistics().TXPackets-before, start)
}

func (o *ourSide) receive(limit time.Duration) float64 {
	var got uint64
	var into [2 * payloadSize]byte
	c, err := udp.Listen(o.Stack, o.At(floodPort), &udp.Config{Handler: func(d udp.Datagram) {
		copy(into[:], d.Payload()) // as a read does
		d.Release()
		got++
	}})
	if err != nil {
		o.t.Fatal(err)
	}
	defer c.Close()
	end := time.Now().Add(limit)
	start := time.Now()
	for time.Now().Before(end) {
		o.poll()
	}
	return rate(got, start)
}

func (o *ourSide) settle(stop func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		stop()
	}()
	const quiet = 50 * time.Millisecond
	running := true
	for last := time.Now(); running || time.Since(last) < quiet; {
		select {
		case <-done:
			running = false
		default:
		}
		if n, err := o.Device.Poll(stack.MaxBatch); err != nil {
			o.t.Fatal(err)
		} else if n > 0 {
			last = time.Now()
		}
	}
}

func (o *ourSide) echo(limit time.Duration) float64 {
	answered := false
	c := o.dial(echoPort, func(d udp.Datagram) {
		d.Release()
		answered = true
	})
	defer c.Close()
	payload := make([]byte, payloadSize)
	p50 := echoes(o.t, limit, func() {
		answered = false
		if _, err := c.Write(payload); err != nil {
			o.t.Fatal(err)
		}
	}, func() bool {
		o.poll()
		return answered
	})
	o.t.Logf("ours: echo p50 %.1f us", p50)
	return p50
}
