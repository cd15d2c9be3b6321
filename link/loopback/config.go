package loopback

import (
	"fmt"
	"sync/atomic"

	"github.com/oobnet/oobnet/link"
)

// Defaults and limits of a Config.
const (
	// DefaultMTU is Ethernet's.
	DefaultMTU = 1500
	// MinMTU is the least that IPv4 allows (RFC 791), bytes.
	MinMTU = 68
	// MaxMTU leaves room for header and tag in the largest buffer, bytes.
	MaxMTU = link.MaxBufferSize - overhead
	// DefaultRingSize is the number of entries of each ring: a few
	// milliseconds of minimum-sized frames, and 24 KiB of receive ring, which
	// stays in the second-level cache.
	DefaultRingSize = 1024
	// MaxRingSize: more entries than a region has buffers are of no use.
	MaxRingSize = link.MaxBuffers
	// MaxQueues bounds the queues, as large NICs do.
	MaxQueues = 256

	headerLen = 14            // an Ethernet header, bytes
	overhead  = headerLen + 4 // with one VLAN tag, bytes
)

// Config describes a wire. A nil Config, and the zero value of each field,
// means the defaults.
type Config struct {
	// Name of a link, or the stem of the two names of a pair ("cable" gives
	// "cable0" and "cable1"). Default: "loop" and a number that no other link
	// of this process has had.
	Name string
	// Queues of each end, default 1.
	Queues int
	// MTU of the wire in bytes, default DefaultMTU.
	MTU int
	// RingSize is the number of entries of each of a queue's rings, a power of
	// two: how many buffers Fill takes, how many frames wait for Receive, and
	// how many that were sent wait for Reclaim. Default DefaultRingSize.
	RingSize int
	// With is what the devices of this wire do beside moving frames; none by
	// default.
	With Features
	// MACs of the ends; New takes the first. Zero: a locally administered
	// address that no other link of this process has had.
	MACs [2]link.MAC
}

// Features are what NICs do beside moving frames, one bit each: for tests of who
// relies on it. Both ends have them. They cost what the sender's processor takes
// for them, so that they save nothing here.
type Features uint32

// Features.
const (
	// TXChecksum: link.FlagChecksumOffload is honoured.
	TXChecksum Features = 1 << iota
	// VLANInsert puts Frame.VLAN into frames sent with link.FlagVLANStripped.
	VLANInsert
	// RXChecksum: link.FlagChecksumGood and link.FlagChecksumBad on received
	// datagrams, UDP in IPv4. A fragment, and a datagram without a checksum, has
	// neither.
	RXChecksum
	// VLANStrip takes the tag out of received frames: link.FlagVLANStripped. No
	// room stays free before the frame.
	VLANStrip

	allFeatures = 1<<iota - 1
)

// settled returns the config with the defaults in place.
func (c *Config) settled() (Config, error) {
	var s Config
	if c != nil {
		s = *c
	}
	s.Queues = orDefault(s.Queues, 1)
	s.MTU = orDefault(s.MTU, DefaultMTU)
	s.RingSize = orDefault(s.RingSize, DefaultRingSize)
	switch {
	case s.Queues < 1 || s.Queues > MaxQueues:
		return s, fmt.Errorf("loopback: %d queues: want 1 to %d", s.Queues, MaxQueues)
	case s.MTU < MinMTU || s.MTU > MaxMTU:
		return s, fmt.Errorf("loopback: MTU %d: want %d to %d bytes", s.MTU, MinMTU, MaxMTU)
	case s.RingSize < 1 || s.RingSize > MaxRingSize || s.RingSize&(s.RingSize-1) != 0:
		return s, fmt.Errorf("loopback: ring size %d: want a power of two up to %d", s.RingSize, MaxRingSize)
	}
	if s.With&^allFeatures != 0 {
		return s, fmt.Errorf("loopback: features %#x: want TXChecksum, VLANInsert, RXChecksum, VLANStrip, or none", uint32(s.With))
	}
	for _, mac := range s.MACs {
		if mac[0]&1 != 0 {
			return s, fmt.Errorf("loopback: MAC %x is a group address: want a unicast one", mac)
		}
	}
	return s, nil
}

func orDefault(v, def int) int {
	if v == 0 {
		return def
	}
	return v
}

// serial numbers the links of this process: names and addresses that are not
// set come from it.
var serial atomic.Uint32

// identity is who an end is.
type identity struct {
	name string
	mac  link.MAC
}

// identities of n ends.
func (c *Config) identities(n int) []identity {
	ids := make([]identity, n)
	for i := range ids {
		number := serial.Add(1) - 1
		id := identity{name: c.Name, mac: c.MACs[i]}
		switch {
		case c.Name == "":
			id.name = fmt.Sprintf("loop%d", number)
		case n > 1:
			id.name = fmt.Sprintf("%s%d", c.Name, i)
		}
		if id.mac == (link.MAC{}) {
			// 02: locally administered, unicast; "oo" marks the house.
			id.mac = link.MAC{0x02, 'o', 'o', byte(number >> 16), byte(number >> 8), byte(number)}
		}
		ids[i] = id
	}
	return ids
}
