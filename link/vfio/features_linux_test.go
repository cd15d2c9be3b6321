package vfio

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/oobnet/oobnet/internal/clock"
	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/qtest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio/internal/bus/bustest"
	"github.com/oobnet/oobnet/stack"
)

var (
	otherMAC = link.MAC{0x52, 0x54, 0, 0, 0, 9}
	groupA   = link.MAC{0x01, 0, 0x5e, 1, 2, 3}
	groupB   = link.MAC{0x01, 0, 0x5e, 0x7f, 0xff, 0xfa}
	allOnes  = link.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
)

// TestFilters sees what a NIC receives as claims and application ask for it.
func TestFilters(t *testing.T) {
	onCards(t, func(t *testing.T, card string) {
		r := newRig(t, card, nil)
		check := func(when string, frame []byte, want bool) {
			t.Helper()
			if got := r.arrives(frame); got != want {
				t.Errorf("%s: a frame to % x (tag % x) came: %v, want %v", when, frame[:6], frame[12:16], got, want)
			}
		}
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		check("at first", testFrame(r.MAC(), nil), true)
		check("at first", testFrame(allOnes, nil), true)
		check("at first", testFrame(otherMAC, nil), false)
		check("at first", testFrame(groupA, nil), false)
		check("at first", testFrame(r.MAC(), []uint16{5}), true)

		must(r.Select(&link.Claims{
			IPv4: []link.ClaimIPv4{{Addr: [4]byte{10, 0, 0, 2}}, {VLAN: 7, Addr: [4]byte{224, 129, 2, 3}}},
		}))
		check("with a group", testFrame(groupA, nil), true)
		check("with a group", testFrame(groupB, nil), false)
		check("with VLAN 7", testFrame(r.MAC(), []uint16{7}), true)
		check("with VLAN 7", testFrame(r.MAC(), []uint16{5}), false)
		check("with VLAN 7", testFrame(r.MAC(), []uint16{0x6000}), true) // a priority alone
		must(r.Select(&link.Claims{Groups: []link.MAC{groupB}, VLANs: []uint16{4094}}))
		check("with another group", testFrame(groupA, nil), false)
		check("with another group", testFrame(groupB, nil), true)
		check("with VLAN 4094", testFrame(r.MAC(), []uint16{4094}), true)

		must(r.SetAllMulticast(true))
		check("with all multicast", testFrame(groupA, nil), true)
		check("with all multicast", testFrame(otherMAC, nil), false)
		must(r.SetAllMulticast(false))
		check("with all multicast off", testFrame(groupA, nil), false)

		must(r.SetUnicast([]link.MAC{otherMAC}))
		check("with a second address", testFrame(otherMAC, nil), true)
		check("with a second address", testFrame(r.MAC(), nil), true)
		must(r.SetUnicast(nil))
		check("without it", testFrame(otherMAC, nil), false)

		must(r.SetPromiscuous(true))
		check("promiscuous", testFrame(otherMAC, nil), true)
		check("promiscuous", testFrame(groupA, []uint16{9}), true)
		must(r.SetPromiscuous(false))
		check("promiscuous no more", testFrame(otherMAC, nil), false)

		// What is refused leaves what was.
		if err := r.Select(&link.Claims{VLANs: []uint16{4095}}); err == nil || !strings.Contains(err.Error(), "4095") {
			t.Errorf("VLAN 4095: %v", err)
		}
		if err := r.SetUnicast(make([]link.MAC, 200)); err == nil || !strings.Contains(err.Error(), "Promiscuous") {
			t.Errorf("200 addresses: %v", err)
		}
		check("after refusals", testFrame(groupB, nil), true)

		must(r.SetMAC(otherMAC))
		if r.MAC() != otherMAC {
			t.Errorf("MAC is %x after SetMAC", r.MAC())
		}
		check("with a new address", testFrame(otherMAC, nil), true)
		if err := r.SetMAC(groupA); err == nil {
			t.Error("a group's address was taken")
		}
	})
}

