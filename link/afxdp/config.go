package afxdp

import (
	"fmt"

	"github.com/oobnet/oobnet/link"
)

// Config says how to open an interface. The zero value, or nil, means all
// queues and the fastest mode that works.
type Config struct {
	// Queues is how many of the interface's queues to serve; 0: all from
	// FirstQueue on. Frames of other queues stay with the kernel.
	Queues int
	// FirstQueue is the first queue to serve.
	FirstQueue int
	// Mode is where the program runs.
	Mode Mode
	// ZeroCopy says whether the device may read and write the region itself.
	ZeroCopy ZeroCopy
	// With switches features on. Open fails, and says why, where the kernel or the
	// driver has not all of them.
	With Features
}

// Features are what a link can do beside moving frames, one bit each. None is on
// unless it is asked for.
type Features uint32

// Features.
const (
	// RXTime has Meta.Time of received frames come from the device's own clock, on
	// the clock link.ClockDevice. It needs native XDP and Linux 6.3. A frame of
	// which the driver does not know it has none, 0: over veth, all of them.
	RXTime Features = 1 << iota
	// TXChecksum honours link.FlagChecksumOffload on send. It needs Linux 6.11, and
	// in zero copy a driver that can; in copy mode the kernel completes checksums
	// where the device cannot. What leaves over veth reaches the other end with
	// its checksum partial.
	TXChecksum
	// LaunchTime honours link.FlagLaunchTime on send: frames leave at their
	// Meta.Time, on the clock link.ClockDevice, and those of a queue in the order in
	// which they were sent. It needs Linux 6.14 and zero copy with a driver that
	// can. Some cards want it switched on (`tc qdisc ... etf offload`).
	LaunchTime
	// TXTime has the device note when a frame with link.FlagTXTime leaves, on the
	// clock link.ClockDevice ([Link.SentAt]). It needs Linux 6.11 and zero copy with
	// a driver that can.
	TXTime
	// RXVLAN puts VLAN tags that the device has taken out of received frames, or
	// that never were in them, as over veth, back where they belong, and leaves
	// rx-vlan-offload as it is. It needs native XDP and Linux 6.8. The claims see
	// such tags, and so does the verdict filter.VLAN; a filter's own program sees
	// the bytes, without them.
	RXVLAN

	allFeatures = 1<<iota - 1
	// boundFeatures need a program that is bound to its device.
	boundFeatures = RXTime | RXVLAN
)

// Mode is where the program that selects frames runs.
type Mode int

const (
	// Auto is Native where the driver has it, Generic otherwise.
	Auto Mode = iota
	// Native runs the program in the driver, before the kernel has made a
	// packet of the frame. Open fails if the driver has no XDP.
	Native
	// Generic runs it behind the driver: any interface, about half as fast.
	Generic
)

func (m Mode) String() string {
	switch m {
	case Auto:
		return "auto"
	case Native:
		return "native"
	case Generic:
		return "generic"
	}
	return fmt.Sprintf("mode %d", int(m))
}

// ZeroCopy says whether the device may read and write the region itself.
type ZeroCopy int

const (
	// ZeroCopyAuto tries it and falls back to copying. It does not try igb's,
	// which up to Linux 7.2 hands out buffers twice when it runs dry.
	ZeroCopyAuto ZeroCopy = iota
	// ZeroCopyOff always copies.
	ZeroCopyOff
	// ZeroCopyRequire fails where the driver cannot. With igb, give it more
	// receive buffers than the card has descriptors (`ethtool -g`) and the program
	// ever holds, together: then it does not run dry.
	ZeroCopyRequire
)

// Most claims that one link holds. An entry costs the kernel some 100 bytes,
// taken when the link opens. An interface with more addresses than that is a
// router, which this is not.
const (
	MaxIPv4Claims      = 4096
	MaxEtherTypeClaims = 1024
	// MaxGroups bounds the Ethernet groups: cards have some hundred filters,
	// beyond which drivers receive all multicast frames.
	MaxGroups = 4096
)

// maxVLAN is the last VLAN identifier; 4095 is reserved (IEEE 802.1Q).
const maxVLAN = 4094

// checkClaims refuses what the program could not honour.
func checkClaims(c *link.Claims) error {
	if len(c.IPv4) > MaxIPv4Claims {
		return fmt.Errorf("%d IPv4 claims: at most %d: claim by EtherType instead", len(c.IPv4), MaxIPv4Claims)
	}
	if len(c.EtherTypes) > MaxEtherTypeClaims {
		return fmt.Errorf("%d EtherType claims: at most %d: claim all EtherTypes of a VLAN instead", len(c.EtherTypes), MaxEtherTypeClaims)
	}
	for _, i := range c.IPv4 {
		if i.VLAN > maxVLAN {
			return fmt.Errorf("IPv4 claim on VLAN %d: want 0 (untagged) to %d", i.VLAN, maxVLAN)
		}
	}
	for _, e := range c.EtherTypes {
		if e.VLAN > maxVLAN {
			return fmt.Errorf("EtherType claim on VLAN %d: want 0 (untagged) to %d", e.VLAN, maxVLAN)
		}
	}
	return checkDeviceClaims(c)
}

// checkDeviceClaims looks at what is asked of the device.
func checkDeviceClaims(c *link.Claims) error {
	for _, id := range c.VLANs {
		if id == 0 || id > maxVLAN {
			return fmt.Errorf("enable VLAN %d: want 1 to %d", id, maxVLAN)
		}
	}
	if len(c.Groups) > MaxGroups {
		return fmt.Errorf("%d Ethernet groups: at most %d: claim promiscuous mode instead", len(c.Groups), MaxGroups)
	}
	for _, mac := range c.Groups {
		if mac[0]&1 == 0 {
			return fmt.Errorf("join the Ethernet group %x: that is a station's address: a group's first byte is odd", mac)
		}
	}
	return nil
}
