package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/oobnet/oobnet/cmd/oobnet/internal/demo"
	"github.com/oobnet/oobnet/cmd/oobnet/internal/latmus"
)

// latmusSilence is the default of --watchdog: longer than a peer takes to start
// again.
const latmusSilence = 10 * time.Second

// latmusFlags are the flags as they were written; options reads them.
type latmusFlags struct {
	latmus.Options
	addr, peer, vlan, poll, versus, stress string
	period, abort, seconds                 string
	gnuplot, hdr, svg, html                string
	json, histogram, quiet                 bool
	memory                                 int64
}

func latmusCommand() *cobra.Command {
	var f latmusFlags
	c := &cobra.Command{
		Use:   "latmus [-i IFACE --addr CIDR -E PEER]",
		Short: "Measure latency as EVL's latmus -E does",
		Long: `latmus sends a UDP packet each period and takes one of its peer's, which runs the
same, and says where the time went in the own stack:

  rx sched   from the device to the protocol
  rx user    from the device to the socket
  tx sched   building the packet
  tx user    from the send to the device
  rx read    from the socket to the application's read: latmus has no such column

Its packets are latmus's, so the peer may be one: give both the same -S and -p.
Alone it runs both sides in one process over a wire in memory and needs no
privileges; with --veth over a veth pair between two namespaces (as root). With -i
it runs over AF_XDP, or over VFIO on a NIC that is named by its PCI address. With
--rtt it measures round trips to an echo: any UDP echo at the port, or oobnet
latmus --echo, which answers no packet from the port itself, or from one below 1024. With --poll manual nothing sleeps in wait for a packet: the thread
that sends also moves the device, as a controller does.
The column msw (mode switches in EVL) counts packets that went in-band, overrun
activations that were left out.

Exit codes: 1 for an error, 99 when the peer fell silent, 102 when a figure was
over -A, 103 for results that cannot be.`,
		Example: `  oobnet latmus -T 10
  oobnet latmus --rtt --vs kernel --stress gc -T 60 --html report.html
  sudo oobnet latmus --veth --rtt --vs kernel --poll manual -P 50 -c 0 --peer-cpu 1 \
      --spin 50us --memory 512 --stress gc,flood -T 60
  sudo oobnet latmus -i eth1 --addr 192.0.2.1/24 -E 192.0.2.2 -g histogram.txt
  sudo oobnet latmus -i 0000:03:00.0 --addr 192.0.2.1/24 --echo`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runLatmus(c, &f) },
	}
	s := c.Flags()
	s.SortFlags = false
	s.StringVarP(&f.Interface, "interface", "i", "", "run over AF_XDP on this interface, or over VFIO on the NIC at this PCI address")
	s.BoolVar(&f.Veth, "veth", false, "run over a veth pair that is made for it")
	s.StringVarP(&f.Interface, "oob-link", "L", "", "the same, as EVL's latmus has it")
	s.StringVar(&f.addr, "addr", "", "the stack's address and prefix length on the interface")
	s.StringVarP(&f.peer, "peer", "E", "", "address of the peer")
	s.BoolVarP(&f.NoCheck, "no-check", "n", false, "leave the sequence of the packets alone")
	s.StringVar(&f.vlan, "vlan", "", "VLAN id, 2 to 4094 (default untagged)")
	s.BoolVar(&f.RTT, "rtt", false, "measure round trips to an echo")
	s.BoolVar(&f.Echo, "echo", false, "be that echo")
	s.StringVar(&f.versus, "vs", "", "\"kernel\": compare with the kernel's sockets, in turns (with --rtt)")
	s.StringVarP(&f.period, "period", "p", strconv.FormatInt(latmus.DefaultPeriod.Microseconds(), 10), "time from one packet to the next: us, or with a unit")
	s.StringVarP(&f.seconds, "timeout", "T", "0", "how long to measure: s, or with a unit, d for days (default until Ctrl-C)")
	s.IntVarP(&f.Size, "size", "S", latmus.DefaultSize, "payload, bytes")
	s.Uint16Var(&f.Port, "port", latmus.Port, "UDP port at both ends; with --rtt the echo's")
	s.IntVarP(&f.Priority, "priority", "P", latmus.DefaultPriority, "SCHED_FIFO priority of the threads, 1 to 99; 0: ordinary")
	s.IntVarP(&f.CPU, "cpu", "c", -1, "core to pin the threads to (default none)")
	s.IntVar(&f.PeerCPU, "peer-cpu", -1, "core to pin those of a peer in this process to (default none)")
	s.StringVar(&f.poll, "poll", "adaptive", "how the device waits: adaptive, busy, block, the longest wait, such as 5ms, or manual")
	s.DurationVar(&f.Spin, "spin", 0, "wait with open eyes for so long, before sleep and before an activation")
	s.Int64Var(&f.memory, "memory", 0, "MiB to use before garbage is collected; 0: as Go does")
	s.StringVarP(&f.abort, "max-abort", "A", "0", "end when a figure exceeds this: us, or with a unit (default never)")
	s.DurationVar(&f.Silence, "watchdog", latmusSilence, "end when no packet has come for so long; 0: never")
	s.IntVarP(&f.Lines, "lines", "l", latmus.DefaultLines, "lines between two headings; 0: one heading")
	s.IntVarP(&f.Cells, "histogram", "H", latmus.DefaultCells, "cells of the gnuplot histogram, 1 us each")
	s.IntVar(&f.Worst, "worst", latmus.DefaultWorst, "how many of the worst exchanges to explain")
	s.StringVar(&f.stress, "stress", "", "disturb the run: gc, memory, flood, with commas, or all")
	s.StringVarP(&f.gnuplot, "gnuplot", "g", "", "write a histogram for gnuplot to this file, - for the output")
	s.StringVar(&f.hdr, "hdr", "", "write an HdrHistogram log to this file")
	s.StringVar(&f.svg, "svg", "", "write histograms as SVG to this file")
	s.StringVar(&f.html, "html", "", "write a report as one HTML file")
	s.BoolVar(&f.histogram, "text-histogram", false, "draw histograms at the end")
	s.BoolVarP(&f.quiet, "quiet", "q", false, "print no lines while it runs")
	s.BoolVar(&f.json, "json", false, "print the report as one JSON object, and no lines")
	return c
}

