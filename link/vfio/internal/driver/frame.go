package driver

import (
	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
)

// UDPChecksumAt is where the checksum stands in a UDP header, bytes.
const UDPChecksumAt = wire.UDPChecksumAt

// UDPStart finds the UDP header of a frame whose checksum a NIC is to complete.
func UDPStart(b []byte) (start int, ok bool) { return wire.UDPStart(b) }

// MinFrame is the shortest frame that a wire takes, without its check sequence,
// bytes (IEEE Std 802.3, 4A.4.2).
const MinFrame = 60

// Pad makes a short frame MinFrame long, by zeros behind it in its buffer, and
// returns that. NICs pad, too, but an 8254x may spoil what it pads, the others want
// 17 bytes to begin with (82574 7.2.10, 82576 7.2.2), and with what they fill the
// rest they do not say.
func Pad(mem *link.Memory, f *link.Frame) uint64 {
	clear(mem.Buffer(f.Index)[int(f.Off)+int(f.Len):][:MinFrame-int(f.Len)])
	return MinFrame
}

// Checksums says what a NIC has found in a received frame, of which w is the
// descriptor: good only if it looked at both IPv4's and what is above (ip, l4),
// bad if one is (82574 7.1.10, 82576 7.1.11).
//
//oobnet:hot
func Checksums(w, ip, l4, bad uint64) link.Flags {
	switch {
	case w&(ip|l4) == 0:
		return 0
	case w&bad != 0:
		return link.FlagChecksumBad
	case w&(ip|l4) == ip|l4:
		return link.FlagChecksumGood
	}
	return 0
}
