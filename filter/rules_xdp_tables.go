package filter

import (
	"fmt"

	"github.com/cilium/ebpf/asm"
)

// hostOrder turns 16 bits of the wire in R1, and tells the verifier, to whom
// all that is turned is unknown, that they are no more.
func hostOrder() asm.Instructions {
	return asm.Instructions{
		asm.HostTo(asm.BE, asm.R1, asm.Half),
		asm.And.Imm(asm.R1, 0xffff),
	}
}

// direct stores the class of the value in R1: see tables.direct.
func (g *generator) direct(d dimension) {
	g.emit(
		asm.LSh.Imm(asm.R1, 1), // classSize
		value(asm.R2, g.tables.dims[d].index),
		asm.Add.Reg(asm.R2, asm.R1),
		asm.LoadMem(asm.R1, asm.R2, 0, asm.Half),
		asm.StoreMem(asm.RFP, slotOf(d), asm.R1, asm.DWord),
	)
}

// trie stores the class of the address at an offset from regHeader, with as
// many steps as the longest prefix needs: see tables.trie.
func (g *generator) trie(d dimension, offset int16) {
	s := &g.tables.dims[d]
	done := g.unique("done")
	g.emit(
		asm.LoadMem(asm.R1, regHeader, offset, asm.Word),
		asm.HostTo(asm.BE, asm.R1, asm.Word),
		asm.Mov.Reg32(asm.R1, asm.R1), // for the verifier, as in hostOrder
		asm.Mov.Reg(asm.R2, asm.R1),
		asm.RSh.Imm(asm.R2, 16),
		asm.LSh.Imm(asm.R2, 1), // classSize
		value(asm.R3, s.index),
		asm.Add.Reg(asm.R3, asm.R2),
		asm.LoadMem(asm.R2, asm.R3, 0, asm.Half),
	)
	for level := 2; level <= s.levels; level++ {
		g.emit(
			asm.Mov.Reg(asm.R3, asm.R2),
			asm.And.Imm(asm.R3, trieNode),
			asm.JEq.Imm(asm.R3, 0, done),
			asm.And.Imm(asm.R2, trieNode-1),
			asm.JGE.Imm(asm.R2, int32(s.nodes), done), // never; for the verifier
			asm.Mul.Imm(asm.R2, trieNodeSize),
			asm.Mov.Reg(asm.R3, asm.R1),
			asm.RSh.Imm(asm.R3, int32(24-8*level)),
			asm.And.Imm(asm.R3, 0xff),
			asm.LSh.Imm(asm.R3, 1), // classSize
			asm.Add.Reg(asm.R2, asm.R3),
			value(asm.R3, s.index+trieRootSize),
			asm.Add.Reg(asm.R3, asm.R2),
			asm.LoadMem(asm.R2, asm.R3, 0, asm.Half),
		)
	}
	g.label = done
	g.emit(asm.StoreMem(asm.RFP, slotOf(d), asm.R2, asm.DWord))
}

// hash stores the class of the MAC address at an offset of the frame: see
// tables.hash.
func (g *generator) hash(d dimension, offset int16) {
	s := &g.tables.dims[d]
	done := g.unique("done")
	g.emit(
		asm.LoadMem(asm.R1, regData, offset, asm.Word),
		asm.LoadMem(asm.R2, regData, offset+4, asm.Half),
		asm.LSh.Imm(asm.R2, 32),
		asm.Or.Reg(asm.R1, asm.R2),
		asm.LoadImm(asm.R2, int64(s.factor), asm.DWord),
		asm.Mul.Reg(asm.R2, asm.R1),
		asm.RSh.Imm(asm.R2, int32(s.shift)),
		asm.Mul.Imm(asm.R2, bucketSize),
		value(asm.R3, s.index),
		asm.Add.Reg(asm.R3, asm.R2),
	)
	for i := range bucketWords {
		next := g.unique("next")
		g.emit(
			asm.LoadMem(asm.R2, asm.R3, int16(8*i), asm.DWord),
			asm.Mov.Reg(asm.R4, asm.R2),
			asm.RSh.Imm(asm.R4, 16),
			asm.JNE.Reg(asm.R4, asm.R1, next),
			asm.And.Imm(asm.R2, 0xffff),
			asm.Ja.Label(done),
		)
		g.label = next
	}
	g.emit(asm.Mov.Imm(asm.R2, 0))
	g.label = done
	g.emit(asm.StoreMem(asm.RFP, slotOf(d), asm.R2, asm.DWord))
}

