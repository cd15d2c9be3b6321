package driver

import (
	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
)

// UDPChecksumAt is where the checksum stands in a UDP header, bytes.
const UDPChecksumAt = wire.UDPChecksumAt

// UDPStart finds the UDP header of a frame whose checksum a NIC is to complete.
func UDPStart(b []byte) (start int, ok bool) { return wire.UDPStart(b) }

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
