package differential

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"

	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
)

// difference is one that is allowed.
type difference struct {
	name, reason string
	// fits says whether a frame and what came of it is of this kind.
	fits func(f []byte, ours, theirs outcome) bool
	// shown is some frames, the last of which shows it.
	shown func() [][]byte
}

// oneFrame is a shown of one frame.
func oneFrame(f []byte) func() [][]byte { return func() [][]byte { return [][]byte{f} } }

var differences = []difference{
	{
		"foreign station",
		"gVisor leaves it to hardware to take only frames for its station",
		func(f []byte, ours, _ outcome) bool {
			return ours.nothing() && f[0]&1 == 0 && link.MAC(f[:6]) != hostMAC
		},
		oneFrame(change(datagram{to: port}.frame(), func(b []byte) { b[5] = 9 })),
	},
	{
		"unicast in a group frame",
		"a packet for one host in a frame for many is to be dropped (RFC 1122, section 3.3.6): gVisor takes it",
		func(f []byte, ours, _ outcome) bool {
			h, ok := ipv4Of(f)
			return ok && ours.nothing() && f[0]&1 == 1 && h.Dst == num(hostAddr)
		},
		oneFrame(datagram{to: port, dstMAC: wire.BroadcastMAC}.frame()),
	},
	{
		"martian source",
		"nobody can have such an address (RFC 1122, section 3.2.1.3): gVisor drops only some of them",
		func(f []byte, ours, _ outcome) bool {
			h, ok := ipv4Of(f)
			return ok && ours.nothing() && (h.Src>>24 == 0 || h.Src>>24 == 127 || h.Src>>28 >= 0xe)
		},
		oneFrame(change(datagram{to: port}.frame(), func(b []byte) { copy(b[26:], []byte{240, 0, 0, 1}); sealUDP(b) })),
	},
	{
		"group that the socket did not join",
		"a datagram to a group is for the sockets that joined it; gVisor gives it to any, once the host is in the group, as it is in 224.0.0.1",
		func(f []byte, ours, _ outcome) bool {
			h, ok := ipv4Of(f)
			return ok && ours.nothing() && h.Dst>>28 == 0xe && h.Dst != num(group)
		},
		oneFrame(datagram{to: port, dst: netip.MustParseAddr("224.0.0.1"), dstMAC: wire.MulticastMAC([4]byte{224, 0, 0, 1})}.frame()),
	},
	{
		"echo to a group",
		"one request would bring answers from all members (RFC 1122, section 3.2.2.6, allows silence)",
		func(f []byte, ours, _ outcome) bool {
			h, ok := ipv4Of(f)
			return ok && ours.nothing() && h.Protocol == wire.ProtocolICMP && (h.Dst == num(group) || h.Dst == num(toNetwork.dst) || h.Dst == num(toAll.dst))
		},
		oneFrame(icmpEcho(8, peerMAC, wire.MulticastMAC(group.As4()), peerAddr, group, 1, 1)),
	},
	{
		"ARP of nobody",
		"a group or the broadcast address is no station and no host, and who has ours is an impostor: gVisor answers to them",
		func(f []byte, ours, _ outcome) bool {
			a, ok := arpOf(f)
			return ok && ours.nothing() && (a.SenderMAC[0]&1 == 1 || a.SenderMAC == hostMAC ||
				a.SenderIP == num(hostAddr) || a.SenderIP == num(toNetwork.dst) || a.SenderIP>>28 >= 0xe || a.SenderIP>>24 == 127)
		},
		oneFrame(change(arpRequest(hostAddr, wire.BroadcastMAC), func(b []byte) { b[22] |= 1 })),
	},
	{
		"ARP for the broadcast address",
		"nobody has it: gVisor says that it does",
		func(f []byte, ours, _ outcome) bool {
			a, ok := arpOf(f)
			return ok && ours.nothing() && (a.TargetIP == num(toNetwork.dst) || a.TargetIP == num(hostNet.Masked().Addr()))
		},
		oneFrame(arpRequest(toNetwork.dst, wire.BroadcastMAC)),
	},
	{
		"what follows the datagram in a quote",
		"an ICMP error quotes as much of the packet as there is (RFC 1812, section 4.3.2.3); gVisor leaves out what the UDP length leaves out",
		func(f []byte, ours, theirs outcome) bool {
			h, ok := ipv4Of(f)
			if !ok || len(ours.answers) != 1 || len(theirs.answers) != 1 || len(ours.delivered)+len(theirs.delivered) > 0 {
				return false
			}
			u, ok := wire.ParseUDP(f[14+h.HeaderLen : 14+h.TotalLen])
			return ok && u.Len < h.TotalLen-h.HeaderLen && strings.HasPrefix(ours.answers[0], theirs.answers[0])
		},
		oneFrame(change(toNobody.frame(), func(b []byte) { b[39] -= 5; sealUDP(b) })),
	},
	{
		"options in a fragment",
		"gVisor looks at the options of each fragment and answers when they are wrong; ours looks at the whole datagram's, if it becomes whole",
		func(f []byte, ours, _ outcome) bool {
			h, ok := ipv4Of(f)
			return ok && ours.nothing() && h.Fragment && h.HeaderLen > wire.IPv4HeaderLen
		},
		oneFrame(change(fragments(datagram{to: 8, payload: 60}.frame(), 40, 79)[1], func(b []byte) { b[14] = 0x47 })),
	},
	{
		"checksum in a quoted header",
		"gVisor quotes the header of a reassembled datagram with a length that its checksum does not fit",
		func(_ []byte, ours, theirs outcome) bool {
			return !slices.Equal(ours.answers, theirs.answers) &&
				slices.Equal(ours.delivered, theirs.delivered) && slices.Equal(unsummed(ours.answers), unsummed(theirs.answers))
		},
		func() [][]byte { return fragments(datagram{to: 8, payload: 60}.frame(), 40, 78) },
	},
}

// ipv4Of is the IPv4 header of an untagged frame.
func ipv4Of(f []byte) (h wire.IPv4, ok bool) {
	if len(f) < 14 || binary.BigEndian.Uint16(f[12:]) != wire.TypeIPv4 {
		return h, false
	}
	h, bad := wire.ParseIPv4(f[14:], true)
	return h, bad == wire.IPv4OK
}

// arpOf is the ARP packet of an untagged frame.
func arpOf(f []byte) (a wire.ARP, ok bool) {
	if len(f) < 14 || binary.BigEndian.Uint16(f[12:]) != wire.TypeARP {
		return a, false
	}
	return wire.ParseARP(f[14:])
}

func (o outcome) nothing() bool { return len(o.delivered)+len(o.answers) == 0 }

// unsummed takes the checksum of the quoted header out of ICMP errors: 2 bytes
// at 10 behind the 4 that follow ICMP's own checksum.
func unsummed(answers []string) (out []string) {
	const at, size = 2 * (4 + 10), 2 * 2 // digits
	for _, a := range answers {
		if head, hex, ok := strings.Cut(a, ": "); ok && strings.HasPrefix(a, "ICMP 3/") && len(hex) > at+size {
			a = head + ": " + hex[:at] + hex[at+size:]
		}
		out = append(out, a)
	}
	return out
}

// listed returns the difference that fits, or nil.
func listed(f []byte, a, b outcome) *difference {
	for i := range differences {
		if differences[i].fits(f, a, b) {
			return &differences[i]
		}
	}
	return nil
}
