package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/oobnet/oobnet/internal/pci"
	"github.com/oobnet/oobnet/link/vfio"
)

// bindFlags are the flags of bind and unbind.
type bindFlags struct{ list, all, force, json bool }

func bindCommand(b *pci.Binder) *cobra.Command {
	var f bindFlags
	c := &cobra.Command{
		Use:   "bind {PCI-ADDR | --list}",
		Short: "Take a NIC from the kernel, for link/vfio",
		Long: `bind gives a NIC to the kernel's driver vfio-pci, by which a process can drive it
itself, together with all of its IOMMU group but bridges. It refuses to take an
interface that is up, and what is no network card. vfio-pci has to be loaded.

What had which driver is noted in ` + pci.Run + `, for unbind. A restart of
the machine undoes bind, and empties that folder.`,
		Example: `  oobnet bind --list
  sudo modprobe vfio-pci
  sudo oobnet bind 0000:02:00.0
  sudo oobnet demo --vfio 0000:02:00.0 --addr 192.0.2.1/24
  sudo oobnet unbind 0000:02:00.0`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if f.list || len(args) == 0 {
				return listCards(c, b, &f, args)
			}
			return bindCard(c, b, &f, args[0])
		},
	}
	s := c.Flags()
	s.SortFlags = false
	s.BoolVar(&f.list, "list", false, "list the Ethernet NICs and who has them; changes nothing")
	s.BoolVar(&f.all, "all", false, "with --list: all PCI functions")
	s.BoolVar(&f.force, "force", false, "take an interface that is up too, and what is no network card")
	s.BoolVar(&f.json, "json", false, "print one JSON array")
	return c
}

func unbindCommand(b *pci.Binder) *cobra.Command {
	var f bindFlags
	c := &cobra.Command{
		Use:   "unbind PCI-ADDR",
		Short: "Give a NIC back to the kernel's driver that it had",
		Long: `unbind undoes bind: all that bind moved gets back the driver that it had, the last
first. A NIC that vfio-pci has for another reason goes to the driver that the
kernel has for it. It refuses while a process has the NIC open.`,
		Example: `  sudo oobnet unbind 0000:02:00.0`,
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("unbind: give a PCI address, as in 0000:02:00.0: `oobnet bind --list` has them")
			}
			done, err := b.Unbind(args[0], f.force)
			if err != nil && len(done) == 0 {
				return err
			}
			return errors.Join(err, writeChanges(c, done, f.json))
		},
	}
	s := c.Flags()
	s.SortFlags = false
	s.BoolVar(&f.force, "force", false, "ask the process that has the NIC open to let go, and wait until it does")
	s.BoolVar(&f.json, "json", false, "print one JSON array")
	return c
}

func listCards(c *cobra.Command, b *pci.Binder, f *bindFlags, args []string) error {
	switch {
	case !f.list:
		return errors.New("bind: give a PCI address, as in 0000:02:00.0, or --list to see which there are")
	case len(args) > 0:
		return fmt.Errorf("bind --list %s: the list takes no address", args[0])
	case f.force:
		return errors.New("bind --list --force: the list changes nothing")
	}
	functions, err := b.Sys.List()
	if err != nil {
		return err
	}
	was, err := b.Former()
	if err != nil {
		return err
	}
	cards := cardsOf(functions, was, f.all)
	if f.json {
		return writeJSON(c.OutOrStdout(), cards)
	}
	if len(cards) == 0 {
		fmt.Fprintln(c.ErrOrStderr(), "oobnet: no Ethernet NIC on the PCI bus: --all lists everything on it")
		return nil
	}
	return writeCards(c.OutOrStdout(), cards)
}

func bindCard(c *cobra.Command, b *pci.Binder, f *bindFlags, addr string) error {
	if f.all {
		return errors.New("bind --all: it goes with --list alone: bind one NIC at a time")
	}
	done, err := b.Bind(addr, f.force)
	if err != nil {
		return err
	}
	if err := writeChanges(c, done, f.json); err != nil {
		return err
	}
	if n, err := b.Sys.Read(addr); err == nil && supported(n.Vendor, n.Device) == nil {
		fmt.Fprintf(c.ErrOrStderr(), "oobnet: %s is bound, but oobnet has no driver for a device %04x:%04x\n", n.Addr, n.Vendor, n.Device)
	}
	return nil
}

// supported is the model that link/vfio knows a device as, nil for none.
func supported(vendor, device uint16) *vfio.Model {
	for _, m := range vfio.Models() {
		if m.Vendor == vendor && m.Device == device {
			return &m
		}
	}
	return nil
}

// writeChanges says what was moved, a line each.
func writeChanges(c *cobra.Command, done []pci.Change, json bool) error {
	w := c.OutOrStdout()
	if json {
		return writeJSON(w, append([]pci.Change{}, done...))
	}
	if len(done) == 0 {
		fmt.Fprintln(c.ErrOrStderr(), "oobnet: nothing to do")
		return nil
	}
	for _, d := range done {
		if _, err := fmt.Fprintf(w, "%s: %s -> %s\n", d.Addr, dash(d.From), dash(d.To)); err != nil {
			return err
		}
	}
	return nil
}
