package demo

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Report is what a run found: the object that --json prints.
type Report struct {
	// Role is loopback, server or client.
	Role string `json:"role"`
	// Interface is the link's name; a PCI address with --vfio.
	Interface string `json:"interface"`
	// Link says how frames are moved: "memory", "native, copy" and so on.
	Link     string `json:"link"`
	Addr     string `json:"addr"`
	Peer     string `json:"peer,omitempty"`
	VLAN     uint16 `json:"vlan,omitempty"`
	Poll     string `json:"poll"`
	PeriodNS int64  `json:"period_ns"`
	Size     int    `json:"size"`
	// Seconds that the exchange took.
	Seconds float64 `json:"seconds"`

	// Sent and Received datagrams of this side; Lost is what was sent and not
	// answered (a server knows of no loss).
	Sent     uint64 `json:"sent"`
	Received uint64 `json:"received"`
	Lost     uint64 `json:"lost"`
	// Duplicates counts answers beyond the first to a datagram.
	Duplicates uint64 `json:"duplicates"`
	// SendErrors counts sends that failed; FirstError is the first of them.
	SendErrors uint64 `json:"send_errors"`
	FirstError string `json:"first_error,omitempty"`
	// Late counts cycles that began more than one period after their time.
	Late uint64 `json:"late_cycles"`
	// RTT of the answered datagrams; absent for a server.
	RTT *RTT `json:"rtt_ns,omitempty"`

	// Demoted is what went to the in-band stage, by reason, both ways; Dropped
	// what was lost in the stack or its links, by reason.
	Demoted map[string]uint64 `json:"demoted"`
	Dropped map[string]uint64 `json:"dropped"`
	// BuffersInUse are those that neither a pool nor a device holds, at the end.
	BuffersInUse int `json:"buffers_in_use"`
	// AllocsPerPacket is what the process allocated a packet, sent or
	// received, after the first tenth of the run; from runtime/metrics.
	AllocsPerPacket float64 `json:"allocs_per_packet"`
	// Refused lists what the machine refused to the threads.
	Refused []string `json:"refused,omitempty"`
	// Notes are what the NIC told while it ran: a hang, or no huge pages.
	Notes []string `json:"notes,omitempty"`
}

// RTT are quantiles of the round trip, ns.
type RTT struct {
	P50  int64 `json:"p50"`
	P99  int64 `json:"p99"`
	P999 int64 `json:"p999"`
	Max  int64 `json:"max"`
}

// WriteTable writes the report for people.
func (r *Report) WriteTable(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) {
		fmt.Fprintf(tw, "%s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	where := fmt.Sprintf("%s (%s), %s", r.Interface, r.Link, r.Addr)
	if r.VLAN != 0 {
		where += fmt.Sprintf(", VLAN %d", r.VLAN)
	}
	if r.Peer != "" {
		where += ", peer " + r.Peer
	}
	line(r.Role, "%s", where)
	if r.RTT == nil {
		line("ran", "%.1f s, poll %s", r.Seconds, r.Poll)
	} else {
		line("ran", "%.1f s, %d bytes each %v, poll %s", r.Seconds, r.Size, time.Duration(r.PeriodNS), r.Poll)
	}
	line("sent", "%d", r.Sent)
	line("received", "%d", r.Received)
	if r.RTT != nil {
		line("lost", "%d", r.Lost)
		line("duplicates", "%d", r.Duplicates)
		line("late cycles", "%d", r.Late)
		if r.Received == 0 {
			line("RTT", "no answer came")
		} else {
			line("RTT p50", "%s", micros(r.RTT.P50))
			line("RTT p99", "%s", micros(r.RTT.P99))
			line("RTT p99.9", "%s", micros(r.RTT.P999))
			line("RTT max", "%s", micros(r.RTT.Max))
		}
	}
	if r.SendErrors > 0 {
		line("send errors", "%d, the first: %s", r.SendErrors, r.FirstError)
	}
	line("demotions", "%s", reasons(r.Demoted))
	line("drops", "%s", reasons(r.Dropped))
	line("buffers in use", "%d", r.BuffersInUse)
	line("allocations a packet", "%.4f", r.AllocsPerPacket)
	for _, s := range r.Refused {
		line("refused", "%s", s)
	}
	for _, s := range r.Notes {
		line("note", "%s", s)
	}
	return tw.Flush()
}

// micros writes nanoseconds as microseconds, the unit of round trips here.
func micros(ns int64) string { return fmt.Sprintf("%.1f us", float64(ns)/1000) }

// reasons writes "12 (ARP 4, no socket 8)".
func reasons(by map[string]uint64) string {
	var total uint64
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(by)) {
		total += by[name]
		parts = append(parts, fmt.Sprintf("%s %d", name, by[name]))
	}
	if total == 0 {
		return "0"
	}
	return fmt.Sprintf("%d (%s)", total, strings.Join(parts, ", "))
}
