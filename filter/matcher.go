package filter

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"sync/atomic"

	"github.com/oobnet/oobnet/internal/wire"
)

// Where things stand in headers, bytes from their start, and what they are.
const (
	etherTypeIPv4 = wire.TypeIPv4

	ipv4Fragment = 6 // flags and offset of the fragment
	ipv4Protocol = 9
	ipv4Src      = 12
	ipv4Dst      = 16
	ipv4Header   = 20 // without options

	fragmentOffset = 0x1fff // of the 16 bits at ipv4Fragment
	protocolUDP    = 17
	udpHeader      = 8
)

// match is the number of the first rule that the frame fits, or that of the
// default. The tag that a device has stripped comes before those of the frame.
//
//oobnet:hot
func (t *tables) match(b []byte, tci uint16, stripped bool) int {
	if t.used == 0 {
		return 0 // the first rule, or the default if there is none
	}
	rows := t.absent
	if len(b) >= wire.EthernetHeaderLen {
		t.ethernet(&rows, b, tci, stripped)
	}
	return t.first(&rows)
}

// ethernet finds the rows of what a frame has.
//
//oobnet:hot
func (t *tables) ethernet(rows *[dimensions]uint32, b []byte, tci uint16, stripped bool) {
	if t.used.has(dimSrcMAC) {
		rows[dimSrcMAC] = t.hash(dimSrcMAC, macKey(b[6:]))
	}
	if t.used.has(dimDstMAC) {
		rows[dimDstMAC] = t.hash(dimDstMAC, macKey(b))
	}
	etherType, b := binary.BigEndian.Uint16(b[12:]), b[wire.EthernetHeaderLen:]
	id, known := tci&wire.VIDMask, true
	if !stripped {
		id = 0
		if etherType == wire.TypeQinQ {
			if len(b) < wire.VLANTagLen {
				return
			}
			etherType, b = binary.BigEndian.Uint16(b[2:]), b[wire.VLANTagLen:]
			known = etherType == wire.TypeVLAN
		}
		if etherType == wire.TypeVLAN {
			if len(b) < wire.VLANTagLen {
				return
			}
			id = binary.BigEndian.Uint16(b) & wire.VIDMask
			etherType, b = binary.BigEndian.Uint16(b[2:]), b[wire.VLANTagLen:]
		}
	}
	if known && t.used.has(dimVLAN) {
		rows[dimVLAN] = t.direct(dimVLAN, id)
	}
	if t.used.has(dimEtherType) {
		rows[dimEtherType] = t.direct(dimEtherType, etherType)
	}
	if etherType == etherTypeIPv4 && t.used&dimsIPv4 != 0 && len(b) >= ipv4Header {
		t.ipv4(rows, b)
	}
}

// Dimensions that need an IPv4 header, and those that need a UDP header.
const (
	dimsUDP  dimensionSet = 1<<dimSrcPort | 1<<dimDstPort
	dimsIPv4 dimensionSet = 1<<dimSrc | 1<<dimDst | 1<<dimProtocol | dimsUDP
)

// ipv4 finds the rows of what a packet of at least ipv4Header bytes has.
//
//oobnet:hot
func (t *tables) ipv4(rows *[dimensions]uint32, b []byte) {
	_ = b[ipv4Header-1]
	length := int(b[0]&0xf) * 4
	if b[0]>>4 != 4 || length < ipv4Header {
		return
	}
	if t.used.has(dimSrc) {
		rows[dimSrc] = t.trie(dimSrc, binary.BigEndian.Uint32(b[ipv4Src:]))
	}
	if t.used.has(dimDst) {
		rows[dimDst] = t.trie(dimDst, binary.BigEndian.Uint32(b[ipv4Dst:]))
	}
	if t.used.has(dimProtocol) {
		rows[dimProtocol] = t.direct(dimProtocol, uint16(b[ipv4Protocol]))
	}
	if t.used&dimsUDP == 0 || b[ipv4Protocol] != protocolUDP || len(b) < length+udpHeader ||
		binary.BigEndian.Uint16(b[ipv4Fragment:])&fragmentOffset != 0 {
		return
	}
	if t.used.has(dimSrcPort) {
		rows[dimSrcPort] = t.direct(dimSrcPort, binary.BigEndian.Uint16(b[length:]))
	}
	if t.used.has(dimDstPort) {
		rows[dimDstPort] = t.direct(dimDstPort, binary.BigEndian.Uint16(b[length+2:]))
	}
}

// first is the first bit that the rows of all dimensions have. Their summaries
// say which words are worth a look.
//
//oobnet:hot
func (t *tables) first(rows *[dimensions]uint32) int {
	candidates := ^uint64(0)
	for _, d := range t.order {
		candidates &= binary.NativeEndian.Uint64(t.block[rows[d]:])
	}
	for ; candidates != 0; candidates &= candidates - 1 {
		w := bits.TrailingZeros64(candidates)
		words := t.block[(1+w)*wordSize:]
		word := ^uint64(0)
		for _, d := range t.order {
			if word &= binary.NativeEndian.Uint64(words[rows[d]:]); word == 0 {
				break
			}
		}
		if word != 0 {
			return w*64 + bits.TrailingZeros64(word)
		}
	}
	return t.rules
}

// matcher is rules at work on a device.
type matcher struct {
	tables *tables
	// hits are counted by the goroutine that runs the queue, and read by
	// RuleHits: by queue, then rule.
	hits [][]atomic.Uint64
}

// Instance makes an instance that runs here, for so many queues.
func (r *Rules) Instance(queues int) (Instance, error) {
	if queues < 1 {
		return nil, fmt.Errorf("filter: %w", invalid("an instance for %d queues: at least 1", queues))
	}
	t, err := r.compiled()
	if err != nil {
		return nil, err
	}
	m := &matcher{tables: t, hits: make([][]atomic.Uint64, queues)}
	for q := range m.hits {
		// In whole cache lines, so that queues share none.
		m.hits[q] = make([]atomic.Uint64, (t.rules+1+7)&^7)
	}
	return m, nil
}

// Run decides on packets. Neighbours that fit the same rule are counted
// together. Packets of a queue that the instance was not made for are errors.
//
//oobnet:hot
func (m *matcher) Run(queue int, packets []Packet) {
	if uint(queue) >= uint(len(m.hits)) {
		for i := range packets {
			packets[i].Action = ActionError
		}
		return
	}
	hits := m.hits[queue]
	last, run := 0, uint64(0)
	for i := range packets {
		p := &packets[i]
		rule := m.tables.match(p.Bytes(), p.TCI, p.Stripped)
		p.Action = Action(m.tables.verdict(rule))
		if rule != last && run > 0 {
			hits[last].Add(run)
			run = 0
		}
		last = rule
		run++
	}
	if run > 0 {
		hits[last].Add(run)
	}
}

// RuleHits returns the hits of each rule in all queues, the default's last.
func (m *matcher) RuleHits() []uint64 {
	sum := make([]uint64, m.tables.rules+1)
	for q := range m.hits {
		for i := range sum {
			sum[i] += m.hits[q][i].Load()
		}
	}
	return sum
}

// Map: rules have no maps.
func (m *matcher) Map(string) (Map, error) {
	return nil, fmt.Errorf("rules have no maps: %w", ErrNoMap)
}
