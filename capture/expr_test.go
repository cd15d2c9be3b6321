package capture

import (
	"encoding/binary"
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/stack"
)

// sample is a frame with what expressions are asked about.
type sample struct {
	b       []byte
	tci     uint16
	strip   bool
	kind    recordKind
	queue   int
	outcome stack.Outcome
}

var (
	macA = [6]byte{2, 0, 0, 0, 0, 1}
	macB = [6]byte{2, 0, 0, 0, 0, 2}
)

func ipv4(dst [6]byte, tci uint16, protocol uint8, transport []byte) []byte {
	b := make([]byte, 18+wire.IPv4HeaderLen+len(transport))
	n := wire.PutEthernet(b, dst, macA, tci, wire.TypeIPv4)
	b = b[:n+wire.IPv4HeaderLen+len(transport)]
	copy(b[n+wire.IPv4HeaderLen:], transport)
	wire.PutIPv4(b[n:], 0x0a000001, 0x0a000102, protocol, 64, 0, wire.IPv4HeaderLen+len(transport))
	return b
}

func ports(src, dst uint16, n int) []byte {
	b := make([]byte, n)
	binary.BigEndian.PutUint16(b, src)
	binary.BigEndian.PutUint16(b[2:], dst)
	return b
}

// samples by name.
func samples() map[string]sample {
	arp := make([]byte, wire.MinFrame)
	n := wire.PutEthernet(arp, wire.BroadcastMAC, macA, 0, wire.TypeARP)
	wire.PutARP(arp[n:], wire.ARP{Op: wire.ARPRequest, SenderMAC: macA, SenderIP: 0x0a000001, TargetIP: 0x0a000102})
	ip6 := make([]byte, 14+40+8)
	wire.PutEthernet(ip6, macB, macA, 0, typeIPv6)
	ip6[14], ip6[20] = 0x60, wire.ProtocolUDP
	ip6[22], ip6[23], ip6[37], ip6[53] = 0xfd, 0, 1, 2
	copy(ip6[54:], ports(4000, 7, 8))
	fragment := ipv4(macB, 0, wire.ProtocolUDP, ports(4000, 7, 20))
	binary.BigEndian.PutUint16(fragment[14+6:], 100)
	inner := ipv4(macB, 5, wire.ProtocolUDP, ports(4000, 7, 8))
	qinq := append(append(append([]byte{}, inner[:12]...), 0x88, 0xa8, 0x20, 9), inner[12:]...)
	return map[string]sample{
		"udp":      {b: ipv4(macB, 0, wire.ProtocolUDP, ports(4000, 7, 8)), queue: 1},
		"tcp":      {b: ipv4(macB, 0, wire.ProtocolTCP, ports(80, 4001, 20)), outcome: stack.Outcome{Disposition: stack.Demoted, Reason: stack.ReasonInBandProtocol}},
		"icmp":     {b: ipv4(macB, 0, wire.ProtocolICMP, make([]byte, 8)), kind: kindSent},
		"group":    {b: ipv4([6]byte{1, 0, 0x5e, 0, 0, 1}, 0, wire.ProtocolIGMP, make([]byte, 8)), outcome: stack.Outcome{Disposition: stack.Dropped, Reason: stack.ReasonFilter}},
		"arp":      {b: arp, outcome: stack.Outcome{Disposition: stack.Demoted, Reason: stack.ReasonARP}},
		"ip6":      {b: ip6, outcome: stack.Outcome{Disposition: stack.Dropped, Reason: stack.ReasonEtherType}},
		"fragment": {b: fragment, outcome: stack.Outcome{Disposition: stack.Demoted, Reason: stack.ReasonFragment}},
		"tagged":   {b: ipv4(macB, 3<<wire.PCPShift|5, wire.ProtocolUDP, ports(4000, 9, 8)), kind: kindNotSent},
		"stripped": {b: ipv4(macB, 0, wire.ProtocolUDP, ports(4000, 9, 8)), tci: 6, strip: true, outcome: stack.Outcome{Disposition: stack.Forwarded}},
		"qinq":     {b: qinq},
		"short":    {b: []byte{1, 2, 3}},
	}
}

