package stats

import (
	"net/netip"
	"time"

	"github.com/oobnet/oobnet/arp"
	"github.com/oobnet/oobnet/stack"
)

// Snapshot is what a stack has counted until now. Counters run from the making
// of what they belong to, and never fall; sizes and lengths are those of the
// moment.
type Snapshot struct {
	Taken     time.Time  `json:"taken"`
	Devices   []Device   `json:"devices"`
	Ports     []Port     `json:"ports"`
	Sockets   []Socket   `json:"sockets,omitempty"`
	Protocols []Protocol `json:"protocols"`
	Stack     Stack      `json:"stack"`
}

// Device is a link with its queues: see stack.DeviceStats.
type Device struct {
	Name string `json:"name"`
	// Driver and Mode are the link's: see link.Capabilities.
	Driver string `json:"driver"`
	Mode   string `json:"mode"`
	// Fault says why nothing can be sent; empty: nothing is wrong.
	Fault   string   `json:"fault,omitempty"`
	RX      RX       `json:"rx"`
	TX      TX       `json:"tx"`
	Pool    Pool     `json:"pool"`
	Filter  Filter   `json:"filter"`
	Queues  []Queue  `json:"queues"`
	Threads []Thread `json:"threads,omitempty"`
}

// RX counts received frames. When none is under way,
//
//	Packets + Copied = Delivered + Demoted + Forwarded + Dropped
type RX struct {
	Packets   uint64 `json:"packets"`
	Bytes     uint64 `json:"bytes"`
	Delivered uint64 `json:"delivered"`
	// Copied counts copies for raw sockets, which are delivered beside the frame.
	Copied    uint64 `json:"copied"`
	Forwarded uint64 `json:"forwarded"`
	// PartialChecksum counts packets of a virtual peer without a whole checksum.
	PartialChecksum uint64 `json:"partial_checksum"`
	// Demoted to the in-band stage, and Dropped, by reason.
	Demoted Reasons `json:"demoted"`
	Dropped Reasons `json:"dropped"`
}

// UnderWay is how many frames were received and are not settled: those of the
// RX steps that ran when the picture was taken.
func (r *RX) UnderWay() int64 {
	return int64(r.Packets + r.Copied - r.Delivered - r.Forwarded - r.Demoted.Total() - r.Dropped.Total())
}

// TX counts sent frames.
type TX struct {
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
	// Errors counts doorbells that failed.
	Errors uint64 `json:"errors"`
	// InBandNoBuffer counts frames of the in-band stage that found no buffer; of
	// a queue it is 0.
	InBandNoBuffer uint64 `json:"in_band_no_buffer"`
	// Waiting is what could not leave at once.
	Waiting Waiting `json:"waiting"`
}

// Waiting is what waits for the link, and what has waited: see
// stack.QueueingStats.
type Waiting struct {
	Discipline string `json:"discipline"`
	Limit      int    `json:"limit"` // frames a queue
	Length     int    `json:"length"`
	Peak       int    `json:"peak"`
	Dropped    uint64 `json:"dropped"`
	Astray     uint64 `json:"astray"`
	// Bands by priority, the lowest first; InBand are the in-band stage's.
	Bands  []Band `json:"bands"`
	InBand Band   `json:"in_band"`
}

// Band is what waited of one priority.
type Band struct {
	Queued  uint64 `json:"queued"`
	Dropped uint64 `json:"dropped"`
	Length  int    `json:"length"`
	// LongestWait of a frame that left in the end.
	LongestWait time.Duration `json:"longest_wait_ns"`
}

// Pool describes the TX pool, and the receive buffers.
type Pool struct {
	BufferSize int    `json:"buffer_size"` // bytes
	Size       int    `json:"size"`        // buffers
	Free       int    `json:"free"`
	Empty      uint64 `json:"empty"` // times that a sender found none
	// RXSize is how many receive buffers there are, RXHeld how many of them
	// sockets and applications hold.
	RXSize int `json:"rx_size"`
	RXHeld int `json:"rx_held"`
	// Excess buffers are to go, and still out; Memory is what all take, bytes.
	Excess int `json:"excess"`
	Memory int `json:"memory"`
}

// Filter counts what the device's filter has decided: see filter.Stats.
type Filter struct {
	Dropped        uint64 `json:"drop"`
	Accepted       uint64 `json:"accept"`
	Skipped        uint64 `json:"skip"`
	VLAN           uint64 `json:"vlan"`
	VLANAccepted   uint64 `json:"vlan_accepted"`
	Errors         uint64 `json:"errors"`
	TX             uint64 `json:"tx"`
	TXErrors       uint64 `json:"tx_errors"`
	Redirect       uint64 `json:"redirect"`
	RedirectErrors uint64 `json:"redirect_errors"`
	// Rules are the hits of each since it was set, the default's last.
	Rules []uint64 `json:"rules,omitempty"`
}

