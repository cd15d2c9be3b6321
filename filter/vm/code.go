package vm

// op is an operation of the VM: an eBPF opcode with all that it is encoded by
// (source, width, modifier in the offset) told apart, so that one dense switch
// decides.
type op uint8

// insn is a decoded instruction, 16 bytes: four in a cache line.
type insn struct {
	op       op
	dst, src uint8
	// off is the displacement of a memory access, sign-extended, or the index
	// of the instruction that a jump or call goes to.
	off int32
	// imm is the immediate, extended as the operation has it: to 64 bits with
	// its sign, or to 32 for the 32-bit ALU and jumps.
	imm uint64
}

// operand is the src of rare operations that take their immediate.
const operand = 15

// Operations. Those up to opRare are in the interpreter's main switch; the
// names are those of RFC 9669, "32" the word forms, R the register forms.
const (
	opAdd op = iota
	opAddR
	opSub
	opSubR
	opMul
	opMulR
	opOr
	opOrR
	opAnd
	opAndR
	opLsh
	opLshR
	opRsh
	opRshR
	opArsh
	opArshR
	opXor
	opXorR
	opMov
	opMovR
	opNeg
	opAdd32
	opAdd32R
	opSub32
	opSub32R
	opMul32
	opMul32R
	opOr32
	opOr32R
	opAnd32
	opAnd32R
	opLsh32
	opLsh32R
	opRsh32
	opRsh32R
	opArsh32
	opArsh32R
	opXor32
	opXor32R
	opMov32
	opMov32R
	opNeg32
	opSwap16
	opSwap32
	opSwap64

	opJa
	opJeq
	opJeqR
	opJne
	opJneR
	opJgt
	opJgtR
	opJge
	opJgeR
	opJlt
	opJltR
	opJle
	opJleR
	opJset
	opJsetR
	opJsgt
	opJsgtR
	opJsge
	opJsgeR
	opJslt
	opJsltR
	opJsle
	opJsleR
	opJeq32
	opJeq32R
	opJne32
	opJne32R
	opJgt32
	opJgt32R
	opJge32
	opJge32R
	opJlt32
	opJlt32R
	opJle32
	opJle32R

	opLoad8
	opLoad16
	opLoad32
	opLoad64
	opStore8
	opStore16
	opStore32
	opStore64
	opStore8R
	opStore16R
	opStore32R
	opStore64R

	opCall
	opExit
	opHelper
	opTailCall

	// Operations that are rare in packet programs: their own functions keep
	// the main loop small. ALU and jumps take the immediate if src is operand.
	opRare
	opLoadS8
	opLoadS16
	opLoadS32
	opAtomic // imm: the operation, off: the displacement
	opAtomic32
	opAcquire8 // a load, with what follows behind it: off is the displacement
	opAcquire16
	opAcquire32
	opAcquire64
	opRelease8 // a store, with what came before ahead of it
	opRelease16
	opRelease32
	opRelease64
	opPacket8  // LD_ABS: imm, and LD_IND: imm and register src
	opPacket16 // the value is in network byte order
	opPacket32
	opRareJump
	opJset32
	opJsgt32
	opJsge32
	opJslt32
	opJsle32
	opRareALU
	opDiv
	opSdiv
	opMod
	opSmod
	opDiv32
	opSdiv32
	opMod32
	opSmod32
	opMovS8
	opMovS16
	opMovS32
	opMovS8W
	opMovS16W
)

// size is the width of a memory access, bytes.
func (o op) size() uint64 {
	switch o {
	case opLoad8, opStore8, opStore8R, opLoadS8, opAcquire8, opRelease8, opPacket8:
		return 1
	case opLoad16, opStore16, opStore16R, opLoadS16, opAcquire16, opRelease16, opPacket16:
		return 2
	case opLoad32, opStore32, opStore32R, opLoadS32, opAcquire32, opRelease32, opPacket32, opAtomic32:
		return 4
	}
	return 8
}