// TestReceiveChecksums: QEMU's 82574 looks at checksums, its 82540EM does not.
func TestReceiveChecksums(t *testing.T) {
	onCards(t, func(t *testing.T, card string) {
		r := newRig(t, card, nil)
		good, badUDP, badIP := udpFrame(r.MAC(), 0), udpFrame(r.MAC(), 0), udpFrame(r.MAC(), 0)
		badUDP[14+20+8]++
		badIP[14+10]++
		for _, c := range []struct {
			name  string
			frame []byte
			want  link.Flags
		}{
			{"good", good, link.FlagChecksumGood}, {"bad UDP", badUDP, link.FlagChecksumBad}, {"bad IPv4", badIP, link.FlagChecksumBad},
			{"no IPv4", testFrame(r.MAC(), nil), 0},
		} {
			if err := r.peer.Send(c.frame); err != nil {
				t.Fatal(err)
			}
			content, f := r.receive(wireTime)
			if content == nil {
				t.Fatalf("%s: did not come", c.name)
			}
			if f.Flags != c.want && (card != "e1000" || f.Flags != 0) {
				t.Errorf("%s: flags %#x, want %#x", c.name, f.Flags, c.want)
			}
		}
		if err := r.SetFeatures(TXChecksum); err != nil {
			t.Fatal(err)
		}
		if err := r.peer.Send(good); err != nil {
			t.Fatal(err)
		}
		if _, f := r.receive(wireTime); f.Flags != 0 {
			t.Errorf("switched off: flags %#x", f.Flags)
		}
	})
}

func TestSendChecksums(t *testing.T) {
	onCards(t, func(t *testing.T, card string) {
		r := newRig(t, card, nil)
		for _, vlan := range []uint16{0, 5, 5, 0} {
			// Without padding: QEMU takes its length for the datagram's.
			ip := 14
			if vlan != 0 {
				ip += 4
			}
			want := udpFrame(otherMAC, vlan)[:ip+36]
			left := bytes.Clone(want)
			binary.BigEndian.PutUint16(left[ip+20+6:], pseudo(left[ip:], 16))
			r.send(left, link.Meta{Flags: link.FlagChecksumOffload})
			if got := r.leaves(); !bytes.HasPrefix(got, want) { // which the NIC may pad
				t.Errorf("VLAN %d: left\n% x, want\n% x", vlan, got, want)
			}
		}
		before := r.q.Stats().TXInvalid
		r.send(testFrame(otherMAC, nil), link.Meta{Flags: link.FlagChecksumOffload}) // no UDP in it
		if err := r.SetFeatures(0); err != nil {
			t.Fatal(err)
		}
		r.send(udpFrame(otherMAC, 0), link.Meta{Flags: link.FlagChecksumOffload}) // switched off
		r.nothingLeaves()
		if got := r.q.Stats().TXInvalid - before; got != 2 {
			t.Errorf("TXInvalid rose by %d, want 2", got)
		}
	})
}

func TestVLANTags(t *testing.T) {
	onCards(t, func(t *testing.T, card string) {
		r := newRig(t, card, &Config{With: VLANStrip | VLANInsert})
		plain, tagged := testFrame(r.MAC(), nil), testFrame(r.MAC(), []uint16{0x6005})
		if err := r.peer.Send(tagged); err != nil {
			t.Fatal(err)
		}
		content, f := r.receive(wireTime)
		if !bytes.Equal(content, plain) || f.Flags&link.FlagVLANStripped == 0 || f.VLAN != 0x6005 {
			t.Errorf("received % x, flags %#x, tag %#x", content, f.Flags, f.VLAN)
		}
		if err := r.peer.Send(plain); err != nil {
			t.Fatal(err)
		}
		if content, f := r.receive(wireTime); !bytes.Equal(content, plain) || f.Flags&link.FlagVLANStripped != 0 {
			t.Errorf("received % x, flags %#x, of a frame without a tag", content, f.Flags)
		}
		r.send(plain, link.Meta{Flags: link.FlagVLANStripped, VLAN: 0x2007})
		if got, want := r.leaves(), testFrame(r.MAC(), []uint16{0x2007}); !bytes.Equal(got, want) {
			t.Errorf("left % x, want % x", got, want)
		}
		supported, on := r.Features()
		if supported&VLANStrip == 0 || on&VLANStrip == 0 {
			t.Errorf("features %#x, on %#x", supported, on)
		}
		if err := r.SetFeatures(RSS); !errors.Is(err, link.ErrNotSupported) && !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("a feature that the NIC has not: %v", err)
		}
	})
}

