package vfio

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/linktest"
	"github.com/oobnet/oobnet/link/vfio/internal/ixgbemodel"
	"github.com/oobnet/oobnet/link/vfio/internal/ixgbetest"
)

// TestSuiteIxgbe runs the contract of package link on two NICs and the wire between
// them. The models see to it that nothing is done that a datasheet forbids.
func TestSuiteIxgbe(t *testing.T) {
	for _, c := range []struct {
		name, chip string
		cfg        Config
	}{
		{"82599, MSI-X", "82599", Config{Queues: 1}},
		{"82599, MSI-X, 4 queues", "82599", Config{Queues: 4}},
		{"82599, INTx, tags", "82599", Config{Interrupts: INTx, With: VLANStrip | VLANInsert}},
		{"X540, MSI, small rings", "X540", Config{Interrupts: MSI, RXDescriptors: 64, TXDescriptors: 32}},
		{"X540, no interrupts", "X540", Config{Interrupts: NoInterrupts, Queues: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			linktest.Suite(t, func(t *testing.T) linktest.Wire { return ixgbeWire(t, chips[c.chip], &c.cfg) })
		})
	}
}

func ixgbeWire(t *testing.T, chip ixgbemodel.Chip, cfg *Config) linktest.Wire {
	leaktest.Check(t)
	near, far := ixgbetest.New(t, 1, ixgbetest.Config{Chip: chip}), ixgbetest.New(t, 2, ixgbetest.Config{Chip: chip})
	ixgbetest.Join(near, far)
	other := openPort(t, far, chip, &Config{Queues: 1, MTU: cfg.MTU})
	if err := other.SetPromiscuous(true); err != nil {
		t.Fatal(err)
	}
	peer, err := linktest.NewLinkPeer(other)
	if err != nil {
		t.Fatal(err)
	}
	reopen := func(t *testing.T) link.Link { return upLink{openPort(t, near, chip, cfg)} }
	return linktest.Wire{
		Link: reopen(t), Peer: peer, PeerMAC: peer.MAC(),
		PadTo: 60, Timeout: 10 * time.Second, DeviceAllocates: true,
		SetCarrier: func(up bool) { near.SetLink(up); far.SetLink(up) },
		Reopen:     reopen,
	}
}

