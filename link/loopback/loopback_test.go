package loopback

import (
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/oobnet/oobnet/link"
)

func TestConfig(t *testing.T) {
	for want, cfg := range map[string]Config{
		"-1 queues":    {Queues: -1},
		"257 queues":   {Queues: MaxQueues + 1},
		"MTU 67":       {MTU: MinMTU - 1},
		"MTU 16367":    {MTU: MaxMTU + 1},
		"ring size 3":  {RingSize: 3},
		"ring size -8": {RingSize: -8},
		"group addr":   {MACs: [2]link.MAC{1: {0x01, 0, 0x5e}}},
	} {
		if _, _, err := Pair(&cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Pair(%+v): %v, want an error with %q", cfg, err, want)
		}
	}
	mac := link.MAC{0x02, 1, 2, 3, 4, 5}
	a, b, err := Pair(&Config{Name: "cable", MTU: 9000, Queues: 2, MACs: [2]link.MAC{1: mac}})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	defer b.Close()
	if a.Name() != "cable0" || b.Name() != "cable1" || a.MTU() != 9000 || b.Queues() != 2 || b.MAC() != mac {
		t.Errorf("%s %s, MTU %d, %d queues, %x", a.Name(), b.Name(), a.MTU(), b.Queues(), b.MAC())
	}
	if a.MAC() == (link.MAC{}) || a.MAC()[0]&3 != 2 {
		t.Errorf("MAC %x is not a locally administered unicast address", a.MAC())
	}
}

