// Package demo is the main job in one command: a cyclic UDP exchange over the
// out-of-band stack, with the figures that tell whether it was good.
package demo

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"time"

	"github.com/oobnet/oobnet/internal/rt"
	"github.com/oobnet/oobnet/link"
)

// Options of a run, checked by Check.
type Options struct {
	// Interface to run on over AF_XDP, or VFIO, the PCI address of a NIC to run
	// on without the kernel; both empty: two stacks over a wire in memory.
	Interface, VFIO string
	// Addr is the stack's address there.
	Addr netip.Prefix
	// Peer runs the echo server; not valid: this is the server.
	Peer netip.Addr
	// VLAN id, 2 to 4094; 0: untagged.
	VLAN uint16
	// Duration of the exchange; 0: until interrupted (the server alone).
	Duration time.Duration
	// Period of the cycle.
	Period time.Duration
	// Size of the payload, bytes.
	Size int
	// Port of the echo server.
	Port uint16
	// PCP is the sockets' priority, 0 to 7, and the VLAN tag's.
	PCP int
	// CPU to pin the cycle's and the devices' threads to; negative: none.
	CPU int
	// Priority of these threads in SCHED_FIFO, 1 to 99; 0: ordinary.
	Priority int
	// Poll is how the devices wait.
	Poll link.PollMode
	// Live receives a line that is written over again and again; nil: none.
	Live io.Writer
}

// Limits of the options.
const (
	// MinSize holds what a datagram carries: a number and a time.
	MinSize = 16
	// MaxSize is the largest UDP payload over IPv4.
	MaxSize = 65507
	// MinPeriod is what one core can send and receive with a margin.
	MinPeriod = 10 * time.Microsecond
	MaxPeriod = time.Second
)

// Server reports whether the options make an echo server.
func (o *Options) Server() bool { return o.onNIC() && !o.Peer.IsValid() }

// onNIC reports whether the wire is a real one.
func (o *Options) onNIC() bool { return o.Interface != "" || o.VFIO != "" }

// Check returns an error that says what is wrong with which flag, and the way out.
func (o *Options) Check() error {
	switch {
	case o.Interface != "" && o.VFIO != "":
		return fmt.Errorf("-i %s and --vfio %s: give one: the NIC of an interface is the kernel's", o.Interface, o.VFIO)
	case !o.onNIC() && o.Addr.IsValid():
		return errors.New("--addr without -i or --vfio: name the interface or the NIC, or leave both out for the demo in memory")
	case !o.onNIC() && o.Peer.IsValid():
		return errors.New("--peer without -i or --vfio: name the interface or the NIC, or leave both out for the demo in memory")
	case o.Interface != "" && !o.Addr.IsValid():
		return fmt.Errorf("-i %s without --addr: give the stack an address of its own there, such as --addr 192.0.2.1/24", o.Interface)
	case o.VFIO != "" && !o.Addr.IsValid():
		return fmt.Errorf("--vfio %s without --addr: give the stack an address, such as --addr 192.0.2.1/24", o.VFIO)
	case o.Peer.IsValid() && o.Peer == o.Addr.Addr():
		return fmt.Errorf("--peer %v is the own address: give the other host's", o.Peer)
	case o.Period < MinPeriod || o.Period > MaxPeriod:
		return fmt.Errorf("--period %v: want %v to %v", o.Period, MinPeriod, MaxPeriod)
	case o.Size < MinSize || o.Size > MaxSize:
		return fmt.Errorf("--size %d: want %d to %d bytes", o.Size, MinSize, MaxSize)
	case o.Port == 0:
		return errors.New("--port 0: want 1 to 65535")
	case o.PCP < 0 || o.PCP > 7:
		return fmt.Errorf("--pcp %d: want 0 to 7", o.PCP)
	case o.Priority < 0 || o.Priority > rt.MaxPriority:
		return fmt.Errorf("--priority %d: want 1 to %d, or 0 for ordinary scheduling", o.Priority, rt.MaxPriority)
	case o.Duration < 0 || o.Duration == 0 && !o.Server():
		return fmt.Errorf("--duration %v: want more than 0", o.Duration)
	}
	return nil
}

// ParseAddr reads the value of --addr.
func ParseAddr(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, fmt.Errorf("--addr %q: not an address with its prefix length, such as 192.0.2.1/24", s)
	}
	switch {
	case !p.Addr().Is4():
		return p, fmt.Errorf("--addr %s: IPv6 is not supported: give an IPv4 address, such as 192.0.2.1/24", s)
	case p.Addr().IsUnspecified() || p.Addr().IsMulticast() || p.Addr().IsLoopback():
		return p, fmt.Errorf("--addr %s: not an address of a host: give one, such as 192.0.2.1/24", s)
	case p.Bits() < 1:
		return p, fmt.Errorf("--addr %s: a prefix length of 0 makes every address a neighbour: give the network's", s)
	}
	return p, nil
}

// ParsePeer reads the value of --peer.
func ParsePeer(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	switch {
	case err != nil:
		return a, fmt.Errorf("--peer %q: not an address, such as 192.0.2.2", s)
	case !a.Is4():
		return a, fmt.Errorf("--peer %s: IPv6 is not supported: give an IPv4 address, such as 192.0.2.2", s)
	case a.IsUnspecified() || a.IsMulticast() || a.IsLoopback():
		return a, fmt.Errorf("--peer %s: not an address of a host: give one, such as 192.0.2.2", s)
	}
	return a, nil
}

// ParseVLAN reads the value of --vlan.
func ParseVLAN(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	switch {
	case err != nil:
		return 0, fmt.Errorf("--vlan %q: want a VLAN id, 2 to 4094", s)
	case n < 2 || n > 4094:
		return 0, fmt.Errorf("--vlan %d: ids 0, 1 and 4095 and beyond are reserved: want 2 to 4094, or leave --vlan out for untagged frames", n)
	}
	return uint16(n), nil
}

// ParsePoll reads the value of --poll.
func ParsePoll(s string) (link.PollMode, error) {
	switch s {
	case "adaptive":
		return link.Adaptive, nil
	case "busy":
		return link.Busy, nil
	case "block":
		return link.Block, nil
	case "manual", "notify":
		return link.Manual, nil
	}
	if d, err := time.ParseDuration(s); err == nil && d > 0 && d <= time.Hour {
		return link.BlockTimeout(d), nil
	}
	return 0, fmt.Errorf("--poll %q: want adaptive, busy, block, manual, or the longest wait, such as 5ms", s)
}
