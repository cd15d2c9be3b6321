package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"

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
	p := &presets{Config: c, stack: s}
	server, err := control.ServeConfig(s, c.Socket, p.control(lines))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	if err := p.apply(ctx); err != nil {
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

// openAFXDP opens the link of a device.
func openAFXDP(d Device, name string) (link.Link, error) { return afxdp.Open(name, &d.afxdp) }

// openVFIO is openAFXDP for a NIC that VFIO has; what happens to it goes to lines.
func openVFIO(d Device, name string, l *lines) (link.Link, error) {
	return vfio.Open(name, d.vfio(l.fault))
}

// vfio is what of a device's config is VFIO's.
func (d *Device) vfio(fault func(error)) *vfio.Config {
	return &vfio.Config{Queues: d.Queues, OnEvent: func(e vfio.Event) {
		if e.Err != nil {
			fault(e.Err)
		}
	}}
}

// apply does what the config says, through the socket, as anybody else would. What
// comes with a device or port, presets give it.
func (p *presets) apply(ctx context.Context) error {
	client, err := control.Dial(p.Socket)
	if err != nil {
		return err
	}
	defer client.Close()
	for _, name := range slices.Sorted(maps.Keys(p.Ports)) {
		if port := p.Ports[name]; !port.atStart() {
			continue
		}
		p.do("ports", name)
		if _, err := client.EnablePort(ctx, control.EnableRequest{Interface: name}); err != nil {
			return p.blame(err)
		}
	}
	if p.VLANs == "" {
		return nil
	}
	if _, err := client.SetVLANs(ctx, p.VLANs); err != nil {
		return p.file.wrong(err, "vlans")
	}
	return nil
}
