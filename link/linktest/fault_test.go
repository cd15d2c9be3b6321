package linktest

import (
	"bytes"
	"fmt"
	"math/bits"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/loopback"
)

// A Fault without faults is the link itself; one whose rule passes everything
// does all of its work and changes nothing.
func TestFaultSuite(t *testing.T) {
	pass := func([]byte, uint64) Action { return Pass }
	for name, cfg := range map[string]FaultConfig{
		"off":     {},
		"passing": {RX: Faults{Rule: pass}, TX: Faults{Rule: pass}},
	} {
		for _, queues := range []int{1, 4} {
			t.Run(fmt.Sprintf("%s/queues=%d", name, queues), func(t *testing.T) {
				Suite(t, func(t *testing.T) Wire {
					return openWire(t, &loopback.Config{Queues: queues}, func(l link.Link) link.Link { return NewFault(l, cfg) })
				})
			})
		}
	}
}

// everyThird does an action to frames 1, 4, 7, ...
func everyThird(a Action) Faults {
	return Faults{Rule: func(_ []byte, n uint64) Action {
		if n%3 == 1 {
			return a
		}
		return Pass
	}}
}

// arrivals sends n frames to the link, all of them before the first is
// received, and returns their numbers as they arrive, until nothing has come
// for quiet. changed lists those of which exactly one bit had changed.
func arrivals(r *rig, n int, quiet time.Duration) (order, changed []int) {
	r.t.Helper()
	for seq := range n {
		r.toLink(seq, 100)
	}
	for last := time.Now(); time.Since(last) < quiet; {
		r.poll(func(_ int, b []byte) {
			last = time.Now()
			order, changed = arrived(r, b, r.Link.MAC(), order, changed)
		})
		r.fill()
		r.wait(time.Millisecond)
	}
	return order, changed
}

// departures sends n frames from the link in one batch and returns what the
// peer sees of them.
func departures(r *rig, n int, quiet time.Duration) (order, changed []int) {
	r.t.Helper()
	r.send(0, 0, repeatSizes(n, 100), r.PeerMAC)
	for last := time.Now(); time.Since(last) < quiet; {
		b, err := r.Peer.Receive(time.Millisecond)
		r.reclaim(0) // a call of the send side, for what is held back
		if err == nil {
			last = time.Now()
			order, changed = arrived(r, b, r.PeerMAC, order, changed)
		}
	}
	return order, changed
}

// arrived finds the frame that b is nearest to.
func arrived(r *rig, b []byte, dst link.MAC, order, changed []int) ([]int, []int) {
	want := make([]byte, len(b))
	for seq := range 1000 {
		buildFrame(want, dst, uint32(seq))
		if bytes.Equal(b, want) {
			return append(order, seq), changed
		}
		differ := 0
		for i := range b {
			differ += bits.OnesCount8(b[i] ^ want[i])
		}
		if differ == 1 {
			return append(order, seq), append(changed, seq)
		}
	}
	r.t.Errorf("a frame that is none of those sent, nor one bit away: % x", b[:headerLen])
	return order, changed
}

