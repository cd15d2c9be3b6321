// Package pion is a transport.Net of github.com/pion/transport on a stack: what
// pion's libraries (ice, webrtc, turn, dtls) take in place of the operating
// system's network.
//
//	n := pion.NewNet(s)
//	e := webrtc.SettingEngine{}
//	e.SetNet(n)
//
// It has UDP over IPv4 and nothing else: TCP is transport.ErrNotSupported. Names
// of hosts are not resolved; addresses are literal.
package pion

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"github.com/pion/transport/v5"

	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

// Net is a stack as pion sees a network. Its methods may be called by any
// goroutine.
type Net struct {
	stack *stack.Stack
	cfg   *udp.Config
}

var _ transport.Net = (*Net)(nil)

// NewNet makes a Net of a stack, which stays the caller's. cfg is for all sockets
// that are made of it; nil means the defaults.
func NewNet(s *stack.Stack, cfg *udp.Config) *Net { return &Net{s, cfg} }

// ListenPacket opens a socket. The host may be empty: all addresses.
func (n *Net) ListenPacket(network, address string) (net.PacketConn, error) {
	addr, err := n.ResolveUDPAddr(network, address)
	if err != nil {
		return nil, err
	}
	return n.ListenUDP(network, addr)
}

// ListenUDP opens a socket; a nil address, or one without an IP, is all addresses.
func (n *Net) ListenUDP(network string, local *net.UDPAddr) (transport.UDPConn, error) {
	if err := check(network); err != nil {
		return nil, err
	}
	c, err := udp.Listen(n.stack, addrPort(local), n.cfg)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Dial opens a socket with one peer.
func (n *Net) Dial(network, address string) (net.Conn, error) {
	addr, err := n.ResolveUDPAddr(network, address)
	if err != nil {
		return nil, err
	}
	return n.DialUDP(network, nil, addr)
}

// DialUDP opens a socket with one peer; a nil local address is chosen.
func (n *Net) DialUDP(network string, local, remote *net.UDPAddr) (transport.UDPConn, error) {
	if err := check(network); err != nil {
		return nil, err
	}
	c, err := udp.Dial(n.stack, addrPort(local), addrPort(remote), n.cfg)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// check refuses what is not UDP over IPv4.
func check(network string) error {
	switch network {
	case "udp", "udp4":
		return nil
	}
	return fmt.Errorf("pion: network %q: udp and udp4 are what there is: %w", network, transport.ErrNotSupported)
}

// addrPort is the zero AddrPort for nil: an address and a port are chosen.
func addrPort(a *net.UDPAddr) netip.AddrPort {
	if a == nil {
		return netip.AddrPort{}
	}
	ip, _ := netip.AddrFromSlice(a.IP) // no IP is all addresses
	return netip.AddrPortFrom(ip.Unmap(), uint16(a.Port))
}

// ListenTCP is not supported.
func (n *Net) ListenTCP(network string, _ *net.TCPAddr) (transport.TCPListener, error) {
	return nil, check(network + " for TCP")
}

// DialTCP is not supported.
func (n *Net) DialTCP(network string, _, _ *net.TCPAddr) (transport.TCPConn, error) {
	return nil, check(network + " for TCP")
}

// ResolveUDPAddr takes a literal IPv4 address, or none, and a port.
func (n *Net) ResolveUDPAddr(network, address string) (*net.UDPAddr, error) {
	if err := check(network); err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("pion: %w", err)
	}
	if port == "" {
		port = "0"
	}
	if host == "" {
		host = "0.0.0.0"
	}
	a, err := netip.ParseAddrPort(host + ":" + port)
	if err != nil || !a.Addr().Is4() {
		return nil, fmt.Errorf("pion: address %q: want a literal IPv4 address and a port: %w", address, transport.ErrNotUDPAddress)
	}
	return net.UDPAddrFromAddrPort(a), nil
}

// ResolveIPAddr takes a literal IPv4 address.
func (n *Net) ResolveIPAddr(_, address string) (*net.IPAddr, error) {
	a, err := netip.ParseAddr(address)
	if err != nil || !a.Is4() {
		return nil, fmt.Errorf("pion: address %q: want a literal IPv4 address: %w", address, transport.ErrNotSupported)
	}
	return &net.IPAddr{IP: a.AsSlice()}, nil
}

// ResolveTCPAddr is not supported.
func (n *Net) ResolveTCPAddr(network, _ string) (*net.TCPAddr, error) {
	return nil, check(network + " for TCP")
}

// Interfaces are the ports of the stack's devices, numbered from 1.
func (n *Net) Interfaces() ([]*transport.Interface, error) {
	var list []*transport.Interface
	for _, d := range n.stack.Devices() {
		for _, p := range d.Ports() {
			mac := p.MAC()
			i := transport.NewInterface(net.Interface{
				Index: len(list) + 1, MTU: p.MTU(), Name: p.Name(), HardwareAddr: mac[:],
				Flags: net.FlagUp | net.FlagRunning | net.FlagBroadcast | net.FlagMulticast,
			})
			for _, a := range p.Addrs() {
				i.AddAddress(&net.IPNet{IP: a.Addr().AsSlice(), Mask: net.CIDRMask(a.Bits(), 32)})
			}
			list = append(list, i)
		}
	}
	return list, nil
}

// InterfaceByIndex finds one of Interfaces.
func (n *Net) InterfaceByIndex(index int) (*transport.Interface, error) {
	return n.find(func(i *transport.Interface) bool { return i.Index == index }, index)
}

// InterfaceByName finds one of Interfaces.
func (n *Net) InterfaceByName(name string) (*transport.Interface, error) {
	return n.find(func(i *transport.Interface) bool { return i.Name == name }, name)
}

func (n *Net) find(is func(*transport.Interface) bool, what any) (*transport.Interface, error) {
	list, err := n.Interfaces()
	if err != nil {
		return nil, err
	}
	for _, i := range list {
		if is(i) {
			return i, nil
		}
	}
	return nil, fmt.Errorf("pion: interface %v: %w", what, transport.ErrInterfaceNotFound)
}

// CreateDialer makes a dialer; of the net.Dialer it takes the local address.
func (n *Net) CreateDialer(d *net.Dialer) transport.Dialer { return dialer{n, d} }

type dialer struct {
	n *Net
	d *net.Dialer
}

func (d dialer) Dial(network, address string) (net.Conn, error) {
	remote, err := d.n.ResolveUDPAddr(network, address)
	if err != nil {
		return nil, err
	}
	var local *net.UDPAddr
	if d.d != nil && d.d.LocalAddr != nil {
		var ok bool
		if local, ok = d.d.LocalAddr.(*net.UDPAddr); !ok {
			return nil, fmt.Errorf("pion: local address %v: %w", d.d.LocalAddr, transport.ErrNotUDPAddress)
		}
	}
	return d.n.DialUDP(network, local, remote)
}

// CreateListenConfig makes a listener of packets. A net.ListenConfig has nothing
// for a stack: Control is for descriptors.
func (n *Net) CreateListenConfig(*net.ListenConfig) transport.ListenConfig { return listenConfig{n} }

type listenConfig struct{ n *Net }

func (l listenConfig) Listen(_ context.Context, network, _ string) (net.Listener, error) {
	return nil, check(network + " for streams")
}

func (l listenConfig) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return l.n.ListenPacket(network, address)
}
