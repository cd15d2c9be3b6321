package filter

import (
	"encoding/binary"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/oobnet/oobnet/internal/wire"
)

// Names in the XDP form of rules.
const (
	rulesEntry  = "oobnet_rules"
	rulesTables = "rules_tables" // an array of one entry: tables.block
	rulesHits   = "rules_hits"
)

// XDP returns the rules as a program that reads the same tables as the matcher
// here. It is specialised to the fields that some rule uses: for what no rule
// looks at it has no code. A tag that the device has stripped is not in the
// bytes that it sees: switch rx-vlan-offload off. It needs bounded loops
// (Linux 5.3). Kernels that hold the value of an array to what kmalloc gives,
// 4 MiB, refuse larger tables: join entries to ranges and prefixes there.
func (r *Rules) XDP() (*XDP, error) {
	t, err := r.compiled()
	if err != nil {
		return nil, err
	}
	spec := &ebpf.CollectionSpec{
		Maps: map[string]*ebpf.MapSpec{
			rulesTables: {
				Name: rulesTables, Type: ebpf.Array, KeySize: 4, ValueSize: uint32(len(t.block)), MaxEntries: 1,
				Contents: []ebpf.MapKV{{Key: uint32(0), Value: t.block}},
			},
			rulesHits: {Name: rulesHits, Type: ebpf.PerCPUArray, KeySize: 4, ValueSize: 8, MaxEntries: uint32(t.rules + 1)},
		},
		Programs: map[string]*ebpf.ProgramSpec{
			rulesEntry: {
				Name: rulesEntry, Type: ebpf.XDP, AttachType: ebpf.AttachXDP,
				Instructions: (&generator{tables: t}).program(),
				License:      "Apache-2.0",
			},
		},
		ByteOrder: nativeEndian(),
	}
	return &XDP{Spec: spec, Entry: rulesEntry, RuleHits: rulesHits}, nil
}

// nativeEndian is binary.NativeEndian under the name that cilium/ebpf knows.
func nativeEndian() binary.ByteOrder {
	if binary.NativeEndian.Uint16([]byte{1, 0}) == 1 {
		return binary.LittleEndian
	}
	return binary.BigEndian
}

// Offsets in struct xdp_md (linux/bpf.h).
const (
	xdpMDData    = 0
	xdpMDDataEnd = 4
)

// Stack slots, bytes below the frame pointer.
const (
	// slotRows has 8 bytes a dimension: its class, later the pointer to its row.
	slotRows = -8 * dimensions
	slotHit  = slotRows - 8 // the key of the hit counter, 4 bytes
)

func slotOf(d dimension) int16 { return slotRows + 8*int16(d) }

// Registers. R0 to R5 are scratch; the one call, at the end, keeps R6 to R9.
const (
	// While fields are read:
	regType   = asm.R6 // EtherType, in the byte order of the wire
	regHeader = asm.R7 // end of the headers read so far
	regEnd    = asm.R8 // end of the frame
	regData   = asm.R9 // its start
	regVLAN   = asm.R5

	// While rows are compared:
	regCandidates = asm.R6 // summary
	regRule       = asm.R7
	regFactor     = asm.R8 // deBruijn
	regLeft       = asm.R9 // words that may still be looked at, for the verifier

	regVerdict = asm.R6 // at the end
)

// Labels. They share a name space with those of the program that calls this one.
const (
	labelTag     = "rules.tag"
	labelVLAN    = "rules.vlan"
	labelType    = "rules.type"
	labelMatch   = "rules.match"
	labelWord    = "rules.word"
	labelFound   = "rules.found"
	labelDefault = "rules.default"
	labelCount   = "rules.count"
	labelOut     = "rules.out"
)

// be16 is what the program reads where the wire has v.
func be16(v uint16) int32 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	return int32(binary.NativeEndian.Uint16(b[:]))
}

// generator writes the program. What it does is what tables.match does, in the
// same order. What a frame lacks is always a jump: the verifier follows the
// other way first, which subsumes it, and does not go through the rest twice.
type generator struct {
	tables *tables
	code   asm.Instructions
	label  string // of the next instruction
	serial int    // of labels within look-ups
}

func (g *generator) emit(code ...asm.Instruction) {
	if g.label != "" {
		code[0] = code[0].WithSymbol(g.label)
		g.label = ""
	}
	g.code = append(g.code, code...)
}

func (g *generator) has(d dimension) bool { return g.tables.used.has(d) }

// value points a register at an offset of the block.
func value(r asm.Register, offset int) asm.Instruction {
	return asm.LoadMapValue(r, 0, uint32(offset)).WithReference(rulesTables)
}

func (g *generator) program() asm.Instructions {
	g.label = rulesEntry
	if g.tables.used == 0 {
		g.emit(asm.Mov.Imm(regRule, 0))
	} else {
		g.ethernet()
		g.rows()
		g.words()
	}
	g.label = labelCount
	g.count()
	return g.code
}

