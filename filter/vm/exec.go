package vm

import "math/bits"

// exec runs from an instruction to the exit of the function that it is in, at
// a depth of calls, and returns r0. If the run has ended with a fault, that is
// in r.fault, and its place in r.pc.
//
// It is one long function because it is the one that has to be fast: registers
// stay in an array of its frame, and one jump through a table leads to each
// operation.
//
//oobnet:hot
func (r *Runner) exec(pc, depth int, args *[5]uint64) uint64 {
	var reg [16]uint64 // 16, so that an index of 4 bits needs no check
	copy(reg[1:6], args[:])
	code, read, write := r.vm.code, r.read, r.write
	budget, base := r.budget, depth
	r.depth = depth
	reg[10] = regionStack<<regionShift | uint64(depth+1)*frameSize
	var in *insn
	var ok bool
	for ; budget > 0; budget-- {
		in = &code[pc]
		pc++
		switch in.op {
		case opAdd:
			reg[in.dst&15] += in.imm
		case opAddR:
			reg[in.dst&15] += reg[in.src&15]
		case opSub:
			reg[in.dst&15] -= in.imm
		case opSubR:
			reg[in.dst&15] -= reg[in.src&15]
		case opMul:
			reg[in.dst&15] *= in.imm
		case opMulR:
			reg[in.dst&15] *= reg[in.src&15]
		case opOr:
			reg[in.dst&15] |= in.imm
		case opOrR:
			reg[in.dst&15] |= reg[in.src&15]
		case opAnd:
			reg[in.dst&15] &= in.imm
		case opAndR:
			reg[in.dst&15] &= reg[in.src&15]
		case opLsh:
			reg[in.dst&15] <<= in.imm & 63
		case opLshR:
			reg[in.dst&15] <<= reg[in.src&15] & 63
		case opRsh:
			reg[in.dst&15] >>= in.imm & 63
		case opRshR:
			reg[in.dst&15] >>= reg[in.src&15] & 63
		case opArsh:
			reg[in.dst&15] = uint64(int64(reg[in.dst&15]) >> (in.imm & 63))
		case opArshR:
			reg[in.dst&15] = uint64(int64(reg[in.dst&15]) >> (reg[in.src&15] & 63))
		case opXor:
			reg[in.dst&15] ^= in.imm
		case opXorR:
			reg[in.dst&15] ^= reg[in.src&15]
		case opMov:
			reg[in.dst&15] = in.imm
		case opMovR:
			reg[in.dst&15] = reg[in.src&15]
		case opNeg:
			reg[in.dst&15] = -reg[in.dst&15]
		case opAdd32:
			reg[in.dst&15] = uint64(uint32(reg[in.dst&15] + in.imm))
		case opAdd32R:
			reg[in.dst&15] = uint64(uint32(reg[in.dst&15] + reg[in.src&15]))
		case opSub32:
			reg[in.dst&15] = uint64(uint32(reg[in.dst&15] - in.imm))
		case opSub32R:
			reg[in.dst&15] = uint64(uint32(reg[in.dst&15] - reg[in.src&15]))
		case opMul32:
			reg[in.dst&15] = uint64(uint32(reg[in.dst&15] * in.imm))
		case opMul32R:
			reg[in.dst&15] = uint64(uint32(reg[in.dst&15] * reg[in.src&15]))
		case opOr32:
			reg[in.dst&15] = uint64(uint32(reg[in.dst&15] | in.imm))
		case opOr32R:
			reg[in.dst&15] = uint64(uint32(reg[in.dst&15] | reg[in.src&15]))
		case opAnd32:
			reg[in.dst&15] = uint64(uint32(reg[in.dst&15] & in.imm))
		case opAnd32R:
			reg[in.dst&15] = uint64(uint32(reg[in.dst&15] & reg[in.src&15]))
		case opLsh32:
			reg[in.dst&15] = uint64(uint32(reg[in.dst&15]) << (in.imm & 31))
		case opLsh32R:
			reg[in.dst&15] = uint64(uint32(reg[in.dst&15]) << (reg[in.src&15] & 31))
		case opRsh32:
			reg[in.dst&15] = uint64(uint32(reg[in.dst&15]) >> (in.imm & 31))
		case opRsh32R:
			reg[in.dst&15] = uint64(uint32(reg[in.dst&15]) >> (reg[in.src&15] & 31))
		case opArsh32:
			reg[in.dst&15] = uint64(uint32(int32(reg[in.dst&15]) >> (in.imm & 31)))
		case opArsh32R:
			reg[in.dst&15] = uint64(uint32(int32(reg[in.dst&15]) >> (reg[in.src&15] & 31)))
		case opXor32:
			reg[in.dst&15] = uint64(uint32(reg[in.dst&15] ^ in.imm))
		case opXor32R:
			reg[in.dst&15] = uint64(uint32(reg[in.dst&15] ^ reg[in.src&15]))
		case opMov32:
			reg[in.dst&15] = in.imm
		case opMov32R:
			reg[in.dst&15] = uint64(uint32(reg[in.src&15]))
		case opNeg32:
			reg[in.dst&15] = uint64(-uint32(reg[in.dst&15]))
		case opSwap16:
			reg[in.dst&15] = uint64(bits.ReverseBytes16(uint16(reg[in.dst&15])))
		case opSwap32:
			reg[in.dst&15] = uint64(bits.ReverseBytes32(uint32(reg[in.dst&15])))
		case opSwap64:
			reg[in.dst&15] = bits.ReverseBytes64(reg[in.dst&15])

		case opJa:
			pc = int(in.off)
		case opJeq:
			if reg[in.dst&15] == in.imm {
				pc = int(in.off)
			}
		case opJeqR:
			if reg[in.dst&15] == reg[in.src&15] {
				pc = int(in.off)
			}
		case opJne:
			if reg[in.dst&15] != in.imm {
				pc = int(in.off)
			}
		case opJneR:
			if reg[in.dst&15] != reg[in.src&15] {
				pc = int(in.off)
			}
		case opJgt:
			if reg[in.dst&15] > in.imm {
				pc = int(in.off)
			}
		case opJgtR:
			if reg[in.dst&15] > reg[in.src&15] {
				pc = int(in.off)
			}
		case opJge:
			if reg[in.dst&15] >= in.imm {
				pc = int(in.off)
			}
		case opJgeR:
			if reg[in.dst&15] >= reg[in.src&15] {
				pc = int(in.off)
			}
		case opJlt:
			if reg[in.dst&15] < in.imm {
				pc = int(in.off)
			}
		case opJltR:
			if reg[in.dst&15] < reg[in.src&15] {
				pc = int(in.off)
			}
		case opJle:
			if reg[in.dst&15] <= in.imm {
				pc = int(in.off)
			}
		case opJleR:
			if reg[in.dst&15] <= reg[in.src&15] {
				pc = int(in.off)
			}
		case opJset:
			if reg[in.dst&15]&in.imm != 0 {
				pc = int(in.off)
			}
		case opJsetR:
			if reg[in.dst&15]&reg[in.src&15] != 0 {
				pc = int(in.off)
			}
		case opJsgt:
			if int64(reg[in.dst&15]) > int64(in.imm) {
				pc = int(in.off)
			}
		case opJsgtR:
			if int64(reg[in.dst&15]) > int64(reg[in.src&15]) {
				pc = int(in.off)
			}
		case opJsge:
			if int64(reg[in.dst&15]) >= int64(in.imm) {
				pc = int(in.off)
			}
		case opJsgeR:
			if int64(reg[in.dst&15]) >= int64(reg[in.src&15]) {
				pc = int(in.off)
			}
		case opJslt:
			if int64(reg[in.dst&15]) < int64(in.imm) {
				pc = int(in.off)
			}
		case opJsltR:
			if int64(reg[in.dst&15]) < int64(reg[in.src&15]) {
				pc = int(in.off)
			}
		case opJsle:
			if int64(reg[in.dst&15]) <= int64(in.imm) {
				pc = int(in.off)
			}
		case opJsleR:
			if int64(reg[in.dst&15]) <= int64(reg[in.src&15]) {
				pc = int(in.off)
			}
		case opJeq32:
			if uint32(reg[in.dst&15]) == uint32(in.imm) {
				pc = int(in.off)
			}
		case opJeq32R:
			if uint32(reg[in.dst&15]) == uint32(reg[in.src&15]) {
				pc = int(in.off)
			}
		case opJne32:
			if uint32(reg[in.dst&15]) != uint32(in.imm) {
				pc = int(in.off)
			}
		case opJne32R:
			if uint32(reg[in.dst&15]) != uint32(reg[in.src&15]) {
				pc = int(in.off)
			}
		case opJgt32:
			if uint32(reg[in.dst&15]) > uint32(in.imm) {
				pc = int(in.off)
			}
		case opJgt32R:
			if uint32(reg[in.dst&15]) > uint32(reg[in.src&15]) {
				pc = int(in.off)
			}
		case opJge32:
			if uint32(reg[in.dst&15]) >= uint32(in.imm) {
				pc = int(in.off)
			}
		case opJge32R:
			if uint32(reg[in.dst&15]) >= uint32(reg[in.src&15]) {
				pc = int(in.off)
			}
		case opJlt32:
			if uint32(reg[in.dst&15]) < uint32(in.imm) {
				pc = int(in.off)
			}
		case opJlt32R:
			if uint32(reg[in.dst&15]) < uint32(reg[in.src&15]) {
				pc = int(in.off)
			}
		case opJle32:
			if uint32(reg[in.dst&15]) <= uint32(in.imm) {
				pc = int(in.off)
			}
		case opJle32R:
			if uint32(reg[in.dst&15]) <= uint32(reg[in.src&15]) {
				pc = int(in.off)
			}

		case opLoad8:
			a := reg[in.src&15] + uint64(in.off)
			if reg[in.dst&15], ok = load8(read, a); !ok {
				if reg[in.dst&15], ok = r.loadField(a, 1); !ok {
					goto fault
				}
			}
		case opLoad16:
			a := reg[in.src&15] + uint64(in.off)
			if reg[in.dst&15], ok = load16(read, a); !ok {
				if reg[in.dst&15], ok = r.loadField(a, 2); !ok {
					goto fault
				}
			}
		case opLoad32:
			a := reg[in.src&15] + uint64(in.off)
			if reg[in.dst&15], ok = load32(read, a); !ok {
				if reg[in.dst&15], ok = r.loadField(a, 4); !ok {
					goto fault
				}
			}
		case opLoad64:
			a := reg[in.src&15] + uint64(in.off)
			if reg[in.dst&15], ok = load64(read, a); !ok {
				if reg[in.dst&15], ok = r.loadField(a, 8); !ok {
					goto fault
				}
			}
		case opStore8:
			a := reg[in.dst&15] + uint64(in.off)
			if !store8(write, a, in.imm) && !r.storeField(a, in.imm, 1) {
				goto fault
			}
		case opStore8R:
			a := reg[in.dst&15] + uint64(in.off)
			if !store8(write, a, reg[in.src&15]) && !r.storeField(a, reg[in.src&15], 1) {
				goto fault
			}
		case opStore16:
			a := reg[in.dst&15] + uint64(in.off)
			if !store16(write, a, in.imm) && !r.storeField(a, in.imm, 2) {
				goto fault
			}
		case opStore16R:
			a := reg[in.dst&15] + uint64(in.off)
			if !store16(write, a, reg[in.src&15]) && !r.storeField(a, reg[in.src&15], 2) {
				goto fault
			}
		case opStore32:
			a := reg[in.dst&15] + uint64(in.off)
			if !store32(write, a, in.imm) && !r.storeField(a, in.imm, 4) {
				goto fault
			}
		case opStore32R:
			a := reg[in.dst&15] + uint64(in.off)
			if !store32(write, a, reg[in.src&15]) && !r.storeField(a, reg[in.src&15], 4) {
				goto fault
			}
		case opStore64:
			a := reg[in.dst&15] + uint64(in.off)
			if !store64(write, a, in.imm) && !r.storeField(a, in.imm, 8) {
				goto fault
			}
		case opStore64R:
			a := reg[in.dst&15] + uint64(in.off)
			if !store64(write, a, reg[in.src&15]) && !r.storeField(a, reg[in.src&15], 8) {
				goto fault
			}

		case opCall:
			if r.depth+1 == MaxDepth {
				r.fault = FaultStack
				goto fault
			}
			r.frames[r.depth] = frame{reg[6], reg[7], reg[8], reg[9], pc}
			r.depth++
			reg[10] += frameSize
			if r.depth > r.deepest {
				r.deepen(r.depth)
			}
			pc = int(in.off)
		case opExit:
			if r.depth == base {
				r.budget = budget - 1
				return reg[0]
			}
			r.depth--
			reg[10] -= frameSize
			f := &r.frames[r.depth&(MaxDepth-1)]
			reg[6], reg[7], reg[8], reg[9], pc = f.r6, f.r7, f.r8, f.r9, f.pc
		case opHelper:
			r.budget = budget
			reg[0] = r.help(helper(in.imm), &reg)
			budget = r.budget
			if r.fault != 0 {
				goto fault
			}
		case opTailCall:
			if to := r.tailCall(&reg); to >= 0 {
				pc = to
			} else if r.fault != 0 {
				goto fault
			}
		default:
			switch {
			case in.op > opRareALU:
				rareALU(in, &reg)
			case in.op > opRareJump:
				if rareJump(in, &reg) {
					pc = int(in.off)
				}
			case in.op >= opPacket8:
				if reg[0], ok = r.packetLoad(in, &reg); !ok {
					pc = exitIndex
				}
				if r.fault != 0 {
					goto fault
				}
			default:
				if !r.rareMemory(in, &reg) {
					goto fault
				}
			}
		}
	}
	if r.fault == 0 {
		r.fault = FaultBudget
		pc++ // the place is where the run would have gone on
	}
fault:
	if r.fault == 0 {
		r.fault = FaultMemory
	}
	if r.pc < 0 { // the innermost exec is the first to say
		r.pc = pc - 1
	}
	r.budget = budget
	return 0
}
