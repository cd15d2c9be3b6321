package serve

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"syscall"

	"github.com/oobnet/oobnet/arp"
	"github.com/oobnet/oobnet/control"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/stack"
)

// presets give devices and ports what the file says, at the start and whenever a
// client opens or enables them again. The control server calls them.
type presets struct {
	*Config
	stack *stack.Stack

	mu sync.Mutex
	// doing is the part of the file that is being done, wrong what was wrong in it;
	// nil: nothing, or what the server finds out by itself.
	doing []any
	wrong error
}

// do notes which part of the file comes next.
func (p *presets) do(steps ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.doing, p.wrong = steps, nil
}

// blame says which part of the file is to blame for a request that failed.
func (p *presets) blame(err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.wrong != nil {
		return p.wrong
	}
	return p.file.wrong(err, p.doing...)
}

// device is what a device is attached with.
func (p *presets) device(name string) stack.DeviceConfig { return p.Devices[name].cfg }

// filter is what a device begins with.
func (p *presets) filter(name string) control.Filter {
	f := p.Devices[name].Filter
	if f == nil {
		return control.Filter{}
	}
	p.do("devices", name, "filter")
	return control.Filter{Object: f.Object, Section: f.Section, Function: f.Function, Rules: f.Rules}
}

// port is what a port is enabled with.
func (p *presets) port(name string) stack.PortConfig {
	p.do("ports", name)
	cfg := p.Ports[name].cfg
	cfg.Addrs = slices.Clone(cfg.Addrs)
	return cfg
}

// enabled gives a port its routes and neighbours.
func (p *presets) enabled(port *stack.Port) error {
	err := p.addRoutes(port)
	if err == nil {
		err = p.setNeighbors(port)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wrong = err
	return err
}

func (p *presets) addRoutes(port *stack.Port) error {
	for i, r := range p.Routes {
		if r.Port != port.Name() {
			continue
		}
		// One that a client has made meanwhile is not to be lost unheard.
		for _, other := range p.stack.Routes() {
			if other.Dst == r.to && !other.Connected {
				return p.file.wrong(fmt.Errorf("a route to %v leads over port %s: remove it first: %w", r.to, other.Port.Name(), syscall.EEXIST), "routes", i)
			}
		}
		if err := p.stack.AddRoute(r.to, r.via, port); err != nil {
			return p.file.wrong(err, "routes", i)
		}
	}
	return nil
}

func (p *presets) setNeighbors(port *stack.Port) error {
	for i, n := range p.Neighbors {
		if err := p.setNeighbor(port, n.static); err != nil {
			return p.file.wrong(err, "neighbors", i)
		}
	}
	for _, n := range p.table {
		if err := p.setNeighbor(port, n); err != nil {
			return p.file.wrong(fmt.Errorf("line %d: %w", n.Line, err), "neighbor_table")
		}
	}
	return nil
}

// setNeighbor does it if the neighbour is the port's: by its name or, without one,
// by its address.
func (p *presets) setNeighbor(port *stack.Port, n arp.Static) error {
	if n.Port != "" && n.Port != port.Name() || n.Port == "" && !onNetwork(port.Addrs(), n.Addr) {
		return nil
	}
	via, err := p.stack.RouteTo(n.Addr)
	switch {
	case err != nil:
		return err
	case via == port:
		return p.stack.SetNeighbor(n.Addr, n.MAC)
	case n.Port == "":
		return nil // it is another port's, whose network is smaller
	}
	return fmt.Errorf("the route to %v leads over port %s, not %s: leave the port out, or change the addresses: %w", n.Addr, via.Name(), n.Port, syscall.ENODEV)
}

// onNetwork says whether an address is on the network of one of a port's.
func onNetwork(addrs []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(addrs, func(p netip.Prefix) bool { return p.Contains(a) })
}

// control is the config of the server.
func (p *presets) control(l *lines) *control.Config {
	return &control.Config{
		Default: kindAFXDP,
		Openers: map[string]control.Opener{
			kindAFXDP: func(name string) (link.Link, error) { return openAFXDP(p.Devices[name], name) },
			kindVFIO:  func(name string) (link.Link, error) { return openVFIO(p.Devices[name], name, l) },
		},
		Device: p.device, Port: p.port, Filter: p.filter, Enabled: p.enabled,
		Group: p.Group, Objects: p.Objects, Timeout: p.Timeout,
	}
}