// TestTagsStayAsOpened: a frame's descriptor does not tell on every NIC whether its
// tag was taken out, so tags are not switched while there are frames on the rings.
func TestTagsStayAsOpened(t *testing.T) {
	const count = 5
	tags := VLANStrip | VLANInsert
	onCards(t, func(t *testing.T, card string) {
		for _, strip := range []bool{true, false} {
			cfg, want, flags := &Config{Without: tags}, testFrame(link.MAC{}, []uint16{7}), link.Flags(0)
			if strip {
				cfg, want, flags = &Config{With: tags}, testFrame(link.MAC{}, nil), link.FlagVLANStripped
			}
			r := newRig(t, card, cfg)
			mac := r.MAC()
			copy(want, mac[:])
			for range count {
				if err := r.peer.Send(testFrame(mac, []uint16{7})); err != nil {
					t.Fatal(err)
				}
			}
			r.await("the frames on the ring", func() bool { return r.Statistics().RXPackets == count })
			_, on := r.Features()
			if err := r.SetFeatures(on ^ tags); !errors.Is(err, link.ErrNotSupported) {
				t.Errorf("stripping %v: switched with frames on the ring: %v, want ErrNotSupported", strip, err)
			}
			if _, now := r.Features(); now != on {
				t.Errorf("stripping %v: what was refused left features %#x, want %#x", strip, now, on)
			}
			for i := range count {
				content, f := r.receive(wireTime)
				if !bytes.Equal(content, want) || f.Flags != flags || strip && f.VLAN != 7 {
					t.Errorf("stripping %v: frame %d is % x, flags %#x, tag %#x", strip, i, content, f.Flags, f.VLAN)
				}
			}
		}
	})
}

// TestMTU sends and receives the longest frames, and what is longer, at the
// usual MTU and at large ones.
func TestMTU(t *testing.T) {
	onCards(t, func(t *testing.T, card string) {
		for _, c := range []struct{ mtu, buffer int }{{1500, 2048}, {3000, 4096}, {9000, 16384}} {
			r := newRigOn(t, startCard(t, card), &Config{MTU: c.mtu}, c.buffer)
			longest := append(testFrame(r.MAC(), []uint16{1}), make([]byte, c.mtu-100+14)...)
			longest[len(longest)-1] = 3
			before := r.q.Stats()
			if !r.arrives(longest) {
				t.Errorf("MTU %d: a frame of %d bytes did not come", c.mtu, len(longest))
			}
			if c.mtu < 9000 && r.arrives(append(longest, 1)) {
				t.Errorf("MTU %d: a frame of %d bytes came", c.mtu, len(longest)+1)
			}
			// Spread over several buffers, if the NIC takes it.
			if c.mtu < 9000 && r.arrives(append(longest, make([]byte, c.buffer)...)) {
				t.Errorf("MTU %d: a frame of %d bytes came", c.mtu, len(longest)+c.buffer)
			}
			r.send(longest, link.Meta{})
			if got := r.leaves(); !bytes.Equal(got, longest) {
				t.Errorf("MTU %d: %d bytes left of %d", c.mtu, len(got), len(longest))
			}
			r.send(append(longest, 1), link.Meta{})
			r.nothingLeaves()
			if s := r.q.Stats(); s.TXInvalid != before.TXInvalid+1 {
				t.Errorf("MTU %d: TXInvalid is %d", c.mtu, s.TXInvalid)
			}
		}
	})
}

func TestStatistics(t *testing.T) {
	onCards(t, func(t *testing.T, card string) {
		r := newRig(t, card, nil)
		for range 3 {
			r.arrives(testFrame(allOnes, nil)) // and one behind it
			r.send(testFrame(otherMAC, nil), link.Meta{})
			r.leaves()
		}
		s := r.Statistics()
		if s.RXPackets != 6 || s.RXBroadcast != 3 || s.TXPackets != 3 || s.RXBytes < 600 || s.TXBytes < 300 {
			t.Errorf("after 6 and 3 frames of 100 bytes: %+v", s)
		}
		r.ResetStatistics()
		if s := r.Statistics(); s.RXPackets != 0 || s.TXBytes != 0 {
			t.Errorf("after a reset: %+v", s)
		}
		if mbits, full := r.Speed(); mbits != r.card.speed || !full {
			t.Errorf("the wire is %d Mbit/s, full duplex %v", mbits, full)
		}
	})
}

