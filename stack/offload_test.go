package stack_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/stack"
)

const (
	checksum = link.FlagChecksumOffload
	tag      = link.FlagVLANStripped
	tagTCI   = 5<<wire.PCPShift | 100
)

// leave builds a datagram in a TX buffer and leaves to the device what the flags
// say; whole is what is to be on the wire.
func leave(t testing.TB, d *stack.Device, flags link.Flags, number byte) (f link.Frame, whole []byte) {
	t.Helper()
	f, err := d.Alloc()
	if err != nil {
		t.Fatal(err)
	}
	f.Off -= stack.HeaderRoom
	plain := packet{to: 7, payload: fmt.Sprintf("payload of number %d", number)}.frame()
	whole = bytes.Clone(plain)
	if flags&checksum != 0 {
		udp := plain[14+wire.IPv4HeaderLen:]
		udp = udp[:binary.BigEndian.Uint16(udp[4:])]
		wire.PutUDPPartial(udp, binary.BigEndian.Uint32(plain[26:]), binary.BigEndian.Uint32(plain[30:]),
			binary.BigEndian.Uint16(udp), binary.BigEndian.Uint16(udp[2:]))
		if bytes.Equal(plain, whole) {
			t.Fatal("nothing is left to do in the frame")
		}
	}
	f.Len = uint16(copy(d.Memory().Buffer(f.Index)[f.Off:], plain))
	f.Flags = flags
	if flags&tag != 0 {
		f.VLAN = tagTCI
		whole = tagged(whole)
	}
	return f, whole
}

// tagged is a frame with the tag.
func tagged(b []byte) []byte {
	room := make([]byte, len(b)+wire.VLANTagLen)
	wire.InsertTag(room, 0, copy(room, b), tagTCI)
	return room
}

// onWire is what a device makes of a frame that it was given.
func onWire(b []byte, m link.Meta) []byte {
	b = bytes.Clone(b)
	if m.Flags&checksum != 0 {
		wire.CompleteUDP(b)
	}
	if m.Flags&tag != 0 {
		b = tagged(b)
	}
	return b
}

// sentFrame is what a link should have been given: a frame that is whole on the
// wire, of which it has to do what the flags say.
type sentFrame struct {
	whole []byte
	left  link.Flags
}

// gaveLink checks what a link was given since the last call.
func gaveLink(t *testing.T, what string, q *fakeQueue, want ...sentFrame) {
	t.Helper()
	q.l.mu.Lock()
	defer q.l.mu.Unlock()
	if len(q.sent) != len(want) {
		t.Fatalf("%s: %d frames left, want %d", what, len(q.sent), len(want))
	}
	for i, w := range want {
		if got := onWire(q.sent[i], q.metas[i]); !bytes.Equal(got, w.whole) {
			t.Errorf("%s: frame %d on the wire:\n% x, want\n% x", what, i, got, w.whole)
		}
		if got := q.metas[i].Flags & (checksum | tag); got != w.left {
			t.Errorf("%s: frame %d leaves %#x to the link, want %#x", what, i, got, w.left)
		}
	}
	q.sent, q.metas = nil, nil
}

// wasShown checks what somebody was shown since the last call.
func wasShown(t *testing.T, who string, shown *[][]byte, want ...[]byte) {
	t.Helper()
	if len(*shown) != len(want) {
		t.Fatalf("%s was shown %d frames, want %d", who, len(*shown), len(want))
	}
	for i := range want {
		if got := (*shown)[i]; !bytes.Equal(got, want[i]) {
			t.Errorf("%s was shown\n% x, want\n% x", who, got, want[i])
		}
	}
	*shown = nil
}

// TestOffloads: what a link can do is left to it, unless somebody looks at what is
// sent; what it cannot is done here; and on the wire is the same.
func TestOffloads(t *testing.T) {
	for _, can := range []link.Flags{0, checksum, tag, checksum | tag} {
		t.Run(fmt.Sprintf("%#x", can), func(t *testing.T) {
			leaktest.Check(t)
			l := newFakeLink(1)
			l.caps.TXChecksum, l.caps.VLANInsert = can&checksum != 0, can&tag != 0
			h := fakeHost(t, l, manual())
			if got := h.Device.Offloads(); got != can {
				t.Fatalf("Offloads %#x, want %#x", got, can)
			}
			tap, recorder, q := new(testTap), new(testRecorder), l.queues[0]
			if err := h.Stack.RegisterTap(tap); err != nil {
				t.Fatal(err)
			}
			for _, flags := range []link.Flags{0, checksum, tag, checksum | tag} {
				left := flags & can
				f, whole := leave(t, h.Device, flags, 1)
				if err := h.Device.Send(f, 0, 0); err != nil {
					t.Fatal(err)
				}
				gaveLink(t, "Send", q, sentFrame{whole, left})
				f, whole = leave(t, h.Device, flags, 2)
				other, otherWhole := leave(t, h.Device, 0, 3)
				if n, err := h.Port.SendBatch([]link.Frame{f, other}, 0, 0); n != 2 || err != nil {
					t.Fatal(n, err)
				}
				gaveLink(t, "SendBatch", q, sentFrame{whole, left}, sentFrame{otherWhole, 0})

				if err := h.Device.Watch(tap, &stack.Watch{Sent: true}); err != nil {
					t.Fatal(err)
				}
				f, whole = leave(t, h.Device, flags, 4)
				if err := h.Device.Send(f, 0, 0); err != nil {
					t.Fatal(err)
				}
				gaveLink(t, "with an analyser", q, sentFrame{whole, 0})
				wasShown(t, "the analyser", &tap.sent, whole)
				if err := h.Device.Watch(tap, nil); err != nil {
					t.Fatal(err)
				}

				if err := h.Device.Record(recorder); err != nil {
					t.Fatal(err)
				}
				f, whole = leave(t, h.Device, flags, 5)
				if n, err := h.Device.SendBatch([]link.Frame{f}, 0, 0); n != 1 || err != nil {
					t.Fatal(n, err)
				}
				gaveLink(t, "recorded", q, sentFrame{whole, 0})
				wasShown(t, "the recorder", &recorder.sent, whole)
				h.Device.StopRecording(recorder)
			}
		})
	}
}