func TestFaultActions(t *testing.T) {
	const hold = 20 * time.Millisecond
	for _, c := range []struct {
		action         Action
		order, changed []int
		counts         FaultCounts
	}{
		{Drop, []int{0, 2, 3, 5, 6}, nil, FaultCounts{Frames: 8, Passed: 5, Dropped: 3}},
		{Corrupt, []int{0, 1, 2, 3, 4, 5, 6, 7}, []int{1, 4, 7}, FaultCounts{Frames: 8, Passed: 5, Corrupted: 3}},
		{Duplicate, []int{0, 1, 1, 2, 3, 4, 4, 5, 6, 7, 7}, nil, FaultCounts{Frames: 8, Passed: 5, Duplicated: 3}},
		{Reorder, []int{0, 2, 1, 3, 5, 4, 6, 7}, nil, FaultCounts{Frames: 8, Passed: 5, Reordered: 3}},
		{Delay, []int{0, 2, 3, 5, 6, 1, 4, 7}, nil, FaultCounts{Frames: 8, Passed: 5, Delayed: 3}},
	} {
		check := func(t *testing.T, order, changed []int, counts FaultCounts) {
			t.Helper()
			if d := cmp.Diff(c.order, order); d != "" {
				t.Errorf("order of arrival (-want +got):\n%s", d)
			}
			if d := cmp.Diff(c.changed, changed); d != "" {
				t.Errorf("changed frames (-want +got):\n%s", d)
			}
			if counts != c.counts {
				t.Errorf("counted %+v, want %+v", counts, c.counts)
			}
		}
		t.Run("receive/"+c.action.String(), func(t *testing.T) {
			r, f := faultRig(t, FaultConfig{RX: everyThird(c.action), Hold: hold})
			start := time.Now()
			order, changed := arrivals(r, 8, 3*hold)
			counts, _ := f.Counts()
			check(t, order, changed, counts)
			if took := time.Since(start); c.action == Delay && took < hold {
				t.Errorf("all frames came within %v, three were held for %v", took, hold)
			}
			r.reclaimAll()
			r.finish()
		})
		t.Run("send/"+c.action.String(), func(t *testing.T) {
			r, f := faultRig(t, FaultConfig{TX: everyThird(c.action), Hold: hold})
			order, changed := departures(r, 8, 3*hold)
			_, counts := f.Counts()
			check(t, order, changed, counts)
			r.reclaimAll()
			r.finish()
		})
	}
}

// The sender's own bytes stay as they are when its frame is corrupted.
func TestFaultCorruptLeavesSenderAlone(t *testing.T) {
	r, _ := faultRig(t, FaultConfig{TX: Faults{Corrupt: 1}})
	f := r.build(0, 0, 100, r.PeerMAC)
	before := slices.Clone(r.mem.Bytes(f))
	if r.queues[0].Send([]link.Frame{f}) != 1 {
		t.Fatal("Send took nothing")
	}
	r.queues[0].Flush()
	r.reclaimAll()
	if !bytes.Equal(before, r.mem.Bytes(f)) {
		t.Error("the sender's frame has changed")
	}
	b, err := r.Peer.Receive(r.Timeout)
	if err != nil || bytes.Equal(b, before) {
		t.Errorf("the peer received the frame unchanged, or not: %v", err)
	}
	r.finish()
}

// A wait that would sleep past the end of a delay does not.
func TestFaultDelayBoundsWait(t *testing.T) {
	const hold = 30 * time.Millisecond
	r, _ := faultRig(t, FaultConfig{RX: Faults{Delay: 1}, Hold: hold})
	r.toLink(0, 100)
	l := newLedger(&r.Wire, r.Link.MAC(), []int{100})
	start := time.Now()
	for time.Since(start) < r.Timeout {
		if r.poll(func(_ int, b []byte) { r.arrive(l, b, 0) }) > 0 {
			break
		}
		within(t, r.Timeout, "WaitReceive(-1) on a delayed frame", func() { r.queues[0].WaitReceive(-1) })
	}
	if took := time.Since(start); took < hold || !l.complete() {
		t.Errorf("after %v: %s", took, l.missing())
	}
	r.reclaimAll()
	r.finish()
}

// storm has every fault at once.
func storm(seed uint64) FaultConfig {
	f := Faults{Drop: 0.1, Corrupt: 0.1, Duplicate: 0.1, Reorder: 0.1, Delay: 0.1}
	return FaultConfig{Seed: seed, RX: f, TX: f, Hold: 100 * time.Microsecond}
}

