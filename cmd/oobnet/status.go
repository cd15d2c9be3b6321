package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/oobnet/oobnet/control"
)

// minWatch keeps --watch from being the load that it shows.
const minWatch = 100 * time.Millisecond

// overview is what `oobnet status` shows, and its JSON.
type overview struct {
	control.Status
	Devices []control.Device `json:"devices"`
	Ports   []control.Port   `json:"ports"`
}

func statusCommand() *cobra.Command {
	var watch time.Duration
	c := &cobra.Command{
		Use:   "status",
		Short: "Show the devices and ports of a running stack",
		Long: `status shows what a running stack has: its devices, with their links, buffers and
filters, and its ports, with their addresses and counters. With --watch it shows
them again and again, until it is interrupted; with --json as well, an object each
time.`,
		Example: `  oobnet status
  oobnet status --watch
  oobnet status --watch=5s --json`,
		Args: cobra.NoArgs,
	}
	c.Flags().DurationVar(&watch, "watch", 0, "show it again after this time")
	c.Flags().Lookup("watch").NoOptDefVal = "1s"
	m := manage(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		watching := c.Flags().Changed("watch")
		if watching && watch < minWatch {
			return fmt.Errorf("--watch %v: want at least %v", watch, minWatch)
		}
		return m.with(func(client *control.Client) error {
			w := c.OutOrStdout()
			once := func() error {
				o, err := look(c.Context(), client)
				if err != nil {
					return err
				}
				return m.show(w, o, o.write)
			}
			if !watching {
				return once()
			}
			return again(c.Context(), w, watch, !m.asJSON, once)
		})
	}
	return c
}

// again shows something until the context ends, which is how one leaves it. On
// a terminal, each takes the place of the one before.
func again(ctx context.Context, w io.Writer, every time.Duration, clear bool, show func() error) error {
	f, ok := w.(*os.File)
	clear = clear && ok && isTerminal(f)
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for first := true; ; first = false {
		switch {
		case clear:
			fmt.Fprint(w, "\x1b[H\x1b[2J")
		case !first:
			fmt.Fprintln(w)
		}
		err := show()
		if ctx.Err() != nil {
			return nil // interrupted in the midst of it, too
		}
		if err != nil {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// look asks for all of it.
func look(ctx context.Context, client *control.Client) (*overview, error) {
	status, err := client.Status(ctx)
	if err != nil {
		return nil, err
	}
	o := &overview{Status: *status}
	if o.Devices, err = client.Devices(ctx); err != nil {
		return nil, err
	}
	o.Ports, err = client.Ports(ctx)
	return o, err
}

// write writes it for people.
func (o *overview) write(w io.Writer) error {
	fmt.Fprintf(w, "process %d, oobnet %s, up %v; opens %s\n", o.PID, o.Version, (time.Duration(o.UptimeMS) * time.Millisecond).Round(time.Second), list(o.Openers))
	if len(o.Devices) == 0 {
		_, err := fmt.Fprintln(w, "\nno devices: enable a port, such as oobnet net -ei eth1")
		return err
	}
	fmt.Fprintln(w)
	t := newTable(w, "DEVICE\tDRIVER\tMODE\tZERO COPY\tMAC\tMTU\tLINK\tPOOL FREE\tRX HELD\tPOLL\tFILTER")
	for i := range o.Devices {
		d := &o.Devices[i]
		t.row("%s\t%s\t%s\t%s\t%s\t%d\t%s\t%d/%d\t%d\t%s\t%s", d.Name, dash(d.Driver), dash(d.Mode), yes(d.ZeroCopy), d.MAC, d.MTU, d.State,
			d.PoolFree, d.PoolSize, d.RXHeld, d.Poll, d.Filter.Kind)
	}
	if err := t.end(); err != nil {
		return err
	}
	for i := range o.Devices {
		d := &o.Devices[i]
		if d.Fault != "" {
			fmt.Fprintln(w, red(w, fmt.Sprintf("%s: nothing can be sent: %s", d.Name, d.Fault)))
		}
		if !d.Diverted {
			fmt.Fprintln(w, red(w, d.Name+": all frames are left to the host"))
		}
	}
	fmt.Fprintln(w)
	t = newTable(w, "PORT\tVLAN\tADDRESSES\tMTU\tRX PACKETS\tRX BYTES\tTX PACKETS\tTX BYTES")
	for i := range o.Ports {
		p := &o.Ports[i]
		t.row("%s\t%s\t%s\t%d\t%d\t%d\t%d\t%d", p.Name, vlanText(p.VLAN), list(p.Addresses), p.MTU, p.Stats.RXPackets, p.Stats.RXBytes, p.Stats.TXPackets, p.Stats.TXBytes)
	}
	return t.end()
}

func vlanText(id uint16) string {
	if id == 0 {
		return "-"
	}
	return strconv.Itoa(int(id))
}
