package serve

import (
	"net/netip"
	"time"

	"github.com/oobnet/oobnet/arp"
	"github.com/oobnet/oobnet/link/afxdp"
	"github.com/oobnet/oobnet/stack"
)

// Config is a config file. Names of devices and ports are those of evl-net:
// eth1, 0000:02:00.0, eth1.42 for VLAN 42.
type Config struct {
	Socket  string        `yaml:"socket"`
	Group   string        `yaml:"group"`
	Objects string        `yaml:"objects"` // the folder that eBPF objects are in; "": any
	Timeout time.Duration `yaml:"timeout"`

	Devices   map[string]Device `yaml:"devices"`
	Ports     map[string]Port   `yaml:"ports"`
	Routes    []Route           `yaml:"routes"`
	Neighbors []Neighbor        `yaml:"neighbors"`
	// NeighborTable is a file with a static table: ADDR MAC [port].
	NeighborTable string   `yaml:"neighbor_table"`
	VLANs         string   `yaml:"vlans"`
	Services      Services `yaml:"services"`

	file  *file        // where it was read from
	table []arp.Static // what NeighborTable holds
}

// Device is how a device is opened and attached.
type Device struct {
	Kind       string `yaml:"kind"` // afxdp or vfio; "": by its name
	Mode       string `yaml:"mode"` // of AF_XDP: auto, native, generic
	ZeroCopy   string `yaml:"zero_copy"`
	Queues     int    `yaml:"queues"`
	PoolSize   int    `yaml:"pool_size"`
	BufferSize int    `yaml:"buffer_size"`
	RXBuffers  int    `yaml:"rx_buffers"`
	// What they can be extended to while frames flow; 0: the memory is fixed.
	MaxPoolSize  int `yaml:"max_pool_size"`
	MaxRXBuffers int `yaml:"max_rx_buffers"`

	Queueing   string        `yaml:"queueing"` // fifo, priority
	Poll       string        `yaml:"poll"`     // adaptive, busy, block, or a duration
	Priority   int           `yaml:"priority"`
	RXCPUs     []int         `yaml:"rx_cpus"`
	TXCPUs     []int         `yaml:"tx_cpus"`
	LockMemory bool          `yaml:"lock_memory"`
	Prefault   bool          `yaml:"prefault"`
	Watchdog   time.Duration `yaml:"watchdog"`
	Filter     *Filter       `yaml:"filter"`

	cfg   stack.DeviceConfig // what of this is the stack's
	afxdp afxdp.Config       // and AF_XDP's
}

// Filter that a device begins with, whenever it is opened: an object or rules.
type Filter struct {
	Object   string `yaml:"object"`
	Section  string `yaml:"section"`
	Function string `yaml:"function"`
	Rules    string `yaml:"rules"`
}

// Port is what a port is enabled with, at the start or later.
type Port struct {
	Addresses []string `yaml:"addresses"`
	MTU       int      `yaml:"mtu"`
	Enable    *bool    `yaml:"enable"` // at the start; true by default

	cfg stack.PortConfig
}

func (p *Port) atStart() bool { return p.Enable == nil || *p.Enable }

// Route to a network, there whenever its port is.
type Route struct {
	To   string `yaml:"to"`
	Via  string `yaml:"via"`
	Port string `yaml:"port"`

	to  netip.Prefix
	via netip.Addr // not valid: on-link
}

// Neighbor that is known beforehand, whenever there is a port on its network: the
// one that is named, or any.
type Neighbor struct {
	Address string `yaml:"address"`
	MAC     string `yaml:"mac"`
	Port    string `yaml:"port"`

	static arp.Static
}

// Services that answer on all ports; 0: none.
type Services struct {
	Echo    uint16 `yaml:"echo"`    // sends back what comes (RFC 862: port 7)
	Discard uint16 `yaml:"discard"` // takes what comes (RFC 863: port 9)
	Latmus  uint16 `yaml:"latmus"`  // the far end of oobnet latmus --rtt (port 59059)
}
