// Package evlnet is evl-net's grammar: its options, the order in which they
// are done, and what it prints, against a control socket. Source: the
// documentation of EVL's commands (https://v4.xenomai.org).
package evlnet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/oobnet/oobnet/control"
)

// Options of a command line.
type Options struct {
	Interface       string // -i
	Enable, Disable bool   // -e, -d
	PoolSize        int    // -p, buffers; 0: the default
	BufferSize      int    // -b, bytes; 0: the default
	Solicit         string // -s, -S: a host; "": not given
	Permanent       bool   // -S
	Gateway         bool   // -g
	SetFilter       bool   // -F
	Filter          string // its value; "": remove
	SetVLANs        bool   // -N
	VLANs           string // its value; "": clear
	ShowVLANs       bool   // -n
	Query           bool   // -Q
	Letters         string // its value; "": all, in words
}

// Check says what is wrong with a command line before any of it is done.
func (o *Options) Check() error {
	switch {
	case !o.Enable && !o.Disable && !o.SetFilter && !o.SetVLANs && !o.ShowVLANs && o.Solicit == "" && !o.Query:
		return errors.New("no command given: want one of -e -d -F -N -n -s -S -Q")
	case (o.Enable || o.Disable || o.SetFilter || o.Query) && o.Interface == "":
		return errors.New("a network interface must be specified: add -i, such as -i eth1.42")
	case o.PoolSize < 0:
		return fmt.Errorf("-p %d: want a number of buffers, 0 for the default", o.PoolSize)
	case o.BufferSize < 0:
		return fmt.Errorf("-b %d: want bytes, 0 for the default", o.BufferSize)
	}
	return nil
}

// Run does what the options say, in evl-net's order, and ends with the first
// error: what came before it stays done.
func Run(ctx context.Context, c *control.Client, o *Options, out io.Writer) error {
	for _, step := range []struct {
		wanted bool
		do     func(context.Context, *control.Client, *Options, io.Writer) error
	}{
		{o.Disable, disable},
		{o.Enable, enable},
		{o.SetFilter, setFilter},
		{o.SetVLANs, setVLANs},
		{o.ShowVLANs, showVLANs},
		{o.Solicit != "", solicit},
		{o.Query, query},
	} {
		if !step.wanted {
			continue
		}
		if err := step.do(ctx, c, o, out); err != nil {
			return err
		}
	}
	return nil
}

// open is what EVL does with a port first: it has to be enabled.
func open(ctx context.Context, c *control.Client, name string) (*control.Port, error) {
	p, err := c.Port(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("cannot open out-of-band port %s: %w", name, err)
	}
	return p, nil
}

// disable drains what is in use, as EVL does.
func disable(ctx context.Context, c *control.Client, o *Options, _ io.Writer) error {
	if _, err := open(ctx, c, o.Interface); err != nil {
		return err
	}
	if _, err := c.DisablePort(ctx, o.Interface, true); err != nil {
		return fmt.Errorf("cannot disable out-of-band port on %s: %w", o.Interface, err)
	}
	return nil
}

func enable(ctx context.Context, c *control.Client, o *Options, _ io.Writer) error {
	_, err := c.EnablePort(ctx, control.EnableRequest{Interface: o.Interface, PoolSize: o.PoolSize, BufferSize: o.BufferSize})
	if err != nil {
		return fmt.Errorf("cannot enable out-of-band port on %s: %w", o.Interface, err)
	}
	return nil
}

// setFilter names files as its caller sees them. What is not there may be in
// the folder of a server that has one.
func setFilter(ctx context.Context, c *control.Client, o *Options, out io.Writer) error {
	p, err := open(ctx, c, o.Interface)
	if err != nil {
		return err
	}
	if o.Filter == "" {
		if _, err := c.RemoveFilter(ctx, p.Device); err != nil {
			return fmt.Errorf("cannot remove the eBPF filter of %s: %w", o.Interface, err)
		}
		_, err := fmt.Fprintf(out, "eBPF module removed from %s\n", o.Interface)
		return err
	}
	path, here := o.Filter, true
	if abs, err := filepath.Abs(path); err == nil {
		if _, err = os.Stat(abs); err == nil {
			path = abs
		} else {
			here = !errors.Is(err, os.ErrNotExist)
		}
	}
	_, err = c.SetFilter(ctx, p.Device, control.Filter{Object: path})
	if err != nil && !here {
		err = fmt.Errorf("there is no %s here, and the server says: %w", o.Filter, err)
	}
	if err != nil {
		return fmt.Errorf("cannot set eBPF filter on %s: %w", o.Interface, err)
	}
	return nil
}

