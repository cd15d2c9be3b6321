package control

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/oobnet/oobnet/stack"
	"github.com/oobnet/oobnet/stats"
)

// drainPatience is how long buffers of traffic under way may take to come home
// before a device counts as used.
const drainPatience = 500 * time.Millisecond

type portIn struct {
	Port string `path:"port" json:"-"`
}

type disableIn struct {
	Port  string `path:"port" json:"-"`
	Force bool   `query:"force" json:"-" doc:"also while sockets are bound to the port, or hold buffers of a device that will close"`
}

type addressIn struct {
	Port    string       `path:"port" json:"-"`
	Address netip.Prefix `query:"address" json:"-"`
}

type addAddressIn struct {
	Port string `path:"port" json:"-"`
	PortAddress
}

// PortAddress is an address with the length of its prefix.
type PortAddress struct {
	Address netip.Prefix `json:"address"`
}

// portOf returns the enabled port of a name.
func (s *Server) portOf(name string) (*stack.Port, error) {
	t, err := s.parseTarget(name)
	if err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	if p := s.port(t); p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("control: port %s is not enabled: %w: enable it first", t, syscall.ENODEV)
}

func (s *Server) port(t target) *stack.Port {
	for _, p := range s.stack.Ports() {
		if p.Device().Name() == t.device && p.VLAN() == t.vlan {
			return p
		}
	}
	return nil
}

func (s *Server) listPorts(context.Context, *struct{}) (*Ports, error) {
	out := &Ports{Ports: []Port{}}
	for _, p := range s.stack.Ports() {
		out.Ports = append(out.Ports, *describePort(p))
	}
	return out, nil
}

func (s *Server) getPort(_ context.Context, in *portIn) (*Port, error) {
	p, err := s.portOf(in.Port)
	if err != nil {
		return nil, err
	}
	return describePort(p), nil
}

func describePort(p *stack.Port) *Port {
	d, st := p.Device().Stats(), p.Stats()
	out := &Port{
		Name: p.Name(), Device: d.Name, VLAN: p.VLAN(), MAC: macText(p.MAC()), MTU: p.MTU(), Addresses: p.Addrs(),
		PoolSize: d.Pool.Size, BufferSize: d.Pool.BufferSize,
		Stats: PortStats{
			Capable: !hostFirst(p.Device().Link()), RXPackets: st.RXPackets, RXBytes: st.RXBytes, TXPackets: st.TXPackets, TXBytes: st.TXBytes,
			BufferSize: d.Pool.BufferSize, BuffersFree: d.Pool.Free, BuffersTotal: d.Pool.Size,
			CsumErrors: d.RX.Dropped[stack.ReasonIPv4Checksum] + d.RX.Dropped[stack.ReasonChecksum],
			TXNoMem:    d.Pool.Empty,
		},
	}
	if out.Addresses == nil {
		out.Addresses = []netip.Prefix{}
	}
	for _, q := range d.Queues {
		out.Stats.RXNoMem += q.RXNoBuffer
	}
	return out
}

