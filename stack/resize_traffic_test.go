package stack_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/stack"
)

// crosser sends numbered frames from one host to another, and checks what comes.
type crosser struct {
	t        *testing.T
	from, to *stacktest.Host
	sent     atomic.Uint64 // frames that the device took or queued: the sender adds
	came     atomic.Uint64 // frames that were received: the RX step adds
	bad      atomic.Uint64 // frames that were damaged: the RX step adds
	held     chan uint32   // buffers on their way home through another goroutine
}

func newCrosser(t *testing.T, from, to *stacktest.Host) *crosser {
	c := &crosser{t: t, from: from, to: to, held: make(chan uint32, 64)}
	err := to.Stack.RegisterProtocol(stack.EtherType(testEtherType), newTestProtocol(c.receive))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// receive takes every packet, releases most of them at once and the others by a
// goroutine.
func (c *crosser) receive(b *stack.Batch) {
	for _, p := range b.Packets {
		for i, v := range b.Bytes(p)[14:] {
			if v != byte(i) {
				c.bad.Add(1)
				break
			}
		}
		c.came.Add(1)
		p.Take()
		index := p.Frame.Index
		select {
		case c.held <- index:
		default:
			b.Device.Release(index)
		}
	}
}

func (c *crosser) release() {
	for index := range c.held {
		c.to.Device.Release(index)
	}
}

// send sends bursts until stop, and gives the receiver time to keep up.
func (c *crosser) send(stop *atomic.Bool) {
	dst, src := c.to.Link.MAC(), c.from.Link.MAC()
	for !stop.Load() {
		for range 32 {
			f, err := c.from.Device.AllocWait(0, nil, nil)
			if err != nil {
				c.t.Errorf("Alloc: %v", err)
				return
			}
			f.Len = 200
			buf := c.from.Device.Memory().Bytes(f)
			wire.PutEthernet(buf, dst, src, 0, testEtherType)
			for i := range buf[14:] {
				buf[14+i] = byte(i)
			}
			if err := c.from.Device.Send(f, 0, 0); err != nil {
				c.t.Errorf("Send: %v", err)
				return
			}
			c.sent.Add(1)
		}
		time.Sleep(100 * time.Microsecond)
	}
}

// TestResizeUnderTraffic: sizes go up and down while frames flow both ways, and
// not one is damaged or forgotten.
func TestResizeUnderTraffic(t *testing.T) {
	leaktest.Check(t)
	a, b := stacktest.Pair(t, resizable(halfSize, halfSize))
	crossers := []*crosser{newCrosser(t, a, b), newCrosser(t, b, a)}
	var stop atomic.Bool // ends the senders
	var senders, releasers sync.WaitGroup
	for _, c := range crossers {
		senders.Go(func() { c.send(&stop) })
		releasers.Go(c.release)
	}
	for round := range 6 {
		for _, s := range [][2]int{{maxSize, 100}, {100, maxSize}, {halfSize, halfSize}, {chunk + 7, 300}} {
			for _, h := range []*stacktest.Host{a, b} {
				resize(t, h.Device, s[0], s[1])
				sizes(t, h.Device, s[0], s[1])
			}
		}
		before := [2]uint64{crossers[0].came.Load(), crossers[1].came.Load()}
		stacktest.Eventually(t, fmt.Sprintf("round %d: frames flow on", round), func() bool {
			return crossers[0].came.Load() > before[0] && crossers[1].came.Load() > before[1]
		})
	}
	stop.Store(true)
	senders.Wait()
	for i, c := range crossers {
		lost := func() (n uint64) {
			for _, q := range c.to.Device.Stats().Queues {
				n += q.RXNoBuffer + q.RXRingFull
			}
			return n
		}
		stacktest.Eventually(t, "every frame is accounted for", func() bool { return c.came.Load()+lost() == c.sent.Load() })
		if c.bad.Load() != 0 || c.came.Load() < c.sent.Load()/2 {
			t.Errorf("way %d: of %d frames %d came, %d damaged", i, c.sent.Load(), c.came.Load(), c.bad.Load())
		}
		stacktest.AssertBooks(t, c.to.Device)
	}
	for _, c := range crossers {
		close(c.held)
	}
	releasers.Wait()
	stacktest.AssertNothingHeld(t, a.Device)
	stacktest.AssertNothingHeld(t, b.Device)
}