// TestOffloadsWait: a frame that waits is completed when it leaves, by what holds
// then, and one that the link had no room for is not completed twice.
func TestOffloadsWait(t *testing.T) {
	for name, order := range map[string]stack.Queueing{"FIFO": stack.FIFO, "strict": stack.StrictPriority, "own": &roundRobin{}} {
		t.Run(name, func(t *testing.T) {
			leaktest.Check(t)
			l := newFakeLink(1)
			l.caps.TXChecksum, l.caps.VLANInsert = true, true
			o := manual()
			o.Device.Queueing = order
			h := fakeHost(t, l, o)
			recorder, q := new(testRecorder), l.queues[0]
			l.set(func() { q.txRoom, q.hold = 0, true })
			var whole [6][]byte
			for i := range whole {
				var f link.Frame
				f, whole[i] = leave(t, h.Device, checksum|tag, byte(i))
				if err := h.Device.Send(f, 0, 0); err != nil {
					t.Fatal(err)
				}
			}
			h.Poll()
			gaveLink(t, "no room", q)
			l.set(func() { q.txRoom = 1 })
			h.Poll()
			gaveLink(t, "nobody looks", q, sentFrame{whole[0], checksum | tag})

			if err := h.Device.Record(recorder); err != nil {
				t.Fatal(err)
			}
			l.set(func() { q.txRoom = 2 })
			h.Poll()
			gaveLink(t, "recorded", q, sentFrame{whole[1], 0})
			wasShown(t, "the recorder", &recorder.sent, whole[1])
			h.Device.StopRecording(recorder)

			// The burst of which one left was completed whole; nothing is left to do
			// in the others.
			l.set(func() { q.txRoom, q.hold = 1024, false })
			q.complete()
			h.Poll()
			gaveLink(t, "the rest", q, sentFrame{whole[2], 0}, sentFrame{whole[3], 0}, sentFrame{whole[4], 0}, sentFrame{whole[5], 0})
		})
	}
}

// TestOffloadsUnsent: a recorder is shown what is not sent as it would have been.
func TestOffloadsUnsent(t *testing.T) {
	leaktest.Check(t)
	l := newFakeLink(1)
	l.caps.TXChecksum, l.caps.VLANInsert = true, true
	o := manual()
	o.Device.QueueLength = 1
	h := fakeHost(t, l, o)
	recorder := new(testRecorder)
	if err := h.Device.Record(recorder); err != nil {
		t.Fatal(err)
	}
	l.set(func() { l.queues[0].txRoom = 0 })
	f, _ := leave(t, h.Device, checksum|tag, 1)
	if err := h.Device.Send(f, 0, 0); err != nil {
		t.Fatal(err)
	}
	f, whole := leave(t, h.Device, checksum|tag, 2)
	if err := h.Device.Send(f, 0, 0); err == nil {
		t.Fatal("a full queue took a frame")
	}
	wasShown(t, "the recorder", &recorder.unsent, whole)
	h.Device.StopRecording(recorder)
}

// TestForwardStripped: a frame whose tag the device has taken out has it again
// when it is sent as it is.
func TestForwardStripped(t *testing.T) {
	for _, can := range []bool{false, true} {
		leaktest.Check(t)
		l := newFakeLink(1)
		l.caps.VLANInsert = can
		h := fakeHost(t, l, manual())
		if _, err := h.Device.EnablePort(&stack.PortConfig{VLAN: tagTCI & wire.VIDMask}); err != nil {
			t.Fatal(err)
		}
		if err := h.Stack.RegisterProtocol(stack.EtherType(testEtherType), newTestProtocol(func(b *stack.Batch) {
			for _, p := range b.Packets {
				p.Take()
				if err := b.Device.Send(p.Frame, 0, 0); err != nil {
					t.Error(err)
				}
			}
		})); err != nil {
			t.Fatal(err)
		}
		plain := make([]byte, 100)
		wire.PutEthernet(plain, fakeMAC, peerMAC, 0, testEtherType)
		l.arrive(plain, tag, tagTCI)
		h.Poll()
		left := tag
		if !can {
			left = 0
		}
		gaveLink(t, "forwarded", l.queues[0], sentFrame{tagged(plain), left})
		stacktest.AssertBooks(t, h.Device)
	}
}
