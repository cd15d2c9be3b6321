package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/oobnet/oobnet/internal/pci"
)

// card is a line of `oobnet bind --list`, and an object of its JSON.
type card struct {
	Address string `json:"address"`
	IDs     string `json:"ids"`   // vendor:device
	Class   string `json:"class"` // base class and subclass: 0200 is Ethernet
	Driver  string `json:"driver"`
	// Former is the driver that unbind gives it back to; nil: it was not bound by us.
	Former *string `json:"former_driver,omitempty"`
	Group  string  `json:"iommu_group"`
	// Others are the members of the group that go with it, and Bridges those
	// that stay.
	Others     []string     `json:"group_members"`
	Bridges    []string     `json:"group_bridges"`
	NUMA       int          `json:"numa_node"` // -1: not known
	Interfaces []pci.Netdev `json:"interfaces"`
	// Away: its interface is in another network namespace.
	Away bool `json:"interface_elsewhere,omitempty"`
	// Support is our driver family, Model the NIC's name in it; empty: none.
	Support string `json:"supported"`
	Model   string `json:"model"`
}

// cardsOf makes the list of what was read; was are the former drivers of those
// that we have bound. It takes Ethernet alone unless all is set.
func cardsOf(functions []*pci.Function, was map[string]string, all bool) []card {
	bridge := map[string]bool{}
	for _, f := range functions {
		bridge[f.Addr] = f.Bridge()
	}
	cards := []card{}
	for _, f := range functions {
		if !all && !f.Ethernet() {
			continue
		}
		c := card{
			Address: f.Addr, IDs: fmt.Sprintf("%04x:%04x", f.Vendor, f.Device), Class: fmt.Sprintf("%04x", f.Class>>8), Driver: f.Driver,
			Group: f.Group, Others: []string{}, Bridges: []string{}, NUMA: f.NUMA, Interfaces: append([]pci.Netdev{}, f.Netdevs...), Away: f.Away,
		}
		if driver, ok := was[f.Addr]; ok {
			c.Former = &driver
		}
		for _, member := range f.Members {
			switch {
			case member == f.Addr:
			case bridge[member]:
				c.Bridges = append(c.Bridges, member)
			default:
				c.Others = append(c.Others, member)
			}
		}
		if m := supported(f.Vendor, f.Device); m != nil {
			c.Support, c.Model = m.Driver, m.Name
		}
		cards = append(cards, c)
	}
	return cards
}

// writeCards writes the list for people.
func writeCards(w io.Writer, cards []card) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "ADDRESS\tIDS\tDRIVER\tGROUP\tOTHER MEMBERS\tNUMA\tINTERFACE\tSUPPORTED")
	for _, c := range cards {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n",
			c.Address, c.IDs, c.driver(), dash(c.Group), c.company(), c.numa(), c.interfaces(), c.support())
	}
	return tw.Flush()
}

// driver is the driver now, and the one before bind.
func (c *card) driver() string {
	if c.Former == nil {
		return dash(c.Driver)
	}
	return fmt.Sprintf("%s (was %s)", c.Driver, dash(*c.Former))
}

// company is the rest of the group; bridges stand in brackets.
func (c *card) company() string {
	list := append([]string(nil), c.Others...)
	for _, b := range c.Bridges {
		list = append(list, "("+b+")")
	}
	return dash(strings.Join(list, " "))
}

func (c *card) numa() string {
	if c.NUMA < 0 {
		return "-"
	}
	return strconv.Itoa(c.NUMA)
}

func (c *card) interfaces() string {
	var list []string
	for _, n := range c.Interfaces {
		state := "down"
		if n.Up {
			state = "up"
		}
		list = append(list, n.Name+" "+state)
	}
	if c.Away {
		list = append(list, "in another namespace")
	}
	return dash(strings.Join(list, ", "))
}

func (c *card) support() string {
	if c.Support == "" {
		return "no"
	}
	return fmt.Sprintf("%s (%s)", c.Support, c.Model)
}

// dash stands for nothing.
func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
