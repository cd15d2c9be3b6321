package loopback

import (
	"encoding/binary"

	headers "github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
)

// offloads says whether the device does what the flags of a frame to send ask for.
// It is as strict as the strictest NIC: nothing may stand behind a datagram.
func (q *queue) offloads(f *link.Frame) bool {
	with := q.link.with
	if f.Flags&link.FlagVLANStripped != 0 && (with&VLANInsert == 0 || int(f.Len)+headers.VLANTagLen > q.link.mtu+overhead) {
		return false
	}
	if f.Flags&link.FlagChecksumOffload == 0 {
		return true
	}
	b := q.mem.Bytes(*f)
	start, ok := headers.UDPStart(b)
	if !ok || with&TXChecksum == 0 {
		return false
	}
	h, ok := headers.ParseUDP(b[start:])
	return ok && start+h.Len == len(b)
}

// apply does to a frame, sent with the flags of out and copied into to, what the
// device of the sender does, and then what that of the receiver does. A buffer
// has room for the longest frame of the wire, so a tag always fits.
func (with Features) apply(out, in *link.Frame, to []byte) {
	if out.Flags&link.FlagChecksumOffload != 0 {
		headers.CompleteUDP(to[:in.Len]) // offloads has seen that it can
	}
	if out.Flags&link.FlagVLANStripped != 0 {
		_, n, _ := headers.InsertTag(to, 0, int(in.Len), out.VLAN)
		in.Len = uint16(n)
	}
	if with&RXChecksum != 0 {
		in.Flags |= checksums(to[:in.Len])
	}
	if h, ok := headers.ParseEthernet(to[:in.Len]); ok && h.Tagged && with&VLANStrip != 0 {
		in.Flags |= link.FlagVLANStripped
		in.VLAN = h.TCI
		in.Len = uint16(2*6 + copy(to[2*6:], to[2*6+headers.VLANTagLen:in.Len]))
	}
}

// checksums says what a device finds that looks at datagrams.
func checksums(b []byte) link.Flags {
	start, ok := headers.UDPStart(b)
	if !ok {
		return 0
	}
	at := headers.EthernetHeaderLen
	if binary.BigEndian.Uint16(b[2*6:]) == headers.TypeVLAN {
		at += headers.VLANTagLen
	}
	var ip headers.IPv4
	if bad := ip.Parse(b[at:], false); bad != headers.IPv4OK {
		return link.FlagChecksumBad
	}
	h, ok := headers.ParseUDP(b[start:])
	switch {
	case !ok || h.Checksum == 0:
		return 0
	case headers.UDPChecksumOK(b[start:][:h.Len], ip.Src, ip.Dst):
		return link.FlagChecksumGood
	}
	return link.FlagChecksumBad
}