func TestExpressions(t *testing.T) {
	all := samples()
	for text, want := range map[string]string{
		"udp":                                    "udp ip6 fragment tagged stripped qinq",
		"ip":                                     "udp tcp icmp group fragment tagged stripped qinq",
		"ip6 or arp":                             "ip6 arp",
		"ip proto 6":                             "tcp",
		"proto igmp":                             "group",
		"ip proto 0x01":                          "icmp",
		"ether proto 0x0806":                     "arp",
		"ether proto ip6":                        "ip6",
		"vlan":                                   "tagged stripped qinq",
		"vlan 5":                                 "tagged qinq",
		"vlan 6 and udp port 9":                  "stripped",
		"vlan 9":                                 "qinq",
		"port 7":                                 "udp ip6 qinq",
		"udp port 80":                            "",
		"tcp src port 80":                        "tcp",
		"dst port 4000":                          "",
		"udp dst portrange 8-10":                 "tagged stripped",
		"10.0.0.1":                               "udp tcp icmp group arp fragment tagged stripped qinq",
		"dst host 10.0.0.1":                      "",
		"src net 10.0.1.0/24":                    "",
		"ip dst 10.0.1.2 and icmp":               "icmp",
		"net fd00::/16":                          "ip6",
		"src host fd00::1":                       "ip6",
		"dst host fd00::1":                       "",
		"arp host 10.0.1.2":                      "arp",
		"ether dst 02:00:00:00:00:02 and not ip": "ip6",
		"ether host 02:00:00:00:00:09":           "",
		"ether src 02:00:00:00:00:01 broadcast":  "arp",
		"ether multicast":                        "group arp",
		"multicast and !broadcast":               "group",
		"less 30":                                "short",
		"greater 62 and not less 63":             "",
		"outbound":                               "icmp tagged",
		"unsent":                                 "tagged",
		"inbound and icmp":                       "",
		"dropped":                                "group ip6",
		"dropped filter":                         "group",
		"dropped arp":                            "",
		"demoted":                                "tcp arp fragment",
		"demoted arp":                            "arp",
		"demoted fragment or forwarded":          "fragment stripped",
		"delivered":                              "udp qinq short",
		"queue 1":                                "udp",
		"not (udp or tcp or arp) && ! icmp":      "group short",
		"tcp or udp and port 9":                  "tcp tagged stripped",
		"(tcp or udp) port 9":                    "tagged stripped",
	} {
		e, err := ParseExpr(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if e.String() != text {
			t.Errorf("%q became %q", text, e.String())
		}
		for name, s := range all {
			var h headers
			h.parse(s.b, s.tci, s.strip)
			length := len(s.b)
			got := e.match(&subject{h: &h, length: length, queue: s.queue, kind: s.kind, outcome: s.outcome})
			if should := strings.Contains(" "+want+" ", " "+name+" "); got != should {
				t.Errorf("%s: %s is taken: %v, want %v", text, name, got, should)
			}
		}
	}
	if e, err := ParseExpr(" \t"); err != nil || !e.match(&subject{h: new(headers)}) {
		t.Errorf("the empty expression: %v", err)
	}
}

func TestExpressionErrors(t *testing.T) {
	for text, at := range map[string]int{
		"upd":                            0,
		"udp and":                        7,
		"udp or or tcp":                  7,
		"(udp":                           4,
		"udp )":                          4,
		"port x":                         5,
		"port 65536":                     5,
		"portrange 9-8":                  10,
		"host example.org":               5,
		"host fe80::1%eth0":              5,
		"net 10.0.0.1":                   4,
		"vlan 5000":                      5,
		"vlan 5000 and ip":               5,
		"ether host x":                   11,
		"ether proto 70000":              12,
		"ip proto":                       8,
		"less":                           4,
		"queue -1":                       6,
		"src":                            3,
		"not":                            3,
		"dropped nothing":                8,
		strings.Repeat("(", 100) + "udp": 64,
		strings.Repeat("udp ", 200):      516,
	} {
		_, err := ParseExpr(text)
		var bad *ParseError
		if !errors.As(err, &bad) || !errors.Is(err, syscall.EINVAL) || bad.At != at {
			t.Errorf("%.40q: %v, want an error at %d", text, err, at)
		}
	}
}

// FuzzExpression: no expression and no frame brings the parsers down, and what
// stands in parentheses means the same.
func FuzzExpression(f *testing.F) {
	for name, s := range samples() {
		f.Add(name, s.b, s.tci, s.strip)
	}
	f.Add("not (udp port 7 or vlan 5) and dropped", []byte{}, uint16(0), false)
	f.Fuzz(func(t *testing.T, text string, b []byte, tci uint16, strip bool) {
		var h headers
		h.parse(b, tci, strip)
		_, _ = ReadStats(b) // it must not fail on any bytes
		(&textLines{w: new(strings.Builder)}).describe(&record{slot: &slot{b: b, length: len(b)}})
		e, err := ParseExpr(text)
		if err != nil {
			return
		}
		s := &subject{h: &h, length: len(b)}
		got := e.match(s)
		if len(e.nodes) == 0 || len(e.nodes) > maxTerms/2 || strings.Count(text, "(")+strings.Count(text, "not")+strings.Count(text, "!") > maxDepth/4 {
			return
		}
		not, err := ParseExpr("not (" + text + ")")
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if not.match(s) == got {
			t.Errorf("%q and its opposite are both %v", text, got)
		}
	})
}
