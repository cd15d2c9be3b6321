package main

import (
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/oobnet/oobnet/cmd/oobnet/internal/demo"
)

// Defaults of `oobnet demo`: the cycle of a motion controller, for as long as
// one likes to watch.
const (
	demoDuration = 10 * time.Second
	demoPeriod   = time.Millisecond
	demoSize     = 64
	demoPort     = 7700
)

// demoFlags are the flags as they were written; options reads them.
type demoFlags struct {
	demo.Options
	addr, peer, vlan, poll string
	json                   bool
}

func demoCommand() *cobra.Command {
	var f demoFlags
	c := &cobra.Command{
		Use:   "demo [{-i IFACE | --vfio PCI-ADDR} --addr CIDR [--peer ADDR]]",
		Short: "Run a cyclic UDP exchange and show how it went",
		Long: `demo sends a UDP datagram each millisecond to an echo server and measures the
round trips. Alone it runs both sides in one process over a wire in memory and
needs no privileges. With -i it runs over AF_XDP (as root): the echo server, or
the client when --peer names the server. The address is the stack's own; the
kernel keeps the interface and its addresses. With --vfio it does the same on a
NIC that the kernel has given away: see oobnet bind.

The server runs until Ctrl-C, or for --duration if that is given.`,
		Example: `  oobnet demo
  sudo oobnet demo -i eth1 --addr 192.0.2.1/24
  sudo oobnet demo -i eth1 --addr 192.0.2.2/24 --peer 192.0.2.1 --json
  sudo oobnet demo --vfio 0000:02:00.0 --addr 192.0.2.2/24 --peer 192.0.2.1`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runDemo(c, &f) },
	}
	s := c.Flags()
	s.StringVarP(&f.Interface, "interface", "i", "", "run over AF_XDP on this interface")
	s.StringVar(&f.VFIO, "vfio", "", "run over VFIO on the NIC at this PCI address")
	s.StringVar(&f.addr, "addr", "", "the stack's address and prefix length there")
	s.StringVar(&f.peer, "peer", "", "the echo server's address: run the client")
	s.StringVar(&f.vlan, "vlan", "", "VLAN id, 2 to 4094 (default untagged)")
	s.DurationVar(&f.Duration, "duration", demoDuration, "how long the exchange goes on")
	s.DurationVar(&f.Period, "period", demoPeriod, "time from one datagram to the next")
	s.IntVar(&f.Size, "size", demoSize, "payload, bytes")
	s.Uint16Var(&f.Port, "port", demoPort, "UDP port of the echo server")
	s.IntVar(&f.PCP, "pcp", 0, "priority of the sockets, and of the VLAN tag, 0 to 7")
	s.IntVar(&f.Priority, "priority", 0, "SCHED_FIFO priority of the threads, 1 to 99 (default ordinary)")
	s.IntVar(&f.CPU, "cpu", -1, "core to pin the threads to (default none)")
	s.StringVar(&f.poll, "poll", "adaptive", "how to wait: adaptive, busy, block, manual, or the longest wait, such as 5ms")
	s.BoolVar(&f.json, "json", false, "print the figures as one JSON object")
	return c
}

// read turns the flags into options.
func (f *demoFlags) read(c *cobra.Command) (err error) {
	if c.Flags().Changed("addr") {
		if f.Addr, err = demo.ParseAddr(f.addr); err != nil {
			return err
		}
	}
	if c.Flags().Changed("peer") {
		if f.Peer, err = demo.ParsePeer(f.peer); err != nil {
			return err
		}
	}
	if c.Flags().Changed("vlan") {
		if f.VLAN, err = demo.ParseVLAN(f.vlan); err != nil {
			return err
		}
	}
	if f.Poll, err = demo.ParsePoll(f.poll); err != nil {
		return err
	}
	if f.Server() && !c.Flags().Changed("duration") {
		f.Duration = 0
	}
	if isTerminal(os.Stderr) {
		f.Live = os.Stderr
	}
	return f.Check()
}

func runDemo(c *cobra.Command, f *demoFlags) error {
	if err := f.read(c); err != nil {
		return err
	}
	r, err := demo.Run(c.Context(), f.Options)
	if err != nil {
		return err
	}
	if f.json {
		return writeJSON(c.OutOrStdout(), r)
	}
	return r.WriteTable(c.OutOrStdout())
}
