package bench

import (
	"encoding/binary"
	"net/netip"

	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
)

// Addresses of the in-memory contests: 198.18.0.0/15 is set aside for
// benchmarks (RFC 2544, RFC 5735).
var (
	ownMAC   = link.MAC{0x02, 0, 0, 0, 0, 1}
	peerMAC  = link.MAC{0x02, 0, 0, 0, 0, 2}
	ownAddr  = netip.MustParseAddr("198.18.0.1")
	peerAddr = netip.MustParseAddr("198.18.0.2")
	ownNet   = netip.MustParsePrefix("198.18.0.1/15")
)

// Ports of the in-memory contests: the first socket's and the sender's.
const (
	firstPort = 2000
	peerPort  = 1999
)

// udpFrame builds an Ethernet frame of a UDP datagram with a full checksum.
func udpFrame(dst, src link.MAC, from, to netip.AddrPort, payload []byte) []byte {
	f := make([]byte, wire.EthernetHeaderLen+wire.IPv4HeaderLen+wire.UDPHeaderLen+len(payload))
	n := wire.PutEthernet(f, dst, src, 0, wire.TypeIPv4)
	srcIP, dstIP := ip32(from.Addr()), ip32(to.Addr())
	n += wire.PutIPv4(f[n:], srcIP, dstIP, wire.ProtocolUDP, 64, 0, len(f)-n)
	copy(f[n+wire.UDPHeaderLen:], payload)
	wire.PutUDP(f[n:], srcIP, dstIP, from.Port(), to.Port())
	return f
}

func ip32(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

// payload is size bytes that are not all alike.
func payload(size int) []byte {
	p := make([]byte, size)
	for i := range p {
		p[i] = byte(i*7 + 1)
	}
	return p
}

// dstPortOffset is where a frame without options has its destination port.
const dstPortOffset = wire.EthernetHeaderLen + wire.IPv4HeaderLen + 2

// setDstPort changes a frame's destination port and mends the checksum
// (RFC 1624, equation 3).
func setDstPort(frame []byte, port uint16) {
	p := frame[dstPortOffset:]
	old := binary.BigEndian.Uint16(p)
	binary.BigEndian.PutUint16(p, port)
	c := p[4:]
	sum := uint64(^binary.BigEndian.Uint16(c)) + uint64(^old) + uint64(port)
	sum16 := ^wire.Fold(sum)
	if sum16 == 0 {
		sum16 = 0xffff
	}
	binary.BigEndian.PutUint16(c, sum16)
}

// The two ends of the in-memory contests.
var (
	ownEnd  = netip.AddrPortFrom(ownAddr, firstPort)
	peerEnd = netip.AddrPortFrom(peerAddr, peerPort)
)
