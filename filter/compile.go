package filter

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// compile makes the tables of rules that have been checked.
func compile(rules []Rule, def Verdict) (*tables, error) {
	words := max(1, (len(rules)+63)/64)
	t := &tables{rules: len(rules), words: words, rowSize: (1 + words) * wordSize}
	t.verdicts = t.room(len(rules) + 1)
	for i := range rules {
		t.block[t.verdicts+i] = byte(rules[i].Verdict)
	}
	t.block[t.verdicts+len(rules)] = byte(def)
	t.bits = t.room(64)
	for bit := range 64 {
		at := uint64(1) << bit * deBruijn >> deBruijnShift
		t.block[t.bits+int(at)] = byte(bit)
	}

	t.ranges(rules, dimVLAN, 1<<12, func(r *Rule) []Range { return r.VLANs })
	t.ranges(rules, dimEtherType, 1<<16, func(r *Rule) []Range { return numbers(r.EtherTypes) })
	t.ranges(rules, dimProtocol, 1<<8, func(r *Rule) []Range { return numbers(r.Protocols) })
	t.ranges(rules, dimSrcPort, 1<<16, func(r *Rule) []Range { return r.SrcPorts })
	t.ranges(rules, dimDstPort, 1<<16, func(r *Rule) []Range { return r.DstPorts })
	t.prefixes(rules, dimSrc, func(r *Rule) []netip.Prefix { return r.Src })
	t.prefixes(rules, dimDst, func(r *Rule) []netip.Prefix { return r.Dst })
	if err := t.macs(rules, dimSrcMAC, func(r *Rule) [][6]byte { return r.SrcMACs }); err != nil {
		return nil, err
	}
	if err := t.macs(rules, dimDstMAC, func(r *Rule) [][6]byte { return r.DstMACs }); err != nil {
		return nil, err
	}

	// The verifier lets a program read any of 64 words from any row's start.
	t.room(64 * wordSize)
	for d := range dimension(dimensions) {
		if t.used.has(d) {
			t.order = append(t.order, d)
			t.absent[d] = t.row(d, 0)
		}
	}
	return t, nil
}

// room adds so many zero bytes to the block, from a multiple of 64, so that
// short rows and buckets lie in one cache line where the block does.
func (t *tables) room(n int) (at int) {
	at = (len(t.block) + 63) &^ 63
	t.block = append(t.block, make([]byte, at+n-len(t.block))...)
	return at
}

// finish notes that a dimension is used, with its rows.
func (t *tables) finish(d dimension, s section, classes *classes) {
	s.classes = len(classes.rows)
	s.rows = t.room(s.classes * t.rowSize)
	for i, set := range classes.rows {
		row := t.block[s.rows+i*t.rowSize:][:t.rowSize]
		var summary uint64
		for w, word := range set {
			binary.NativeEndian.PutUint64(row[(1+w)*wordSize:], word)
			if word != 0 {
				summary |= 1 << w
			}
		}
		binary.NativeEndian.PutUint64(row, summary)
	}
	t.dims[d] = s
	t.used |= 1 << d
}

// ruleSet has a bit for each rule.
type ruleSet []uint64

func (s ruleSet) add(rule int)    { s[rule/64] |= 1 << (rule % 64) }
func (s ruleSet) remove(rule int) { s[rule/64] &^= 1 << (rule % 64) }

// classes numbers the sets of rules that a dimension's values are wanted by.
type classes struct {
	rows   []ruleSet
	number map[string]uint16
	key    []byte // scratch
}

// newClasses has class 0: the rules that want any value. It is nil if all do.
func newClasses(rules []Rule, words int, any func(*Rule) bool) *classes {
	c := &classes{number: map[string]uint16{}}
	set, all := make(ruleSet, words), true
	for i := range rules {
		if any(&rules[i]) {
			set.add(i)
		} else {
			all = false
		}
	}
	if all {
		return nil
	}
	c.of(set)
	return c
}

// of is the number of a set, which it copies if it is new. MaxEntries sees to
// it that there are at most 2 * MaxEntries + 1 and a number fits.
func (c *classes) of(set ruleSet) uint16 {
	c.key = c.key[:0]
	for _, w := range set {
		c.key = binary.NativeEndian.AppendUint64(c.key, w)
	}
	n, ok := c.number[string(c.key)]
	if !ok {
		n = uint16(len(c.rows))
		c.number[string(c.key)] = n
		c.rows = append(c.rows, slices.Clone(set))
	}
	return n
}

// The most classes that there can be fit.
const _ uint = maxClass - (2*MaxEntries + 1)
