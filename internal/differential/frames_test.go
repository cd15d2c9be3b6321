package differential

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"

	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
)

// datagram is a UDP datagram of the peer's in a frame.
type datagram struct {
	dstMAC   link.MAC
	src, dst netip.Addr
	to       uint16
	payload  int // bytes
	options  int // words of IPv4 options (NOP)
}

func (d datagram) frame() []byte {
	if d.dstMAC == (link.MAC{}) {
		d.dstMAC = hostMAC
	}
	if !d.src.IsValid() {
		d.src = peerAddr
	}
	if !d.dst.IsValid() {
		d.dst = hostAddr
	}
	head := wire.IPv4HeaderLen + 4*d.options
	b := make([]byte, 14+head+wire.UDPHeaderLen+d.payload, 1600)
	wire.PutEthernet(b[:18], d.dstMAC, peerMAC, 0, wire.TypeIPv4)
	ip := b[14:]
	wire.PutIPv4(ip, num(d.src), num(d.dst), wire.ProtocolUDP, 64, 0, len(ip))
	ip[0] = 0x40 | byte(head/4)
	for i := wire.IPv4HeaderLen; i < head; i++ {
		ip[i] = 1
	}
	for i := range d.payload {
		ip[head+wire.UDPHeaderLen+i] = byte(i*7 + d.payload)
	}
	wire.PutUDP(ip[head:], num(d.src), num(d.dst), 1234, d.to)
	sealIPv4(b)
	return b
}

// sealIPv4 makes the header's checksum right, if there is a header.
func sealIPv4(b []byte) {
	if len(b) < 14+wire.IPv4HeaderLen || binary.BigEndian.Uint16(b[12:]) != wire.TypeIPv4 {
		return
	}
	ip := b[14:]
	n := min(max(int(ip[0]&0xf)*4, wire.IPv4HeaderLen), len(ip))
	ip[10], ip[11] = 0, 0
	binary.BigEndian.PutUint16(ip[10:], ^wire.Fold(wire.Sum(ip[:n], 0)))
}

// sealUDP makes the datagram's checksum right, if there is a whole one.
func sealUDP(b []byte) {
	h, bad := wire.ParseIPv4(b[min(14, len(b)):], true)
	if bad != wire.IPv4OK || h.Protocol != wire.ProtocolUDP || h.Fragment {
		return
	}
	t := b[14+h.HeaderLen : 14+h.TotalLen]
	if u, ok := wire.ParseUDP(t); ok {
		wire.PutUDP(t[:u.Len], h.Src, h.Dst, u.SrcPort, u.DstPort)
	}
}

// change returns a frame changed by f, its IPv4 checksum made right.
func change(b []byte, f func(b []byte)) []byte {
	b = append(make([]byte, 0, 1600), b...)
	f(b)
	sealIPv4(b)
	return b
}

// fragments cuts a frame's packet into pieces of size bytes, a multiple of 8.
func fragments(b []byte, size int, id uint16) (frames [][]byte) {
	payload := b[34:]
	for off := 0; off < len(payload); off += size {
		piece := payload[off:min(off+size, len(payload))]
		f := append(append(make([]byte, 0, 1600), b[:34]...), piece...)
		field := uint16(off / 8)
		if off+size < len(payload) {
			field |= wire.FlagMF
		}
		binary.BigEndian.PutUint16(f[16:], uint16(wire.IPv4HeaderLen+len(piece)))
		binary.BigEndian.PutUint16(f[18:], id)
		binary.BigEndian.PutUint16(f[20:], field)
		sealIPv4(f)
		frames = append(frames, f)
	}
	return frames
}

func arpRequest(target netip.Addr, dst link.MAC) []byte {
	b := make([]byte, wire.MinFrame, 1600)
	n := wire.PutEthernet(b, dst, peerMAC, 0, wire.TypeARP)
	wire.PutARP(b[n:], wire.ARP{Op: wire.ARPRequest, SenderMAC: peerMAC, SenderIP: num(peerAddr), TargetIP: num(target)})
	return b
}

