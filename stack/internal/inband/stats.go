package inband

import (
	"reflect"
	"sync/atomic"
)

// counters are the stage's own. Any goroutine adds, Stats reads.
type counters struct {
	frames, noPort, short, foreign, unknownEtherType       atomic.Uint64
	ipMalformed, ipNotForUs, martian, fragments, delivered atomic.Uint64
	arpInvalid, arpConflicts, arpStaticConflicts           atomic.Uint64
	arpNotForUs, arpProbes                                 atomic.Uint64
	datagrams, unclaimed, udpMalformed, udpChecksum        atomic.Uint64
	sends, sendErrors, timeExceeded, echoIgnored           atomic.Uint64
	unknownProtocol                                        atomic.Uint64
}

// Stats are the stage's counters since New. Frames is the sum of the rest of
// the first group: each frame of Input is counted in one of them. The datagram
// that Fragments make is not a frame, and is not in Delivered.
type Stats struct {
	// Frames that came in; where they went:
	Frames, Delivered, Fragments                     uint64
	NoPort, Short, ForeignMAC, UnknownEtherType      uint64
	IPMalformed, IPNotForUs, IPMartian               uint64
	ARPInvalid, ARPNotForUs, ARPConflicts, ARPProbes uint64

	// Fragments: what became of datagrams.
	Reassembled, ReassemblyTimeouts, ReassemblyEvicted uint64
	// FragmentsMalformed counts fragments, FragmentsOverlapping datagrams.
	FragmentsMalformed, FragmentsOverlapping uint64
	// ReassemblyMemory is what incomplete datagrams occupy now, bytes.
	ReassemblyMemory uint64

	// Datagrams that the host took, and those that nobody wanted.
	Datagrams, Unclaimed, UDPMalformed, UDPChecksum uint64
	// Packets that were dropped after Delivered: IPv4 source or destination
	// that cannot be, wrong options; a protocol that nobody speaks.
	BadSource, BadDestination, BadOptions, UnknownProtocol uint64

	// ARP beside the above. Unsolicited are replies that nobody had asked
	// for; StaticConflicts are packets that contradict a static entry.
	ARPRequestsReceived, ARPRepliesReceived uint64
	ARPRequestsSent, ARPRepliesSent         uint64
	ARPUnsolicited, ARPStaticConflicts      uint64

	// ICMP. Invalid: wrong checksum, or a type that nobody knows. RateLimited
	// are errors that were not sent. EchoIgnored are requests to broadcast and
	// multicast addresses, or from where an answer cannot get.
	ICMPInvalid, ICMPEchoRequests, ICMPEchoReplies, ICMPUnreachableReceived     uint64
	ICMPEchoIgnored, ICMPUnreachableSent, ICMPTimeExceededSent, ICMPRateLimited uint64

	// Sends that were accepted and refused; SendFailed counts packets and
	// fragments lost after that, waiting for an address or without a buffer.
	Sends, SendErrors, SendFailed uint64
	// FramesSent and NoBuffer are what Host.Output took and refused, on the
	// ports that are there now.
	FramesSent, NoBuffer uint64
}

// Stats reads the counters. They are read one after the other: sums may be off
// by what happens meanwhile.
func (s *Stage) Stats() Stats {
	n, r, g := &s.n, s.reassembler, s.gs.Stats()
	st := Stats{
		Frames: n.frames.Load(), Delivered: n.delivered.Load(), Fragments: n.fragments.Load(),
		NoPort: n.noPort.Load(), Short: n.short.Load(), ForeignMAC: n.foreign.Load(), UnknownEtherType: n.unknownEtherType.Load(),
		IPMalformed: n.ipMalformed.Load(), IPNotForUs: n.ipNotForUs.Load(), IPMartian: n.martian.Load(),
		ARPInvalid: n.arpInvalid.Load(), ARPNotForUs: n.arpNotForUs.Load(), ARPConflicts: n.arpConflicts.Load(), ARPProbes: n.arpProbes.Load(),

		Reassembled: r.reassembled.Load(), ReassemblyTimeouts: r.timeouts.Load(), ReassemblyEvicted: r.evicted.Load(),
		FragmentsMalformed: r.malformed.Load(), FragmentsOverlapping: r.overlapping.Load(), ReassemblyMemory: uint64(r.memory()),

		Datagrams: n.datagrams.Load(), Unclaimed: n.unclaimed.Load(), UDPMalformed: n.udpMalformed.Load(), UDPChecksum: n.udpChecksum.Load(),
		BadSource: g.IP.InvalidSourceAddressesReceived.Value(), BadDestination: g.IP.InvalidDestinationAddressesReceived.Value(),
		BadOptions: g.IP.MalformedPacketsReceived.Value(), UnknownProtocol: n.unknownProtocol.Load(),

		ARPRequestsReceived: g.ARP.RequestsReceived.Value(), ARPRepliesReceived: g.ARP.RepliesReceived.Value(),
		ARPRequestsSent: g.ARP.OutgoingRequestsSent.Value(), ARPRepliesSent: g.ARP.OutgoingRepliesSent.Value(),
		ARPUnsolicited: g.NICs.Neighbor.DroppedConfirmationForNoninitiatedNeighbor.Value(), ARPStaticConflicts: n.arpStaticConflicts.Load(),

		ICMPInvalid:             g.ICMP.V4.PacketsReceived.Invalid.Value(),
		ICMPEchoRequests:        g.ICMP.V4.PacketsReceived.EchoRequest.Value(),
		ICMPEchoReplies:         g.ICMP.V4.PacketsSent.EchoReply.Value(),
		ICMPUnreachableReceived: g.ICMP.V4.PacketsReceived.DstUnreachable.Value(),
		ICMPUnreachableSent:     g.ICMP.V4.PacketsSent.DstUnreachable.Value(),
		ICMPEchoIgnored:         n.echoIgnored.Load(),
		ICMPTimeExceededSent:    n.timeExceeded.Load(),
		ICMPRateLimited:         g.ICMP.V4.PacketsSent.RateLimited.Value(),

		Sends: n.sends.Load(), SendErrors: n.sendErrors.Load(), SendFailed: g.IP.OutgoingPacketErrors.Value(),
	}
	for _, p := range *s.ports.Load() {
		st.FramesSent += p.ep.sent.Load()
		st.NoBuffer += p.ep.noBuffer.Load()
	}
	return st
}

// Map returns the counters by name, but for those at 0.
func (s Stats) Map() map[string]uint64 {
	m := make(map[string]uint64)
	v := reflect.ValueOf(s)
	for i := range v.NumField() {
		if n := v.Field(i).Uint(); n != 0 {
			m[v.Type().Field(i).Name] = n
		}
	}
	return m
}
