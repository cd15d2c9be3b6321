package main

import (
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/oobnet/oobnet/control"
)

const (
	// pingTurn is how long one request of a ping lasts at most, but for the
	// answers that it waits for: so often there is something to see.
	pingTurn = time.Second
	// maxPingTimeout leaves a request its time within a server's 30 s.
	maxPingTimeout = 10 * time.Second
)

// pingReport is the JSON of `oobnet ping`: the requests as one.
type pingReport struct {
	Address netip.Addr `json:"address"`
	control.Ping
	Lost        int     `json:"lost"`
	LossPercent float64 `json:"loss_percent"`
}

// pingFlags of a command line.
type pingFlags struct {
	control.PingRequest
	byARP             bool
	quiet             bool
	interval, timeout time.Duration
}

func pingCommand() *cobra.Command {
	var f pingFlags
	c := &cobra.Command{
		Use:   "ping ADDRESS",
		Short: "See whether a peer answers a running stack, and how soon",
		Long: `ping sends from the stack of a running process, as its sockets do: datagrams to the
peer's UDP echo service, after an ARP solicitation, or with --arp ARP requests
alone, which every IPv4 station on the link answers. Round trips are those of an
application there, and the worst is what counts. "oobnet serve" has an echo
service (services: {echo: 7}).

It sends in turns of a second at most, each a request of its own to the socket,
and exits with 1 if anything was lost.`,
		Example: `  oobnet ping 192.0.2.2
  oobnet ping 192.0.2.2 --arp -c 3
  oobnet ping 192.0.2.2 -p 7 -c 1000 -t 1ms -s 256 --json`,
		Args: cobra.ExactArgs(1),
	}
	s := c.Flags()
	s.SortFlags = false
	s.BoolVar(&f.byARP, "arp", false, "ask by ARP, one question at a time")
	s.Uint16VarP(&f.Port, "port", "p", 7, "UDP port of the echo service")
	s.IntVarP(&f.Count, "count", "c", 5, "how many")
	s.DurationVarP(&f.interval, "interval", "t", 100*time.Millisecond, "between two of them, at least 1ms")
	s.IntVarP(&f.Size, "size", "s", 64, "UDP payload, 16 to 65507 bytes")
	s.DurationVarP(&f.timeout, "timeout", "W", time.Second, "what is not answered by then is lost")
	s.BoolVarP(&f.quiet, "quiet", "q", false, "print the summary alone")
	m := manage(c)
	m.portFlag(c, &f.Interface, "the port that it has to leave by")
	c.ValidArgsFunction = m.neighbors
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := f.check(args[0]); err != nil {
			return err
		}
		return m.with(func(client *control.Client) error {
			w := c.OutOrStdout()
			report, err := f.run(c, client, func(number int, e control.Echo) {
				if !m.asJSON && !f.quiet {
					fmt.Fprintln(w, echoText(w, number, e))
				}
			})
			if report.Sent > 0 {
				if err := m.show(w, report, report.write); err != nil {
					return err
				}
			}
			switch {
			case c.Context().Err() != nil:
				return c.Context().Err()
			case err != nil:
				return err
			case report.Lost > 0:
				return fmt.Errorf("%v: %d of %d were not answered%s", f.Address, report.Lost, report.Sent, report.why())
			}
			return nil
		})
	}
	return c
}

// check reads the address and checks what no server needs to be asked for.
func (f *pingFlags) check(address string) (err error) {
	if f.Address, err = parseAddr(address); err != nil {
		return err
	}
	switch {
	case f.Count < 1:
		return fmt.Errorf("--count %d: want at least 1", f.Count)
	case f.interval < time.Millisecond || f.interval > time.Hour:
		return fmt.Errorf("--interval %v: want 1ms to 1h", f.interval)
	case f.timeout < time.Millisecond || f.timeout > maxPingTimeout:
		return fmt.Errorf("--timeout %v: want 1ms to %v", f.timeout, maxPingTimeout)
	case f.Port == 0:
		return fmt.Errorf("--port 0: want 1 to 65535")
	case f.Size < 1: // the server knows the bounds; 0 it takes for the default
		return fmt.Errorf("--size %d: want 16 to 65507", f.Size)
	}
	f.IntervalUS, f.TimeoutMS = int(f.interval.Microseconds()), int(f.timeout.Milliseconds())
	if f.byARP {
		f.Kind = control.PingARP
	}
	return nil
}