// unique is a label that no other look-up has.
func (g *generator) unique(name string) string {
	g.serial++
	return fmt.Sprintf("rules.%s%d", name, g.serial)
}

// rows turns classes into pointers to their rows, and leaves the AND of the
// summaries in regCandidates.
func (g *generator) rows() {
	t := g.tables
	g.label = labelMatch
	for i, d := range t.order {
		s := &t.dims[d]
		g.emit(
			asm.LoadMem(asm.R1, asm.RFP, slotOf(d), asm.DWord),
			asm.JGE.Imm(asm.R1, int32(s.classes), labelDefault), // never; for the verifier
			asm.Mul.Imm(asm.R1, int32(t.rowSize)),
			value(asm.R2, s.rows),
			asm.Add.Reg(asm.R2, asm.R1),
			asm.StoreMem(asm.RFP, slotOf(d), asm.R2, asm.DWord),
			asm.LoadMem(asm.R3, asm.R2, 0, asm.DWord),
		)
		g.join(i, regCandidates)
	}
}

// join ANDs R3 to a register, or begins it.
func (g *generator) join(i int, to asm.Register) {
	if i == 0 {
		g.emit(asm.Mov.Reg(to, asm.R3))
		return
	}
	g.emit(asm.And.Reg(to, asm.R3))
}

// words looks at the words that the summaries leave, and puts the rule into
// regRule: see tables.first.
func (g *generator) words() {
	t := g.tables
	g.emit(
		asm.LoadImm(regFactor, deBruijn, asm.DWord),
		asm.Mov.Imm(regLeft, int32(t.words)),
	)
	g.label = labelWord
	g.emit(asm.JEq.Imm(regCandidates, 0, labelDefault))
	g.lowest(regRule, regCandidates)
	g.emit(
		asm.Xor.Reg(regCandidates, asm.R1),
		asm.Mov.Reg(asm.R1, regRule),
		asm.Mul.Imm(asm.R1, wordSize),
	)
	for i, d := range t.order {
		g.emit(
			asm.LoadMem(asm.R2, asm.RFP, slotOf(d), asm.DWord),
			asm.Add.Reg(asm.R2, asm.R1),
			asm.LoadMem(asm.R3, asm.R2, wordSize, asm.DWord), // behind the summary
		)
		g.join(i, asm.R0)
	}
	g.emit(
		asm.JNE.Imm(asm.R0, 0, labelFound),
		asm.Sub.Imm(regLeft, 1),
		asm.JNE.Imm(regLeft, 0, labelWord),
	)
	g.label = labelDefault
	g.emit(
		asm.Mov.Imm(regRule, int32(t.rules)),
		asm.Ja.Label(labelCount),
	)
	g.label = labelFound
	g.lowest(asm.R4, asm.R0)
	g.emit(
		asm.LSh.Imm(regRule, 6),
		asm.Or.Reg(regRule, asm.R4),
		asm.JGT.Imm(regRule, int32(t.rules), labelDefault), // never; for the verifier
	)
}

// lowest puts the number of the lowest bit of a word into a register, and the
// bit alone into R1. See deBruijn.
func (g *generator) lowest(number, word asm.Register) {
	g.emit(
		asm.Mov.Reg(asm.R1, word),
		asm.Neg.Imm(asm.R1, 0),
		asm.And.Reg(asm.R1, word),
		asm.Mov.Reg(asm.R3, asm.R1),
		asm.Mul.Reg(asm.R3, regFactor),
		asm.RSh.Imm(asm.R3, deBruijnShift),
		value(asm.R2, g.tables.bits),
		asm.Add.Reg(asm.R2, asm.R3),
		asm.LoadMem(number, asm.R2, 0, asm.Byte),
		asm.And.Imm(number, 63), // never more; for the verifier
	)
}
