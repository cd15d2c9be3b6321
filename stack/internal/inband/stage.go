package inband

import (
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

const (
	protoICMP = uint8(header.ICMPv4ProtocolNumber)
	protoIGMP = uint8(header.IGMPProtocolNumber)
	protoUDP  = uint8(header.UDPProtocolNumber)

	defaultReachableTime     = 30 * time.Second // REACHABLE_TIME of RFC 4861
	defaultTTL               = 64               // RFC 1700's recommendation
	defaultReassemblyMemory  = 4 << 20          // bytes; Linux's ipfrag_high_thresh
	defaultReassemblyTimeout = 30 * time.Second // Linux's; RFC 1122 says 60 to 120

	// minReachableTime is what gVisor takes; less becomes its default.
	minReachableTime = time.Millisecond
	// confirmDelay is how long a Stale entry that is used waits for a hint of
	// the transport before it is probed. Nobody here gives hints, so the
	// RFC's 5 s would only keep a flow on the slow stage; zero means default.
	confirmDelay = time.Millisecond
	// solicitInterval and solicitCount: a neighbour that does not answer has
	// failed after 3 s, as RFC 4861 has it.
	solicitInterval = time.Second
	solicitCount    = 3
)

// Config of a stage. Host is required, all else has defaults.
type Config struct {
	Host Host
	// ReachableTime is how long a neighbour counts as reachable after a
	// confirmation: exact, without RFC 4861's random factor, so that the fast
	// stage can re-confirm in time. 0: 30 s; at least 1 ms.
	ReachableTime time.Duration
	// TTL of what the stage sends, where Outgoing does not say. 0: 64.
	TTL uint8
	// ReassemblyMemory bounds what incomplete datagrams occupy, bytes,
	// overhead included. 0: 4 MiB; at least 128 KiB, so that any one datagram fits.
	ReassemblyMemory int
	// ReassemblyTimeout is how long the fragments of a datagram may take. 0: 30 s.
	ReassemblyTimeout time.Duration
}

// isOwn: protocols that the stage answers itself, unless the host speaks them.
func isOwn(number uint8) bool { return number == protoICMP || number == protoIGMP }

// minReassemblyMemory holds one datagram of 65 515 bytes in fragments of 512
// bytes or more, with their overhead.
const minReassemblyMemory = 128 << 10

func (c *Config) setDefaults() error {
	if c.Host == nil {
		return wrap("new", "stage without a host", syscall.EINVAL)
	}
	if c.ReachableTime == 0 {
		c.ReachableTime = defaultReachableTime
	}
	if c.TTL == 0 {
		c.TTL = defaultTTL
	}
	if c.ReassemblyMemory == 0 {
		c.ReassemblyMemory = defaultReassemblyMemory
	}
	if c.ReassemblyTimeout == 0 {
		c.ReassemblyTimeout = defaultReassemblyTimeout
	}
	if c.ReachableTime < minReachableTime {
		return wrap("new: reachable time", c.ReachableTime, syscall.EINVAL)
	}
	if c.ReassemblyTimeout < 0 || c.ReassemblyMemory < minReassemblyMemory {
		return wrap("new: reassembly", fmt.Sprintf("%v, %d bytes", c.ReassemblyTimeout, c.ReassemblyMemory), syscall.EINVAL)
	}
	return nil
}

// Stage is the in-band stage. Its methods may be called by any goroutine at
// any time, but not from within a Host method.
type Stage struct {
	cfg  Config
	host *gatedHost
	gs   *stack.Stack

	// calls holds every method and timer under way; closing is closed first,
	// so that those that wait come out.
	calls     *gate
	closing   chan struct{}
	closeOnce sync.Once

	// mu serialises the control path: ports, addresses, routes, bindings.
	mu     sync.Mutex
	routes []Route
	bound  map[bindKey]*binding

	// ports is replaced whole under mu, and read by Input and Send without it.
	ports atomic.Pointer[map[uint32]*port]

	neighbors   *neighborTable
	reassembler *reassembler
	rejecter    stack.RejectIPv4WithHandler

	idSeed maphash.Seed
	ids    [idBuckets]atomic.Uint32 // the next identification of each hash of a flow; all senders add to them

	n counters
}

// New makes a stage without ports.
func New(cfg Config) (*Stage, error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	s := &Stage{
		cfg:     cfg,
		host:    &gatedHost{Host: cfg.Host, gate: newGate()},
		calls:   newGate(),
		closing: make(chan struct{}),
		bound:   make(map[bindKey]*binding),
		idSeed:  maphash.MakeSeed(),
	}
	s.ports.Store(&map[uint32]*port{})
	for i := range s.ids {
		s.ids[i].Store(rand.Uint32())
	}
	s.neighbors = newNeighborTable(s.host)
	clock := &gatedClock{Clock: tcpip.NewStdClock(), gate: s.calls}
	s.reassembler = newReassembler(clock, cfg.ReassemblyMemory, cfg.ReassemblyTimeout, s.reassemblyTimedOut)

	// gVisor takes protocols at the beginning only: it gets all that there can
	// be, and the host says which of them it speaks.
	var transports []stack.TransportProtocolFactory
	for number := range 256 {
		if n := uint8(number); !isOwn(n) {
			transports = append(transports, func(*stack.Stack) stack.TransportProtocol {
				return &protocol{stage: s, number: n}
			})
		}
	}
	nud := stack.DefaultNUDConfigurations()
	nud.BaseReachableTime = cfg.ReachableTime
	nud.MinRandomFactor = 1
	nud.MaxRandomFactor = 1
	nud.DelayFirstProbeTime = confirmDelay
	nud.RetransmitTimer = solicitInterval
	nud.MaxMulticastProbes = solicitCount
	nud.MaxUnicastProbes = solicitCount
	s.gs = stack.New(stack.Options{
		NetworkProtocols: []stack.NetworkProtocolFactory{
			ipv4.NewProtocolWithOptions(ipv4.Options{IGMP: ipv4.IGMPOptions{Enabled: true}}),
			arp.NewProtocol,
		},
		TransportProtocols: transports,
		Clock:              clock,
		HandleLocal:        true, // own addresses loop back, and are martian on the wire
		NUDConfigs:         nud,
		NUDDisp:            s.neighbors,
	})
	ttl := tcpip.DefaultTTLOption(cfg.TTL)
	if err := s.gs.SetNetworkProtocolOption(ipv4.ProtocolNumber, &ttl); err != nil {
		return nil, wrap("new: TTL", cfg.TTL, errnoOf(err))
	}
	// The same code answers port unreachable for a port without a binding.
	s.rejecter, _ = s.gs.NetworkProtocolInstance(ipv4.ProtocolNumber).(stack.RejectIPv4WithHandler)
	return s, nil
}

// Close stops everything: pending Resolve calls return net.ErrClosed, groups
// are left (IGMP goes out through Host.Output), timers end. After it no method
// of the Host is called and no goroutine of the stage is left. Idempotent.
func (s *Stage) Close() error {
	s.closeOnce.Do(func() {
		close(s.closing)
		s.calls.close()
		s.gs.Destroy()
		for _, p := range *s.ports.Load() {
			p.ep.gate.close()
		}
		s.reassembler.clear()
		s.host.gate.close()
	})
	return nil
}

// begin is the head of each method: end it with s.calls.leave.
func (s *Stage) begin(op string) error {
	if !s.calls.enter() {
		return errClosed(op)
	}
	return nil
}

// port returns a port by its id, or nil.
func (s *Stage) port(id uint32) *port { return (*s.ports.Load())[id] }

// owner returns the port that has an address, or nil.
func (s *Stage) owner(a netip.Addr) *port {
	for _, p := range *s.ports.Load() {
		if p.local.Load().owns(a) {
			return p
		}
	}
	return nil
}

func toAddr(a netip.Addr) tcpip.Address   { return tcpip.AddrFrom4(a.As4()) }
func fromAddr(a tcpip.Address) netip.Addr { return netip.AddrFrom4(a.As4()) }
