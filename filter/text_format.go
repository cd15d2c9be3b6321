package filter

import (
	"fmt"
	"net/netip"
	"strings"
)

// named is a number that text has a name for.
type named struct {
	number uint16
	name   string
}

// etherTypes have names in text (IANA, IEEE 802 Numbers).
var etherTypes = []named{
	{etherTypeIPv4, "ipv4"},
	{0x0806, "arp"},
	{0x86dd, "ipv6"},
	{0x8892, "profinet"},
	{0x88a4, "ethercat"},
	{0x88ab, "powerlink"},
	{0x88cd, "sercos"},
	{0x88cc, "lldp"},
	{0x22f0, "avtp"},
	{0x88f7, "ptp"},
}

// protocols have names in text (IANA, Assigned Internet Protocol Numbers).
var protocols = []named{
	{1, "icmp"},
	{2, "igmp"},
	{6, "tcp"},
	{protocolUDP, "udp"},
	{47, "gre"},
	{50, "esp"},
	{89, "ospf"},
	{132, "sctp"},
}

// String returns the rules as [ParseRules] reads them: the same rules again.
func (r *Rules) String() string {
	var b strings.Builder
	for i := range r.rules {
		b.WriteString(r.rules[i].String())
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "default %v\n", r.fallback)
	return b.String()
}

// MarshalText returns what String does.
func (r *Rules) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText sets r to what [ParseRules] makes of the text. It is the one
// method that changes Rules, and for those that nobody else has yet.
func (r *Rules) UnmarshalText(text []byte) error {
	parsed, err := ParseRules(string(text))
	if err != nil {
		return err
	}
	*r = *parsed
	return nil
}

// String returns the rule as a line of [ParseRules], without its end.
func (r Rule) String() string {
	var b strings.Builder
	b.WriteString(r.Verdict.String())
	writeList(&b, "vlan", r.VLANs, formatRange)
	writeList(&b, "ethertype", r.EtherTypes, func(n uint16) string { return formatName(etherTypes, n, "%#04x") })
	writeList(&b, "src-mac", r.SrcMACs, formatMAC)
	writeList(&b, "dst-mac", r.DstMACs, formatMAC)
	writeList(&b, "src", r.Src, formatPrefix)
	writeList(&b, "dst", r.Dst, formatPrefix)
	writeList(&b, "proto", r.Protocols, func(n uint8) string { return formatName(protocols, uint16(n), "%d") })
	writeList(&b, "sport", r.SrcPorts, formatRange)
	writeList(&b, "dport", r.DstPorts, formatRange)
	return b.String()
}

func writeList[T any](b *strings.Builder, key string, entries []T, format func(T) string) {
	for i, e := range entries {
		if i == 0 {
			b.WriteByte(' ')
			b.WriteString(key)
			b.WriteByte(' ')
		} else {
			b.WriteByte(',')
		}
		b.WriteString(format(e))
	}
}

func formatRange(r Range) string {
	if r.Lo == r.Hi {
		return fmt.Sprint(r.Lo)
	}
	return fmt.Sprintf("%d-%d", r.Lo, r.Hi)
}

func formatName(names []named, n uint16, format string) string {
	for _, t := range names {
		if t.number == n {
			return t.name
		}
	}
	return fmt.Sprintf(format, n)
}

func formatMAC(m [6]byte) string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

func formatPrefix(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}
