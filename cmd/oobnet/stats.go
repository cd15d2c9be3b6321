package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/oobnet/oobnet/control"
	"github.com/oobnet/oobnet/stack"
	"github.com/oobnet/oobnet/stats"
)

func statsCommand() *cobra.Command {
	var sockets bool
	var device string
	c := &cobra.Command{
		Use:   "stats",
		Short: "Show what a running stack has counted",
		Long: `stats shows what was received and sent by device, where received frames went and why
frames were dropped or handed in-band, and what protocols counted; with --sockets
each socket as well. --json has all of it, by queue and thread as well.`,
		Example: `  oobnet stats
  oobnet stats -i eth1 --sockets
  oobnet stats --json`,
		Args: cobra.NoArgs,
	}
	c.Flags().BoolVar(&sockets, "sockets", false, "each socket as well")
	m := manage(c)
	c.Flags().StringVarP(&device, "interface", "i", "", "of this device alone")
	if err := c.RegisterFlagCompletionFunc("interface", m.names(func(s *control.Status) []string { return s.Devices })); err != nil {
		panic(err) // the flag stands above
	}
	c.RunE = func(c *cobra.Command, _ []string) error {
		return m.with(func(client *control.Client) error {
			if device != "" { // that of a port will do
				d, err := client.Device(c.Context(), device)
				if err != nil {
					return err
				}
				device = d.Name
			}
			picture, err := client.Statistics(c.Context(), sockets)
			if err != nil {
				return err
			}
			if device != "" {
				narrow(picture, device)
			}
			return m.show(c.OutOrStdout(), picture, func(w io.Writer) error { return writeStats(w, picture) })
		})
	}
	return c
}

// narrow leaves one device, with its ports. Sockets on all ports belong to each.
func narrow(p *stats.Snapshot, device string) {
	var names []string
	p.Devices = slices.DeleteFunc(p.Devices, func(d stats.Device) bool { return d.Name != device })
	p.Ports = slices.DeleteFunc(p.Ports, func(q stats.Port) bool { return q.Device != device })
	for _, q := range p.Ports {
		names = append(names, q.Name)
	}
	p.Sockets = slices.DeleteFunc(p.Sockets, func(s stats.Socket) bool {
		return s.Device != "" && s.Device != device || s.Port != "" && !slices.Contains(names, s.Port)
	})
}

// writeStats writes it for people.
func writeStats(w io.Writer, p *stats.Snapshot) error {
	t := newTable(w, "DEVICE\tRX PACKETS\tRX BYTES\tDELIVERED\tCOPIED\tIN-BAND\tFORWARDED\tDROPPED\tTX PACKETS\tTX BYTES\tTX ERRORS\tPOOL EMPTY")
	for i := range p.Devices {
		d := &p.Devices[i]
		t.row("%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d", d.Name, d.RX.Packets, d.RX.Bytes, d.RX.Delivered, d.RX.Copied, d.RX.Demoted.Total(),
			d.RX.Forwarded, d.RX.Dropped.Total(), d.TX.Packets, d.TX.Bytes, d.TX.Errors, d.Pool.Empty)
	}
	if err := t.end(); err != nil {
		return err
	}
	for _, part := range []func(io.Writer, *stats.Snapshot) error{writeReasons, writePorts, writeProtocols, writeSockets} {
		if err := part(w, p); err != nil {
			return err
		}
	}
	return nil
}

// section is a table after another.
func section(w io.Writer, t *table) error {
	fmt.Fprintln(w)
	return t.end()
}

// writeReasons says why frames went in-band or nowhere, the most frequent first.
func writeReasons(w io.Writer, p *stats.Snapshot) error {
	t, some := newTable(w, "DEVICE\tFATE\tREASON\tFRAMES"), false
	for i := range p.Devices {
		d := &p.Devices[i]
		for _, fate := range []struct {
			name string
			by   stats.Reasons
		}{{"in-band", d.RX.Demoted}, {"dropped", d.RX.Dropped}} {
			counts := stack.Reasons(fate.by).Map()
			reasons := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
				return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
			})
			for _, reason := range reasons {
				if counts[reason] > 0 {
					some = true
					t.row("%s\t%s\t%s\t%d", d.Name, fate.name, reason, counts[reason])
				}
			}
		}
	}
	if !some {
		return nil
	}
	return section(w, t)
}

func writePorts(w io.Writer, p *stats.Snapshot) error {
	t := newTable(w, "PORT\tVLAN\tRX PACKETS\tRX BYTES\tTX PACKETS\tTX BYTES")
	for _, q := range p.Ports {
		t.row("%s\t%s\t%d\t%d\t%d\t%d", q.Name, vlanText(q.VLAN), q.RXPackets, q.RXBytes, q.TXPackets, q.TXBytes)
	}
	return section(w, t)
}

func writeProtocols(w io.Writer, p *stats.Snapshot) error {
	t := newTable(w, "PROTOCOL\tSOCKETS\tRECEIVED\tIN-BAND\tFULL\tFILTERED\tERRORS\tSENT IN-BAND")
	for _, q := range p.Protocols {
		t.row("%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d", q.Name, q.Open, q.Received, q.InBand, q.Full, q.Filtered, q.Errors, q.Demoted)
	}
	return section(w, t)
}

func writeSockets(w io.Writer, p *stats.Snapshot) error {
	if len(p.Sockets) == 0 {
		return nil
	}
	t := newTable(w, "SOCKET\tLOCAL\tREMOTE\tQUOTA\tRECEIVED\tIN-BAND\tFULL\tFILTERED\tERRORS\tSENT IN-BAND")
	for i := range p.Sockets {
		s := &p.Sockets[i]
		local, remote := dash(s.Port+s.Device), "-"
		if s.Protocol == stats.UDP {
			local = s.Local.String()
		} else {
			remote = fmt.Sprintf("%#04x", s.EtherType)
		}
		if s.Remote.IsValid() {
			remote = s.Remote.String()
		}
		t.row("%s\t%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d", s.Protocol, local, remote, s.Quota, s.Received, s.InBand, s.Full, s.Filtered, s.Errors, s.Demoted)
	}
	return section(w, t)
}