// turn is how many one request asks for.
func (f *pingFlags) turn() int {
	each := f.interval
	if f.byARP {
		each = max(each, f.timeout)
	}
	return max(1, int(pingTurn/each))
}

// run asks in turns, and shows each echo.
func (f *pingFlags) run(c *cobra.Command, client *control.Client, show func(int, control.Echo)) (*pingReport, error) {
	report := &pingReport{Address: f.Address, Ping: control.Ping{Echoes: []control.Echo{}}}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for report.Sent < f.Count {
		select {
		case <-timer.C:
		case <-c.Context().Done():
			return report, nil
		}
		in := f.PingRequest
		in.Count = min(f.turn(), f.Count-report.Sent)
		if in.Count == 1 {
			in.IntervalUS = 0 // of one there is none
		}
		begun := time.Now()
		out, err := client.Ping(c.Context(), in)
		if err != nil {
			return report, err
		}
		for i, e := range out.Echoes {
			show(report.Sent+i+1, e)
		}
		report.add(out)
		timer.Reset(time.Until(begun.Add(time.Duration(in.Count) * f.interval)))
	}
	return report, nil
}

// add counts a turn.
func (r *pingReport) add(p *control.Ping) {
	total := int64(r.Received)*r.MeanNS + int64(p.Received)*p.MeanNS
	r.Kind, r.Port = p.Kind, p.Port
	r.Sent += p.Sent
	r.Received += p.Received
	r.Duplicates += p.Duplicates
	r.Echoes = append(r.Echoes, p.Echoes...)
	if p.Received > 0 {
		if r.BestNS == 0 || p.BestNS < r.BestNS {
			r.BestNS = p.BestNS
		}
		r.MeanNS = total / int64(r.Received)
		r.WorstNS = max(r.WorstNS, p.WorstNS)
	}
	r.SolicitNS = max(r.SolicitNS, p.SolicitNS)
	if p.Problem != "" {
		r.Problem = p.Problem
	}
	for _, mac := range p.MACs {
		if !strings.Contains(strings.Join(r.MACs, " "), mac) {
			r.MACs = append(r.MACs, mac)
		}
	}
	r.Lost = r.Sent - r.Received
	r.LossPercent = 100 * float64(r.Lost) / float64(r.Sent)
}

// why is the last reason that something was lost for, if it is known.
func (r *pingReport) why() string {
	if r.Problem != "" {
		return ": " + r.Problem
	}
	for i := len(r.Echoes) - 1; i >= 0; i-- {
		if why := r.Echoes[i].Error; why != "" {
			return ": " + why
		}
	}
	return ""
}

func echoText(w io.Writer, number int, e control.Echo) string {
	switch {
	case e.RTTNS != 0:
		return fmt.Sprintf("%d: %s", number, brief(time.Duration(e.RTTNS)))
	case e.Error != "":
		return red(w, fmt.Sprintf("%d: lost: %s", number, e.Error))
	}
	return red(w, fmt.Sprintf("%d: lost", number))
}

// write writes the summary for people.
func (r *pingReport) write(w io.Writer) error {
	t := newTable(w, "PEER\tBY\tPORT\tSENT\tRECEIVED\tLOST\tLOSS\tDUPLICATES\tBEST\tMEAN\tWORST")
	t.row("%v\t%s\t%s\t%d\t%d\t%d\t%.1f%%\t%d\t%s\t%s\t%s", r.Address, r.Kind, r.Port, r.Sent, r.Received, r.Lost, r.LossPercent, r.Duplicates,
		rtt(r.BestNS), rtt(r.MeanNS), rtt(r.WorstNS))
	if err := t.end(); err != nil {
		return err
	}
	switch {
	case len(r.MACs) > 1:
		fmt.Fprintln(w, red(w, fmt.Sprintf("%v is at %s: several stations have this address", r.Address, strings.Join(r.MACs, " and "))))
	case len(r.MACs) == 1:
		fmt.Fprintf(w, "%v is at %s\n", r.Address, r.MACs[0])
	}
	return nil
}

// rtt is a round trip; 0: there was none.
func rtt(ns int64) string {
	if ns == 0 {
		return "-"
	}
	return brief(time.Duration(ns))
}
