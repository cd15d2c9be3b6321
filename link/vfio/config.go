package vfio

import (
	"fmt"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio/internal/bus"
	"github.com/oobnet/oobnet/link/vfio/internal/driver"
)

// Config says how to open a NIC. The zero value, or nil, means the defaults.
type Config struct {
	// Queues to use; 0: what the driver thinks fit, at most one a vector. A NIC
	// without MSI-X has one. Of the 64 that 82599 and X540 have, RSS reaches the
	// first 16: those beyond send, and receive nothing.
	Queues int
	// RXDescriptors and TXDescriptors are how deep each queue is, powers of two;
	// 0: the driver's default. A queue takes one buffer fewer.
	RXDescriptors, TXDescriptors int
	// MTU in bytes, DefaultMTU if 0. More than 1500 needs buffers to match: a
	// frame lies in one.
	MTU int
	// MAC to use instead of the NIC's own, until Close; zero: the NIC's own.
	MAC link.MAC
	// Interrupts to use: the best that there are by default.
	Interrupts Interrupts
	// With and Without switch features on and off, beside DefaultFeatures.
	// Asking for one that the NIC has not is an error.
	With, Without Features
	// OnEvent is called with what happens to the device, by whoever finds it
	// out: State, a wait or a send. It must return at once, and not call
	// anything that waits for those.
	OnEvent func(Event)
}

// DefaultMTU is Ethernet's, MinMTU the least that IPv4 allows (RFC 791), bytes.
const (
	DefaultMTU = 1500
	MinMTU     = 68
)

// Features are what a NIC can do beside moving frames, one bit each.
type Features = driver.Features

// Features.
const (
	// RXChecksum: link.FlagChecksumGood and link.FlagChecksumBad on received frames.
	RXChecksum = driver.RXChecksum
	// TXChecksum: link.FlagChecksumOffload is honoured.
	TXChecksum = driver.TXChecksum
	// VLANStrip takes the tag out of received frames: link.FlagVLANStripped. It is
	// chosen at Open.
	VLANStrip = driver.VLANStrip
	// VLANInsert puts Frame.VLAN into frames sent with link.FlagVLANStripped. It is
	// chosen at Open; but for 82599 and X540 it goes with VLANStrip.
	VLANInsert = driver.VLANInsert
	// RSS spreads received flows over the queues by a hash.
	RSS = driver.RSS
	// RXTime has Meta.Time of received frames come from the NIC: of every frame on
	// I350 and I210, of the Sync messages of PTP over Ethernet on 82576, of the event
	// messages of PTP, over Ethernet or UDP, on 82599 and X540. It is chosen at Open.
	RXTime = driver.RXTime
	// TXTime has Link.SentAt tell when frames with link.FlagTXTime have left, on
	// CLOCK_MONOTONIC. A NIC (82576, I350, I210, 82599, X540) takes the time of one
	// frame at a time: one that asks while another's is awaited goes without. It is
	// chosen at Open.
	TXTime = driver.TXTime
	// Loopback has what is sent come back inside the NIC, as if the wire had
	// brought it, and nothing of it reach the wire: for tests of a NIC by itself.
	// 82599 and X540 need no cable for it. It is chosen at Open.
	Loopback = driver.Loopback
)

// RSSConfig says how received flows are spread over the queues: by the key of a
// Toeplitz hash over addresses and ports, 40 bytes, and a table of queues that
// the hash's low 7 bits choose from. The default key is the one of the examples
// in the specification of RSS, and the default table names the queues in turn.
type RSSConfig = driver.Spread

// DefaultFeatures are on where the NIC has them.
const DefaultFeatures = RXChecksum | TXChecksum | RSS

// Interrupts is the kind of interrupts that wake a wait.
type Interrupts int

// Kinds of interrupts. The best is one a queue, and a line shared with others
// the worst.
const (
	BestInterrupts Interrupts = iota
	MSIX
	MSI
	INTx
	// NoInterrupts: waits look at the ring each millisecond, and FD is -1.
	NoInterrupts
)

// kinds are the bus's words for them, in order of preference for the best.
var kinds = map[Interrupts][]bus.Kind{
	BestInterrupts: {bus.MSIX, bus.MSI, bus.INTx, bus.None},
	MSIX:           {bus.MSIX},
	MSI:            {bus.MSI},
	INTx:           {bus.INTx},
	NoInterrupts:   {bus.None},
}

// pickInterrupts returns the first kind asked for that the function has.
func pickInterrupts(b bus.Bus, asked Interrupts, queues int) (bus.Kind, error) {
	list, ok := kinds[asked]
	if !ok {
		return bus.None, fmt.Errorf("interrupts %d: want BestInterrupts, MSIX, MSI, INTx or NoInterrupts", asked)
	}
	for _, k := range list {
		have := b.Vectors(k)
		switch {
		case k == bus.None:
			return k, nil
		case have == 0 || k == bus.MSIX && queues > have:
		case k != bus.MSIX && queues > 1:
			return k, fmt.Errorf("%d queues: with %v there is one: %w", queues, k, link.ErrNotSupported)
		default:
			return k, nil
		}
	}
	return bus.None, fmt.Errorf("the device has %d vectors of %v: ask for BestInterrupts: %w", b.Vectors(list[0]), list[0], link.ErrNotSupported)
}

// settled returns the config with the defaults in place.
func (c *Config) settled() (Config, error) {
	var s Config
	if c != nil {
		s = *c
	}
	if s.MTU == 0 {
		s.MTU = DefaultMTU
	}
	switch {
	case s.MTU < MinMTU:
		return s, fmt.Errorf("MTU %d: want at least %d bytes", s.MTU, MinMTU)
	case s.Queues < 0 || s.RXDescriptors < 0 || s.TXDescriptors < 0:
		return s, fmt.Errorf("%d queues of %d and %d descriptors: want none below 0", s.Queues, s.RXDescriptors, s.TXDescriptors)
	case s.MAC[0]&1 != 0:
		return s, fmt.Errorf("MAC %x is a group address: want a unicast one", s.MAC)
	}
	return s, nil
}

// Event is something that happened to a device.
type Event struct {
	// State of the wire now, and its speed in Mbit/s; 0: not known.
	State link.State
	Speed int
	// Err says what went wrong: the device hung and was reset, failed, or is to
	// be given back, or the region found no huge pages (said once, by Attach);
	// nil if the wire has just changed its state.
	Err error
}

// Statistics are what the NIC and its link have counted since Open, or since
// the last ResetStatistics. Bytes include the frame check sequence.
type Statistics struct {
	RXPackets, RXBytes, RXMulticast, RXBroadcast uint64
	TXPackets, TXBytes                           uint64
	// RXMissed: there was no buffer for the frame, or no room in the NIC.
	RXMissed uint64
	// RXErrors: damaged on the wire, too long or too short.
	RXErrors uint64
	// TXErrors: lost by collisions, late ones or too many, which only a wire of half
	// duplex has; 82599 and X540 know none. While the wire is down frames wait.
	TXErrors uint64
	// Hangs counts resets of a device that had stopped to send; TXLost frames
	// that were on its rings then, and RXLost frames that had arrived and not
	// been taken.
	Hangs, TXLost, RXLost uint64
	// WireChanges counts the changes of the wire's state that were seen.
	WireChanges uint64
	// TimesFreed counts times of received frames (RXTime) that the NIC had taken and
	// nobody read for 5 s, as where it lost the frame: 82576, 82599 and X540 give no
	// other frame a time meanwhile. A frame that is taken later than that has none.
	TimesFreed uint64
}