// parseTime reads a number of units, or a duration.
func parseTime(flag, s string, unit time.Duration) (time.Duration, error) {
	if n, err := strconv.ParseFloat(s, 64); err == nil && n >= 0 && n < float64(time.Hour*24*365/unit) {
		return time.Duration(n * float64(unit)), nil
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		return parseTime(flag, days, 24*time.Hour)
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return d, nil
	}
	return 0, fmt.Errorf("%s %q: want a number of %v, or a duration such as 500us", flag, s, unit)
}

// read turns the flags into options.
func (f *latmusFlags) read(c *cobra.Command) (err error) {
	if f.addr != "" {
		if f.Addr, err = demo.ParseAddr(f.addr); err != nil {
			return err
		}
	}
	if f.peer != "" {
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
	if f.Period, err = parseTime("-p", f.period, time.Microsecond); err != nil {
		return err
	}
	if f.Duration, err = parseTime("-T", f.seconds, time.Second); err != nil {
		return err
	}
	if f.Abort, err = parseTime("-A", f.abort, time.Microsecond); err != nil {
		return err
	}
	if f.Stress, err = latmus.ParseStress(f.stress); err != nil {
		return err
	}
	switch f.versus {
	case "":
	case "kernel":
		f.Kernel = true
	default:
		return fmt.Errorf("--vs %q: want kernel", f.versus)
	}
	f.Memory = f.memory << 20
	if !f.json && !f.quiet {
		f.Out = c.OutOrStdout()
	}
	return f.Check()
}

func runLatmus(c *cobra.Command, f *latmusFlags) error {
	if err := f.read(c); err != nil {
		return err
	}
	r, err := latmus.Run(c.Context(), f.Options)
	if r == nil {
		return err
	}
	return errors.Join(err, f.write(c.OutOrStdout(), r))
}

// write writes what was asked for. A run that ended early has results as well.
func (f *latmusFlags) write(w io.Writer, r *latmus.Report) (err error) {
	for _, file := range []struct {
		name  string
		write func(io.Writer) error
	}{{f.gnuplot, r.WriteGnuplot}, {f.hdr, r.WriteHDR}, {f.svg, r.WriteSVG}, {f.html, r.WriteHTML}} {
		if file.name != "" {
			err = errors.Join(err, writeFile(w, file.name, file.write))
		}
	}
	if f.json {
		return errors.Join(err, writeJSON(w, r))
	}
	err = errors.Join(err, r.WriteText(w))
	if f.histogram {
		err = errors.Join(err, r.WriteHistogram(w))
	}
	return err
}

// writeFile writes to a file, or to the output w.
func writeFile(w io.Writer, name string, write func(io.Writer) error) error {
	if name == "-" {
		return write(w)
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}