// Queue is one of a device's.
type Queue struct {
	Number int  `json:"number"`
	RX     RX   `json:"rx"`
	TX     TX   `json:"tx"`
	Link   Link `json:"link"`
}

// Link is what the link counted of a queue: see link.QueueStats.
type Link struct {
	RXNoBuffer uint64 `json:"rx_no_buffer"`
	RXRingFull uint64 `json:"rx_ring_full"`
	RXInvalid  uint64 `json:"rx_invalid"`
	TXInvalid  uint64 `json:"tx_invalid"`
	TXDropped  uint64 `json:"tx_dropped"`
	Wakeups    uint64 `json:"wakeups"`
}

// Thread is what a device's watchdog has seen of a thread.
type Thread struct {
	Name  string `json:"name"`
	Steps []Step `json:"steps"`
}

// Step is one kind of step of a thread: see stack.StepStats.
type Step struct {
	Name    string        `json:"name"`
	Count   uint64        `json:"count"`
	Total   time.Duration `json:"total_ns"`
	Longest time.Duration `json:"longest_ns"`
	Over    uint64        `json:"over"`
	Running time.Duration `json:"running_ns"`
	// Buckets are the steps by duration; stack.StepBound has the bounds.
	Buckets [stack.StepBuckets]uint64 `json:"buckets"`
}

// Port is what a port counted.
type Port struct {
	Name      string `json:"name"`
	Device    string `json:"device"`
	VLAN      uint16 `json:"vlan"`
	RXPackets uint64 `json:"rx_packets"`
	RXBytes   uint64 `json:"rx_bytes"`
	TXPackets uint64 `json:"tx_packets"`
	TXBytes   uint64 `json:"tx_bytes"`
}

// Protocols of sockets.
const (
	UDP    = "udp"
	Packet = "packet"
)

// Socket is what an open socket counted.
type Socket struct {
	Protocol string `json:"protocol"` // UDP or Packet
	// Local and Remote are UDP's; Remote is not valid of one that is not connected.
	Local  netip.AddrPort `json:"local,omitzero"`
	Remote netip.AddrPort `json:"remote,omitzero"`
	// Port and EtherType are a raw socket's: 0xffff is all. An analyser has a
	// device and no port.
	Port      string `json:"port,omitempty"`
	Device    string `json:"device,omitempty"`
	EtherType uint16 `json:"ether_type,omitempty"`
	// Quota is how many it may hold.
	Quota int `json:"quota"`
	Counts
}

// Counts are those of a socket, or of many. What a protocol does not know is 0.
type Counts struct {
	Received uint64 `json:"received"`
	// InBand counts those of Received that came from the in-band stage.
	InBand uint64 `json:"in_band"`
	// Full counts what found the quota used up, NoBuffer what found no buffer for
	// a copy.
	Full     uint64 `json:"full"`
	NoBuffer uint64 `json:"no_buffer"`
	// Filtered counts what the socket's own program refused.
	Filtered uint64 `json:"filtered"`
	// Truncated counts what did not fit the reader's slice.
	Truncated uint64 `json:"truncated"`
	// Errors counts ICMP errors about what was sent.
	Errors uint64 `json:"errors"`
	// Demoted counts what was sent in-band.
	Demoted uint64 `json:"demoted"`
	// Outgoing counts frames of the device that an analyser was shown,
	// OutgoingDropped those for which it had no room.
	Outgoing        uint64 `json:"outgoing"`
	OutgoingDropped uint64 `json:"outgoing_dropped"`
	TXTimesLost     uint64 `json:"tx_times_lost"`
	// Held is how many wait for a reader, or are leased, now.
	Held int `json:"held"`
}

// Protocol is the sum over its sockets, those that are closed too.
type Protocol struct {
	Name string `json:"name"` // UDP or Packet
	Open int    `json:"open"` // sockets
	Counts
}

// ReassemblyMemory is the name in Stack.InBand of what is no counter, but what
// incomplete datagrams occupy, bytes.
const ReassemblyMemory = "reassembly_memory"

// Stack is what belongs to no device: see stack.StackStats.
type Stack struct {
	Demoted       uint64 `json:"demoted"`
	DemotedFull   uint64 `json:"demoted_full"`
	DemotedErrors uint64 `json:"demoted_errors"`
	// InBand are the in-band stage's own counters by name, but for those at 0.
	InBand             map[string]uint64 `json:"in_band"`
	InBandDropped      Reasons           `json:"in_band_dropped"`
	NeighborEventsLost uint64            `json:"neighbor_events_lost"`
	Notes              uint64            `json:"notes"`
	FrontCache         arp.Stats         `json:"front_cache"`
}
