package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/oobnet/oobnet/capture"
	"github.com/oobnet/oobnet/filter"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/afxdp"
	"github.com/oobnet/oobnet/link/vfio"
	"github.com/oobnet/oobnet/stack"
)

// dumpRXBuffers of each queue of a stack that does nothing but capture: they
// are copied at once, so this is for bursts.
const dumpRXBuffers = 4096

// dumpTaken captures on a stack of its own, until ctx ends, which is no error.
func dumpTaken(ctx context.Context, f *dumpFlags, out io.Writer) (st *capture.Stats, err error) {
	s, err := stack.New(nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	l, err := openTaken(f.device)
	if err != nil {
		return nil, err
	}
	d, err := s.Attach(l, &stack.DeviceConfig{RXBuffers: dumpRXBuffers})
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	session, err := capture.Start(d, out, &f.Config)
	if err != nil {
		return nil, err
	}
	if err := takeAll(d); err != nil {
		return nil, errors.Join(err, session.Stop())
	}
	select {
	case <-session.Done():
	case <-ctx.Done():
	}
	err = session.Stop()
	counted := session.Stats()
	return &counted, err
}

// openTaken opens an interface, or with "vfio:" a NIC that the kernel has given
// away.
func openTaken(name string) (link.Link, error) {
	if address, ok := strings.CutPrefix(name, "vfio:"); ok {
		l, err := vfio.Open(address, nil)
		if err != nil {
			return nil, err
		}
		return l, nil
	}
	l, err := afxdp.Open(strings.TrimPrefix(name, "afxdp:"), nil)
	if err != nil {
		return nil, err
	}
	return l, nil
}

// takeAll accepts every frame: nobody else gets any.
func takeAll(d *stack.Device) error {
	all, err := filter.NewRules(filter.Accept)
	if err != nil {
		return err
	}
	if err := d.SetFilter(all); err != nil {
		return fmt.Errorf("dump: %w", err)
	}
	return nil
}
