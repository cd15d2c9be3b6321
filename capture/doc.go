// Package capture writes down what a device of a running stack receives and
// sends: to a file that Wireshark opens, or as lines of text.
//
//	link.Receive ──▶ filter, taps, protocols ──▶ delivered, demoted, forwarded, dropped
//	     │                                              │
//	     │ copy into a free slot                        │ outcome
//	     ▼                                              ▼
//	   slot ───────────────────────────────────────▶ waiting ──▶ writer ──▶ io.Writer
//	     ▲                                                          │
//	     └────────────────────── free ◀─────────────────────────────┘
//
// Every frame is there with what became of it: those that the device's filter
// or a checksum dropped, those that went to the in-band stage, those that a full
// queue kept from leaving. What a link has dropped below the stack, as an XDP
// filter in the kernel does, never came here, and is not there.
//
// The fast stage never waits for a capture. It copies into slots that were made
// beforehand; when the writer is behind and none is free, the frame is lost to
// the capture, counted, and the file says so: at the next frame, and in the
// statistics at its end.
//
// # Files
//
// A pcapng section with one interface, Ethernet, resolution 1 ns. Each packet
// has its direction and whom it was for (epb_flags), its queue, and a comment:
//
//	delivered            to a socket, or another protocol's own
//	demoted: REASON      to the in-band stage
//	forwarded            by order of the device's filter
//	dropped: REASON
//	sent                 the link has taken it
//	not sent             the queue was full, or a discipline dropped it
//
// with ", verdict V" behind it where the device's filter ran in the stack. In
// Wireshark, `frame.comment contains "dropped"` finds what was dropped. A tag
// that the device stripped is back in its place. The times of one batch are one:
// when the link handed it over, or the device's own where it has a clock that
// is brought to ours. The statistics block has what was seen (isb_ifrecv, with
// what the link lost in isb_ifdrop), what the filter wanted (isb_filteraccept),
// what the capture lost (isb_osdrop) and what was written (isb_usrdeliv).
//
// # Filters
//
// [ParseExpr] has the words: those of pcap-filter(7) that people use, and
// dropped, demoted, delivered, unsent with their reasons.
package capture
