package stack

import "fmt"

// Reason says why a frame was dropped, or why it was demoted to the in-band
// stage. Every frame that is not delivered to a socket is counted under one.
type Reason uint8

// Reasons. Which of them drop and which demote stands with each.
const (
	// ReasonTruncated drops: the frame or the packet in it is shorter than its headers.
	ReasonTruncated Reason = iota
	// ReasonForeignMAC drops: a unicast frame to another station.
	ReasonForeignMAC
	// ReasonNoPort drops: no port is enabled for the frame's VLAN.
	ReasonNoPort
	// ReasonEtherType drops: no protocol is registered for the EtherType.
	ReasonEtherType
	// ReasonIPv4Header drops: version, header length or total length is wrong.
	ReasonIPv4Header
	// ReasonIPv4Checksum drops.
	ReasonIPv4Checksum
	// ReasonMartian drops: a source or destination address that cannot be on a wire.
	ReasonMartian
	// ReasonForeignIPv4 drops: a destination that is none of ours.
	ReasonForeignIPv4
	// ReasonNotMember drops: a group that nobody joined.
	ReasonNotMember
	// ReasonUDPLength drops: the UDP length does not fit the packet.
	ReasonUDPLength
	// ReasonChecksum drops: the transport checksum is wrong.
	ReasonChecksum
	// ReasonSocketFull drops: the reader is slow and its quota used up.
	ReasonSocketFull
	// ReasonInBandFull drops: the queue to the in-band stage was full.
	ReasonInBandFull
	// ReasonClosed drops: the socket closed while the packet was on its way.
	ReasonClosed
	// ReasonFilter drops: the device's filter said so.
	ReasonFilter
	// ReasonFilterError drops: the filter said what is no verdict, or failed.
	ReasonFilterError
	// ReasonForward drops: the filter sent the frame to a device that is not
	// there, is down, or has no buffer.
	ReasonForward

	// ReasonARP demotes.
	ReasonARP
	// ReasonInBandProtocol demotes: ICMP, IGMP, TCP and other IPv4 protocols.
	ReasonInBandProtocol
	// ReasonFragment demotes: reassembly allocates and keeps timers.
	ReasonFragment
	// ReasonOptions demotes: an IPv4 header with options.
	ReasonOptions
	// ReasonSkipped demotes: the device's filter left the frame to the host,
	// which on a link of ours is the in-band stage.
	ReasonSkipped
	// ReasonNoSocket demotes: the in-band stage answers port unreachable.
	ReasonNoSocket

	reasons
)

var reasonNames = [reasons]string{
	ReasonTruncated:      "truncated",
	ReasonForeignMAC:     "foreign_mac",
	ReasonNoPort:         "no_port",
	ReasonEtherType:      "ether_type",
	ReasonIPv4Header:     "ipv4_header",
	ReasonIPv4Checksum:   "ipv4_checksum",
	ReasonMartian:        "martian",
	ReasonForeignIPv4:    "foreign_ipv4",
	ReasonNotMember:      "not_member",
	ReasonUDPLength:      "udp_length",
	ReasonChecksum:       "checksum",
	ReasonSocketFull:     "socket_full",
	ReasonInBandFull:     "in_band_full",
	ReasonClosed:         "closed",
	ReasonFilter:         "filter",
	ReasonFilterError:    "filter_error",
	ReasonForward:        "forward",
	ReasonARP:            "arp",
	ReasonInBandProtocol: "in_band_protocol",
	ReasonFragment:       "fragment",
	ReasonOptions:        "options",
	ReasonSkipped:        "skipped",
	ReasonNoSocket:       "no_socket",
}

// String returns the name that statistics use.
func (r Reason) String() string {
	if r < reasons {
		return reasonNames[r]
	}
	return fmt.Sprintf("reason(%d)", uint8(r))
}

// Reasons counts frames by reason.
type Reasons [reasons]uint64

// Total is the sum over all reasons.
func (r *Reasons) Total() (n uint64) {
	for _, c := range r {
		n += c
	}
	return n
}

// Map returns the reasons that were counted, by name.
func (r Reasons) Map() map[string]uint64 {
	m := make(map[string]uint64)
	for i, n := range r {
		if n != 0 {
			m[Reason(i).String()] = n
		}
	}
	return m
}
