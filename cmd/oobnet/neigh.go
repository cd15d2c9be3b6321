package main

import (
	"fmt"
	"io"
	"net"
	"time"

	"github.com/spf13/cobra"

	"github.com/oobnet/oobnet/control"
)

func neighCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "neigh",
		Short: "Show and change the neighbours of a running stack",
		Long: `neigh shows the front cache, as "neigh list" does: to whom the stack can send at
once. Entries are learned by ARP, or permanent: by hand, or solicited for good.`,
		Example: `  oobnet neigh
  oobnet neigh solicit 192.0.2.2 --permanent
  oobnet neigh add 192.0.2.9 02:00:00:00:00:09 -i eth1
  oobnet neigh del 192.0.2.9`,
	}
	return group(c, neighListCommand(), neighAddCommand(), neighDelCommand(), neighSolicitCommand())
}

func neighListCommand() *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "Show the front cache", Args: cobra.NoArgs}
	m := manage(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		return m.with(func(client *control.Client) error {
			cache, err := client.FrontCache(c.Context())
			if err != nil {
				return err
			}
			return m.show(c.OutOrStdout(), cache, func(w io.Writer) error { return writeCache(w, cache) })
		})
	}
	return c
}

func writeCache(w io.Writer, cache *control.FrontCache) error {
	if len(cache.Entries) == 0 {
		_, err := fmt.Fprintf(w, "no neighbours: solicit one, or send to it (room for %d)\n", cache.Stats.Capacity)
		return err
	}
	t := newTable(w, "ADDRESS\tMAC\tPORT\tNEXT HOP\tSTATE\tCONFIRMED\tUSED\tCONFLICT")
	for _, e := range cache.Entries {
		hop := "-"
		if e.NextHop.IsValid() && e.NextHop != e.Dst {
			hop = e.NextHop.String()
		}
		t.row("%v\t%s\t%s\t%s\t%s\t%s\t%s\t%s", e.Dst, e.MAC, e.Port, hop, e.State(), ago(e.ConfirmedMS), ago(e.UsedMS), dash(e.Conflict))
	}
	if err := t.end(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%d of %d entries, %d permanent; %d conflicts\n", cache.Stats.Entries, cache.Stats.Capacity, cache.Stats.Permanent, cache.Stats.Conflicts)
	return err
}

func neighAddCommand() *cobra.Command {
	var port string
	c := &cobra.Command{Use: "add ADDRESS MAC", Short: "Make a permanent entry by hand", Args: cobra.ExactArgs(2)}
	m := manage(c)
	m.portFlag(c, &port, "the port that the neighbour has to be on")
	c.RunE = func(c *cobra.Command, args []string) error {
		addr, err := parseAddr(args[0])
		if err != nil {
			return err
		}
		mac, err := net.ParseMAC(args[1])
		if err != nil {
			return fmt.Errorf("%q: want a MAC address such as 02:00:00:00:00:09", args[1])
		}
		n := control.Neighbor{MAC: mac.String(), Interface: port}
		return m.with(func(client *control.Client) error {
			if err := client.SetNeighbor(c.Context(), addr, n); err != nil {
				return err
			}
			return m.show(c.OutOrStdout(), n, quiet)
		})
	}
	return c
}

func neighDelCommand() *cobra.Command {
	var port string
	c := &cobra.Command{Use: "del ADDRESS", Short: "Forget a neighbour, permanent or learned", Args: cobra.ExactArgs(1)}
	m := manage(c)
	c.ValidArgsFunction = m.neighbors
	m.portFlag(c, &port, "the port that the neighbour has to be on")
	c.RunE = func(c *cobra.Command, args []string) error {
		addr, err := parseAddr(args[0])
		if err != nil {
			return err
		}
		return m.with(func(client *control.Client) error {
			if err := client.RemoveNeighbor(c.Context(), addr, port); err != nil {
				return err
			}
			return m.show(c.OutOrStdout(), control.Nothing{}, quiet)
		})
	}
	return c
}

// neighbors completes the address of one that is known.
func (m *manager) neighbors(c *cobra.Command, args []string, _ string) (found []string, _ cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	err := m.with(func(client *control.Client) error {
		cache, err := client.FrontCache(c.Context())
		if err != nil {
			return err
		}
		for _, e := range cache.Entries {
			found = append(found, e.Dst.String()+"\t"+e.MAC)
		}
		return nil
	})
	if err != nil {
		cobra.CompDebugln(err.Error(), false)
	}
	return found, cobra.ShellCompDirectiveNoFileComp
}

func neighSolicitCommand() *cobra.Command {
	var in control.SolicitRequest
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "solicit ADDRESS",
		Short: "Ask for a neighbour by ARP, so that the first packet to it is fast already",
		Args:  cobra.ExactArgs(1),
	}
	c.Flags().BoolVar(&in.Permanent, "permanent", false, "keep the entry for good")
	c.Flags().BoolVarP(&in.MayRoute, "gateway", "g", false, "it may be behind a gateway")
	c.Flags().DurationVarP(&timeout, "timeout", "W", 5*time.Second, "how long to wait for the answer")
	m := manage(c)
	m.portFlag(c, &in.Interface, "the port that it has to leave by")
	c.RunE = func(c *cobra.Command, args []string) (err error) {
		if in.Address, err = parseAddr(args[0]); err != nil {
			return err
		}
		if in.TimeoutMS = int(timeout.Milliseconds()); in.TimeoutMS < 1 {
			return fmt.Errorf("--timeout %v: want at least 1ms", timeout)
		}
		return m.with(func(client *control.Client) error {
			if err := client.Solicit(c.Context(), in); err != nil {
				return err
			}
			cache, err := client.FrontCache(c.Context())
			if err != nil {
				return err
			}
			for _, e := range cache.Entries {
				if e.Dst == in.Address {
					return m.show(c.OutOrStdout(), e, func(w io.Writer) error {
						_, err := fmt.Fprintf(w, "%v is at %s on %s\n", e.Dst, e.MAC, e.Port)
						return err
					})
				}
			}
			return fmt.Errorf("%v answered, and is not known any more: the front cache is full, or the routes have changed: try again", in.Address)
		})
	}
	return c
}
