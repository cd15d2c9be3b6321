// Package filtertest draws rules and frames that have something to do with each
// other: both are made of few VLANs, types, addresses and ports, so that what
// one asks for the other often has, and of the edges between.
//
// Rules are drawn as text for filter.ParseRules, so that tests of any layer
// may use this package.
package filtertest

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// What rules and frames are made of.
var (
	vlans      = []uint16{0, 1, 2, 5, 63, 64, 100, 101, 4093, 4094}
	etherTypes = []uint16{0x0600, 0x0800, 0x0800, 0x0800, 0x0806, 0x8100, 0x86dd, 0x88a4, 0x88a8, 0x88f7, 0xffff}
	macs       = [][6]byte{{}, {2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 2}, {2, 0, 0, 0, 1, 2}, {1, 0, 0x5e, 0, 0, 1}, {255, 255, 255, 255, 255, 255}}
	addrs      = [][4]byte{{}, {10, 0, 0, 1}, {10, 0, 0, 2}, {10, 0, 1, 1}, {10, 1, 0, 1}, {192, 168, 0, 1}, {192, 168, 255, 254}, {239, 1, 2, 3}, {255, 255, 255, 255}}
	lengths    = []int{0, 1, 7, 8, 9, 15, 16, 17, 23, 24, 25, 30, 31, 32}
	protocols  = []uint8{0, 1, 2, 6, 17, 17, 17, 255}
	ports      = []uint16{0, 1, 53, 319, 320, 1023, 1024, 0x7fff, 0x8000, 0xff00, 65534, 65535}
	verdicts   = []string{"drop", "accept", "skip", "vlan"}
)

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

