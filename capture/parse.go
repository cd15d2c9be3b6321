package capture

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/stack"
)

// Limits of an expression: what people write by hand stays far below.
const (
	maxTerms = 256
	maxDepth = 64
)

// ParseError says where an expression is wrong. It wraps syscall.EINVAL.
type ParseError struct {
	// At is the offset in the expression, bytes from 0.
	At   int
	Text string // what is wrong, and what would do
}

func (e *ParseError) Error() string {
	return fmt.Sprintf("capture: filter, at offset %d: %s", e.At, e.Text)
}

// Unwrap makes the error EINVAL to errors.Is.
func (e *ParseError) Unwrap() error { return syscall.EINVAL }

// ParseExpr reads an expression in the words of pcap-filter(7), as far as they
// go here, and some of our own:
//
//	ip | ip6 | arp | udp | tcp | icmp | igmp       what it is
//	vlan [ID]                                       tagged; by the outer or the inner id
//	ether proto N | ip proto N | proto N            by number, 0x for hexadecimal, or name
//	[src|dst] [host] ADDR | [src|dst] net PREFIX    by IPv4 or IPv6 address, those in ARP too
//	[udp|tcp] [src|dst] port N | portrange N-M
//	ether [src|dst|host] MAC
//	broadcast | multicast                           by the Ethernet address
//	less N | greater N                              by length, bytes
//	inbound | outbound                              received, or sent
//	delivered | forwarded                           what became of a received frame
//	demoted [REASON] | dropped [REASON]             by the names of stack.Reason
//	unsent                                          lost on the way out
//	queue N                                         by the device's queue
//
// joined by not (!), and (&&), or (||) and parentheses; and binds more than or,
// and two terms without a word between them are joined by and. The empty
// expression takes all. Errors are *ParseError.
//
// Other than with libpcap, tags are looked through: "udp and vlan 5" is
// the same as "vlan 5 and udp". Names of hosts and services are not looked up.
func ParseExpr(text string) (*Expr, error) {
	p := parser{e: &Expr{text: strings.TrimSpace(text)}}
	p.split(text)
	if len(p.words) == 0 {
		return p.e, nil
	}
	root, err := p.or()
	if err != nil {
		return nil, err
	}
	if !p.done() {
		return nil, p.wrong("%q does not belong here: join terms by and, or, not", p.word())
	}
	p.e.root = root
	return p.e, nil
}

// parser of an expression: recursive descent over its words.
type parser struct {
	e     *Expr
	words []string
	at    []int // where each word begins
	end   int
	next  int
	depth int
}

// split cuts the text into words; parentheses and ! stand alone.
func (p *parser) split(text string) {
	p.end = len(text)
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			i++
		case c == '(' || c == ')' || c == '!':
			p.add(i, text[i:i+1])
			i++
		default:
			n := strings.IndexAny(text[i:], " \t\n\r()!")
			if n < 0 {
				n = len(text) - i
			}
			p.add(i, text[i:i+n])
			i += n
		}
	}
}

func (p *parser) add(at int, word string) {
	p.words, p.at = append(p.words, word), append(p.at, at)
}

func (p *parser) done() bool { return p.next == len(p.words) }

// word is the next word; "" at the end.
func (p *parser) word() string {
	if p.done() {
		return ""
	}
	return p.words[p.next]
}

// take goes on if the next word is one of these.
func (p *parser) take(words ...string) (string, bool) {
	if w := p.word(); w != "" && slices.Contains(words, w) {
		p.next++
		return w, true
	}
	return "", false
}

func (p *parser) wrong(format string, args ...any) error {
	at := p.end
	if !p.done() {
		at = p.at[p.next]
	}
	return &ParseError{At: at, Text: fmt.Sprintf(format, args...)}
}

func (p *parser) node(n node) (int, error) {
	if len(p.e.nodes) == maxTerms {
		return 0, p.wrong("more than %d terms and operators", maxTerms)
	}
	p.e.late = p.e.late || n.kind == kindOutcome
	p.e.nodes = append(p.e.nodes, n)
	return len(p.e.nodes) - 1, nil
}

func (p *parser) or() (int, error) {
	a, err := p.and()
	for err == nil {
		if _, ok := p.take("or", "||"); !ok {
			break
		}
		var b int
		if b, err = p.and(); err == nil {
			a, err = p.node(node{kind: kindOr, a: a, b: b})
		}
	}
	return a, err
}

