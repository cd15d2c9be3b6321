package latmus

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/oobnet/oobnet/arp"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/afxdp"
	"github.com/oobnet/oobnet/link/loopback"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

// Addresses in memory (RFC 5737, documentation).
var (
	memoryNear = netip.MustParsePrefix("192.0.2.1/24")
	memoryFar  = netip.MustParsePrefix("192.0.2.2/24")
)

// side is one stack with its device.
type side struct {
	addr   netip.Prefix
	stack  *stack.Stack
	device *stack.Device
}

// openSides opens the side that measures and, in memory, its peer.
func openSides(o *Options) (near, far *side, err error) {
	if o.Interface != "" {
		l, err := afxdp.Open(o.Interface, &afxdp.Config{})
		if err != nil {
			return nil, nil, fmt.Errorf("%w: or leave -i out to measure in memory", err)
		}
		near, err = newSide(l, o.Addr, o)
		return near, nil, err
	}
	a, b, err := loopback.Pair(nil)
	if err != nil {
		return nil, nil, err
	}
	if near, err = newSide(a, memoryNear, o); err != nil {
		return nil, nil, errors.Join(err, b.Close())
	}
	if far, err = newSide(b, memoryFar, o); err != nil {
		return nil, nil, errors.Join(err, near.close())
	}
	return near, far, nil
}

// newSide attaches the link, which is its own from then on, errors included.
func newSide(l link.Link, addr netip.Prefix, o *Options) (*side, error) {
	if o.wrap != nil {
		l = o.wrap(l)
	}
	st, err := stack.New(nil)
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	cfg := &stack.DeviceConfig{Poll: o.Poll, Priority: o.Priority, Prefault: true}
	if o.CPU >= 0 {
		cfg.RXCPUs, cfg.TXCPUs = []int{o.CPU}, []int{o.CPU}
	}
	s := &side{addr: addr, stack: st}
	if s.device, err = st.Attach(l, cfg); err != nil {
		return nil, errors.Join(err, st.Close(), l.Close())
	}
	if _, err = s.device.EnablePort(&stack.PortConfig{VLAN: o.VLAN, Addrs: []netip.Prefix{addr}}); err != nil {
		return nil, errors.Join(err, st.Close())
	}
	return s, nil
}

func (s *side) listen(o *Options, cfg *udp.Config) (*udp.Conn, error) {
	return udp.Listen(s.stack, netip.AddrPortFrom(s.addr.Addr(), o.Port), cfg)
}

// solicit finds the peer for good, so that no packet of the run goes in-band.
func (s *side) solicit(ctx context.Context, peer netip.Addr) error {
	if err := s.stack.Solicit(ctx, peer, arp.Permanent, arp.MayRoute); err != nil {
		return fmt.Errorf("%w: is the peer running, and the wire the right one?", err)
	}
	return nil
}

// refused is what the machine refused to the device's threads.
func (s *side) refused() (out []string) {
	for _, t := range s.device.Threads() {
		if t.Refused != nil {
			out = append(out, t.Name+": "+t.Refused.Error())
		}
	}
	return out
}

func (s *side) close() error { return s.stack.Close() }

func (s *side) addrPort(port uint16) netip.AddrPort { return netip.AddrPortFrom(s.addr.Addr(), port) }
