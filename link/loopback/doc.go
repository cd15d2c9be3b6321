// Package loopback is a wire in memory: a link wired to itself ([New]) or two
// ends of one wire ([Pair]). It runs on any system and needs no privileges, so
// it is what tests and examples run on; it keeps the contract of package link
// to the letter, the errors and the losses included.
//
// # How a frame travels
//
// Send copies each frame out of the sender's buffer into a buffer that the
// receiver gave by Fill, and pushes it on the receiver's ring: queue i of one
// end arrives at queue i of the other. The sender's buffer is complete at once
// and waits for Reclaim. Sending never runs code of the receiver, and the
// receiver never waits for the sender.
//
//	end a, send side of queue i              end b, receive side of queue i
//	Send  ── takes a buffer from ◀── fill ring ◀────────── Fill
//	      ── copies, pushes to ────▶ receive ring ──────▶ Receive
//	      ── its own buffer to ────▶ done (a's own) ────▶ Reclaim, at a
//	Flush ── wakes, if b sleeps ──────────────────────▶ WaitReceive
//
// A frame is there for a receiver that polls when Send returns; a receiver
// that sleeps in WaitReceive is woken by Flush. Frame.Time, Flags and VLAN of a
// received frame are 0: the wire carries bytes and nothing else. Config.With gives
// the devices at its ends what NICs have: then flags of a sent frame are honoured,
// and those of a received one say what its device found.
//
// # The books
//
// Nothing is lost without a name. For each queue, over any span in which both
// ends are at rest,
//
//	frames that a's Send took = frames that b's Receive returned, or still can
//	                          + b.RXNoBuffer + b.RXRingFull
//	                          + a.TXInvalid + a.TXDropped
//
// RXRingFull: b's receive ring was full. RXNoBuffer: there was room, but no
// buffer in b's fill ring. TXInvalid: shorter than an Ethernet header, longer
// than the MTU plus header and VLAN tag, outside the buffer, or with a flag that
// asks for a feature that the device has not got, or for the checksum of what is
// no datagram. TXDropped: b
// was not attached yet, or stopped already, or the cable was pulled; or the
// frame lay in b's receive ring when b was stopped and came out of b's Drain
// instead of its Receive. Each such frame is complete at once, too.
//
// # The state of the wire
//
// An end is Up while the cable is in ([Link.SetState]) and the other end has
// not been stopped. An end that is not attached yet has a carrier, as a switch
// has that does not listen yet: two stacks come up one after the other, and the
// first must not find its wire down. While an end is Down, Send still takes
// frames and loses them, counted in TXDropped, and Flush returns an error that
// wraps ENETDOWN.
//
// # Memory
//
// Each end has a region of its own. Both are unmapped when the last end of the
// wire is closed, so that neither end can fault on the other's memory.
//
// An end is a [link.Resizer]. While Recall or Release looks into the rings of a
// receive side, for microseconds, the other end's Send takes nothing, as if its
// ring were full.
package loopback
