package filter

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"net/netip"
	"slices"
	"syscall"
)

// numbers are ranges of one number each.
func numbers[T uint8 | uint16](list []T) []Range {
	ranges := make([]Range, len(list))
	for i, n := range list {
		ranges[i] = Only(uint16(n))
	}
	return ranges
}

// edge is where a rule begins or ceases to want values.
type edge struct {
	value, rule int
	by          int // +1 or -1: ranges of one rule may overlap
}

// ranges makes a dimension of so many values: a table with the class of each.
func (t *tables) ranges(rules []Rule, d dimension, values int, of func(*Rule) []Range) {
	classes := newClasses(rules, t.words, func(r *Rule) bool { return len(of(r)) == 0 })
	if classes == nil {
		return
	}
	var edges []edge
	for i := range rules {
		for _, r := range of(&rules[i]) {
			edges = append(edges, edge{int(r.Lo), i, 1}, edge{int(r.Hi) + 1, i, -1})
		}
	}
	slices.SortFunc(edges, func(a, b edge) int { return cmp.Compare(a.value, b.value) })

	s := section{index: t.room(values * classSize)}
	set := slices.Clone(classes.rows[0])
	depth := make([]int, len(rules)) // ranges of a rule that hold the value
	for i := 0; i < len(edges); {
		from := edges[i].value
		for ; i < len(edges) && edges[i].value == from; i++ {
			e := edges[i]
			depth[e.rule] += e.by
			if depth[e.rule] > 0 {
				set.add(e.rule)
			} else {
				set.remove(e.rule)
			}
		}
		to := from // behind the last edge there is class 0, as in fresh room
		if i < len(edges) {
			to = edges[i].value
		}
		class := classes.of(set)
		for v := from; v < to; v++ {
			binary.NativeEndian.PutUint16(t.block[s.index+v*classSize:], class)
		}
	}
	t.finish(d, s, classes)
}

// wanted is a prefix, or a MAC address, with the rules that want it.
type wanted[K any] struct {
	key   K
	rules []int
}

// group lists the keys of all rules, each once.
func group[K comparable](rules []Rule, of func(*Rule) []K) (list []wanted[K]) {
	at := map[K]int{}
	for i := range rules {
		for _, key := range of(&rules[i]) {
			n, ok := at[key]
			if !ok {
				n = len(list)
				at[key] = n
				list = append(list, wanted[K]{key: key})
			}
			list[n].rules = append(list[n].rules, i)
		}
	}
	return list
}

// prefixes makes a dimension of IPv4 addresses: a trie.
func (t *tables) prefixes(rules []Rule, d dimension, of func(*Rule) []netip.Prefix) {
	classes := newClasses(rules, t.words, func(r *Rule) bool { return len(of(r)) == 0 })
	if classes == nil {
		return
	}
	// In this order a prefix comes behind those that hold it, so that it
	// overwrites their part of the trie.
	list := group(rules, of)
	slices.SortFunc(list, func(a, b wanted[netip.Prefix]) int {
		return cmp.Or(a.key.Addr().Compare(b.key.Addr()), cmp.Compare(a.key.Bits(), b.key.Bits()))
	})
	type holder struct {
		prefix netip.Prefix
		set    ruleSet
	}
	holders := []holder{{netip.PrefixFrom(netip.IPv4Unspecified(), 0), classes.rows[0]}}
	trie := newTrie()
	for _, w := range list {
		for len(holders) > 1 && !holders[len(holders)-1].prefix.Contains(w.key.Addr()) {
			holders = holders[:len(holders)-1]
		}
		set := slices.Clone(holders[len(holders)-1].set)
		for _, rule := range w.rules {
			set.add(rule)
		}
		holders = append(holders, holder{w.key, set})
		trie.set(w.key, classes.of(set))
	}
	s := section{nodes: len(trie.nodes), levels: trie.levels, index: t.room(trieRootSize + len(trie.nodes)*trieNodeSize)}
	at := s.index
	for _, e := range trie.root {
		binary.NativeEndian.PutUint16(t.block[at:], e)
		at += classSize
	}
	for i := range trie.nodes {
		for _, e := range trie.nodes[i] {
			binary.NativeEndian.PutUint16(t.block[at:], e)
			at += classSize
		}
	}
	t.finish(d, s, classes)
}

