package filter

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
)

// SyntaxError is an error of [ParseRules]. It wraps syscall.EINVAL.
type SyntaxError struct {
	// Line and Column say where, both from 1; a column is a byte.
	Line, Column int
	// Problem says what, and the way out.
	Problem string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("filter: line %d, column %d: %s", e.Line, e.Column, e.Problem)
}

// Unwrap makes it a syscall.EINVAL.
func (e *SyntaxError) Unwrap() error { return syscall.EINVAL }

// ParseRules reads rules from text, one a line. The grammar in EBNF, with
// blanks or tabs between words and none within lists:
//
//	text    = line { "\n" line } .
//	line    = [ rule | default ] [ "#" comment ] .
//	rule    = verdict { match } .
//	default = "default" verdict .
//	verdict = "drop" | "accept" | "skip" | "vlan" .
//	match   = "vlan" ranges | "ethertype" types
//	        | "src-mac" macs | "dst-mac" macs
//	        | "src" prefixes | "dst" prefixes | "proto" protos
//	        | "sport" ranges | "dport" ranges .
//
//	ranges   = range { "," range } .      range  = number [ "-" number ] .
//	types    = type { "," type } .        type   = number | name .
//	protos   = proto { "," proto } .      proto  = number | name .
//	macs     = mac { "," mac } .          mac    = "02:00:00:00:00:01" and its like .
//	prefixes = prefix { "," prefix } .    prefix = "10.0.0.0/8" or "10.0.0.1" and their like .
//	number   = decimal | "0x" hexadecimal .
//
// The names of EtherTypes are ipv4, arp, ipv6, profinet, ethercat, powerlink,
// sercos, lldp, avtp and ptp; those of protocols are icmp, igmp, tcp, udp, gre,
// esp, ospf and sctp. A match stands at most once in a rule, in any order. The
// default is the last line; without one it is skip. For example:
//
//	accept vlan 5,100-110 ethertype ipv4 proto udp dport 319-320 dst 239.0.0.0/8
//	accept ethertype ethercat                    # the fieldbus
//	drop   src-mac 02:00:00:00:00:01
//	default skip
//
// An error is a *[SyntaxError], or one of [NewRules].
func ParseRules(text string) (*Rules, error) {
	var rules []Rule
	def, last := Skip, 0 // last is the line of the default
	number := 0
	for line := range strings.SplitSeq(text, "\n") {
		number++
		words := split(line, number)
		switch {
		case len(words) == 0:
		case last != 0:
			return nil, words[0].wrong("the default, in line %d, is the last: move it to the end", last)
		case words[0].text == "default":
			verdict, err := parseDefault(words)
			if err != nil {
				return nil, err
			}
			def, last = verdict, number
		case len(rules) == MaxRules:
			return nil, words[0].wrong("more than %d rules; one rule may list many entries", MaxRules)
		default:
			rule, err := parseRule(words)
			if err != nil {
				return nil, err
			}
			rules = append(rules, rule)
		}
	}
	return NewRules(def, rules...)
}

// word is a part of the text, and where it stands.
type word struct {
	text         string
	line, column int
}

// wrong is an error at the word.
func (w word) wrong(format string, args ...any) error {
	return &SyntaxError{w.line, w.column, fmt.Sprintf(format, args...)}
}

// from is the word from a byte on.
func (w word) from(at int) word { return word{w.text[at:], w.line, w.column + at} }

// end is the empty word behind it.
func (w word) end() word { return w.from(len(w.text)) }

// split returns the words of a line up to its comment.
func split(line string, number int) (words []word) {
	line, _, _ = strings.Cut(line, "#")
	begin := -1
	for i := 0; i <= len(line); i++ {
		blank := i == len(line) || line[i] == ' ' || line[i] == '\t' || line[i] == '\r'
		if blank && begin >= 0 {
			words = append(words, word{line[begin:i], number, begin + 1})
			begin = -1
		} else if !blank && begin < 0 {
			begin = i
		}
	}
	return words
}

func parseVerdict(w word) (Verdict, error) {
	for v, name := range verdictNames {
		if w.text == name {
			return Verdict(v), nil
		}
	}
	return Drop, w.wrong("%q is no verdict: drop, accept, skip or vlan", w.text)
}

func parseDefault(words []word) (Verdict, error) {
	switch len(words) {
	case 1:
		return Drop, words[0].end().wrong("the default lacks its verdict: drop, accept, skip or vlan")
	case 2:
		return parseVerdict(words[1])
	}
	return Drop, words[2].wrong("%q: the default has a verdict and nothing else", words[2].text)
}

