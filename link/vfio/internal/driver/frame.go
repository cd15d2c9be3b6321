package driver

import "github.com/oobnet/oobnet/internal/wire"

// UDPChecksumAt is where the checksum stands in a UDP header, bytes.
const UDPChecksumAt = wire.UDPChecksumAt

// UDPStart finds the UDP header of a frame whose checksum a NIC is to complete.
func UDPStart(b []byte) (start int, ok bool) { return wire.UDPStart(b) }
