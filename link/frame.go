package link

import "unsafe"

// Frame is a buffer that holds an Ethernet frame: a small value, never a
// pointer. Whoever holds it owns the buffer.
type Frame struct {
	// Index names the buffer in the link's Memory.
	Index uint32
	// Off and Len place the frame in the buffer, bytes: destination address
	// to the end of the payload, no frame check sequence.
	Off, Len uint16
	// Meta is what is known of the frame beside its bytes.
	Meta
}

// Meta is what is known of a frame beside its bytes. It is a struct of its own
// because the compiler keeps a struct of more than four fields in memory, and a
// processor waits for the fields just written when it copies them as a whole.
type Meta struct {
	// Flags as the device (receive) or the stack (send) set them.
	Flags Flags
	// VLAN is the tag control information that the device stripped, or is to put
	// in, with FlagVLANStripped.
	VLAN uint16
	// Time of a received frame is when the device's own clock saw it, ns, on the
	// clock that Capabilities.RXClock names; 0: the device has not said. Of a
	// frame to send with FlagLaunchTime, it is when the frame is to leave, on the
	// clock that Capabilities.LaunchClock names; else it is the stack's, for when
	// the frame was queued.
	Time int64
}

// A frame crosses rings by value: it has to stay small.
const _ = uint(24 - unsafe.Sizeof(Frame{}))

// Flags of a frame.
type Flags uint16

// Flags that a device sets on receive, or the stack on send.
const (
	// FlagChecksumGood: the device has verified the IPv4 and the UDP or TCP checksum.
	FlagChecksumGood Flags = 1 << iota
	// FlagChecksumBad: the device found one of them wrong.
	FlagChecksumBad
	// FlagVLANStripped: the tag is in Frame.VLAN and not in the bytes. A device has
	// taken it out of what it received; of a frame to send, it is to put it in,
	// behind the addresses.
	FlagVLANStripped
	// FlagChecksumOffload: the device is to complete the UDP checksum, whose
	// field holds the pseudo-header's sum (RFC 768), of a datagram in unfragmented
	// IPv4. Nothing stands behind the datagram: some devices take their length
	// from the frame's.
	FlagChecksumOffload
	// FlagTimed is the stack's: it keeps times of the frame, those of a received
	// one, or those that the sender of another wants. Links need not look at it.
	FlagTimed
	// FlagLaunchTime: the frame is to leave at Meta.Time, and not before.
	FlagLaunchTime
	// FlagTXTime: the device is to note when the frame leaves, see TXTimer. One
	// that cannot sends the frame all the same.
	FlagTXTime
)
