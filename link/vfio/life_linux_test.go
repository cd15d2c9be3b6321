package vfio

import (
	"errors"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/qtest"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio/internal/bus"
	"github.com/oobnet/oobnet/link/vfio/internal/bus/bustest"
	"github.com/oobnet/oobnet/link/vfio/internal/bus/model"
)

// events collects what OnEvent is told.
type events struct {
	mu   sync.Mutex
	list []Event
}

func (e *events) add(ev Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, ev)
}

func (e *events) have(f func(Event) bool) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.ContainsFunc(e.list, f)
}

// TestWireEvents pulls the cable: the receive side, which sleeps, finds out by
// the interrupt.
func TestWireEvents(t *testing.T) {
	onCards(t, func(t *testing.T, card string) {
		var seen events
		r := newRig(t, card, &Config{OnEvent: seen.add})
		done := make(chan error, 1)
		go func() { done <- r.q.WaitReceive(-1) }()
		time.Sleep(20 * time.Millisecond)
		if err := r.peer.SetLink(false); err != nil {
			t.Fatal(err)
		}
		r.await("an event of the wire going down", func() bool {
			return seen.have(func(e Event) bool { return e.State == link.Down && e.Err == nil })
		})
		if mbits, _ := r.Speed(); mbits != 0 {
			t.Errorf("a wire that is down has %d Mbit/s", mbits)
		}
		if err := r.peer.SetLink(true); err != nil {
			t.Fatal(err)
		}
		r.await("an event of the wire coming up", func() bool {
			return seen.have(func(e Event) bool { return e.State == link.Up && e.Speed == r.card.speed })
		})
		if n := r.Statistics().WireChanges; n < 2 {
			t.Errorf("%d changes of the wire were counted", n)
		}
		r.q.Wake()
		if err := <-done; err != nil {
			t.Errorf("WaitReceive: %v", err)
		}
	})
}

// TestPolledFD sleeps on the descriptor, as an application in manual mode does.
func TestPolledFD(t *testing.T) {
	for _, c := range []struct {
		card string
		kind Interrupts
	}{{"e1000", INTx}, {"e1000e", MSIX}, {"e1000e", MSI}, {"igb", MSIX}, {"igb", MSI}, {"igb", INTx}, {"82599", MSIX}, {"X540", MSI}, {"82599", INTx}} {
		leaktest.Check(t)
		r := newRig(t, c.card, &Config{Interrupts: c.kind})
		fds := []unix.PollFd{{Fd: int32(r.q.FD()), Events: unix.POLLIN}}
		sleep := func(limit time.Duration) bool {
			for {
				fds[0].Revents = 0
				n, err := unix.Poll(fds, int(limit.Milliseconds()))
				if !errors.Is(err, unix.EINTR) {
					return err == nil && n > 0
				}
			}
		}
		var in [4]link.Frame
		for i := range 20 {
			if err := r.peer.Send(testFrame(r.MAC(), nil)); err != nil {
				t.Fatal(err)
			}
			for n, end := 0, time.Now().Add(wireTime); n == 0; {
				if !sleep(wireTime) || time.Now().After(end) {
					t.Fatalf("%s: frame %d did not make the descriptor readable", c.card, i)
				}
				n = r.q.Receive(in[:])
				for _, f := range in[:n] {
					r.q.Fill([]uint32{f.Index})
				}
			}
		}
		// Quiet again: once, perhaps twice, for what was on its way.
		for tries := 0; sleep(50 * time.Millisecond); tries++ {
			if r.q.Receive(in[:]); tries > 10 {
				t.Fatalf("%s: the descriptor stays readable", c.card)
			}
		}
		r.q.Wake()
		if !sleep(wireTime) {
			t.Errorf("%s: Wake did not make the descriptor readable", c.card)
		}
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
		if !sleep(wireTime) || !sleep(0) {
			t.Errorf("%s: after Stop the descriptor is not readable", c.card)
		}
	}
}