// trie is a trie in the making; see trieRootSize for its shape.
type trie struct {
	root   []uint16
	nodes  [][256]uint16
	levels int
}

func newTrie() *trie { return &trie{root: make([]uint16, 1<<16), levels: 1} }

// set gives all addresses of a prefix a class. Prefixes that hold it come before it.
func (t *trie) set(p netip.Prefix, class uint16) {
	b := p.Addr().As4()
	addr := binary.BigEndian.Uint32(b[:])
	if p.Bits() <= 16 {
		fill(t.root[addr>>16:][:1<<(16-p.Bits())], class)
		return
	}
	n := t.below(&t.root[addr>>16])
	t.levels = max(t.levels, 2)
	if p.Bits() <= 24 {
		fill(t.nodes[n][addr>>8&0xff:][:1<<(24-p.Bits())], class)
		return
	}
	entry := t.nodes[n][addr>>8&0xff]
	leaf := t.below(&entry) // may move the nodes: the entry is put back
	t.nodes[n][addr>>8&0xff] = entry
	t.levels = 3
	fill(t.nodes[leaf][addr&0xff:][:1<<(32-p.Bits())], class)
}

// below is the node that an entry names; it makes one of the entry's class if
// there is none.
func (t *trie) below(entry *uint16) int {
	if *entry&trieNode == 0 {
		var node [256]uint16
		fill(node[:], *entry)
		*entry = trieNode | uint16(len(t.nodes))
		t.nodes = append(t.nodes, node)
	}
	return int(*entry &^ trieNode)
}

func fill(entries []uint16, class uint16) {
	for i := range entries {
		entries[i] = class
	}
}

// macs makes a dimension of MAC addresses: a hash.
func (t *tables) macs(rules []Rule, d dimension, of func(*Rule) [][6]byte) error {
	classes := newClasses(rules, t.words, func(r *Rule) bool { return len(of(r)) == 0 })
	if classes == nil {
		return nil
	}
	list := group(rules, of)
	slices.SortFunc(list, func(a, b wanted[[6]byte]) int { return bytes.Compare(a.key[:], b.key[:]) })
	entries := make([]uint64, len(list))
	for i, w := range list {
		set := slices.Clone(classes.rows[0])
		for _, rule := range w.rules {
			set.add(rule)
		}
		entries[i] = macKey(w.key[:])<<16 | uint64(classes.of(set))
	}
	hash, err := newHash(entries)
	if err != nil {
		return fmt.Errorf("filter: %v: %w", d, err)
	}
	s := section{factor: hash.factor, shift: hash.shift, index: t.room(len(hash.words) * 8)}
	for i, w := range hash.words {
		binary.NativeEndian.PutUint64(t.block[s.index+i*8:], w)
	}
	t.finish(d, s, classes)
	return nil
}

// hash has its entries in buckets of bucketWords; a word of a bucket that is
// not taken is 0, which says what class 0 says.
type hash struct {
	words  []uint64
	factor uint64
	shift  uint8
}

const (
	// hashTries is how many factors are tried before the hash doubles.
	hashTries = 16
	// hashDoublings is how often it may. With n entries in 2^k*n buckets the
	// chance that one of these overflows falls with 2^-4k: this end is
	// for the law that loops have one.
	hashDoublings = 6
)

// newHash looks for a factor that puts at most bucketWords entries into each
// bucket. It is the same each time for the same entries.
func newHash(entries []uint64) (*hash, error) {
	dice := rand.New(rand.NewPCG(1, 2))
	size := max(1, bits.Len(uint(len(entries)))) // log2 of the buckets; a shift of 64 is none
	for range hashDoublings {
		h := &hash{words: make([]uint64, bucketWords<<size), shift: uint8(64 - size)}
		for range hashTries {
			h.factor = dice.Uint64() | 1
			if h.place(entries) {
				return h, nil
			}
		}
		size++
	}
	return nil, fmt.Errorf("%d MAC addresses: no hash for them was found: %w", len(entries), syscall.ENOSPC)
}

// place reports false if the factor overfills a bucket.
func (h *hash) place(entries []uint64) bool {
	clear(h.words)
	for _, e := range entries {
		bucket := h.words[e>>16*h.factor>>h.shift*bucketWords:][:bucketWords]
		free := slices.Index(bucket, 0)
		if free < 0 {
			return false
		}
		bucket[free] = e
	}
	return true
}
