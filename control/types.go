package control

import (
	"net/netip"

	"github.com/oobnet/oobnet/arp"
)

// Status says what is being managed.
type Status struct {
	PID      int      `json:"pid" doc:"the process"`
	Version  string   `json:"version" doc:"of the oobnet module, as Go's build information has it"`
	UptimeMS int64    `json:"uptime_ms" doc:"since the server began, ms"`
	Openers  []string `json:"openers" doc:"the kinds of links that can be opened"`
	Devices  []string `json:"devices" doc:"attached, oldest first"`
	Ports    []string `json:"ports" doc:"enabled, oldest first"`
}

// Device is a link that is attached to the stack.
type Device struct {
	Name string `json:"name"`
	// Managed devices were opened for a port that a client enabled, and are
	// closed with the last one. The others are the application's.
	Managed    bool     `json:"managed" doc:"opened by the server, and closed with its last port"`
	Driver     string   `json:"driver"`
	Mode       string   `json:"mode" doc:"how frames are moved"`
	ZeroCopy   bool     `json:"zero_copy"`
	MAC        string   `json:"mac"`
	MTU        int      `json:"mtu" doc:"largest IPv4 packet, bytes"`
	State      string   `json:"state" doc:"of the link"`
	Fault      string   `json:"fault,omitempty" doc:"why nothing can be sent"`
	Diverted   bool     `json:"diverted" doc:"frames are taken; false: left to the host by the diversion call"`
	PoolSize   int      `json:"pool_size" doc:"TX pool, buffers"`
	PoolFree   int      `json:"pool_free" doc:"buffers"`
	BufferSize int      `json:"buffer_size" doc:"bytes"`
	RXBuffers  int      `json:"rx_buffers" doc:"of each queue"`
	RXHeld     int      `json:"rx_held" doc:"receive buffers that sockets and the application hold"`
	Poll       string   `json:"poll" doc:"how its threads wait"`
	Priority   int      `json:"priority" doc:"of its threads in SCHED_FIFO; 0: ordinary"`
	Ports      []string `json:"ports"`
	Filter     Filter   `json:"filter"`
}

// Devices is a list of them.
type Devices struct {
	Devices []Device `json:"devices"`
}

// DeviceState is what runs and what waits in a device.
type DeviceState struct {
	Threads  []Thread  `json:"threads" doc:"none in manual mode"`
	RXQueues []RXQueue `json:"rx_queues" doc:"the link's own counters"`
	TXQueues []TXQueue `json:"tx_queues" doc:"what waits to be sent"`
}

// Thread of a device.
type Thread struct {
	Name    string `json:"name"`
	Own     bool   `json:"own" doc:"an operating system's thread of its own"`
	Refused string `json:"refused,omitempty" doc:"options that the machine refused"`
	Steps   []Step `json:"steps,omitempty" doc:"what the device's watchdog has seen; none: it is off"`
}

// Step is one kind of what a thread does.
type Step struct {
	Name      string `json:"name"`
	Count     uint64 `json:"count"`
	TotalNS   int64  `json:"total_ns"`
	LongestNS int64  `json:"longest_ns"`
	Over      uint64 `json:"over" doc:"those longer than the watchdog's threshold"`
	RunningNS int64  `json:"running_ns" doc:"for how long one has been under way; 0: none is"`
}

// RXQueue is what a link counts of a queue.
type RXQueue struct {
	Queue     int    `json:"queue"`
	NoBuffer  uint64 `json:"no_buffer"`
	RingFull  uint64 `json:"ring_full"`
	Invalid   uint64 `json:"invalid"`
	TXInvalid uint64 `json:"tx_invalid"`
	TXDropped uint64 `json:"tx_dropped"`
	Wakeups   uint64 `json:"wakeups"`
}

// TXQueue is what waits for a TX queue.
type TXQueue struct {
	Queue      int    `json:"queue"`
	Discipline string `json:"discipline"`
	Limit      int    `json:"limit" doc:"frames that may wait"`
	Length     int    `json:"length" doc:"frames that wait"`
	Peak       int    `json:"peak"`
	Dropped    uint64 `json:"dropped"`
}

// EnableRequest asks for a port.
type EnableRequest struct {
	// Interface: "eth0", "eth0.42" for VLAN 42, "afxdp:eth0", "vfio:0000:02:00.0".
	Interface  string         `json:"interface" doc:"name of an attached device, or KIND:NAME of one to open; .ID behind it for a VLAN"`
	PoolSize   int            `json:"pool_size,omitempty" doc:"TX pool, buffers; 0: the default"`
	BufferSize int            `json:"buffer_size,omitempty" doc:"bytes; 0: the default"`
	Addresses  []netip.Prefix `json:"addresses,omitempty" doc:"IPv4 with prefix length; none: what the application has for this port"`
	MTU        int            `json:"mtu,omitempty" doc:"largest IPv4 packet, bytes; 0: the device's"`
}

