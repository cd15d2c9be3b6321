package vfio

import (
	"errors"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio/internal/bus"
	"github.com/oobnet/oobnet/link/vfio/internal/bus/model"
)

// TestUnplug takes the device away, politely and by force, while both sides
// wait: all waits end with ENODEV, the device goes back at once, every buffer
// is there, and Close is quiet.
func TestUnplug(t *testing.T) {
	for name, pull := range map[string]func(*rig){
		"requested": func(r *rig) { r.bus.Request() },
		"pulled":    func(r *rig) { r.peer.Vanish() },
	} {
		t.Run(name, func(t *testing.T) {
			onCards(t, func(t *testing.T, card string) {
				var seen events
				r := newRig(t, card, &Config{OnEvent: seen.add})
				var waits sync.WaitGroup
				for what, wait := range map[string]func() error{
					"WaitReceive": func() error { return r.q.WaitReceive(-1) },
					"WaitSend":    func() error { return r.q.WaitSend(time.Hour) },
				} {
					waits.Go(func() {
						if err := wait(); !errors.Is(err, syscall.ENODEV) {
							t.Errorf("%s: %v, want ENODEV", what, err)
						}
					})
				}
				time.Sleep(20 * time.Millisecond) // let them get into their waits
				pull(r)
				waits.Wait()
				if s := r.State(); s != link.Gone {
					t.Errorf("the link is %v, want gone", s)
				}
				if err := r.Fault(); !errors.Is(err, syscall.ENODEV) {
					t.Errorf("Fault: %v", err)
				}
				if !r.bus.Released() {
					t.Error("the device has not been given back")
				}
				if err := r.q.Flush(); !errors.Is(err, syscall.ENODEV) {
					t.Errorf("Flush: %v, want ENODEV", err)
				}
				if err := r.SetPromiscuous(true); !errors.Is(err, syscall.ENODEV) {
					t.Errorf("SetPromiscuous: %v, want ENODEV", err)
				}
				if !seen.have(func(e Event) bool { return e.State == link.Gone && e.Err != nil }) {
					t.Error("no event told of it")
				}
				r.drainAll()
			})
		})
	}
}

// TestUnplugEarly takes the device away before Attach, and in it: the error is why
// it went, or that it did.
func TestUnplugEarly(t *testing.T) {
	onCards(t, func(t *testing.T, card string) {
		c := startCard(t, card)
		b := c.plug()
		l, err := open(b, &Config{Queues: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}()
		b.Request()
		if s := l.State(); s != link.Gone {
			t.Fatalf("the link is %v, want gone", s)
		}
		layout := link.Layout{BufferSize: 2048, Queues: 1, RXBuffers: rigRX, TXBuffers: rigTX}
		if _, err := l.Attach(layout); !errors.Is(err, syscall.ENODEV) || err.Error() != l.Fault().Error() {
			t.Errorf("Attach: %v, want %v", err, l.Fault())
		}
	})
}

// leaving is a bus whose device goes when it may master the bus.
type leaving struct{ *model.Bus }

func (b leaving) BusMaster(on bool) error {
	if on {
		b.OnRead = func(uint32) uint32 { return bus.AllOnes }
	}
	return b.Bus.BusMaster(on)
}

// TestGoneInAttach: a device that is found to be gone when it has just been let go
// is not one whose wire is up.
func TestGoneInAttach(t *testing.T) {
	leaktest.Check(t)
	l, _ := openModel(t, func(b *model.Bus) bus.Bus { return leaving{b} }, nil)
	_, err := l.Attach(link.Layout{BufferSize: 2048, Queues: 1, RXBuffers: 64, TXBuffers: 64})
	if !errors.Is(err, syscall.ENODEV) {
		t.Errorf("Attach: %v, want ENODEV", err)
	}
}

// drainAll stops the link and counts the buffers that come back.
func (r *rig) drainAll() {
	r.t.Helper()
	if err := r.Stop(); err != nil {
		r.t.Errorf("Stop: %v", err)
	}
	var bufs [2 * rigRX]uint32
	if n := r.q.Drain(bufs[:]); n+len(r.tx) != rigRX+rigTX {
		r.t.Errorf("%d buffers came back and %d were here, of %d", n, len(r.tx), rigRX+rigTX)
	}
}
