package stack

import (
	"iter"

	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
)

// Two things can be left to do in a frame to send: its UDP checksum
// (link.FlagChecksumOffload) and its VLAN tag (link.FlagVLANStripped). The device
// does them where it can. Where it cannot, and where somebody looks at what is
// sent, the owner of the TX queue does, before the link gets the frame: so
// whoever sees a frame that was sent sees what is on the wire.

// offloads are the flags that say so.
const offloads = link.FlagChecksumOffload | link.FlagVLANStripped

// offloadsOf are those that a link honours.
func offloadsOf(c link.Capabilities) (f link.Flags) {
	if c.TXChecksum {
		f |= link.FlagChecksumOffload
	}
	if c.VLANInsert {
		f |= link.FlagVLANStripped
	}
	return f
}

// Offloads returns the flags by which a sender can leave work to the device:
// link.FlagChecksumOffload for the UDP checksum, of a frame with nothing behind
// the datagram, and link.FlagVLANStripped for the tag. It does not change. Others
// are honoured too, but the processor of the sender does the work then, and later
// than it could have. Cheap enough for a call each packet.
//
//oobnet:hot
func (d *Device) Offloads() link.Flags { return d.offloads }

// prepare does what is left to do in frames that are about to be given to the link
// and cannot be left to it. Their buffers are the caller's.
//
//oobnet:hot
func (t *txQueue) prepare(frames []link.Frame) {
	var left link.Flags
	for i := range frames {
		left |= frames[i].Flags
	}
	if left&offloads == 0 {
		return
	}
	undone := t.undone()
	for i := range frames {
		if frames[i].Flags&undone != 0 {
			t.dev.complete(&frames[i], undone)
		}
	}
}

// prepared is prepare for one frame.
func (t *txQueue) prepared(f link.Frame) link.Frame {
	if undone := t.undone(); f.Flags&undone != 0 {
		t.dev.complete(&f, undone)
	}
	return f
}

// undone are the flags of what is not left to the link: what it cannot do, or all
// while somebody looks.
func (t *txQueue) undone() link.Flags {
	if t.dev.recorders.Load() != nil || t.dev.watchers.Load().wantsSent() {
		return offloads
	}
	return t.software
}

// wholes goes over those frames in which nothing was left to the device: all of
// them, but for what was prepared before somebody looked. That was sent, as far as
// they can tell, before they came.
func wholes(frames []link.Frame) iter.Seq[[]link.Frame] {
	return func(yield func([]link.Frame) bool) {
		for len(frames) > 0 {
			n := 0
			for n < len(frames) && frames[n].Flags&offloads == 0 {
				n++
			}
			if n > 0 && !yield(frames[:n]) {
				return
			}
			frames = frames[min(n+1, len(frames)):]
		}
	}
}

// complete does what some of a frame's flags leave to do. Its buffer is the
// caller's. What it cannot do the link will refuse, and count. It also tells the
// buffer's entry in queued, from which a frame is taken again that the link had no
// room for.
func (d *Device) complete(f *link.Frame, flags link.Flags) {
	if !d.mem.Valid(*f) {
		return
	}
	flags &= f.Flags
	if flags&link.FlagChecksumOffload != 0 && wire.CompleteUDP(d.mem.Bytes(*f)) {
		f.Flags &^= link.FlagChecksumOffload
	}
	if flags&link.FlagVLANStripped != 0 {
		if off, n, ok := wire.InsertTag(d.mem.Buffer(f.Index), int(f.Off), int(f.Len), f.VLAN); ok {
			f.Off, f.Len, f.VLAN = uint16(off), uint16(n), 0
			f.Flags &^= link.FlagVLANStripped
		}
	}
	q := &d.queued[f.Index]
	q.Off, q.Len, q.VLAN = f.Off, f.Len, f.VLAN
	q.Flags = q.Flags&^offloads | f.Flags&offloads
}