// TestQueried: what was asked for is what is told, queues, depths, features and
// times.
func TestQueried(t *testing.T) {
	leaktest.Check(t)
	for _, c := range []struct {
		name           string
		cfg            Config
		queues, rx, tx int
		on             Features
		headroom       int
	}{
		{"82574L", Config{}, 1, 512, 512, RXChecksum | TXChecksum, 0},
		{"82540EM", Config{RXDescriptors: 64, TXDescriptors: 32, Without: DefaultFeatures}, 1, 64, 32, 0, 0},
		{"82576", Config{Queues: 16, TXDescriptors: 4096}, 16, 512, 4096, DefaultFeatures, 0},
		{"82576", Config{Queues: 1, With: RXTime}, 1, 512, 512, RXChecksum | TXChecksum | RXTime, 0},
		{"I350", Config{Queues: 8, With: RXTime | VLANStrip | VLANInsert, Without: RSS}, 8, 512, 512, RXChecksum | TXChecksum | RXTime | VLANStrip | VLANInsert, 16},
	} {
		c.cfg.Interrupts, c.cfg.MAC = NoInterrupts, otherMAC
		l, _, err := OpenFree(c.name, &c.cfg)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		rx, tx := l.Depths()
		if l.Queues() != c.queues || rx != c.rx || tx != c.tx || l.MAC() != otherMAC {
			t.Errorf("%s: %d queues of %d and %d descriptors, %x", c.name, l.Queues(), rx, tx, l.MAC())
		}
		if _, on := l.Features(); on != c.on {
			t.Errorf("%s: features %#x, want %#x", c.name, on, c.on)
		}
		caps := l.Capabilities()
		if caps.RXChecksum != (c.on&RXChecksum != 0) || caps.TXChecksum != (c.on&TXChecksum != 0) || caps.VLANInsert != (c.on&VLANInsert != 0) ||
			(caps.RXClock == link.ClockMonotonic) != (c.on&RXTime != 0) || caps.RXHeadroom != c.headroom {
			t.Errorf("%s: %+v with features %#x", c.name, caps, c.on)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, _, err := OpenFree("I210", &Config{Interrupts: NoInterrupts, Queues: 5}); !errors.Is(err, link.ErrNotSupported) {
		t.Errorf("5 queues of an I210: %v", err)
	}
}

// TestSentAt: QEMU's 82576 tells when frames left that ask for it. In qtest its
// clock stands still, so that all have the time at which both clocks were read.
func TestSentAt(t *testing.T) {
	leaktest.Check(t)
	r := newRig(t, "igb", &Config{With: TXTime})
	if c := r.Capabilities(); c.TXClock != link.ClockMonotonic || c.RXClock != link.ClockNone {
		t.Errorf("clocks %v and %v", c.TXClock, c.RXClock)
	}
	before := clock.Now()
	for i, asks := range []bool{true, false, true} {
		var meta link.Meta
		if asks {
			meta.Flags = link.FlagTXTime
		}
		r.send(testFrame(otherMAC, nil), meta)
		r.leaves()
		var bufs [1]uint32
		r.await("the buffer to come back", func() bool { return r.q.Reclaim(bufs[:]) == 1 })
		times := []int64{7}
		r.SentAt(bufs[:], times)
		if asks && (times[0] < before || times[0] > clock.Now()) {
			t.Errorf("frame %d: sent at %d, want from %d to %d", i, times[0], before, clock.Now())
		}
		r.tx = append(r.tx, bufs[0])
	}
}

// TestStackSentAt: a record of a send has the NIC's time, after the kernel's clock
// has said that it was begun.
func TestStackSentAt(t *testing.T) {
	leaktest.Check(t)
	m := qtest.Start(t, qtest.Config{Device: "igb"})
	l, err := open(bustest.On(m), &Config{Queues: 1, With: TXTime})
	if err != nil {
		t.Fatal(err)
	}
	d := stacktest.On(t, l, netip.MustParsePrefix("10.0.0.1/24"), &stacktest.Options{NoPort: true}).Device
	stacktest.Eventually(t, "the wire is up", func() bool { return l.State() == link.Up && d.Fault() == nil })
	times := stack.NewTXTimes(stack.TimeTXHardware|stack.TimeTXDevice, 0)
	peer := &bustest.Peer{Machine: m}
	start := clock.Now()
	for range 3 {
		f, err := d.AllocWait(0, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		id := times.Begin(d, f.Index, clock.Now())
		f.Flags |= link.FlagTimed
		f.Len = uint16(copy(d.Memory().Buffer(f.Index)[f.Off:], testFrame(peerMAC, nil)))
		if err := d.Send(f, 0, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := peer.Receive(wireTime); err != nil {
			t.Fatal(err)
		}
		var got [1]stack.IOTimes
		stacktest.Eventually(t, "the record", func() bool { n, _ := times.Take(got[:]); return n == 1 })
		// QEMU's clock stands still: its time is that of the first reading of both clocks.
		if r := got[0]; r.ID != id || r.Clock != link.ClockMonotonic || r.Hardware < start || r.Hardware > clock.Now() || r.Device < start {
			t.Errorf("record %+v, of send %d after %d", r, id, start)
		}
	}
	stacktest.AssertBooks(t, d)
}
