package stack

import (
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/loopback"
)

// patience is longer than anything takes on a loaded machine.
const patience = 20 * time.Second

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !cond(); time.Sleep(100 * time.Microsecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// onLoopback makes a stack with one device on a wire to itself.
func onLoopback(t *testing.T, cfg *DeviceConfig) (*Stack, *Device, *loopback.Link) {
	t.Helper()
	l, err := loopback.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	d, err := s.Attach(l, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s, d, l
}

// TestParkerLosesNoWakeUp hands over work one piece at a time: a word that is
// lost leaves the thread asleep for good.
func TestParkerLosesNoWakeUp(t *testing.T) {
	leaktest.Check(t)
	var p parker
	p.init()
	const wakers, each = 4, 5000
	var given, taken atomic.Int64
	var thread, all sync.WaitGroup
	thread.Go(func() {
		for taken.Load() < wakers*each {
			if given.Load() > taken.Load() {
				taken.Add(1)
				continue
			}
			p.park(func() bool { return given.Load() > taken.Load() })
		}
	})
	for range wakers {
		all.Go(func() {
			for range each {
				given.Add(1)
				p.unpark()
				for given.Load() > taken.Load()+1 {
					runtime.Gosched()
				}
			}
		})
	}
	all.Wait()
	done := make(chan struct{})
	go func() { thread.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("the thread sleeps, %d of %d pieces taken", taken.Load(), given.Load())
	}
	if len(p.wake) != 0 {
		t.Error("a word is left over")
	}
}

// TestParkReturnsWithoutSleep if there is work, and leaves nothing behind.
func TestParkReturnsWithoutSleep(t *testing.T) {
	var p parker
	p.init()
	p.park(func() bool { return true })
	if p.parked.Load() || len(p.wake) != 0 {
		t.Error("something is left of it")
	}
	// Woken while it looks, whatever it finds: the word is taken.
	for _, work := range []bool{true, false} {
		p.park(func() bool { p.unpark(); return work })
		if p.parked.Load() || len(p.wake) != 0 {
			t.Errorf("work %v: something is left of it", work)
		}
	}
}

// TestInBandFrameBehindASender: the in-band stage queues a frame while a sender
// owns the queue, and the TX thread finds it owned and sleeps. The sender, who
// sees nobody's frame waiting before its own, wakes it when it leaves.
func TestInBandFrameBehindASender(t *testing.T) {
	leaktest.Check(t)
	s, d, _ := onLoopback(t, nil)
	if _, err := d.EnablePort(&PortConfig{Addrs: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}}); err != nil {
		t.Fatal(err)
	}
	q := d.tx[0]
	eventually(t, "the queue is free", func() bool { return q.owner.CompareAndSwap(txFree, txOwned) })
	if !(host{s}).Output(s.Ports()[0].id, link.MAC{2, 0, 0, 0, 0, 9}, 0x0806, 0, [][]byte{make([]byte, 28)}) {
		t.Fatal("no buffer")
	}
	eventually(t, "the TX thread sleeps", q.thread.parked.Load)
	sent := q.packets.Load()
	q.leave(0)
	eventually(t, "the frame leaves", func() bool { return q.packets.Load() == sent+1 })
}
