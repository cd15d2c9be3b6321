package filter

import (
	"encoding"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"syscall"
)

// Bounds of Rules. With both reached in every field the tables take less than
// 64 MiB and are made in less than a second; those of 1 000 rules that use every
// field take 1 to 8 MiB, as the addresses lie, and those of a few rules on ports
// 130 KiB.
const (
	// MaxRules is how many rules there may be: a match is found through one
	// 64-bit word with a bit for each 64 rules.
	MaxRules = 4096
	// MaxEntries is how many entries a field may have in all rules together.
	// It keeps the numbers of classes and of trie nodes below 2^15.
	MaxEntries = 8192
)

// Range is the numbers from Lo to Hi, both included.
type Range struct{ Lo, Hi uint16 }

// Only is the range of one number.
func Only(n uint16) Range { return Range{n, n} }

// Rule says what becomes of the frames that it matches: those for which each
// of its fields has an entry that the frame fits. A field without entries fits
// any frame; one with entries fits no frame that lacks what it looks at. So
// the zero Rule drops everything.
//
// Only the bytes of the frame count; neither checksums nor the lengths that
// headers claim are looked at. A frame shorter than an Ethernet header has
// nothing to look at, and one that ends within a tag has its MAC addresses
// only.
type Rule struct {
	// VLANs are ids of 802.1Q tags (TPID 0x8100), from 0 to 4094. 0 stands for
	// frames without a tag and for priority-tagged ones. The id is that of the
	// first 802.1Q tag; one 802.1ad tag (TPID 0x88a8) before it is stepped
	// over, so that the inner tag of QinQ counts, as in EVL. A frame with an
	// 802.1ad tag and no 802.1Q tag behind it has no id, not even 0.
	VLANs []Range
	// EtherTypes are those that stand behind the tags that VLANs speaks of, from
	// 0x0600. A further tag is not looked behind: its TPID is the EtherType.
	EtherTypes []uint16
	// SrcMACs and DstMACs are the Ethernet header's addresses.
	SrcMACs, DstMACs [][6]byte
	// Src and Dst are IPv4 prefixes; bits beyond their length do not count.
	// They and Protocols look at packets with EtherType 0x0800 and 20 bytes of
	// header, version 4 and a header length of at least 20 bytes in it.
	Src, Dst []netip.Prefix
	// Protocols are IP protocol numbers.
	Protocols []uint8
	// SrcPorts and DstPorts are ports of UDP over IPv4. They look at packets
	// that hold a whole UDP header behind the IPv4 options, and at no fragment
	// but the first.
	SrcPorts, DstPorts []Range
	// Verdict is what becomes of the frame.
	Verdict Verdict
}

// Rules is a filter made of rules: the first that matches a frame decides, and
// a default verdict decides where none does. It is immutable and may be used
// by any goroutine. The zero Rules drops everything.
//
// Rules are compiled to tables when they are made. Each field that some rule
// uses maps its value to a class of values that the same rules want, by a
// table, a trie or a hash; each class has a bit for each rule; and the first
// bit that all fields have in common is the rule. So what a packet costs
// depends on the fields in use, and next to nothing on the number of rules. The
// same tables are used here and by the XDP program.
type Rules struct {
	rules    []Rule
	fallback Verdict
	tables   *tables // nil: the zero Rules
}

var (
	_ Filter                   = (*Rules)(nil)
	_ encoding.TextMarshaler   = (*Rules)(nil)
	_ encoding.TextUnmarshaler = (*Rules)(nil)
)

// NewRules makes a filter of rules and the verdict for frames that none of
// them matches. It copies what it is given. An error wraps syscall.EINVAL and
// names the rule, the first being number 1, and the field.
func NewRules(def Verdict, rules ...Rule) (*Rules, error) {
	if !def.valid() {
		return nil, fmt.Errorf("filter: the default: %w", invalid("%v does not exist: it is drop, accept, skip or vlan", def))
	}
	if len(rules) > MaxRules {
		return nil, fmt.Errorf("filter: %w", invalid("%d rules: at most %d; one rule may list many entries", len(rules), MaxRules))
	}
	r := &Rules{rules: make([]Rule, len(rules)), fallback: def}
	var entries [dimensions]int
	for i := range rules {
		rule := rules[i].clone()
		if err := rule.check(&entries); err != nil {
			return nil, fmt.Errorf("filter: rule %d: %w", i+1, err)
		}
		r.rules[i] = rule
	}
	var err error
	if r.tables, err = compile(r.rules, def); err != nil {
		return nil, err
	}
	return r, nil
}

// EVLRule is EVL's default rule: IPv4 on the VLANs with these ids is accepted,
// the inner tag of QinQ included, and everything else is left to the host.
// The ids 0, 1 and 4095, which EVL refuses, and those beyond are an error that
// wraps syscall.EINVAL. Without ids nothing is accepted.
func EVLRule(ids ...uint16) (*Rules, error) {
	for _, id := range ids {
		if id <= 1 || id > maxVLAN {
			return nil, fmt.Errorf("filter: %w", invalid("VLAN id %d: out-of-band traffic has an id from 2 to %d", id, maxVLAN))
		}
	}
	if len(ids) == 0 { // a rule without ids would match any
		return NewRules(Skip)
	}
	sorted := slices.Clone(ids)
	slices.Sort(sorted)
	rule := Rule{EtherTypes: []uint16{etherTypeIPv4}, Verdict: Accept}
	for _, id := range sorted {
		if n := len(rule.VLANs); n > 0 && id <= rule.VLANs[n-1].Hi+1 {
			rule.VLANs[n-1].Hi = id
			continue
		}
		rule.VLANs = append(rule.VLANs, Only(id))
	}
	return NewRules(Skip, rule)
}

// LoadRules reads rules from a text file: see [ParseRules].
func LoadRules(path string) (*Rules, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("filter: %w", err)
	}
	r, err := ParseRules(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// Rules returns a copy of the rules.
func (r *Rules) Rules() []Rule {
	rules := make([]Rule, len(r.rules))
	for i := range r.rules {
		rules[i] = r.rules[i].clone()
	}
	return rules
}

// Default is the verdict for frames that no rule matches.
func (r *Rules) Default() Verdict { return r.fallback }

// compiled returns the tables, which the zero Rules does not have.
func (r *Rules) compiled() (*tables, error) {
	if r.tables != nil {
		return r.tables, nil
	}
	return compile(nil, r.fallback)
}

func (r *Rule) clone() Rule {
	c := *r
	c.VLANs = slices.Clone(r.VLANs)
	c.EtherTypes = slices.Clone(r.EtherTypes)
	c.SrcMACs = slices.Clone(r.SrcMACs)
	c.DstMACs = slices.Clone(r.DstMACs)
	c.Src = slices.Clone(r.Src)
	c.Dst = slices.Clone(r.Dst)
	c.Protocols = slices.Clone(r.Protocols)
	c.SrcPorts = slices.Clone(r.SrcPorts)
	c.DstPorts = slices.Clone(r.DstPorts)
	return c
}

// invalid is an error that says what is wrong and is EINVAL.
func invalid(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, syscall.EINVAL)...)
}
