package check

import (
	"encoding/binary"

	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
)

const (
	// experimental is IEEE 802's EtherType for experiments, 0x88b5.
	experimental = 0x88b5
	// ptp is PTP over Ethernet: IEEE 1588, annex E.
	ptp = 0x88f7
	// shortest and longest are frames without their check sequence, at an MTU of
	// 1500 bytes.
	shortest, longest = 60, 1514
)

// other is a station that there is not.
var other = link.MAC{0x02, 0x6f, 0x6f, 0x62, 0x6e, 0x65}

// pattern makes a frame whose bytes are different at each place and for each seed.
func pattern(dst link.MAC, size int, seed byte) []byte {
	f := make([]byte, size)
	wire.PutEthernet(f, dst, other, 0, experimental)
	for i := wire.EthernetHeaderLen; i < size; i++ {
		f[i] = seed + byte(i*7) + byte(i>>8)
	}
	return f
}

// The ends of flows; RFC 5737 has the network for documentation.
const (
	srcIP, dstIP = 0xc0000201, 0xc0000202
	dstPort      = 9
)

// datagram makes a UDP frame; its checksum is whole, or partial for the NIC to
// complete.
func datagram(dst link.MAC, srcPort uint16, payload int, partial bool) []byte {
	f := make([]byte, wire.EthernetHeaderLen+wire.IPv4HeaderLen+wire.UDPHeaderLen+payload)
	n := wire.PutEthernet(f, dst, other, 0, wire.TypeIPv4)
	ip := f[n:]
	wire.PutIPv4(ip, srcIP, dstIP, 17, 64, 0, len(ip))
	udp := ip[wire.IPv4HeaderLen:]
	for i := wire.UDPHeaderLen; i < len(udp); i++ {
		udp[i] = byte(i) * 3
	}
	if partial {
		wire.PutUDPPartial(udp, srcIP, dstIP, srcPort, dstPort)
	} else {
		wire.PutUDP(udp, srcIP, dstIP, srcPort, dstPort)
	}
	return f
}

// udpOf is a datagram's UDP part.
func udpOf(frame []byte) []byte { return frame[wire.EthernetHeaderLen+wire.IPv4HeaderLen:] }

// toeplitz is the hash of RSS over addresses and ports of a flow: for each bit
// that is set, the 32 bits of the key that begin there.
func toeplitz(key *[40]byte, srcPort uint16) (hash uint32) {
	var input [12]byte
	binary.BigEndian.PutUint32(input[0:], srcIP)
	binary.BigEndian.PutUint32(input[4:], dstIP)
	binary.BigEndian.PutUint16(input[8:], srcPort)
	binary.BigEndian.PutUint16(input[10:], dstPort)
	for i, b := range input {
		window := binary.BigEndian.Uint64(key[i:])
		for bit := range 8 {
			if b&(0x80>>bit) != 0 {
				hash ^= uint32(window << bit >> 32)
			}
		}
	}
	return hash
}

// syncMessage makes a Sync message of PTP over Ethernet, 44 bytes of it: version 2.
func syncMessage(dst link.MAC, sequence byte) []byte {
	f := make([]byte, shortest)
	n := wire.PutEthernet(f, dst, other, 0, ptp)
	f[n+1], f[n+3], f[n+31] = 2, 44, sequence
	return f
}