// openPort opens a port, which is closed when the test is over.
func openPort(t testing.TB, p *ixgbetest.Port, chip ixgbemodel.Chip, cfg *Config) *Link {
	t.Helper()
	l, err := open(p.Open(t, ixgbetest.Config{Chip: chip}), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// TestSetSpeed: the wire comes up with the speed asked for, and an event tells.
func TestSetSpeed(t *testing.T) {
	for card := range chips {
		leaktest.Check(t)
		var seen events
		r := newRig(t, card, &Config{OnEvent: seen.add})
		if err := r.SetSpeed(1000); err != nil {
			t.Fatal(err)
		}
		r.await("the wire to come up again", func() bool {
			mbits, full := r.Speed()
			return r.State() == link.Up && mbits == 1000 && full
		})
		if !r.arrives(testFrame(r.MAC(), nil)) {
			t.Errorf("%s: nothing comes at 1 Gbit/s", card)
		}
		if err := r.SetSpeed(2500); !errors.Is(err, link.ErrNotSupported) {
			t.Errorf("%s: 2500 Mbit/s: %v", card, err)
		}
	}
	l, _, err := OpenFree("82576", &Config{Interrupts: NoInterrupts})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.SetSpeed(1000); !errors.Is(err, link.ErrNotSupported) {
		t.Errorf("a NIC that cannot be told: %v", err)
	}
}

// TestCountersAreReadInTime: State reads them when they have not been for some
// time, and Statistics has what they held.
func TestCountersAreReadInTime(t *testing.T) {
	leaktest.Check(t)
	p := ixgbetest.New(t, 1, ixgbetest.Config{Chip: ixgbemodel.Chip82599})
	l := openPort(t, p, ixgbemodel.Chip82599, &Config{Queues: 1})
	if _, err := l.Attach(link.Layout{BufferSize: 2048, Queues: 1, RXBuffers: 64, TXBuffers: 64}); err != nil {
		t.Fatal(err)
	}
	for i := range uint32(8) {
		l.Queue(0).Fill([]uint32{i})
	}
	p.Receive(testFrame(l.MAC(), nil))
	const goodPackets = 0x4074 // GPRC, which reading clears
	l.State()
	l.mu.Lock()
	l.countedAt -= int64(countPeriod)
	l.mu.Unlock()
	l.State()
	if n := p.Read32(goodPackets); n != 0 {
		t.Errorf("%d frames had not been counted", n)
	}
	p.Receive(testFrame(l.MAC(), nil))
	l.State()
	if n := p.Read32(goodPackets); n != 1 {
		t.Errorf("%d frames are in the counter, want the last: it is not read each time", n)
	}
	if s := l.Statistics(); s.RXPackets != 1 {
		t.Errorf("%d frames were counted, want 1: the other was read above", s.RXPackets)
	}
}

// TestAllQueues: of 64 queues each sends, the first 16 receive, and each is woken by
// a vector of its own.
func TestAllQueues(t *testing.T) {
	leaktest.Check(t)
	const queues, reached = 64, 16
	r := newRig(t, "82599", &Config{Queues: queues})
	for i := range queues {
		q, b := r.Queue(i), r.tx[i]
		copy(r.mem.Buffer(b), testFrame(otherMAC, nil))
		if q.Send([]link.Frame{{Index: b, Len: 100}}) != 1 || q.Flush() != nil {
			t.Fatalf("queue %d does not send", i)
		}
		r.leaves()
		var bufs [1]uint32
		r.await("the buffer to come back", func() bool { return q.Reclaim(bufs[:]) == 1 })
	}
	woken := map[int]bool{}
	for port := uint16(1); len(woken) < reached && port < 2000; port++ {
		frame, _ := flow(r.MAC(), port)
		if err := r.peer.Send(frame); err != nil {
			t.Fatal(err)
		}
		content, f := r.receive(wireTime)
		if content == nil {
			t.Fatal("the frame did not come")
		}
		i := r.mem.Home(f.Index)
		if woken[i] {
			continue
		}
		woken[i] = true
		q := r.Queue(i)
		fds := []unix.PollFd{{Fd: int32(q.FD()), Events: unix.POLLIN}}
		readable := func(limit time.Duration) bool {
			n, err := sleep(fds, limit)
			return err == nil && n == 1
		}
		var in [1]link.Frame
		r.await("the descriptor to be quiet", func() bool { return q.Receive(in[:]) == 0 && !readable(0) })
		if err := r.peer.Send(frame); err != nil {
			t.Fatal(err)
		}
		if !readable(wireTime) {
			t.Errorf("queue %d is not woken", i)
		}
		if n := q.Receive(in[:]); n != 1 {
			t.Fatalf("queue %d: %d frames", i, n)
		}
		q.Fill([]uint32{in[0].Index})
	}
	if len(woken) != reached {
		t.Errorf("flows came on %d queues, want %d", len(woken), reached)
	}
}

// TestLoopback: what is sent comes back, and none of it reaches the wire.
func TestLoopback(t *testing.T) {
	for _, card := range []string{"82599", "X540"} {
		leaktest.Check(t)
		c := startCard(t, card)
		if err := c.far.SetLink(false); err != nil {
			t.Fatal(err)
		}
		r := newRigOn(t, c, &Config{With: Loopback}, 2048) // waits for the wire
		r.send(testFrame(r.MAC(), nil), link.Meta{})
		if content, _ := r.receive(wireTime); !bytes.Equal(content, testFrame(r.MAC(), nil)) {
			t.Errorf("%s: % x came back", card, content)
		}
		r.nothingLeaves()
	}
}

// TestRecovered resets a device in full work: frames that were on its rings are
// counted, and all goes on.
func TestRecovered(t *testing.T) {
	for card := range chips {
		leaktest.Check(t)
		r := newRig(t, card, nil)
		if err := r.SetPromiscuous(true); err != nil {
			t.Fatal(err)
		}
		r.recover(0)
		if s := r.Statistics(); s.Hangs != 1 {
			t.Errorf("%s: %d hangs", card, s.Hangs)
		}
		r.receive(0) // both sides restart at their next call
		r.send(testFrame(otherMAC, nil), link.Meta{})
		r.leaves()
		r.await("the wire to come up again", func() bool { return r.State() == link.Up })
		if !r.arrives(testFrame(otherMAC, nil)) {
			t.Errorf("%s: after the reset it is not promiscuous any more", card)
		}
	}
}
