package filter

import (
	"encoding/binary"
	"fmt"
)

// dimension is a field of rules as the tables see it, in the order in which
// they are looked at.
type dimension uint8

const (
	dimVLAN dimension = iota
	dimEtherType
	dimSrcMAC
	dimDstMAC
	dimSrc
	dimDst
	dimProtocol
	dimSrcPort
	dimDstPort

	dimensions = 9
)

// String is the name of the dimension's field in Rule.
func (d dimension) String() string {
	names := [dimensions]string{"VLANs", "EtherTypes", "SrcMACs", "DstMACs", "Src", "Dst", "Protocols", "SrcPorts", "DstPorts"}
	if d < dimensions {
		return names[d]
	}
	return fmt.Sprintf("dimension(%d)", uint8(d))
}

// dimensionSet has bit 1<<d for dimension d.
type dimensionSet uint16

func (s dimensionSet) has(d dimension) bool { return s>>d&1 != 0 }

// Shapes of what is in the block, in bytes.
const (
	classSize = 2 // a class is a uint16
	wordSize  = 8 // of a row: 64 rules

	// A trie is a root of 2^16 entries by the upper half of an address, then
	// nodes of 256 entries by a byte of it. An entry is a class, or, with
	// trieNode set, the number of a node.
	trieRootSize = 1 << 16 * classSize
	trieNodeSize = 256 * classSize
	trieNode     = 1 << 15

	// A hash has buckets of four words: a MAC address over a class. All of a
	// bucket is looked at, which is half a cache line.
	bucketWords = 4
	bucketSize  = bucketWords * 8

	// maxClass is what an entry of a trie has room for.
	maxClass = trieNode - 1
)

// tables are what rules are compiled to: one block of memory, numbers in the
// machine's byte order, which is also the value of the XDP program's map.
// Offsets count bytes from its start.
//
// A dimension maps a value to a class: classes are the sets of values that the
// same rules want. Class 0 is that of what no rule names, and of what a packet
// does not have. The row of a class is a summary word, with a bit for each of
// the words behind it that is not zero, and these words, with a bit for each
// rule. The first bit in the AND of all dimensions' rows is the first rule.
type tables struct {
	block    []byte
	rules    int // how many; what stands for the default is one more
	words    int // of rules in a row, besides the summary
	rowSize  int // bytes
	verdicts int // offset: one byte a rule, the default's last
	bits     int // offset: 64 bytes, the bit number by deBruijn's product
	used     dimensionSet
	order    []dimension // those of used
	// absent are the rows of a packet that has nothing.
	absent [dimensions]uint32
	dims   [dimensions]section
}

// section is the part of a dimension in the block.
type section struct {
	rows    int // offset of class 0's row
	classes int
	index   int // offset of the table, trie or hash that maps values to classes
	nodes   int // of the trie, besides the root
	levels  int // of the trie: 1 to 3
	// A MAC address a is in the bucket a * factor >> shift.
	factor uint64
	shift  uint8
}

// deBruijn's upper six bits name the bit that it is multiplied by: the
// instruction set of eBPF cannot count zeros. (Leiserson, Prokop, Randall:
// Using de Bruijn Sequences to Index a 1 in a Computer Word, 1998.)
const (
	deBruijn      = 0x03f79d71b4cb0a89
	deBruijnShift = 58
)

// macKey is a MAC address as a number, the same that two loads give a program.
func macKey(b []byte) uint64 {
	return uint64(binary.NativeEndian.Uint32(b)) | uint64(binary.NativeEndian.Uint16(b[4:]))<<32
}

// verdict is that of a rule, or of the default.
func (t *tables) verdict(rule int) Verdict { return Verdict(t.block[t.verdicts+rule]) }

// row is the offset of a class's row.
func (t *tables) row(d dimension, class uint16) uint32 {
	return uint32(t.dims[d].rows + int(class)*t.rowSize)
}

// direct looks a value up in the table of its dimension.
func (t *tables) direct(d dimension, value uint16) uint32 {
	at := t.dims[d].index + int(value)*classSize
	return t.row(d, binary.NativeEndian.Uint16(t.block[at:]))
}

// trie looks an IPv4 address in host order up.
func (t *tables) trie(d dimension, addr uint32) uint32 {
	at := t.dims[d].index
	e := binary.NativeEndian.Uint16(t.block[at+int(addr>>16)*classSize:])
	if at += trieRootSize; e&trieNode != 0 {
		e = t.node(at, e, addr>>8)
		if e&trieNode != 0 {
			e = t.node(at, e, addr)
		}
	}
	return t.row(d, e)
}

// node is the entry for the low byte of part in a node of a trie whose nodes
// begin at at.
func (t *tables) node(at int, node uint16, part uint32) uint16 {
	at += int(node&^trieNode)*trieNodeSize + int(part&0xff)*classSize
	return binary.NativeEndian.Uint16(t.block[at:])
}

// hash looks a MAC address up.
func (t *tables) hash(d dimension, key uint64) uint32 {
	s := &t.dims[d]
	bucket := t.block[s.index+int(key*s.factor>>s.shift)*bucketSize:][:bucketSize]
	for i := 0; i < bucketSize; i += 8 {
		if e := binary.NativeEndian.Uint64(bucket[i:]); e>>16 == key {
			return t.row(d, uint16(e))
		}
	}
	return t.row(d, 0)
}