func (p *parser) and() (int, error) {
	a, err := p.not()
	for err == nil {
		_, joined := p.take("and", "&&")
		if w := p.word(); !joined && (w == "" || w == ")" || w == "or" || w == "||") {
			break
		}
		var b int
		if b, err = p.not(); err == nil {
			a, err = p.node(node{kind: kindAnd, a: a, b: b})
		}
	}
	return a, err
}

func (p *parser) not() (int, error) {
	if p.depth++; p.depth > maxDepth {
		return 0, p.wrong("nested more than %d deep", maxDepth)
	}
	defer func() { p.depth-- }()
	if _, ok := p.take("not", "!"); ok {
		a, err := p.not()
		if err != nil {
			return 0, err
		}
		return p.node(node{kind: kindNot, a: a})
	}
	if _, ok := p.take("("); ok {
		a, err := p.or()
		if err != nil {
			return 0, err
		}
		if _, ok := p.take(")"); !ok {
			return 0, p.wrong("a parenthesis is not closed")
		}
		return a, nil
	}
	n, err := p.term()
	if err != nil {
		return 0, err
	}
	return p.node(n)
}

// plain are the terms of one word.
var plain = map[string]node{
	"ip":        {kind: kindEtherType, lo: wire.TypeIPv4},
	"ip6":       {kind: kindEtherType, lo: typeIPv6},
	"arp":       {kind: kindEtherType, lo: wire.TypeARP},
	"udp":       {kind: kindProtocol, lo: wire.ProtocolUDP},
	"tcp":       {kind: kindProtocol, lo: wire.ProtocolTCP},
	"icmp":      {kind: kindProtocol, lo: wire.ProtocolICMP},
	"igmp":      {kind: kindProtocol, lo: wire.ProtocolIGMP},
	"broadcast": {kind: kindBroadcast},
	"multicast": {kind: kindMulticast},
	"inbound":   {kind: kindInbound},
	"outbound":  {kind: kindOutbound},
	"unsent":    {kind: kindUnsent},
	"delivered": {kind: kindOutcome, outcome: stack.Delivered, any: true},
	"forwarded": {kind: kindOutcome, outcome: stack.Forwarded, any: true},
}

func (p *parser) term() (node, error) {
	w := p.word()
	if n, ok := plain[w]; ok && !p.qualifies() {
		p.next++
		return n, nil
	}
	if n, ok, err := p.qualified(w); ok {
		return n, err
	}
	switch w {
	case "":
		return node{}, p.wrong("a term is missing")
	case "src", "dst", "host", "net", "port", "portrange", "udp", "tcp", "ip":
		return p.sided()
	}
	if _, err := netip.ParseAddr(w); err == nil {
		return p.sided()
	}
	return node{}, p.wrong("%q is no term: see `go doc capture.ParseExpr`, or `oobnet dump --help`", w)
}

// qualifies: the word is the first of a longer term, as in "udp port 7".
func (p *parser) qualifies() bool {
	if p.next+1 == len(p.words) {
		return false
	}
	after := p.words[p.next+1]
	switch p.word() {
	case "udp", "tcp":
		return slices.Contains([]string{"src", "dst", "port", "portrange"}, after)
	case "ip":
		return slices.Contains([]string{"proto", "src", "dst", "host", "net"}, after)
	}
	return false
}

// qualified are the terms whose first word says what follows.
func (p *parser) qualified(w string) (n node, ok bool, err error) {
	switch w {
	case "vlan":
		p.next++
		n = node{kind: kindVLAN, any: true}
		if id, err := strconv.ParseUint(p.word(), 0, 16); err == nil {
			if id > wire.VIDMask {
				return n, true, p.wrong("VLAN %d: want 0 to %d", id, wire.VIDMask)
			}
			p.next++
			n.lo, n.any = uint32(id), false
		}
	case "less", "greater", "queue":
		p.next++
		n.kind = map[string]nodeKind{"less": kindLess, "greater": kindGreater, "queue": kindQueue}[w]
		n.lo, err = p.number(1<<16-1, nil)
	case "ether":
		p.next++
		n, err = p.ether()
	case "proto":
		p.next++
		n.kind = kindProtocol
		n.lo, err = p.number(1<<8-1, protocolNumbers)
	case "demoted", "dropped":
		p.next++
		n = node{kind: kindOutcome, outcome: stack.Dropped, any: true}
		if w == "demoted" {
			n.outcome = stack.Demoted
		}
		if r, ok := reasons[p.word()]; ok && !p.isTerm() {
			p.next++
			n.reason, n.any = r, false
		}
	default:
		return n, false, nil
	}
	return n, true, err
}