// enablePort makes a port, with its device, or leaves things as they were.
func (s *Server) enablePort(ctx context.Context, in *EnableRequest) (*Port, error) {
	done, err := s.change(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	p, err := s.enable(ctx, in)
	if err != nil {
		return nil, fmt.Errorf("control: enable port %s: %w", in.Interface, err)
	}
	return describePort(p), nil
}

func (s *Server) enable(ctx context.Context, in *EnableRequest) (*stack.Port, error) {
	t, err := s.parseTarget(in.Interface)
	if err != nil {
		return nil, err
	}
	if p := s.port(t); p != nil {
		return p, nil
	}
	d, opened, err := s.deviceFor(ctx, t, in)
	if err != nil {
		return nil, err
	}
	undo := func(p *stack.Port, err error) (*stack.Port, error) {
		switch {
		case opened:
			err = errors.Join(err, d.Close())
		case p != nil:
			err = errors.Join(err, p.Disable())
		}
		return nil, err
	}
	cfg := stack.PortConfig{}
	if s.cfg.Port != nil {
		cfg = s.cfg.Port(t.String())
	}
	cfg.VLAN = t.vlan
	if in.Addresses != nil {
		cfg.Addrs = in.Addresses
	}
	if in.MTU != 0 {
		cfg.MTU = in.MTU
	}
	if opened {
		if err := waitUp(ctx, d); err != nil {
			return undo(nil, err)
		}
	}
	p, err := d.EnablePort(&cfg)
	if err != nil {
		return undo(nil, err)
	}
	if err := s.applyVLANs(nil); err != nil {
		return undo(p, errors.Join(err, s.applyVLANs(p)))
	}
	if s.cfg.Enabled != nil {
		if err := s.cfg.Enabled(p); err != nil {
			return undo(p, errors.Join(err, s.applyVLANs(p)))
		}
	}
	return p, nil
}

// disablePort ends a port, and its device with the last one.
func (s *Server) disablePort(ctx context.Context, in *disableIn) (*Disabled, error) {
	done, err := s.change(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	p, err := s.portOf(in.Port)
	if err != nil {
		return nil, err
	}
	d := p.Device()
	last := s.record(d).opened && len(d.Ports()) == 1
	if !in.Force {
		err := s.unbound(p)
		if err == nil && last {
			err = unused(ctx, d)
		}
		if err != nil {
			return nil, fmt.Errorf("control: disable port %s: %w", p.Name(), err)
		}
	}
	if !last {
		// First what can fail: a port that has ended does not come back with its
		// addresses, routes and sockets.
		err := s.applyVLANs(p)
		if err == nil {
			err = p.Disable()
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("control: disable port %s: %w", p.Name(), err), s.applyVLANs(nil))
		}
		return &Disabled{}, nil
	}
	out := &Disabled{DeviceClosed: true}
	if err := d.Close(); errors.Is(err, syscall.EBUSY) {
		out.Held = err.Error()
	} else if err != nil {
		return nil, err
	}
	return out, nil
}

// unbound says which sockets would lose the port: those that are bound to an
// address of it, and raw ones on it. A socket on all addresses stays of use.
func (s *Server) unbound(p *stack.Port) error {
	var bound []string
	addrs := p.Addrs()
	for _, c := range stats.Take(s.stack).Sockets {
		switch {
		case c.Protocol == stats.Packet && c.Port == p.Name():
			bound = append(bound, fmt.Sprintf("raw %#04x", c.EtherType))
		case slices.ContainsFunc(addrs, func(a netip.Prefix) bool { return a.Addr() == c.Local.Addr() }):
			bound = append(bound, fmt.Sprintf("%s %v", c.Protocol, c.Local))
		}
	}
	if len(bound) == 0 {
		return nil
	}
	names := strings.Join(bound[:min(len(bound), maxNamed)], ", ")
	return fmt.Errorf("it is in use by %d sockets (%s): %w: close them, or force it", len(bound), names, syscall.EBUSY)
}

// maxNamed sockets are enough for a message.
const maxNamed = 4

// unused waits until nobody holds buffers of a device, for a moment only.
func unused(ctx context.Context, d *stack.Device) error {
	for end := time.Now().Add(drainPatience); ; {
		pool := d.Stats().Pool
		sending := pool.Size - pool.Free
		if pool.RXHeld == 0 && sending == 0 {
			return nil
		}
		if time.Now().After(end) || ctx.Err() != nil {
			return fmt.Errorf("it is the last one of device %s, which is in use: %d receive buffers wait for readers or are held, %d buffers are being sent or leased: %w: read or close the sockets, or force it",
				d.Name(), pool.RXHeld, sending, syscall.EBUSY)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (s *Server) addAddress(ctx context.Context, in *addAddressIn) (*Port, error) {
	return s.changePort(ctx, in.Port, func(p *stack.Port) error { return p.AddAddr(in.Address) })
}

func (s *Server) removeAddress(ctx context.Context, in *addressIn) (*Port, error) {
	if !in.Address.IsValid() {
		return nil, badRequest("which address? want ?address=192.0.2.1/24")
	}
	return s.changePort(ctx, in.Port, func(p *stack.Port) error { return p.RemoveAddr(in.Address) })
}

// changePort runs f on a port, when it is its turn.
func (s *Server) changePort(ctx context.Context, name string, f func(*stack.Port) error) (*Port, error) {
	done, err := s.change(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	p, err := s.portOf(name)
	if err != nil {
		return nil, err
	}
	if err := f(p); err != nil {
		return nil, err
	}
	return describePort(p), nil
}

// waitUp waits for the carrier of a device that was just opened, for the most of the
// time that a request has: what comes after it takes some, too.
func waitUp(ctx context.Context, d *stack.Device) error {
	limit := stack.CarrierTime
	if deadline, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(deadline)*3/4)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return d.WaitUp(ctx)
}