// Port is an enabled port.
type Port struct {
	Name       string         `json:"name"`
	Device     string         `json:"device"`
	VLAN       uint16         `json:"vlan" doc:"0: untagged"`
	MAC        string         `json:"mac"`
	MTU        int            `json:"mtu" doc:"largest IPv4 packet, bytes"`
	Addresses  []netip.Prefix `json:"addresses"`
	PoolSize   int            `json:"pool_size" doc:"the device's TX pool, buffers"`
	BufferSize int            `json:"buffer_size" doc:"the device's, bytes"`
	Stats      PortStats      `json:"stats"`
}

// PortStats are the figures of evl net -Q.
type PortStats struct {
	// Capable is EVL's "oob capability": the driver hands frames to the stack
	// itself. It is false where the host kernel makes packets of them first
	// (generic XDP).
	Capable      bool   `json:"oob_capable" doc:"the driver hands frames to the stack itself"`
	RXPackets    uint64 `json:"rx_packets" doc:"of the port"`
	RXBytes      uint64 `json:"rx_bytes" doc:"of the port"`
	TXPackets    uint64 `json:"tx_packets" doc:"of the port"`
	TXBytes      uint64 `json:"tx_bytes" doc:"of the port"`
	BufferSize   int    `json:"buffer_size" doc:"of the device's TX pool, bytes"`
	BuffersFree  int    `json:"buffers_free" doc:"in the device's TX pool"`
	BuffersTotal int    `json:"buffers_total" doc:"of the device's TX pool"`
	CsumErrors   uint64 `json:"csum_errors" doc:"of the device: wrong IPv4 header or transport checksums"`
	RXNoMem      uint64 `json:"rx_nomem" doc:"of the device: frames that came while there was no buffer for them"`
	TXNoMem      uint64 `json:"tx_nomem" doc:"of the device: sends that found the pool empty"`
}

// Ports is a list of them.
type Ports struct {
	Ports []Port `json:"ports"`
}

// Disabled says what became of a port's device.
type Disabled struct {
	DeviceClosed bool `json:"device_closed" doc:"it was the last port of a device that the server had opened"`
	// Held is not empty where the application still holds buffers of a device
	// that was closed by force.
	Held string `json:"held,omitempty" doc:"what the application still holds of the device"`
}

// Route is a line of the routing table.
type Route struct {
	Destination netip.Prefix `json:"destination"`
	Gateway     netip.Addr   `json:"gateway,omitzero" doc:"none: on-link"`
	Port        string       `json:"port"`
	Connected   bool         `json:"connected,omitempty" doc:"comes and goes with an address of the port"`
}

// Routes is the routing table, the most specific first.
type Routes struct {
	Routes []Route `json:"routes"`
}

// SolicitRequest asks for a peer's address by ARP.
type SolicitRequest struct {
	Address   netip.Addr `json:"address"`
	Interface string     `json:"interface,omitempty" doc:"the port that it has to leave by"`
	Permanent bool       `json:"permanent,omitempty" doc:"the entry neither grows old nor follows ARP"`
	MayRoute  bool       `json:"may_route,omitempty" doc:"the peer may be behind a gateway"`
	TimeoutMS int        `json:"timeout_ms,omitempty" doc:"0: 5 s, as EVL's"`
}

// FrontCache is a dump of it.
type FrontCache struct {
	Entries []arp.Info `json:"entries" doc:"by destination"`
	Stats   arp.Stats  `json:"stats"`
}

// Filter says what selects a device's frames: one of an object and rules, or
// none, which is the default. Answers tell what clients have set; of what the
// application sets by itself, the server does not know.
type Filter struct {
	Kind     string `json:"kind,omitempty" enum:"default,rules,object,vlans" doc:"in answers"`
	Object   string `json:"object,omitempty" doc:"path of an eBPF object, opened by the server with its own rights"`
	Section  string `json:"section,omitempty" doc:"of the object; none: the first program that fits"`
	Function string `json:"function,omitempty" doc:"of the object"`
	Rules    string `json:"rules,omitempty" doc:"rules, one a line"`
}

// VLANs is EVL's set of VLANs whose IPv4 is taken. Where it is in force it is the
// device's filter, in the place of one that the application may have set.
type VLANs struct {
	IDs string `json:"ids" doc:"a list like 42-45,100; empty: no such filter"`
	// Devices on which the list is in force: those without an untagged port
	// and without a filter of their own.
	Devices []string `json:"devices,omitempty" doc:"in answers: where the list is in force"`
}

// Nothing is an empty answer.
type Nothing struct{}