// stormRun sends n frames each way and returns the fates, checked against what
// came: all that was not dropped, and the duplicates.
func stormRun(t *testing.T, seed uint64, n int) (rx, tx FaultCounts) {
	t.Helper()
	r, f := faultRig(t, storm(seed))
	received, sent := 0, 0
	for seq := 0; seq < n; seq += 8 {
		for i := range 8 {
			r.toLink(seq+i, 100)
		}
		r.send(0, seq, repeatSizes(8, 100), r.PeerMAC)
		received += r.poll(discard)
		r.fill()
		for _, err := r.Peer.Receive(0); err == nil; _, err = r.Peer.Receive(0) {
			sent++
		}
	}
	// What is still held back.
	for last := time.Now(); time.Since(last) < 50*time.Millisecond; {
		k := r.poll(discard)
		r.fill()
		r.reclaim(0)
		for _, err := r.Peer.Receive(0); err == nil; _, err = r.Peer.Receive(0) {
			k++
			sent++
			received--
		}
		if received += k; k > 0 {
			last = time.Now()
		}
	}
	rx, tx = f.Counts()
	for _, c := range []struct {
		name   string
		counts FaultCounts
		came   int
	}{{"receive", rx, received}, {"send", tx, sent}} {
		if c.counts.Frames != uint64(n) {
			t.Errorf("%s: %d frames counted of %d", c.name, c.counts.Frames, n)
		}
		if want := c.counts.Frames - c.counts.Dropped + c.counts.Duplicated; uint64(c.came) != want {
			t.Errorf("%s: %d frames came, want %d: %+v", c.name, c.came, want, c.counts)
		}
		for _, did := range []uint64{c.counts.Dropped, c.counts.Corrupted, c.counts.Duplicated, c.counts.Reordered, c.counts.Delayed} {
			// A tenth, give or take six standard deviations; starved ones pass.
			if limit := uint64(n)/10 + 6*uint64(n)/100; did == 0 || did > limit {
				t.Errorf("%s: an action of probability 0.1 was taken %d times of %d", c.name, did, n)
			}
		}
	}
	r.reclaimAll()
	r.finish()
	return rx, tx
}

func TestFaultStorm(t *testing.T) {
	const frames = 8000
	for seed := range uint64(3) {
		stormRun(t, seed, frames)
	}
}

// The dice fall the same way for the same seed, whatever the frames' sizes,
// and another for another.
func TestFaultDeterministic(t *testing.T) {
	fates := func(seed, stream uint64, sizes ...int) (all []Action) {
		var d dice
		d.init(storm(0).RX, seed, stream)
		for i := range 1000 {
			a, _ := d.roll(make([]byte, sizes[i%len(sizes)]))
			all = append(all, a)
		}
		return all
	}
	if !slices.Equal(fates(7, 0, 60), fates(7, 0, 61, 1514, 14)) {
		t.Error("one seed, two fates")
	}
	if slices.Equal(fates(7, 0, 60), fates(8, 0, 60)) || slices.Equal(fates(7, 0, 60), fates(7, 1, 60)) {
		t.Error("two seeds or two queues, one fate")
	}
}

// The spares come back: there are enough for any number of duplicates, as long
// as the user gives back and takes back.
func TestFaultSparesComeBack(t *testing.T) {
	const frames = 200
	all := Faults{Duplicate: 1}
	r, f := faultRig(t, FaultConfig{RX: all, TX: all, Reserve: 2})
	for seq := range frames {
		r.toLink(seq, 60)
		if n := r.poll(discard); n != 2 {
			t.Fatalf("frame %d was received %d times", seq, n)
		}
		r.fill()
		r.send(0, seq, []int{60}, r.PeerMAC)
		r.reclaimAll()
	}
	rx, tx := f.Counts()
	if want := (FaultCounts{Frames: frames, Duplicated: frames}); rx != want || tx != want {
		t.Errorf("receive %+v, send %+v, want %+v", rx, tx, want)
	}
	r.finish()
}