func TestNamesAreUnique(t *testing.T) {
	names, macs := map[string]bool{}, map[link.MAC]bool{}
	for range 10 {
		a, b, err := Pair(nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range []*Link{a, b} {
			defer l.Close()
			if names[l.Name()] || macs[l.MAC()] || !strings.HasPrefix(l.Name(), "loop") {
				t.Errorf("name %s or MAC %x is taken, or no default", l.Name(), l.MAC())
			}
			names[l.Name()], macs[l.MAC()] = true, true
		}
	}
}

func TestAttachSmallBuffers(t *testing.T) {
	l, err := New(&Config{MTU: 2048})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := l.Attach(testLayout(1)); err == nil {
		t.Error("buffers that do not hold a frame were accepted")
	}
}

func testLayout(queues int) link.Layout {
	return link.Layout{BufferSize: 2048, Queues: queues, RXBuffers: 16, TXBuffers: 64}
}

// attachedPair returns two running ends; end b has filled n buffers a queue.
func attachedPair(t *testing.T, cfg *Config, n int) (a, b *Link) {
	t.Helper()
	a, b, err := Pair(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []*Link{a, b} {
		t.Cleanup(func() { l.Close() })
		if _, err := l.Attach(testLayout(l.Queues())); err != nil {
			t.Fatal(err)
		}
	}
	for q := range b.Queues() {
		for i := range n {
			if b.Queue(q).Fill([]uint32{uint32(q*16 + i)}) != 1 {
				t.Fatalf("queue %d did not take buffer %d", q, i)
			}
		}
	}
	return a, b
}

// txFrames are n frames in buffers of the TX pool of testLayout.
func txFrames(l *Link, n int) []link.Frame {
	frames := make([]link.Frame, n)
	for i := range frames {
		frames[i] = link.Frame{Index: uint32(testLayout(l.Queues()).RXTotal() + i), Len: 60}
	}
	return frames
}

func TestQueuesAreSeparate(t *testing.T) {
	a, b := attachedPair(t, &Config{Queues: 3}, 4)
	f := txFrames(a, 1)
	a.mem.Bytes(f[0])[20] = 77
	a.Queue(1).Send(f)
	in := make([]link.Frame, 4)
	for i := range 3 {
		n := b.Queue(i).Receive(in)
		if (n == 1) != (i == 1) {
			t.Errorf("queue %d received %d frames", i, n)
		}
		if n == 1 && (b.mem.Home(in[0].Index) != 1 || b.mem.Bytes(in[0])[20] != 77 || in[0].Time != 0) {
			t.Errorf("received %+v", in[0])
		}
	}
}

// Each way to lose a frame has its counter, and the books balance.
func TestLosses(t *testing.T) {
	const ring = 8
	a, b := attachedPair(t, &Config{RingSize: ring}, 3)
	tx, rx := a.Queue(0), b.Queue(0)
	bufs, in := make([]uint32, 64), make([]link.Frame, 64)
	taken, received := 0, 0
	send := func(frames []link.Frame) {
		t.Helper()
		n := tx.Send(frames)
		if n != min(len(frames), ring) || tx.Reclaim(bufs) != n {
			t.Fatalf("Send took %d of %d", n, len(frames))
		}
		taken += n
	}
	expect := func(what string, rxStats, txStats link.QueueStats) {
		t.Helper()
		if got := rx.Stats(); got != rxStats {
			t.Errorf("%s: the receiver counts %+v, want %+v", what, got, rxStats)
		}
		if got := tx.Stats(); got != txStats {
			t.Errorf("%s: the sender counts %+v, want %+v", what, got, txStats)
		}
	}
	// Three buffers for four frames.
	send(txFrames(a, 4))
	expect("no buffer", link.QueueStats{RXNoBuffer: 1}, link.QueueStats{})
	// Three frames wait in a ring of eight, with eight buffers more.
	rx.Fill([]uint32{3, 4, 5, 6, 7, 8, 9, 10})
	send(txFrames(a, 6))
	expect("ring full", link.QueueStats{RXNoBuffer: 1, RXRingFull: 1}, link.QueueStats{})
	received += rx.Receive(in[:2])
	short := txFrames(a, 2)
	short[0].Len = 13
	short[1].Len = DefaultMTU + overhead + 1
	send(short)
	expect("invalid", link.QueueStats{RXNoBuffer: 1, RXRingFull: 1}, link.QueueStats{TXInvalid: 2})
	a.SetState(link.Down)
	send(txFrames(a, 3))
	a.SetState(link.Up)
	expect("down", link.QueueStats{RXNoBuffer: 1, RXRingFull: 1}, link.QueueStats{TXInvalid: 2, TXDropped: 3})
	// Six frames lie in b's ring when it stops; Receive takes one of them yet.
	b.Stop()
	received += rx.Receive(in[:1])
	send(txFrames(a, 2))
	drained := rx.Drain(bufs)
	if want := 3 + 8 - received; drained != want {
		t.Errorf("drained %d buffers, want %d", drained, want)
	}
	expect("stopped", link.QueueStats{RXNoBuffer: 1, RXRingFull: 1}, link.QueueStats{TXInvalid: 2, TXDropped: 3 + 2 + 5})
	rs, ts := rx.Stats(), tx.Stats()
	if sum := received + int(rs.RXNoBuffer+rs.RXRingFull+ts.TXInvalid+ts.TXDropped); sum != taken {
		t.Errorf("%d frames taken, %d accounted for", taken, sum)
	}
}

func TestPeerNotAttached(t *testing.T) {
	a, b, err := Pair(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	defer b.Close()
	if _, err := a.Attach(testLayout(1)); err != nil {
		t.Fatal(err)
	}
	q := a.Queue(0)
	if n := q.Send(txFrames(a, 2)); n != 2 || q.Stats().TXDropped != 2 {
		t.Errorf("Send took %d, dropped %d", n, q.Stats().TXDropped)
	}
	// As with a switch that does not listen yet: there is a carrier.
	if err := q.Flush(); err != nil || a.State() != link.Up {
		t.Errorf("Flush: %v, state %v", err, a.State())
	}
	if _, err := b.Attach(testLayout(1)); err != nil {
		t.Fatal(err)
	}
	if err := q.Flush(); err != nil || a.State() != link.Up {
		t.Errorf("with both ends attached: Flush: %v, state %v", err, a.State())
	}
}

func TestAfterStop(t *testing.T) {
	a, b := attachedPair(t, nil, 4)
	a.Stop()
	q := a.Queue(0)
	if n := q.Send(txFrames(a, 1)) + q.Fill([]uint32{0}); n != 0 {
		t.Errorf("a stopped end took %d", n)
	}
	if err := q.Flush(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Flush after Stop: %v", err)
	}
	if b.State() != link.Down {
		t.Errorf("the other end is %v", b.State())
	}
}

// The memory of a closed end stays until the other end is closed, too.
func TestMemoryOutlivesFirstClose(t *testing.T) {
	a, b := attachedPair(t, nil, 4)
	a.Close()
	a.Close()
	a.mem.Buffer(0)[0] = 1 // faults if unmapped
	if len(a.wire.regions) != 2 {
		t.Errorf("%d regions after one Close of two", len(a.wire.regions))
	}
	b.Close()
	if len(a.wire.regions) != 0 {
		t.Errorf("%d regions after both Closes", len(a.wire.regions))
	}
}

func TestGone(t *testing.T) {
	a, b := attachedPair(t, nil, 4)
	done := make(chan error, 1)
	go func() { done <- b.Queue(0).WaitReceive(-1) }()
	time.Sleep(10 * time.Millisecond)
	b.SetState(link.Gone)
	select {
	case err := <-done:
		if !errors.Is(err, syscall.ENODEV) {
			t.Errorf("WaitReceive: %v, want ENODEV", err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("removal did not end the wait")
	}
	if err := b.Queue(0).Flush(); !errors.Is(err, syscall.ENODEV) || b.State() != link.Gone || a.State() != link.Down {
		t.Errorf("Flush: %v; the ends are %v and %v", err, a.State(), b.State())
	}
}

func TestFillRefusesForeignBuffers(t *testing.T) {
	a, _ := attachedPair(t, &Config{Queues: 2}, 0)
	for _, c := range []struct {
		bufs []uint32
		want int
	}{
		{[]uint32{16, 17}, 2},          // queue 1's own
		{[]uint32{18, 15, 19}, 1},      // queue 0's
		{[]uint32{32}, 0},              // the TX pool's
		{[]uint32{1<<32 - 1, 20}, 0},   // nobody's
		{[]uint32{20, 1 << 20, 21}, 1}, // nobody's
	} {
		if n := a.Queue(1).Fill(c.bufs); n != c.want {
			t.Errorf("Fill(%v) took %d, want %d", c.bufs, n, c.want)
		}
	}
}

// Stop, of either end, waits for a Send that has begun: it could still write
// to a buffer of the one end and read one of the other.
func TestStopWaitsForSend(t *testing.T) {
	for _, name := range []string{"the sender's end", "the receiver's end"} {
		t.Run(name, func(t *testing.T) {
			a, b := attachedPair(t, &Config{Queues: 2}, 0)
			end := a
			if name == "the receiver's end" {
				end = b
			}
			sending := &a.queues[1].tx.sending
			sending.Store(1)
			stopped := make(chan struct{})
			go func() {
				defer close(stopped)
				end.Stop()
			}()
			select {
			case <-stopped:
				t.Error("Stop did not wait for the Send under way")
			case <-time.After(20 * time.Millisecond):
			}
			sending.Store(0)
			select {
			case <-stopped:
			case <-time.After(5 * time.Second):
				t.Error("Stop did not return when the Send was over")
			}
		})
	}
}