var (
	toGroup     = datagram{to: port, dst: group, dstMAC: wire.MulticastMAC(group.As4()), payload: 12}
	toAll       = datagram{to: port, dst: netip.MustParseAddr("255.255.255.255"), dstMAC: wire.BroadcastMAC, payload: 3}
	toNetwork   = datagram{to: port, dst: netip.MustParseAddr("10.0.0.255"), dstMAC: wire.BroadcastMAC, payload: 4}
	toNobody    = datagram{to: 8, payload: 40}
	withOptions = datagram{to: port, payload: 9, options: 2}
)

// good frames, each in itself what a host has to answer or deliver, or a piece
// of it.
func good() (frames [][]byte) {
	for _, n := range []int{0, 1, 2, 17, 18, 100, 1471, 1472} {
		frames = append(frames, datagram{to: port, payload: n}.frame())
	}
	for _, d := range []datagram{toGroup, toAll, toNetwork, toNobody, withOptions} {
		frames = append(frames, d.frame())
	}
	frames = append(frames,
		change(datagram{to: port, payload: 5}.frame(), func(b []byte) { b[40], b[41] = 0, 0 }), // no checksum
		change(datagram{to: port, payload: 5}.frame(), func(b []byte) { b[22] = 0 }),           // TTL 0
		change(datagram{to: port, payload: 5}.frame(), func(b []byte) { b[15] = 0xb8 }),        // TOS
		change(datagram{to: port, payload: 5}.frame(), func(b []byte) { b[23] = 99 }),          // protocol 99
		append(datagram{to: port, payload: 1}.frame(), make([]byte, 17)...),                    // padding
		echo(1, 1), arpRequest(hostAddr, wire.BroadcastMAC), arpRequest(hostAddr, hostMAC), arpRequest(peerAddr, wire.BroadcastMAC),
	)
	frames = append(frames, fragments(datagram{to: port, payload: 100}.frame(), 32, 77)...)
	frames = append(frames, fragments(datagram{to: 8, payload: 60}.frame(), 40, 78)...)
	return frames
}

// values that headers are wrong with in practice.
var values = []uint16{0, 1, 7, 8, 19, 20, 21, 0x7f, 0x80, 0xff, 0x100, 1472, 1500, 0x4000, 0x2000, 0x8000, 0xffff}

// mutate damages a frame by the dice, and sometimes makes its checksums right
// again, so that the damage gets further.
func mutate(r *rand.Rand, b []byte) []byte {
	b = append(make([]byte, 0, 1600), b...)
	for range 1 + r.IntN(3) {
		switch r.IntN(6) {
		case 0: // a bit
			i := r.IntN(len(b) * 8)
			b[i/8] ^= 1 << (i % 8)
		case 1: // a bit of a header
			i := r.IntN(min(len(b), 50) * 8)
			b[i/8] ^= 1 << (i % 8)
		case 2: // a field of a header
			i := r.IntN(min(len(b), 50)/2) * 2
			if i+2 <= len(b) {
				binary.BigEndian.PutUint16(b[i:], values[r.IntN(len(values))])
			}
		case 3: // cut off; the wire carries nothing shorter than a header
			b = b[:14+r.IntN(len(b)-13)]
		case 4: // padded
			b = b[:min(len(b)+1+r.IntN(40), 1514)]
		case 5: // another address
			if len(b) >= 34 {
				copy(b[26+4*r.IntN(2):], oddAddrs[r.IntN(len(oddAddrs))])
			}
		}
		if len(b) < 15 {
			break
		}
	}
	if r.IntN(4) > 0 {
		sealUDP(b)
	}
	if r.IntN(4) > 0 {
		sealIPv4(b)
	}
	return b
}

// oddAddrs are addresses with a meaning of their own.
var oddAddrs = [][]byte{
	{0, 0, 0, 0}, {10, 0, 0, 1}, {10, 0, 0, 2}, {10, 0, 0, 0}, {10, 0, 0, 255}, {127, 0, 0, 1}, {224, 0, 0, 1},
	{239, 1, 2, 3}, {240, 0, 0, 1}, {255, 255, 255, 255}, {10, 0, 0, 77}, {192, 168, 1, 1}, {169, 254, 0, 1},
}
