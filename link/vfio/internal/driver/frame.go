package driver

// UDPChecksumAt is where the checksum stands in a UDP header (RFC 768), bytes.
const UDPChecksumAt = 6

// UDPStart finds the UDP header of an Ethernet frame, tagged once or not, for a
// NIC that is to complete its checksum. It reports false if the frame is not
// UDP in unfragmented IPv4, or is cut short.
func UDPStart(b []byte) (start int, ok bool) {
	const (
		header, tag = 14, 4 // bytes
		minIPv4     = 20
		udpHeader   = 8
		udp         = 17
	)
	at := header
	if len(b) >= header+tag && b[12] == 0x81 && b[13] == 0 {
		at += tag
	}
	if len(b) < at+minIPv4+udpHeader || b[at-2] != 8 || b[at-1] != 0 {
		return 0, false
	}
	length := int(b[at]&15) * 4
	fragmented := b[at+6]&0x3f != 0 || b[at+7] != 0 // more fragments, or an offset
	if b[at]>>4 != 4 || length < minIPv4 || b[at+9] != udp || fragmented || len(b) < at+length+udpHeader {
		return 0, false
	}
	return at + length, true
}
