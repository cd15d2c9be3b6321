package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/oobnet/oobnet/cmd/oobnet/internal/evlnet"
	"github.com/oobnet/oobnet/control"
)

// defaultSocket is where `oobnet serve` listens, and who manages it looks.
const defaultSocket = "/run/oobnet.sock"

// socketEnv names the socket where --socket does not.
const socketEnv = "OOBNET_SOCKET"

// socketFlag adds --socket to a command.
func socketFlag(c *cobra.Command) *string {
	path := os.Getenv(socketEnv)
	if path == "" {
		path = defaultSocket
	}
	return c.Flags().String("socket", path, "control socket of the process to manage (or in "+socketEnv+")")
}

func netCommand() *cobra.Command {
	var o evlnet.Options
	var plain, permanent string
	var about bool
	c := &cobra.Command{
		Use:   "net [-e|-d] [-i IFACE] [-s|-S HOST] [-Q[LETTERS]] [-F[OBJECT]] [-N[LIST]] [-n]",
		Short: "Manage a running stack, with evl-net's options",
		Long: `net takes the options of EVL's evl-net, does them in the same order (d, e, F, N,
n, s, Q), prints the same and exits alike: 0, or 1 for any failure. Scripts that
call "evl net" run with: alias evl=oobnet

  -e -i IFACE [-p N] [-b BYTES]  enable a port: eth1, eth1.42 for VLAN 42,
                                 afxdp:eth1, vfio:0000:02:00.0
  -d -i IFACE                    disable it; what is in use is drained
  -s HOST [-i IFACE] [-g]        solicit a neighbour by ARP; -S: for good;
                                 -g: it may be behind a gateway;
                                 "broadcast" is a host
  -Q[RrTtosfacx] -i IFACE        figures of a port
  -F[OBJECT] -i IFACE            install an eBPF object as its device's filter,
                                 or remove it
  -N[LIST]                       take IPv4 of these VLANs, such as 42-45,100;
                                 without a list: no such filter
  -n                             show that list

The letters of -Q are EVL's documentation's, each figure in its place:
R packets sent, r bytes sent, T packets received, t bytes received, o whether
the driver is out-of-band capable (1 or 0), s size of a buffer, f free buffers,
a all buffers, c checksum errors, x "rx_nomem tx_nomem". Some versions of EVL's
evl-net print R/r and T/t the other way round, and yes or no for o. The values
of -F, -N and -Q follow without a space.

Where EVL has the addresses of the host's interfaces, the process that serves
has its own: see "oobnet serve --help". An enabled port takes what is for its
addresses without -N; the list is in force on devices with tagged ports only.`,
		Example: `  oobnet net -ei eth1.42 -p 4096 -b 2048
  oobnet net -S 192.0.2.2 -i eth1.42
  oobnet net -QoRTf -i eth1.42
  oobnet net -di eth1.42`,
		// The command line is read as getopt_long reads it: -QoRTf has a value.
		DisableFlagParsing: true,
	}
	s := c.Flags()
	s.SortFlags = false
	s.BoolVarP(&o.Enable, "enable-port", "e", false, "enable an out-of-band port")
	s.BoolVarP(&o.Disable, "disable-port", "d", false, "disable it")
	s.StringVarP(&o.Interface, "interface", "i", "", "the port's interface")
	s.IntVarP(&o.PoolSize, "pool-size", "p", 0, "buffers to send from (0: the default)")
	s.IntVarP(&o.BufferSize, "buffer-size", "b", 0, "size of a buffer, bytes (0: the default)")
	s.StringVarP(&plain, "solicit", "s", "", "solicit a neighbour")
	s.StringVarP(&permanent, "solicit-permanent", "S", "", "solicit a neighbour, and keep the entry for good")
	s.BoolVarP(&o.Gateway, "allow-gateway", "g", false, "the neighbour may be behind a gateway")
	s.StringVarP(&o.Letters, "query-port", "Q", "", "figures of a port: letters, or all in words")
	s.StringVarP(&o.Filter, "filter", "F", "", "install an eBPF object, or remove it")
	s.StringVarP(&o.VLANs, "set-vlan-ids", "N", "", "take IPv4 of these VLANs")
	s.BoolVarP(&o.ShowVLANs, "print-vlan-ids", "n", false, "show these VLANs")
	s.BoolVarP(&about, "about", "@", false, "say what this is in one line")
	if err := s.MarkHidden("about"); err != nil {
		panic(err) // the flag stands above
	}
	socket := socketFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		args, err := evlnet.Normalize(s, args)
		if err == nil {
			err = s.Parse(args)
		}
		if errors.Is(err, pflag.ErrHelp) || err == nil && s.Changed("help") {
			return c.Help()
		}
		if err != nil {
			return err
		}
		if s.NArg() > 0 {
			return fmt.Errorf("argument %q: want options only: values of -F, -N and -Q follow without a space", s.Arg(0))
		}
		if s.NFlag() == 0 || s.NFlag() == 1 && s.Changed("socket") {
			return c.Help()
		}
		if about {
			_, err := fmt.Fprintln(c.OutOrStdout(), "manage an out-of-band network stack")
			return err
		}
		o.Solicit, o.Permanent = plain, s.Changed("solicit-permanent")
		if o.Permanent {
			o.Solicit = permanent
		}
		o.Query = s.Changed("query-port")
		o.SetFilter = s.Changed("filter")
		o.SetVLANs = s.Changed("set-vlan-ids")
		if err := o.Check(); err != nil {
			return err
		}
		client, err := control.Dial(*socket)
		if err != nil {
			return err
		}
		defer client.Close()
		return evlnet.Run(c.Context(), client, &o, c.OutOrStdout())
	}
	return c
}
