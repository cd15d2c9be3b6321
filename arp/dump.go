package arp

import (
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/oobnet/oobnet/link"
)

// Info is one entry as dumps show it.
type Info struct {
	Dst     netip.Addr `json:"dst"`
	NextHop netip.Addr `json:"next_hop"`
	Src     netip.Addr `json:"src"`
	Port    string     `json:"port"`
	MAC     string     `json:"mac"`
	SrcMAC  string     `json:"src_mac"`
	// VLAN and PCP are the identifier and the priority of the 802.1Q tag;
	// Tagged tells an untagged frame from one tagged for VLAN 0.
	Tagged bool   `json:"tagged,omitempty"`
	VLAN   uint16 `json:"vlan,omitempty"`
	PCP    uint8  `json:"pcp,omitempty"`
	MTU    uint16 `json:"mtu"`
	Kind   string `json:"kind"`
	// Permanent entries are set by the operator, the others learned.
	Permanent bool `json:"permanent,omitempty"`
	// Scoped entries are for senders that want this port for a group.
	Scoped bool `json:"scoped,omitempty"`
	// ConfirmedMS and UsedMS are the milliseconds since the neighbour was last
	// confirmed and since the entry was last used; -1: never. Uses are noted
	// to the granularity at which the stack calls Due.
	ConfirmedMS int64 `json:"confirmed_ms"`
	UsedMS      int64 `json:"used_ms"`
	// Probes sent since the last confirmation.
	Probes int `json:"probes,omitempty"`
	// Conflict is the MAC address by which ARP last contradicted a permanent
	// entry of this neighbour.
	Conflict string `json:"conflict,omitempty"`
}

// State is a word for what the cache thinks of the entry: "permanent",
// "reachable", "probing", or "static" for destinations without a neighbour.
func (i Info) State() string {
	switch {
	case i.Permanent:
		return "permanent"
	case i.Kind != Unicast.String():
		return "static"
	case i.Probes > 0:
		return "probing"
	}
	return "reachable"
}

// String is the entry in one line.
func (i Info) String() string { return strings.Join(i.fields(), " ") }

// fields are the columns of a table of entries.
func (i Info) fields() []string {
	vlan := "-"
	if i.Tagged {
		vlan = fmt.Sprintf("%d/%d", i.VLAN, i.PCP)
	}
	via := "-"
	if i.NextHop != i.Dst {
		via = i.NextHop.String()
	}
	state := i.State()
	if i.Conflict != "" {
		state += " (claimed by " + i.Conflict + ")"
	}
	return []string{i.Dst.String(), via, i.Port, i.Src.String(), i.MAC, vlan,
		fmt.Sprint(i.MTU), age(i.ConfirmedMS), age(i.UsedMS), state}
}

// age shows milliseconds in tenths of a second.
func age(ms int64) string {
	if ms < 0 {
		return "-"
	}
	return fmt.Sprintf("%d.%ds", ms/1000, ms%1000/100)
}

// WriteText writes a dump as a table for people: one line an entry, a heading
// above. VLAN is identifier/priority.
func WriteText(w io.Writer, dump []Info) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "DESTINATION\tNEXT HOP\tPORT\tSOURCE\tMAC\tVLAN\tMTU\tCONFIRMED\tUSED\tSTATE")
	for _, i := range dump {
		fmt.Fprintln(tw, strings.Join(i.fields(), "\t"))
	}
	if err := tw.Flush(); err != nil { // the only place where errors of w come out
		return fmt.Errorf("arp: dump: %w", err)
	}
	return nil
}

// Dump returns all entries, ordered by destination.
func (c *Cache) Dump() []Info {
	entries, dump := c.snapshot()
	for i, e := range entries {
		// Not under the mutex: Name is foreign code.
		dump[i].Port = e.Via.Name()
	}
	slices.SortFunc(dump, func(a, b Info) int { return a.Dst.Compare(b.Dst) })
	return dump
}

func (c *Cache) snapshot() ([]*Entry, []Info) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clock()
	entries := make([]*Entry, 0, c.table.Len())
	dump := make([]Info, 0, c.table.Len())
	for _, e := range c.table.All() {
		entries = append(entries, e)
		dump = append(dump, e.rec.info(now))
	}
	return entries, dump
}

// info describes a record's entry, all but the port's name.
func (r *record) info(now int64) Info {
	s := r.entry.spec()
	i := Info{
		Dst: s.Dst, NextHop: s.NextHop, Src: s.Src, MAC: macString(s.MAC), SrcMAC: macString(s.SrcMAC),
		Tagged: r.entry.HeaderLen == MaxHeaderLen, VLAN: s.VLAN & 0x0fff, PCP: uint8(s.VLAN >> 13),
		MTU: s.MTU, Kind: s.Kind.String(), Permanent: s.Permanent, Scoped: s.Scope != 0,
		ConfirmedMS: -1, UsedMS: since(r.used, now),
	}
	if r.entry.flags.Load()&flagUsed != 0 {
		i.UsedMS = 0 // since the last Due
	}
	if n := r.hop; n != nil {
		i.ConfirmedMS = since(n.confirmed, now)
		i.Probes = n.probes
		if s.Permanent && n.conflictMAC != (link.MAC{}) && n.conflictMAC != s.MAC {
			i.Conflict = macString(n.conflictMAC)
		}
	}
	return i
}

// since is the time from t to now in ms, -1 for never.
func since(t, now int64) int64 {
	if t == never {
		return -1
	}
	return max(0, now-t) / int64(time.Millisecond)
}
