package control

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/oobnet/oobnet/arp"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/stack"
)

func (s *Server) listRoutes(context.Context, *struct{}) (*Routes, error) {
	out := &Routes{Routes: []Route{}}
	for _, r := range s.stack.Routes() {
		out.Routes = append(out.Routes, Route{Destination: r.Dst, Gateway: r.Gateway, Port: r.Port.Name(), Connected: r.Connected})
	}
	return out, nil
}

func (s *Server) addRoute(ctx context.Context, in *Route) (*Route, error) {
	done, err := s.change(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	if in.Connected {
		return nil, badRequest("route to %v: connected routes come with addresses: leave \"connected\" out", in.Destination)
	}
	p, err := s.portOf(in.Port)
	if err != nil {
		return nil, err
	}
	if err := s.stack.AddRoute(in.Destination, in.Gateway, p); err != nil {
		return nil, err
	}
	return &Route{Destination: in.Destination.Masked(), Gateway: in.Gateway, Port: p.Name()}, nil
}

type removeRouteIn struct {
	Destination netip.Prefix `query:"destination" json:"-"`
}

func (s *Server) removeRoute(ctx context.Context, in *removeRouteIn) (*Nothing, error) {
	done, err := s.change(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	if !in.Destination.IsValid() {
		return nil, badRequest("which route? want ?destination=198.51.100.0/24")
	}
	return &Nothing{}, s.stack.RemoveRoute(in.Destination)
}

func (s *Server) frontCache(context.Context, *struct{}) (*FrontCache, error) {
	out := &FrontCache{Entries: s.stack.FrontCache().Dump(), Stats: s.stack.FrontCache().Stats()}
	if out.Entries == nil {
		out.Entries = []arp.Info{}
	}
	return out, nil
}

// limitedBroadcast is everybody on a wire (RFC 919).
var limitedBroadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// leavesBy checks that the way to an address is by the port that a client
// named; "": it named none. Broadcast and groups are on every port, whichever of
// them a route would take.
func (s *Server) leavesBy(addr netip.Addr, name string) error {
	if name == "" {
		return nil
	}
	want, err := s.portOf(name)
	if err != nil {
		return err
	}
	if addr == limitedBroadcast || addr.IsMulticast() {
		return nil
	}
	if via, err := s.stack.RouteTo(addr); err == nil && via != want {
		return fmt.Errorf("control: the route to %v leads over port %s, not %s: %w: leave the interface out, or change the routes", addr, via.Name(), want.Name(), syscall.ENODEV)
	}
	return nil
}

// solicit changes nothing but the front cache, and may wait for long: it is no
// change that others wait for.
func (s *Server) solicit(ctx context.Context, in *SolicitRequest) (*Nothing, error) {
	if in.TimeoutMS < 0 {
		return nil, badRequest("timeout_ms %d: want a positive number", in.TimeoutMS)
	}
	if err := s.leavesBy(in.Address, in.Interface); err != nil {
		return nil, err
	}
	limit := stack.SolicitTimeout
	if in.TimeoutMS != 0 {
		limit = time.Duration(in.TimeoutMS) * time.Millisecond
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var opts []arp.SolicitOption
	if in.Permanent {
		opts = append(opts, arp.Permanent)
	}
	if in.MayRoute {
		opts = append(opts, arp.MayRoute)
	}
	return &Nothing{}, s.stack.Solicit(ctx, in.Address, opts...)
}

type neighborIn struct {
	Address netip.Addr `path:"address" json:"-"`
	Neighbor
}

// Neighbor is a permanent entry by hand.
type Neighbor struct {
	MAC       string `json:"mac" doc:"such as 02:00:00:00:00:01"`
	Interface string `json:"interface,omitempty" doc:"the port that it has to be on"`
}

func (s *Server) setNeighbor(ctx context.Context, in *neighborIn) (*Neighbor, error) {
	done, err := s.change(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	mac, err := net.ParseMAC(in.MAC)
	if err != nil || len(mac) != len(link.MAC{}) || mac[0]&1 != 0 {
		return nil, badRequest("%q is not the MAC address of one station, such as 02:00:00:00:00:01", in.MAC)
	}
	if err := s.leavesBy(in.Address, in.Interface); err != nil {
		return nil, err
	}
	return &in.Neighbor, s.stack.SetNeighbor(in.Address, link.MAC(mac))
}

type removeNeighborIn struct {
	Address   netip.Addr `path:"address" json:"-"`
	Interface string     `query:"interface" json:"-" doc:"the port that it has to be on"`
}

func (s *Server) removeNeighbor(ctx context.Context, in *removeNeighborIn) (*Nothing, error) {
	done, err := s.change(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	if err := s.leavesBy(in.Address, in.Interface); err != nil {
		return nil, err
	}
	return &Nothing{}, s.stack.RemoveNeighbor(in.Address)
}