func setVLANs(ctx context.Context, c *control.Client, o *Options, out io.Writer) error {
	if _, err := c.SetVLANs(ctx, o.VLANs); err != nil {
		return fmt.Errorf("cannot set VLAN filter: %w", err)
	}
	if o.VLANs != "" {
		return nil
	}
	_, err := fmt.Fprintln(out, "VLAN filter cleared")
	return err
}

// showVLANs prints nothing where there is no list, as EVL does.
func showVLANs(ctx context.Context, c *control.Client, _ *Options, out io.Writer) error {
	v, err := c.VLANs(ctx)
	if err != nil {
		return fmt.Errorf("cannot read VLAN filter: %w", err)
	}
	if v.IDs != "" {
		_, err = fmt.Fprintln(out, v.IDs)
	}
	return err
}

func solicit(ctx context.Context, c *control.Client, o *Options, _ io.Writer) error {
	addr, err := hostAddr(ctx, o.Solicit)
	if err != nil {
		return err
	}
	err = c.Solicit(ctx, control.SolicitRequest{Address: addr, Interface: o.Interface, Permanent: o.Permanent, MayRoute: o.Gateway})
	if errors.Is(err, syscall.ETIMEDOUT) {
		return fmt.Errorf("%s did not respond: %w", o.Solicit, err)
	}
	if err != nil {
		return fmt.Errorf("cannot solicit %s: %w", o.Solicit, err)
	}
	return nil
}

// hostAddr is the address of a host; "broadcast" is one.
func hostAddr(ctx context.Context, host string) (netip.Addr, error) {
	if host == "broadcast" {
		return netip.AddrFrom4([4]byte{255, 255, 255, 255}), nil
	}
	if a, err := netip.ParseAddr(host); err == nil {
		if a = a.Unmap(); !a.Is4() {
			return a, fmt.Errorf("invalid host/IP address %s: want IPv4: %w", host, syscall.EAFNOSUPPORT)
		}
		return a, nil
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", host)
	if err != nil || len(found) == 0 {
		return netip.Addr{}, fmt.Errorf("invalid host/IP address %q: want a name that resolves, or an address such as 192.0.2.2: %w", host, syscall.ESRCH)
	}
	return found[0].Unmap(), nil
}

// query prints figures: in words, or those that letters ask for, in one line.
func query(ctx context.Context, c *control.Client, o *Options, out io.Writer) error {
	p, err := open(ctx, c, o.Interface)
	if err != nil {
		return err
	}
	text := Words(&p.Stats)
	if o.Letters != "" {
		if text, err = Letters(&p.Stats, o.Letters); err != nil {
			return err
		}
	}
	_, err = io.WriteString(out, text)
	return err
}

// Words are all figures of a port, a line each.
func Words(s *control.PortStats) string {
	capable := "no"
	if s.Capable {
		capable = "yes"
	}
	var b strings.Builder
	for _, line := range []struct {
		name  string
		value any
	}{
		{"oob capability", capable},
		{"rx packets", s.RXPackets},
		{"rx bytes", s.RXBytes},
		{"tx packets", s.TXPackets},
		{"tx bytes", s.TXBytes},
		{"skb size", s.BufferSize},
		{"skb free", fmt.Sprintf("%d / %d", s.BuffersFree, s.BuffersTotal)},
		{"csum errors", s.CsumErrors},
		{"rx nomem", s.RXNoMem},
		{"tx nomem", s.TXNoMem},
	} {
		fmt.Fprintf(&b, "%*s: %v\n", len("oob capability"), line.name, line.value)
	}
	return b.String()
}

// Letters are the figures that the letters of -Q ask for, in their order, as
// EVL's documentation has them: R is packets sent and T packets received, and o
// is 1 or 0.
func Letters(s *control.PortStats, letters string) (string, error) {
	var parts []string
	add := func(values ...uint64) {
		for _, v := range values {
			parts = append(parts, strconv.FormatUint(v, 10))
		}
	}
	for _, letter := range letters {
		switch letter {
		case 'R':
			add(s.TXPackets)
		case 'r':
			add(s.TXBytes)
		case 'T':
			add(s.RXPackets)
		case 't':
			add(s.RXBytes)
		case 'o':
			capable := uint64(0)
			if s.Capable {
				capable = 1
			}
			add(capable)
		case 's':
			add(uint64(s.BufferSize))
		case 'f':
			add(uint64(s.BuffersFree))
		case 'a':
			add(uint64(s.BuffersTotal))
		case 'c':
			add(s.CsumErrors)
		case 'x':
			add(s.RXNoMem, s.TXNoMem)
		default:
			return "", fmt.Errorf("invalid query letter %q: want some of RrTtosfacx", letter)
		}
	}
	return strings.Join(parts, " ") + "\n", nil
}