// Frames that wait for a full device come out of Drain, but not the spares
// among them.
func TestFaultDrainBacklog(t *testing.T) {
	const ring, frames = 4, 8
	var f *Fault
	r := newRig(t, openWire(t, &loopback.Config{RingSize: ring}, func(l link.Link) link.Link {
		f = NewFault(l, FaultConfig{TX: Faults{Duplicate: 1}})
		return f
	}))
	batch := make([]link.Frame, frames)
	for i := range batch {
		batch[i] = r.build(0, i, 60, r.PeerMAC)
	}
	if n := r.queues[0].Send(batch); n != frames {
		t.Fatalf("Send took %d of %d", n, frames)
	}
	if n := r.queues[0].Send([]link.Frame{r.build(0, frames, 60, r.PeerMAC)}); n != 0 {
		t.Error("Send took a frame while others wait for the device")
	}
	if err := r.shadow.Stop(); err != nil {
		t.Fatal(err)
	}
	if n := r.drain(); n != frames {
		t.Errorf("drained %d buffers, sent were %d", n, frames)
	}
	r.finish()
}

// Stop in the middle of a storm: every buffer comes out of Drain.
func TestFaultStormDrain(t *testing.T) {
	cfg := storm(1)
	cfg.Hold = time.Hour
	r, f := faultRig(t, cfg)
	for seq := range 200 {
		r.toLink(seq, 100)
		if seq%4 == 0 {
			r.send(0, seq, repeatSizes(1, 100), r.PeerMAC)
		}
		if seq%16 == 0 {
			r.poll(discard)
			r.fill()
		}
	}
	rx, tx := f.Counts()
	if rx.Delayed == 0 || tx.Delayed == 0 {
		t.Fatalf("nothing is held back: %+v %+v", rx, tx)
	}
	r.finish()
}

func TestFaultAllocatesNothing(t *testing.T) {
	cfg := storm(2)
	cfg.Hold = time.Microsecond
	r, _ := faultRig(t, cfg)
	frames := make([]link.Frame, 16)
	for i := range frames {
		frames[i] = r.build(0, i, 100, r.PeerMAC)
	}
	out := make([]byte, 100)
	buildFrame(out, r.Link.MAC(), 0)
	r.tx = slices.Grow(r.tx, r.Layout.TXBuffers)
	round := func() {
		for range 16 {
			if r.Peer.Send(out) != nil {
				t.Error("the peer cannot send")
			}
		}
		r.poll(discard)
		r.fill()
		for i := range frames {
			if len(r.tx) > 0 {
				frames[i].Index = r.tx[len(r.tx)-1]
				if r.queues[0].Send(frames[i:i+1]) == 1 {
					r.tx = r.tx[:len(r.tx)-1]
				}
			}
		}
		r.queues[0].Flush()
		r.reclaim(0)
	}
	for range 100 {
		round()
	}
	if n := testing.AllocsPerRun(500, round); n != 0 {
		t.Errorf("%v allocations a batch", n)
	}
}

// TestFaultCorruptsOffload: a frame whose checksum the device completes arrives
// damaged, and its checksum shows it.
func TestFaultCorruptsOffload(t *testing.T) {
	w := openWire(t, &loopback.Config{With: loopback.TXChecksum | loopback.RXChecksum}, func(l link.Link) link.Link {
		return NewFault(l, FaultConfig{TX: Faults{Rule: func(_ []byte, n uint64) Action { return Action(n % 2 * uint64(Corrupt)) }}})
	})
	r := newRig(t, w)
	r.fill()
	for seq := range uint32(40) {
		want := datagramTo(r.PeerMAC, seq, 600)
		r.hand(0, unfinished(want), link.Meta{Flags: link.FlagChecksumOffload})
		got, err := r.Peer.Receive(r.Timeout)
		if err != nil {
			t.Fatal(err)
		}
		differ := 0
		for i := range got {
			differ += bits.OnesCount8(got[i] ^ want[i])
		}
		if differ != int(seq%2) {
			t.Errorf("frame %d: %d bits differ, want %d", seq, differ, seq%2)
		}
	}
	r.finish()
}