func parseRule(words []word) (rule Rule, err error) {
	if rule.Verdict, err = parseVerdict(words[0]); err != nil {
		return rule, err
	}
	seen := map[string]bool{}
	for words = words[1:]; len(words) > 0; words = words[2:] {
		key := words[0]
		parse, ok := matches[key.text]
		switch {
		case !ok:
			return rule, key.wrong("%q is no match: vlan, ethertype, src-mac, dst-mac, src, dst, proto, sport or dport", key.text)
		case seen[key.text]:
			return rule, key.wrong("%s a second time: join its entries with commas", key.text)
		case len(words) == 1:
			return rule, key.end().wrong("%s lacks its entries", key.text)
		}
		seen[key.text] = true
		if err := parse(&rule, words[1]); err != nil {
			return rule, err
		}
	}
	return rule, nil
}

// matches parse what follows the word that begins a match.
var matches = map[string]func(*Rule, word) error{
	"vlan":      func(r *Rule, w word) error { return parseList(&r.VLANs, w, parseRange, checkVLAN) },
	"ethertype": func(r *Rule, w word) error { return parseList(&r.EtherTypes, w, parseEtherType, checkEtherType) },
	"src-mac":   func(r *Rule, w word) error { return parseList(&r.SrcMACs, w, parseMAC, nil) },
	"dst-mac":   func(r *Rule, w word) error { return parseList(&r.DstMACs, w, parseMAC, nil) },
	"src":       func(r *Rule, w word) error { return parseList(&r.Src, w, parsePrefix, checkPrefix) },
	"dst":       func(r *Rule, w word) error { return parseList(&r.Dst, w, parsePrefix, checkPrefix) },
	"proto":     func(r *Rule, w word) error { return parseList(&r.Protocols, w, parseProtocol, nil) },
	"sport":     func(r *Rule, w word) error { return parseList(&r.SrcPorts, w, parseRange, checkRange) },
	"dport":     func(r *Rule, w word) error { return parseList(&r.DstPorts, w, parseRange, checkRange) },
}

// parseList parses entries with commas between them, and checks each.
func parseList[T any](to *[]T, w word, parse func(word) (T, error), check func(T) error) error {
	for more := true; more; {
		entry, rest := w, word{}
		var comma int
		if comma = strings.IndexByte(w.text, ','); comma >= 0 {
			entry.text, rest = w.text[:comma], w.from(comma+1)
		}
		if entry.text == "" {
			return entry.wrong("an entry is missing; lists are written without blanks")
		}
		value, err := parse(entry)
		if err != nil {
			return err
		}
		if check != nil {
			if err := check(value); err != nil {
				return entry.wrong("%s", strings.TrimSuffix(err.Error(), ": "+syscall.EINVAL.Error()))
			}
		}
		*to = append(*to, value)
		w, more = rest, comma >= 0
	}
	return nil
}

// parseNumber reads a number of so many bits.
func parseNumber(w word, bits int) (uint16, error) {
	digits, base := w.text, 10
	if hex, ok := strings.CutPrefix(w.text, "0x"); ok {
		digits, base = hex, 16
	}
	n, err := strconv.ParseUint(digits, base, bits)
	if err != nil {
		return 0, w.wrong("%q is no number from 0 to %d", w.text, 1<<bits-1)
	}
	return uint16(n), nil
}

func parseRange(w word) (r Range, err error) {
	lo, hi, two := strings.Cut(w.text, "-")
	if r.Lo, err = parseNumber(word{lo, w.line, w.column}, 16); err != nil || !two {
		return Only(r.Lo), err
	}
	r.Hi, err = parseNumber(word{hi, w.line, w.column + len(lo) + 1}, 16)
	return r, err
}

func parseEtherType(w word) (uint16, error) {
	for _, t := range etherTypes {
		if w.text == t.name {
			return t.number, nil
		}
	}
	if w.text[0] < '0' || w.text[0] > '9' {
		return 0, w.wrong("%q is no EtherType that has a name here: use its number, such as 0x88a4", w.text)
	}
	return parseNumber(w, 16)
}

func parseProtocol(w word) (uint8, error) {
	for _, p := range protocols {
		if w.text == p.name {
			return uint8(p.number), nil
		}
	}
	if w.text[0] < '0' || w.text[0] > '9' {
		return 0, w.wrong("%q is no IP protocol that has a name here: use its number", w.text)
	}
	n, err := parseNumber(w, 8)
	return uint8(n), err
}

// macText is the length of a MAC address: six bytes, five colons.
const macText = 6*2 + 5

func parseMAC(w word) (mac [6]byte, err error) {
	ok := len(w.text) == macText
	for i := 0; ok && i < len(mac); i++ {
		b, err := strconv.ParseUint(w.text[3*i:][:2], 16, 8)
		ok = err == nil && (i == 0 || w.text[3*i-1] == ':')
		mac[i] = byte(b)
	}
	if !ok {
		return mac, w.wrong("%q is no MAC address, such as 02:00:00:00:00:01", w.text)
	}
	return mac, nil
}

func parsePrefix(w word) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(w.text); err == nil {
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(w.text)
	if err != nil {
		return p, w.wrong("%q is no IPv4 prefix, such as 10.0.0.0/8, or address", w.text)
	}
	return p, nil
}