// Rules draws so many rules and a default, one a line. About a third of the
// sets looks at one or two fields only, as real ones do.
func Rules(r *rand.Rand, n int) string {
	odds := [9]int{}
	for i := range odds {
		odds[i] = r.IntN(4)
	}
	if r.IntN(3) == 0 {
		odds = [9]int{}
		odds[r.IntN(9)], odds[r.IntN(9)] = 3, 3
	}
	var b strings.Builder
	for range n {
		b.WriteString(pick(r, verdicts))
		for i, field := range fields {
			if r.IntN(4) < odds[i] {
				list := make([]string, 1+r.IntN(3))
				for j := range list {
					list[j] = field.entry(r)
				}
				fmt.Fprintf(&b, " %s %s", field.name, strings.Join(list, ","))
			}
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "default %s\n", pick(r, verdicts))
	return b.String()
}

// fields are the matches of the language, and how to draw an entry of each.
var fields = [9]struct {
	name  string
	entry func(*rand.Rand) string
}{
	{"vlan", func(r *rand.Rand) string { return ranges(r, vlans, 4094) }},
	{"ethertype", func(r *rand.Rand) string {
		return fmt.Sprintf("%#04x", oneOr(r, etherTypes, 0x0600+uint16(r.IntN(0xfa00))))
	}},
	{"src-mac", func(r *rand.Rand) string { return macText(mac(r)) }},
	{"dst-mac", func(r *rand.Rand) string { return macText(mac(r)) }},
	{"src", prefix},
	{"dst", prefix},
	{"proto", func(r *rand.Rand) string { return fmt.Sprint(oneOr(r, protocols, uint8(r.Uint32()))) }},
	{"sport", func(r *rand.Rand) string { return ranges(r, ports, 65535) }},
	{"dport", func(r *rand.Rand) string { return ranges(r, ports, 65535) }},
}

// oneOr is mostly one of the list, and else the other.
func oneOr[T any](r *rand.Rand, list []T, other T) T {
	if r.IntN(8) == 0 {
		return other
	}
	return pick(r, list)
}

func mac(r *rand.Rand) [6]byte {
	m := pick(r, macs)
	if r.IntN(8) == 0 {
		m[r.IntN(6)] ^= 1 << r.IntN(8)
	}
	return m
}

func macText(m [6]byte) string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

func ranges(r *rand.Rand, from []uint16, most int) string {
	a := oneOr(r, from, uint16(r.IntN(most+1)))
	b := oneOr(r, from, uint16(r.IntN(most+1)))
	switch {
	case r.IntN(2) == 0:
		return fmt.Sprint(a)
	case a > b:
		a, b = b, a
	}
	return fmt.Sprintf("%d-%d", a, b)
}

func prefix(r *rand.Rand) string {
	a := addr(r)
	return fmt.Sprintf("%d.%d.%d.%d/%d", a[0], a[1], a[2], a[3], pick(r, lengths))
}

func addr(r *rand.Rand) [4]byte {
	a := pick(r, addrs)
	if r.IntN(8) == 0 {
		a[r.IntN(4)] ^= 1 << r.IntN(8)
	}
	return a
}

// MaxFrame is the length of the longest frame that Frame draws: a jumbo frame of
// 9000 bytes behind a header with a tag. It is more than the page that the
// kernel's test run begins with: the rest is in fragments there, as it is in a
// driver that has frames of several buffers.
const MaxFrame = 9018

// Frame draws a frame: tagged in any way, IPv4 or not, with options, a
// fragment, of any length down to nothing. What headers claim may be wrong.
func Frame(r *rand.Rand) []byte {
	src, dst := mac(r), mac(r)
	b := append(dst[:], src[:]...)
	for _, tpid := range pick(r, [][]uint16{{}, {}, {0x8100}, {0x8100}, {0x88a8, 0x8100}, {0x88a8}, {0x8100, 0x8100}, {0x88a8, 0x88a8}, {0x8100, 0x88a8}}) {
		b = binary.BigEndian.AppendUint16(b, tpid)
		b = binary.BigEndian.AppendUint16(b, oneOr(r, vlans, 4095)|uint16(r.IntN(16))<<12)
	}
	etherType := oneOr(r, etherTypes, uint16(r.Uint32()))
	if r.IntN(2) == 0 {
		etherType = 0x0800
	}
	if r.IntN(16) == 0 {
		etherType = uint16(r.IntN(0x0600)) // the length of an 802.3 frame
	}
	b = binary.BigEndian.AppendUint16(b, etherType)
	payload := len(b)
	b = append(b, ipv4(r)...)
	switch r.IntN(8) {
	case 0:
		b = b[:r.IntN(len(b)+1)]
	case 1:
		b = b[:payload+r.IntN(len(b)-payload+1)]
	case 2:
		b = append(b, make([]byte, r.IntN(MaxFrame-len(b)))...)
	case 3:
		b[r.IntN(len(b))] ^= 1 << r.IntN(8)
	}
	return slices.Clip(b)
}

// ipv4 draws a packet: up to 60 bytes of header, then ports.
func ipv4(r *rand.Rand) []byte {
	words := oneOr(r, []int{5, 5, 5, 6, 15}, r.IntN(16))
	b := make([]byte, max(20, 4*words))
	for i := 20; i < len(b); i++ {
		b[i] = byte(r.Uint32())
	}
	b[0] = byte(oneOr(r, []int{4}, r.IntN(16))<<4 | words)
	binary.BigEndian.PutUint16(b[6:], oneOr(r, []uint16{0, 0, 0x4000, 0x2000, 0x2001, 1, 0x1fff}, uint16(r.Uint32())))
	b[9] = oneOr(r, protocols, uint8(r.Uint32()))
	s, d := addr(r), addr(r)
	copy(b[12:], s[:])
	copy(b[16:], d[:])
	b = binary.BigEndian.AppendUint16(b, oneOr(r, ports, uint16(r.Uint32())))
	b = binary.BigEndian.AppendUint16(b, oneOr(r, ports, uint16(r.Uint32())))
	return append(b, make([]byte, 4+r.IntN(20))...)
}
