package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"

	"github.com/oobnet/oobnet/arp"
	"github.com/oobnet/oobnet/control"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/afxdp"
	"github.com/oobnet/oobnet/link/vfio"
	"github.com/oobnet/oobnet/stack"
)

// Run serves until ctx ends, which is no error. It writes a line to out when
// all that the config says is done, and lines of what goes wrong later.
func Run(ctx context.Context, c *Config, out io.Writer) (err error) {
	lines := &lines{out: out}
	s, err := stack.New(&stack.Config{OnError: lines.fault})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	// Sockets before ports: who finds an address finds the services.
	services, err := startServices(s, &c.Services)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, services.close()) }()
	server, err := control.ServeConfig(s, c.Socket, c.control(lines))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	if err := c.apply(ctx); err != nil {
		return err
	}
	lines.say("serving on %s", server.Path())
	<-ctx.Done()
	return nil
}

// lines are what a person sees.
type lines struct {
	mu  sync.Mutex
	out io.Writer
}

func (l *lines) say(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(l.out, "oobnet: "+format+"\n", args...)
}

func (l *lines) fault(err error) { l.say("%v", err) }

// control is the config of the server: what a port gets that is enabled later
// stands in the file, too.
func (c *Config) control(l *lines) *control.Config {
	return &control.Config{
		Default: kindAFXDP,
		Openers: map[string]control.Opener{
			kindAFXDP: func(name string) (link.Link, error) {
				d := c.Devices[name]
				cfg, err := d.afxdp()
				if err != nil {
					return nil, err
				}
				return afxdp.Open(name, cfg)
			},
			kindVFIO: func(name string) (link.Link, error) {
				return vfio.Open(name, &vfio.Config{OnEvent: func(e vfio.Event) {
					if e.Err != nil {
						l.fault(e.Err)
					}
				}})
			},
		},
		Device: func(name string) stack.DeviceConfig { return c.Devices[name].cfg },
		Port: func(name string) stack.PortConfig {
			p := c.Ports[name].cfg
			p.Addrs = slices.Clone(p.Addrs)
			return p
		},
		Group: c.Group, Objects: c.Objects, Timeout: c.Timeout,
	}
}

// apply does what the config says, through the socket, as anybody else would.
func (c *Config) apply(ctx context.Context) error {
	client, err := control.Dial(c.Socket)
	if err != nil {
		return err
	}
	defer client.Close()
	for _, name := range slices.Sorted(maps.Keys(c.Ports)) {
		if p := c.Ports[name]; !p.atStart() {
			continue
		}
		if _, err := client.EnablePort(ctx, control.EnableRequest{Interface: name}); err != nil {
			return c.file.wrong(err, "ports", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Devices)) {
		f := c.Devices[name].Filter
		if f == nil {
			continue
		}
		_, err := client.SetFilter(ctx, name, control.Filter{Object: f.Object, Section: f.Section, Function: f.Function, Rules: f.Rules})
		if err != nil {
			return c.file.wrong(err, "devices", name, "filter")
		}
	}
	if c.VLANs != "" {
		if _, err := client.SetVLANs(ctx, c.VLANs); err != nil {
			return c.file.wrong(err, "vlans")
		}
	}
	for i, r := range c.Routes {
		// They were parsed by check; a gateway may be missing.
		dst, err := netip.ParsePrefix(r.To)
		if err != nil {
			return c.file.wrong(err, "routes", i)
		}
		var via netip.Addr
		if r.Via != "" {
			if via, err = netip.ParseAddr(r.Via); err != nil {
				return c.file.wrong(err, "routes", i)
			}
		}
		if _, err := client.AddRoute(ctx, control.Route{Destination: dst, Gateway: via, Port: r.Port}); err != nil {
			return c.file.wrong(err, "routes", i)
		}
	}
	return c.applyNeighbors(ctx, client)
}

func (c *Config) applyNeighbors(ctx context.Context, client *control.Client) error {
	for i, n := range c.Neighbors {
		addr, err := netip.ParseAddr(n.Address)
		if err == nil {
			err = client.SetNeighbor(ctx, addr, control.Neighbor{MAC: n.MAC, Interface: n.Port})
		}
		if err != nil {
			return c.file.wrong(err, "neighbors", i)
		}
	}
	if c.NeighborTable == "" {
		return nil
	}
	f, err := os.Open(c.NeighborTable)
	if err != nil {
		return c.file.wrong(err, "neighbor_table")
	}
	defer f.Close()
	table, err := arp.ReadTable(f)
	if err != nil {
		return c.file.wrong(err, "neighbor_table")
	}
	for _, n := range table {
		err := client.SetNeighbor(ctx, n.Addr, control.Neighbor{MAC: net.HardwareAddr(n.MAC[:]).String(), Interface: n.Port})
		if err != nil {
			return c.file.wrong(fmt.Errorf("line %d: %w", n.Line, err), "neighbor_table")
		}
	}
	return nil
}
