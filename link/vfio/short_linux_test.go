package vfio

import (
	"bytes"
	"testing"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/link"
)

// TestShortFrames sends what is shorter than a wire takes, out of buffers full of
// what somebody else has left there: zeros leave behind it, and nothing else.
func TestShortFrames(t *testing.T) {
	const wireMin, garbage = 60, 0xa5 // bytes; what is in the buffer
	onCards(t, func(t *testing.T, card string) {
		r := newRig(t, card, &Config{With: VLANStrip | VLANInsert})
		place := func(off, length int, meta link.Meta) link.Frame {
			f := link.Frame{Index: r.tx[len(r.tx)-1], Off: uint16(off), Len: uint16(length), Meta: meta}
			r.tx = r.tx[:len(r.tx)-1]
			b := r.mem.Buffer(f.Index)
			for i := range b {
				b[i] = garbage
			}
			copy(b[off:off+length], testFrame(otherMAC, nil))
			return f
		}
		send := func(f link.Frame) {
			t.Helper()
			if r.q.Send([]link.Frame{f}) != 1 {
				t.Fatal("Send took nothing")
			}
			if err := r.q.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		for _, length := range []int{14, 16, 17, 42, 59, 60, 61} {
			f := place(8, length, link.Meta{})
			send(f)
			want := append(testFrame(otherMAC, nil)[:length], make([]byte, max(0, wireMin-length))...)
			if got := r.leaves(); !bytes.Equal(got, want) {
				t.Errorf("of %d bytes left\n% x, want\n% x", length, got, want)
			}
			if b := r.mem.Buffer(f.Index); b[8-1] != garbage || b[8+max(length, wireMin)] != garbage {
				t.Errorf("of %d bytes more was written than what left", length)
			}
		}
		send(place(0, 42, link.Meta{Flags: link.FlagVLANStripped, VLAN: 7}))
		want := append(testFrame(otherMAC, []uint16{7})[:46], make([]byte, wireMin-42)...)
		if got := r.leaves(); !bytes.Equal(got, want) {
			t.Errorf("with a tag put in left\n% x, want\n% x", got, want)
		}
		// At the end of its buffer there is room for zeros, or the frame stays.
		before := r.q.Stats().TXInvalid
		send(place(2048-wireMin, 42, link.Meta{}))
		if got := r.leaves(); len(got) != wireMin || !bytes.Equal(got[42:], make([]byte, wireMin-42)) {
			t.Errorf("at the end of the buffer left % x", got)
		}
		send(place(2048-wireMin+1, 42, link.Meta{}))
		r.nothingLeaves()
		if n := r.q.Stats().TXInvalid - before; n != 1 {
			t.Errorf("TXInvalid rose by %d, want 1", n)
		}
	})
}

// TestShortChecksum: an 8254x must pad nothing, whatever it does beside.
func TestShortChecksum(t *testing.T) {
	leaktest.Check(t)
	r := newRig(t, "e1000", nil)
	want := udpFrame(otherMAC, 0)
	left := bytes.Clone(want[:14+36])
	left[14+20+6], left[14+20+7] = byte(pseudo(left[14:], 16)>>8), byte(pseudo(left[14:], 16))
	for i := range r.mem.Buffer(r.tx[len(r.tx)-1]) {
		r.mem.Buffer(r.tx[len(r.tx)-1])[i] = 0xa5
	}
	r.send(left, link.Meta{Flags: link.FlagChecksumOffload})
	if got := r.leaves(); !bytes.Equal(got, want) {
		t.Errorf("left\n% x, want\n% x", got, want)
	}
}