// ethernet reads the fields of the Ethernet header and its tags, and what is behind.
func (g *generator) ethernet() {
	g.emit(
		asm.LoadMem(regData, asm.R1, xdpMDData, asm.Word),
		asm.LoadMem(regEnd, asm.R1, xdpMDDataEnd, asm.Word),
		asm.Mov.Imm(asm.R1, 0),
	)
	for _, d := range g.tables.order {
		g.emit(asm.StoreMem(asm.RFP, slotOf(d), asm.R1, asm.DWord))
	}
	g.emit(asm.Mov.Reg(regHeader, regData))
	g.take(wire.EthernetHeaderLen)
	if g.has(dimSrcMAC) {
		g.hash(dimSrcMAC, 6)
	}
	if g.has(dimDstMAC) {
		g.hash(dimDstMAC, 0)
	}
	if g.tables.used&^(1<<dimSrcMAC|1<<dimDstMAC) == 0 {
		return
	}
	g.emit(
		asm.LoadMem(regType, regHeader, -2, asm.Half),
		asm.Mov.Imm(regVLAN, 0),
		asm.JNE.Imm(regType, be16(wire.TypeQinQ), labelTag),
	)
	g.take(wire.VLANTagLen)
	g.emit(
		asm.LoadMem(regType, regHeader, -2, asm.Half),
		asm.JNE.Imm(regType, be16(wire.TypeVLAN), labelType),
	)
	g.label = labelTag
	g.emit(asm.JNE.Imm(regType, be16(wire.TypeVLAN), labelVLAN))
	g.take(wire.VLANTagLen)
	g.emit(
		asm.LoadMem(regVLAN, regHeader, -wire.VLANTagLen, asm.Half),
		asm.HostTo(asm.BE, regVLAN, asm.Half),
		asm.And.Imm(regVLAN, wire.VIDMask),
		asm.LoadMem(regType, regHeader, -2, asm.Half),
	)
	g.label = labelVLAN
	g.emit(asm.Mov.Reg(asm.R1, regVLAN))
	if g.has(dimVLAN) {
		g.direct(dimVLAN)
	}
	g.label = labelType
	g.emit(asm.Mov.Reg(asm.R1, regType))
	if g.has(dimEtherType) {
		g.emit(hostOrder()...)
		g.direct(dimEtherType)
	}
	if g.tables.used&dimsIPv4 != 0 {
		g.ipv4()
	}
}

// take moves the end of what is read, and leaves if the frame ends before it.
func (g *generator) take(n int32) {
	g.emit(
		asm.Add.Imm(regHeader, n),
		asm.JGT.Reg(regHeader, regEnd, labelMatch),
	)
}

// ipv4 reads the fields of an IPv4 header that begins at regHeader, and the ports.
func (g *generator) ipv4() {
	g.emit(asm.JNE.Imm(regType, be16(etherTypeIPv4), labelMatch))
	g.take(ipv4Header)
	g.emit(
		asm.LoadMem(asm.R1, regHeader, -ipv4Header, asm.Byte),
		asm.Mov.Reg(regType, asm.R1), // from here on the header's length
		asm.RSh.Imm(asm.R1, 4),
		asm.JNE.Imm(asm.R1, 4, labelMatch),
		asm.And.Imm(regType, 0xf),
		asm.JLT.Imm(regType, ipv4Header/4, labelMatch),
	)
	if g.has(dimSrc) {
		g.trie(dimSrc, ipv4Src-ipv4Header)
	}
	if g.has(dimDst) {
		g.trie(dimDst, ipv4Dst-ipv4Header)
	}
	g.emit(asm.LoadMem(asm.R1, regHeader, ipv4Protocol-ipv4Header, asm.Byte))
	if g.has(dimProtocol) {
		g.direct(dimProtocol)
	}
	if g.tables.used&dimsUDP == 0 {
		return
	}
	g.emit(
		asm.LoadMem(asm.R1, regHeader, ipv4Protocol-ipv4Header, asm.Byte),
		asm.JNE.Imm(asm.R1, protocolUDP, labelMatch),
		asm.LoadMem(asm.R1, regHeader, ipv4Fragment-ipv4Header, asm.Half),
		asm.And.Imm(asm.R1, be16(fragmentOffset)),
		asm.JNE.Imm(asm.R1, 0, labelMatch),
		asm.LSh.Imm(regType, 2),
		asm.Add.Imm(regHeader, -ipv4Header),
		asm.Add.Reg(regHeader, regType),
	)
	g.take(udpHeader)
	for i, d := range []dimension{dimSrcPort, dimDstPort} {
		if g.has(d) {
			g.emit(asm.LoadMem(asm.R1, regHeader, int16(2*i-udpHeader), asm.Half))
			g.emit(hostOrder()...)
			g.direct(d)
		}
	}
}

// count ends the program: it has the rule in regRule.
func (g *generator) count() {
	t := g.tables
	g.emit(
		asm.StoreMem(asm.RFP, slotHit, regRule, asm.Word),
		value(asm.R1, t.verdicts),
		asm.Add.Reg(asm.R1, regRule),
		asm.LoadMem(regVerdict, asm.R1, 0, asm.Byte),
		asm.LoadMapPtr(asm.R1, 0).WithReference(rulesHits),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, slotHit),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, labelOut),
		// The map is per CPU, and nothing interrupts a run to run this again
		// on the same CPU: a plain increment is enough.
		asm.LoadMem(asm.R1, asm.R0, 0, asm.DWord),
		asm.Add.Imm(asm.R1, 1),
		asm.StoreMem(asm.R0, 0, asm.R1, asm.DWord),
		asm.Mov.Reg(asm.R0, regVerdict).WithSymbol(labelOut),
		asm.Return(),
	)
}
