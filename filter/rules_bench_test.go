package filter

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// ruleShapes are kinds of rule sets: what rule i of n is, and a frame for it.
var ruleShapes = []struct {
	name string
	rule func(i int) Rule
	// misses: no frame fits, and the fields have many words in common: the
	// most work that a packet can be.
	misses bool
}{
	{"ports", func(i int) Rule { return Rule{DstPorts: []Range{Only(port(i))}} }, false},
	{"flows", func(i int) Rule {
		return Rule{
			VLANs: []Range{Only(uint16(i%3 + 2))}, Protocols: []uint8{17},
			Src: []netip.Prefix{host(i % 7)}, Dst: []netip.Prefix{host(i)}, DstPorts: []Range{Only(port(i))},
		}
	}, false},
	{"all fields", func(i int) Rule {
		return Rule{
			VLANs: []Range{Only(uint16(i%3 + 2))}, EtherTypes: []uint16{0x0800}, Protocols: []uint8{17},
			SrcMACs: [][6]byte{station(i % 5)}, DstMACs: [][6]byte{station(i)},
			Src: []netip.Prefix{host(i % 7)}, Dst: []netip.Prefix{host(i)},
			SrcPorts: []Range{Only(port(i % 11))}, DstPorts: []Range{Only(port(i))},
		}
	}, false},
	{"no match", func(i int) Rule {
		r := Rule{VLANs: []Range{{2, 5}}, Protocols: []uint8{17}, DstPorts: []Range{{1, 65000}}}
		if i%2 == 0 {
			r.Src = []netip.Prefix{host(9999)}
		} else {
			r.Dst = []netip.Prefix{host(9999)}
		}
		return r
	}, true},
}

func port(i int) uint16 { return uint16(1000 + 7*i) }

func host(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 12), byte(i >> 4), byte(i)}), 32)
}

func station(i int) [6]byte { return [6]byte{2, 0, 0, 0, byte(i >> 8), byte(i)} }

// manyRules are n accepting rules of a shape.
func manyRules(t testing.TB, n int, rule func(int) Rule) *Rules {
	t.Helper()
	rules := make([]Rule, n)
	for i := range rules {
		rules[i] = rule(i)
		rules[i].Verdict = Accept
	}
	r, err := NewRules(Skip, rules...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// frameFor has what rule i of each shape asks for.
func frameFor(i int) []byte {
	dst, src := station(i), station(i%5)
	b := append(dst[:], src[:]...)
	b = append(b, 0x81, 0, 0, byte(i%3+2), 8, 0)
	ip := make([]byte, 28)
	ip[0], ip[9] = 0x45, 17
	copy(ip[12:], host(i%7).Addr().AsSlice())
	copy(ip[16:], host(i).Addr().AsSlice())
	binary.BigEndian.PutUint16(ip[20:], port(i%11))
	binary.BigEndian.PutUint16(ip[22:], port(i))
	return append(b, append(ip, make([]byte, 18)...)...)
}

// framesFor are a batch for n rules, spread over them.
func framesFor(n int) []Packet {
	packets := make([]Packet, 64)
	for i := range packets {
		b := frameFor(i * 7919 % n)
		packets[i] = Packet{Buffer: b, Len: len(b)}
	}
	return packets
}

func BenchmarkRules(b *testing.B) {
	for _, shape := range ruleShapes {
		for _, n := range []int{1, 1000, MaxRules} {
			b.Run(fmt.Sprintf("%s/%d", strings.ReplaceAll(shape.name, " ", "_"), n), func(b *testing.B) {
				m, err := manyRules(b, n, shape.rule).Instance(1)
				if err != nil {
					b.Fatal(err)
				}
				packets := framesFor(n)
				for b.Loop() {
					m.Run(0, packets)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(packets)), "ns/packet")
			})
		}
	}
}
