package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/oobnet/oobnet/control"
)

func routeCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "route",
		Short: "Show and change the routes of a running stack",
		Long: `route shows the routing table, the most specific route first, as "route list" does,
or changes it. Routes that are connected come and go with the addresses of a port.`,
		Example: `  oobnet route
  oobnet route add 198.51.100.0/24 via 192.0.2.254 dev eth1
  oobnet route add default via 192.0.2.254 dev eth1
  oobnet route del 198.51.100.0/24`,
	}
	return group(c, routeListCommand(), routeAddCommand(), routeDelCommand())
}

func routeListCommand() *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "Show the routing table", Args: cobra.NoArgs}
	m := manage(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		return m.with(func(client *control.Client) error {
			routes, err := client.Routes(c.Context())
			if err != nil {
				return err
			}
			return m.show(c.OutOrStdout(), routes, func(w io.Writer) error { return writeRoutes(w, routes) })
		})
	}
	return c
}

func writeRoutes(w io.Writer, routes []control.Route) error {
	if len(routes) == 0 {
		_, err := fmt.Fprintln(w, "no routes")
		return err
	}
	t := newTable(w, "DESTINATION\tGATEWAY\tPORT\tCONNECTED")
	for _, r := range routes {
		gateway := "-"
		if r.Gateway.IsValid() {
			gateway = r.Gateway.String()
		}
		t.row("%v\t%s\t%s\t%s", r.Destination, gateway, r.Port, yes(r.Connected))
	}
	return t.end()
}

func routeAddCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "add DESTINATION [via GATEWAY] dev PORT",
		Short: "Add a route, or replace the one to the same destination",
		Args:  cobra.RangeArgs(3, 5),
	}
	var m *manager
	c.ValidArgsFunction = func(c *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		if n := len(args); n > 0 && args[n-1] == "dev" {
			return m.names(ports)(c, args, word)
		}
		switch len(args) {
		case 1:
			return []string{"via", "dev"}, cobra.ShellCompDirectiveNoFileComp
		case 3:
			return []string{"dev"}, cobra.ShellCompDirectiveNoFileComp
		}
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	m = manage(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		r, err := parseRoute(args)
		if err != nil {
			return err
		}
		return m.with(func(client *control.Client) error {
			out, err := client.AddRoute(c.Context(), r)
			if err != nil {
				return err
			}
			return m.show(c.OutOrStdout(), out, quiet)
		})
	}
	return c
}

// parseRoute reads DESTINATION [via GATEWAY] dev PORT.
func parseRoute(args []string) (r control.Route, err error) {
	if r.Destination, err = parseDestination(args[0]); err != nil {
		return r, err
	}
	for rest := args[1:]; len(rest) > 0; rest = rest[2:] {
		switch {
		case len(rest) == 1:
			return r, fmt.Errorf("%s: what follows it? want DESTINATION [via GATEWAY] dev PORT", rest[0])
		case rest[0] == "via":
			if r.Gateway, err = parseAddr(rest[1]); err != nil {
				return r, fmt.Errorf("via %w", err)
			}
		case rest[0] == "dev":
			r.Port = rest[1]
		default:
			return r, fmt.Errorf("%q: want DESTINATION [via GATEWAY] dev PORT", rest[0])
		}
	}
	if r.Port == "" {
		return r, errors.New("which port? want DESTINATION [via GATEWAY] dev PORT")
	}
	return r, nil
}

func routeDelCommand() *cobra.Command {
	c := &cobra.Command{Use: "del DESTINATION", Short: "Remove a route that was added", Args: cobra.ExactArgs(1)}
	m := manage(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		dst, err := parseDestination(args[0])
		if err != nil {
			return err
		}
		return m.with(func(client *control.Client) error {
			if err := client.RemoveRoute(c.Context(), dst); err != nil {
				return err
			}
			return m.show(c.OutOrStdout(), control.Nothing{}, quiet)
		})
	}
	return c
}
