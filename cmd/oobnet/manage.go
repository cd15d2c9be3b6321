package main

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/oobnet/oobnet/control"
)

// manager is what the commands that manage a running stack have in common.
type manager struct {
	socket *string
	asJSON bool
}

// manage adds the flags to a command.
func manage(c *cobra.Command) *manager {
	m := &manager{socket: socketFlag(c)}
	c.Flags().BoolVar(&m.asJSON, "json", false, "print JSON")
	if c.ValidArgsFunction == nil {
		c.ValidArgsFunction = cobra.NoFileCompletions
	}
	return m
}

// with does something with a client, which lives as long as the call.
func (m *manager) with(do func(*control.Client) error) error {
	client, err := control.Dial(*m.socket)
	if err != nil {
		return err
	}
	defer client.Close()
	return do(client)
}

// show prints a value as JSON, or as text for people.
func (m *manager) show(w io.Writer, v any, text func(w io.Writer) error) error {
	if m.asJSON {
		return writeJSON(w, v)
	}
	return text(w)
}

// quiet is what a change has to say to people.
func quiet(io.Writer) error { return nil }

// names completes words by what the socket's process has. A shell that gets no
// answer has nothing to offer.
func (m *manager) names(of func(*control.Status) []string) cobra.CompletionFunc {
	return func(c *cobra.Command, _ []string, _ string) (found []string, _ cobra.ShellCompDirective) {
		err := m.with(func(client *control.Client) error {
			status, err := client.Status(c.Context())
			if err == nil {
				found = of(status)
			}
			return err
		})
		if err != nil {
			cobra.CompDebugln(err.Error(), false)
		}
		return found, cobra.ShellCompDirectiveNoFileComp
	}
}

func ports(s *control.Status) []string { return s.Ports }

// portFlag adds -i, completed by the names of enabled ports.
func (m *manager) portFlag(c *cobra.Command, port *string, usage string) {
	c.Flags().StringVarP(port, "interface", "i", "", usage)
	if err := c.RegisterFlagCompletionFunc("interface", m.names(ports)); err != nil {
		panic(err) // the flag stands above
	}
}

// group is a command that is one of its own commands, list, if none is named.
func group(c, list *cobra.Command, others ...*cobra.Command) *cobra.Command {
	c.AddCommand(append(others, list)...)
	c.Args = cobra.NoArgs
	c.ValidArgsFunction = cobra.NoFileCompletions
	c.Flags().AddFlagSet(list.Flags())
	c.RunE = list.RunE
	return c
}

// parseAddr reads the address of a peer.
func parseAddr(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil || !a.Is4() {
		return a, fmt.Errorf("%q: want an IPv4 address such as 192.0.2.2", s)
	}
	return a, nil
}

// parseDestination reads a network, an address, or "default".
func parseDestination(s string) (netip.Prefix, error) {
	if s == "default" {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0), nil
	}
	if a, err := netip.ParseAddr(s); err == nil && a.Is4() {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil || !p.Addr().Is4() {
		return p, fmt.Errorf("%q: want a network such as 198.51.100.0/24, an address, or default", s)
	}
	return p, nil
}

// table writes rows in columns, under a heading that is bold on a terminal.
type table struct {
	*tabwriter.Writer
	out  io.Writer
	text strings.Builder
}

// newTable begins one; columns are separated by tabs.
func newTable(out io.Writer, heading string) *table {
	t := &table{out: out}
	t.Writer = tabwriter.NewWriter(&t.text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, heading)
	return t
}

func (t *table) row(format string, args ...any) { fmt.Fprintf(t, format+"\n", args...) }

// end prints it. Colour goes in at last: it has no width.
func (t *table) end() error {
	if err := t.Flush(); err != nil {
		return err
	}
	heading, rows, _ := strings.Cut(t.text.String(), "\n")
	_, err := fmt.Fprintf(t.out, "%s\n%s", bold(t.out, heading), rows)
	return err
}

// bold marks text on a terminal.
func bold(w io.Writer, s string) string {
	if f, ok := w.(*os.File); ok && wantsColour(f) {
		return "\x1b[1m" + s + "\x1b[0m"
	}
	return s
}

// red marks what is bad, on a terminal.
func red(w io.Writer, s string) string {
	if f, ok := w.(*os.File); ok && wantsColour(f) {
		return "\x1b[31m" + s + "\x1b[0m"
	}
	return s
}

// yes or no.
func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// list of names, or a dash.
func list[T any](items []T) string {
	text := make([]string, len(items))
	for i, v := range items {
		text[i] = fmt.Sprint(v)
	}
	return dash(strings.Join(text, " "))
}

// ago is a time in milliseconds since something; below 0 it never was.
func ago(ms int64) string {
	if ms < 0 {
		return "-"
	}
	return brief(time.Duration(ms) * time.Millisecond)
}

// brief is a duration with three digits at most that people read.
func brief(d time.Duration) string {
	switch {
	case d < time.Microsecond:
		return d.String()
	case d < time.Millisecond:
		return fmt.Sprintf("%.1fus", float64(d)/1e3)
	case d < time.Second:
		return fmt.Sprintf("%.2fms", float64(d)/1e6)
	}
	return d.Round(time.Second / 10).String()
}