// TestKilled opens a device that another link has left in full work.
func TestKilled(t *testing.T) {
	onCards(t, func(t *testing.T, card string) {
		c := startCard(t, card)
		first := newRigOn(t, c, &Config{MAC: otherMAC, Queues: 1}, 2048)
		if err := first.SetPromiscuous(true); err != nil {
			t.Fatal(err)
		}
		first.send(testFrame(otherMAC, nil), link.Meta{})
		first.leaves()
		// No Stop: the kernel takes the interrupts, and that is all.
		if err := first.bus.Disarm(); err != nil {
			t.Fatal(err)
		}
		second := newRigOn(t, c, nil, 2048)
		if second.MAC() != c.mac {
			t.Errorf("the second link's address is %x, want the NIC's own %x", second.MAC(), c.mac)
		}
		if second.arrives(testFrame(otherMAC, nil)) {
			t.Error("the second link receives what the first had asked for")
		}
		second.send(testFrame(otherMAC, nil), link.Meta{})
		second.leaves()
	})
}

// TestHang has the device take frames and send none. It is reset, the frames
// are counted and come back, and both rings work as before.
func TestHang(t *testing.T) {
	leaktest.Check(t)
	for _, name := range freeModels() {
		t.Run(name, func(t *testing.T) {
			var seen events
			l, far, err := OpenFree(name, &Config{Interrupts: NoInterrupts, Queues: 1, OnEvent: seen.add})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			mem, err := l.Attach(link.Layout{BufferSize: 2048, Queues: 1, RXBuffers: 16, TXBuffers: 16})
			if err != nil {
				t.Fatal(err)
			}
			q := l.Queue(0)
			q.Fill([]uint32{0, 1, 2, 3, 4})
			frames := []link.Frame{{Index: 16, Len: 60}, {Index: 17, Len: 60}, {Index: 18, Len: 60}}
			if n := q.Send(frames); n != 3 {
				t.Fatalf("Send took %d", n)
			}
			if err := q.Flush(); err != nil {
				t.Fatal(err)
			}
			var bufs [8]uint32
			n := 0
			for end := time.Now().Add(10 * time.Second); n < 3; time.Sleep(time.Millisecond) {
				if n += q.Reclaim(bufs[n:]); time.Now().After(end) {
					t.Fatalf("%d of 3 buffers came back", n)
				}
			}
			slices.Sort(bufs[:3])
			if !slices.Equal(bufs[:3], []uint32{16, 17, 18}) {
				t.Errorf("buffers %v came back", bufs[:3])
			}
			if s := l.Statistics(); s.Hangs != 1 || s.TXLost != 3 || q.Stats().TXDropped != 3 {
				t.Errorf("%+v, %+v", s, q.Stats())
			}
			if !seen.have(func(e Event) bool { return errors.Is(e.Err, syscall.ETIMEDOUT) }) {
				t.Error("no event told of it")
			}
			// The receive side restarts at its next call. The device's model
			// begins anew with the rings as they are now.
			var in [8]link.Frame
			if n := q.Receive(in[:]); n != 0 {
				t.Errorf("%d frames came out of a reset", n)
			}
			if err := far.Begin(); err != nil {
				t.Fatal(err)
			}
			defer far.End()
			if n := far.Arrive(16, 60); n != 5 {
				t.Errorf("the device has %d receive buffers, want 5", n)
			}
			if n := q.Receive(in[:]); n != 5 || len(mem.Bytes(in[4])) != 60 {
				t.Errorf("%d frames came after the reset, want 5", n)
			}
			if q.Send(frames) != 3 || q.Flush() != nil || far.Leave() != 3 || q.Reclaim(bufs[:]) != 3 {
				t.Error("sending does not work after the reset")
			}
		})
	}
}