// isTerm: "arp" is a reason and a term. Behind demoted it is the reason.
func (p *parser) isTerm() bool { return p.words[p.next-1] == "dropped" && p.word() == "arp" }

// reasons by name.
var reasons = func() map[string]stack.Reason {
	m := make(map[string]stack.Reason)
	for r := range len(stack.Reasons{}) {
		m[stack.Reason(r).String()] = stack.Reason(r)
	}
	return m
}()

var (
	protocolNumbers = map[string]uint32{"icmp": wire.ProtocolICMP, "igmp": wire.ProtocolIGMP, "tcp": wire.ProtocolTCP, "udp": wire.ProtocolUDP, "icmp6": protocolICMPv6}
	etherTypes      = map[string]uint32{"ip": wire.TypeIPv4, "arp": wire.TypeARP, "ip6": typeIPv6}
)

// number reads a number up to limit, or one of the names.
func (p *parser) number(limit uint32, names map[string]uint32) (uint32, error) {
	if n, ok := names[p.word()]; ok {
		p.next++
		return n, nil
	}
	n, err := strconv.ParseUint(p.word(), 0, 32)
	if err != nil || n > uint64(limit) {
		return 0, p.wrong("want a number up to %d, not %q", limit, p.word())
	}
	p.next++
	return uint32(n), nil
}

// ether reads what follows that word.
func (p *parser) ether() (n node, err error) {
	if _, ok := p.take("proto"); ok {
		n.kind = kindEtherType
		n.lo, err = p.number(1<<16-1, etherTypes)
		return n, err
	}
	if n, ok := plain[p.word()]; ok && (n.kind == kindBroadcast || n.kind == kindMulticast) {
		p.next++
		return n, nil
	}
	n = node{kind: kindMAC, side: p.side()}
	p.take("host")
	mac, err := net.ParseMAC(p.word())
	if err != nil || len(mac) != len(n.mac) {
		return n, p.wrong("want an Ethernet address, proto, broadcast or multicast, not %q", p.word())
	}
	p.next++
	copy(n.mac[:], mac)
	return n, nil
}

func (p *parser) side() side {
	switch w, _ := p.take("src", "dst"); w {
	case "src":
		return sourceSide
	case "dst":
		return destinationSide
	}
	return eitherSide
}

// sided are the terms about addresses and ports.
func (p *parser) sided() (n node, err error) {
	protocol, _ := p.take("udp", "tcp", "ip")
	if _, ok := p.take("proto"); ok {
		n.kind = kindProtocol
		n.lo, err = p.number(1<<8-1, protocolNumbers)
		return n, err
	}
	n.side = p.side()
	what, _ := p.take("host", "net", "port", "portrange")
	switch what {
	case "port", "portrange":
		n.kind, n.b = kindPort, int(protocolNumbers[protocol])
		return n, p.ports(&n)
	case "net":
		n.kind = kindNet
		if n.prefix, err = netip.ParsePrefix(p.word()); err != nil {
			return n, p.wrong("want a prefix, as 10.0.0.0/8, not %q", p.word())
		}
		n.prefix = n.prefix.Masked()
	default:
		a, err := netip.ParseAddr(p.word())
		if err != nil || a.Zone() != "" {
			return n, p.wrong("want an IP address, not %q: names are not looked up", p.word())
		}
		n.kind, n.prefix = kindNet, netip.PrefixFrom(a, a.BitLen())
	}
	p.next++
	return n, nil
}

func (p *parser) ports(n *node) error {
	lo, hi, isRange := strings.Cut(p.word(), "-")
	if !isRange {
		hi = lo
	}
	a, err1 := strconv.ParseUint(lo, 10, 16)
	b, err2 := strconv.ParseUint(hi, 10, 16)
	if err1 != nil || err2 != nil || a > b {
		return p.wrong("want a port or a range of ports, not %q", p.word())
	}
	p.next++
	n.lo, n.hi = uint32(a), uint32(b)
	return nil
}
