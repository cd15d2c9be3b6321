package stack

import (
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
// than it could have. Hot enough for each packet.
//
//oobnet:hot
func (d *Device) Offloads() link.Flags { return d.offloads }

// complete does what is left to do in a frame whose buffer is the caller's. What
// it cannot do the link will refuse, and count. It also tells the buffer's entry
// in queued, from which a frame is taken again that the link had no room for.
func (d *Device) complete(f *link.Frame) {
	if !d.mem.Valid(*f) {
		return
	}
	if f.Flags&link.FlagChecksumOffload != 0 && wire.CompleteUDP(d.mem.Bytes(*f)) {
		f.Flags &^= link.FlagChecksumOffload
	}
	if f.Flags&link.FlagVLANStripped != 0 {
		if off, n, ok := wire.InsertTag(d.mem.Buffer(f.Index), int(f.Off), int(f.Len), f.VLAN); ok {
			f.Off, f.Len, f.VLAN = uint16(off), uint16(n), 0
			f.Flags &^= link.FlagVLANStripped
		}
	}
	q := &d.queued[f.Index]
	q.Off, q.Len, q.VLAN = f.Off, f.Len, f.VLAN
	q.Flags = q.Flags&^offloads | f.Flags&offloads
}

// completeAll does so for those of several frames that have one of the flags.
//
//oobnet:hot
func (t *txQueue) completeAll(frames []link.Frame, flags link.Flags) {
	for i := range frames {
		if frames[i].Flags&flags != 0 {
			t.dev.complete(&frames[i])
		}
	}
}