// TestOpenErrors asks for what is not there. Each error names it, and what to do.
func TestOpenErrors(t *testing.T) {
	leaktest.Check(t)
	for _, c := range []struct {
		name string
		cfg  Config
		says string
	}{
		{"queues", Config{Queues: 2, Interrupts: INTx}, "2 queues"},
		{"more queues", Config{Queues: 4, Interrupts: NoInterrupts}, "has 1"},
		{"MTU", Config{MTU: 20000}, "at most 16088"},
		{"small MTU", Config{MTU: 60}, "at least 68"},
		{"descriptors", Config{RXDescriptors: 100}, "power of two"},
		{"interrupts", Config{Interrupts: MSIX}, "BestInterrupts"},
		{"strange interrupts", Config{Interrupts: 77}, "want BestInterrupts"},
		{"features", Config{With: RXTime}, "features"},
		{"half a switch", Config{With: VLANStrip}, "both"},
		{"address", Config{MAC: groupA}, "group address"},
	} {
		if _, _, err := OpenFree("82540EM", &c.cfg); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v: does not say %q", c.name, err, c.says)
		}
	}
	b, err := model.New(bus.ID{Vendor: 0x8086, Device: 0x1572}, 4096)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open(b, nil); !errors.Is(err, link.ErrNotSupported) || !strings.Contains(err.Error(), "82574L") || !strings.Contains(err.Error(), "8086:1572") {
		t.Errorf("an unknown device: %v", err)
	}
	dead, err := model.New(bus.ID{Vendor: 0x8086, Device: 0x100e}, modelRegisters)
	if err != nil {
		t.Fatal(err)
	}
	dead.OnRead = func(uint32) uint32 { return bus.AllOnes }
	if _, err := open(dead, nil); !errors.Is(err, syscall.ENODEV) || !strings.Contains(err.Error(), "all ones") {
		t.Errorf("a device that does not answer: %v", err)
	}
	stuck, err := model.New(bus.ID{Vendor: 0x8086, Device: 0x100e}, modelRegisters)
	if err != nil {
		t.Fatal(err)
	}
	// Plain memory: the reset bit stays set.
	if _, err := open(stuck, nil); !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), "reset") {
		t.Errorf("a device whose reset does not end: %v", err)
	}
	for _, addr := range []string{"", "eth0", "0000:ff:1f.7", "ff:1f.7"} {
		if l, err := Open(addr, nil); err == nil {
			l.Close()
			t.Errorf("Open(%q) worked", addr)
		} else if !strings.Contains(err.Error(), "lspci -D") {
			t.Errorf("Open(%q): %v: does not say where to look", addr, err)
		}
	}
	if _, err := Open("0000:ff:1f.7", nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no such device: %v", err)
	}
}

func TestAttachErrors(t *testing.T) {
	leaktest.Check(t)
	l, _, err := OpenFree("82540EM", &Config{MTU: 9000})
	if err != nil {
		t.Fatal(err)
	}
	layout := link.Layout{BufferSize: 4096, Queues: 1, RXBuffers: 8, TXBuffers: 8}
	if _, err := l.Attach(layout); !errors.Is(err, syscall.ERANGE) || !strings.Contains(err.Error(), "4078") {
		t.Errorf("buffers that are too small: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Attach(layout); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Attach after Close: %v", err)
	}
	if s := l.State(); s != link.Gone {
		t.Errorf("a closed link is %v", s)
	}
	if err := l.SetPromiscuous(true); !errors.Is(err, net.ErrClosed) {
		t.Errorf("SetPromiscuous after Close: %v", err)
	}
}

// TestOneMachineTwice: what bustest says of a bus that was given back is what a
// device that is gone looks like.
func TestOneMachineTwice(t *testing.T) {
	leaktest.Check(t)
	b := bustest.Open(t, qtest.Config{Device: "e1000"})
	r, err := b.Registers(0, 0x100)
	if err != nil {
		t.Fatal(err)
	}
	if v := r.Read32(8); v == bus.AllOnes {
		t.Errorf("STATUS is %#x", v)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if v := r.Read32(8); v != bus.AllOnes {
		t.Errorf("STATUS of a device that was given back is %#x", v)
	}
}
