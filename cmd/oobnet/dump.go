package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/oobnet/oobnet/capture"
)

// dumpFlags are the flags of dump.
type dumpFlags struct {
	device, file, socket string
	take                 bool
	duration             time.Duration
	capture.Config
}

func dumpCommand() *cobra.Command {
	var f dumpFlags
	c := &cobra.Command{
		Use:   "dump -i DEV [-w FILE] [--take] [FILTER...]",
		Short: "Capture what a device receives and sends, and what became of it",
		Long: `dump shows the frames of a device of a running stack, as lines or, with -w, as a
pcapng file that Wireshark opens: received and sent ones, those that were
dropped, and those that the in-band stage got, each with what became of it. The
stack never waits for it: what dump is too slow for is lost to the capture, and
counted at its end. Frames that a filter in the kernel (AF_XDP) drops, or leaves
to the host, never reach the stack, and are not there.

The stack is that of the process behind the control socket. With --take, dump
runs one of its own: it takes all frames of the interface from the host, for as
long as it runs, and answers none. Whoever is logged in over it is cut off.

FILTER is an expression in the words of pcap-filter(7), as far as they go here,
and some of our own:

  ip, ip6, arp, udp, tcp, icmp, igmp
  vlan [ID], ether proto N, ip proto N
  [src|dst] [host] ADDR, [src|dst] net PREFIX
  [udp|tcp] [src|dst] port N, portrange N-M
  ether [src|dst|host] MAC, broadcast, multicast
  less N, greater N, queue N
  inbound, outbound
  delivered, forwarded, demoted [REASON], dropped [REASON], unsent

joined by not, and, or and parentheses; tags are looked through. REASON is a
name of the statistics, such as socket_full, checksum or no_socket.`,
		Example: `  oobnet dump -i eth1 udp port 5000
  oobnet dump -i eth1 -w drops.pcapng dropped or unsent
  oobnet dump -i eth1 -w - | wireshark -k -i -
  sudo oobnet dump -i eth2 --take -c 100 ether proto 0x88a4`,
	}
	s := c.Flags()
	s.SortFlags = false
	s.StringVarP(&f.device, "interface", "i", "", "the device, or a port on it")
	s.StringVarP(&f.file, "write", "w", "", "write a pcapng file; - is the standard output")
	s.Uint64VarP(&f.Count, "count", "c", 0, "end after so many frames (0: go on)")
	s.IntVarP(&f.Snap, "snapshot-length", "s", 0, "bytes kept of each frame (0: all)")
	s.IntVar(&f.Slots, "slots", 0, fmt.Sprintf("frames that wait to be written before some are lost (0: %d)", capture.DefaultSlots))
	s.DurationVar(&f.duration, "duration", 0, "end after so long (0: go on)")
	s.BoolVar(&f.take, "take", false, "take all frames of the interface from the host, in a process of its own")
	socket := socketFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		f.Filter, f.socket = strings.Join(args, " "), *socket
		return runDump(c, &f)
	}
	return c
}

func runDump(c *cobra.Command, f *dumpFlags) (err error) {
	if f.device == "" {
		return fmt.Errorf("dump: give a device by -i: %w", syscall.EINVAL)
	}
	// What is wrong with the expression is said before a file is made.
	if _, err := capture.ParseExpr(f.Filter); err != nil {
		return err
	}
	ctx, out := c.Context(), c.OutOrStdout()
	if f.duration > 0 {
		var enough context.CancelFunc
		ctx, enough = context.WithTimeout(ctx, f.duration)
		defer enough()
	}
	if f.Format = capture.PCAPNG; f.file == "" {
		f.Format = capture.Text
	} else if f.file != "-" {
		// Nobody else is to read what others sent.
		file, err := os.OpenFile(f.file, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
		if err != nil {
			return fmt.Errorf("dump: %w", err)
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		out = file
	} else if isTerminalWriter(out) {
		return errors.New("dump: a capture file is nothing for a terminal: send it into a pipe, or leave -w out")
	}
	source := dumpManaged
	if f.take {
		source = dumpTaken
	}
	st, err := source(ctx, f, out)
	if st != nil && f.Format == capture.PCAPNG {
		fmt.Fprintf(c.ErrOrStderr(), "oobnet: %d frames written, %d seen, %d refused by the filter, %d lost by the capture\n",
			st.Written, st.Received, st.Rejected, st.Lost)
	}
	return err
}

// isTerminalWriter: w is a terminal.
func isTerminalWriter(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && isTerminal(file)
}
