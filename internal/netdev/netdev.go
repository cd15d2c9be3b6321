// Package netdev asks the kernel what the driver of a network interface can do
// with XDP and AF_XDP, beside moving frames: netlink's family "netdev", which
// Linux has since 6.3.
//
// Source: Documentation/netlink/specs/netdev.yaml of the kernel.
package netdev

import (
	"math/bits"
	"strconv"
	"strings"
)

// Info is what the kernel says of one interface.
type Info struct {
	// Index of the interface.
	Index int
	// XDP is what native XDP can do there; 0: there is none.
	XDP XDPFeatures
	// ZeroCopySegments is in how many buffers one frame may lie in zero copy; 0:
	// there is no zero copy, or the kernel (before 6.6) does not say.
	ZeroCopySegments int
	// RXMetadata is what a program that is bound to the interface can learn of a
	// received frame.
	RXMetadata RXMetadata
	// XSK is what an AF_XDP socket in zero copy can ask for a frame to send.
	XSK XSKFeatures
}

// XDPFeatures are what native XDP can do, one bit each.
type XDPFeatures uint64

// Features of native XDP (enum netdev_xdp_act of linux/netdev.h).
const (
	XDPBasic XDPFeatures = 1 << iota // drop, pass, send back
	XDPRedirect
	XDPTransmit // takes what other devices' programs redirect
	XDPZeroCopy
	XDPOffload // runs programs in the hardware
	XDPReceiveSegments
	XDPTransmitSegments
)

// RXMetadata is what is known of a received frame, one bit each.
type RXMetadata uint64

// Metadata of received frames (enum netdev_xdp_rx_metadata of linux/netdev.h).
const (
	RXTimestamp RXMetadata = 1 << iota
	RXHash
	RXVLANTag
)

// XSKFeatures are what can be asked for a frame to send, one bit each.
type XSKFeatures uint64

// Requests for frames to send (enum netdev_xsk_flags of linux/netdev.h).
const (
	XSKTXTimestamp XSKFeatures = 1 << iota
	XSKTXChecksum
	// XSKLaunchTime: a frame leaves at a time of its own; frames of a queue leave
	// in the order in which they were given.
	XSKLaunchTime
)

// The names are those of the kernel's specification.

func (f XDPFeatures) String() string {
	return names(uint64(f), "basic", "redirect", "ndo-xmit", "xsk-zerocopy", "hw-offload", "rx-sg", "ndo-xmit-sg")
}

func (f RXMetadata) String() string { return names(uint64(f), "timestamp", "hash", "vlan-tag") }

func (f XSKFeatures) String() string {
	return names(uint64(f), "tx-timestamp", "tx-checksum", "tx-launch-time-fifo")
}

// names lists the bits that are set, "none" without any; a bit without a name
// shows as a number.
func names(set uint64, known ...string) string {
	if set == 0 {
		return "none"
	}
	var list []string
	for ; set != 0; set &= set - 1 {
		if i := bits.TrailingZeros64(set); i < len(known) {
			list = append(list, known[i])
		} else {
			list = append(list, "bit "+strconv.Itoa(i))
		}
	}
	return strings.Join(list, ", ")
}
