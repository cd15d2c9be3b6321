package vm

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf/asm"
)

// jumpOps lists the immediate forms of a jump of 64 bits and of 32; in the
// main switch the register form follows, rare jumps have one form.
var jumpOps = map[asm.JumpOp][2]op{
	asm.JEq: {opJeq, opJeq32}, asm.JNE: {opJne, opJne32}, asm.JGT: {opJgt, opJgt32},
	asm.JGE: {opJge, opJge32}, asm.JLT: {opJlt, opJlt32}, asm.JLE: {opJle, opJle32},
	asm.JSet: {opJset, opJset32}, asm.JSGT: {opJsgt, opJsgt32}, asm.JSGE: {opJsge, opJsge32},
	asm.JSLT: {opJslt, opJslt32}, asm.JSLE: {opJsle, opJsle32},
}

func (d *decoder) jump(in *asm.Instruction, i int, out *insn) error {
	narrow := in.OpCode.Class() == asm.Jump32Class
	register := in.OpCode.Source() == asm.RegSource
	if in.OpCode>>8 != 0 {
		return errOpcode
	}
	switch j := in.OpCode.JumpOp(); j {
	case asm.Exit:
		if register || in.Constant != 0 || in.Offset != 0 || in.Dst != 0 || in.Src != 0 {
			return errReserved
		}
		out.op = opExit
		return nil
	case asm.Call:
		if register {
			return errOpcode
		}
		return d.call(in, i, out)
	case asm.Ja:
		if register || in.Dst != 0 || in.Src != 0 {
			return errReserved
		}
		out.op = opJa
		by := int64(in.Offset)
		if narrow { // gotol: the distance is in the immediate
			by = in.Constant
		}
		return d.target(in, i, by, out)
	default:
		ops, ok := jumpOps[j]
		if !ok {
			return errOpcode
		}
		if register && in.Constant != 0 || !register && in.Src != 0 {
			return errReserved
		}
		out.op = ops[0]
		if narrow {
			out.op, out.imm = ops[1], uint64(uint32(in.Constant))
		}
		switch {
		case register && out.op < opRare:
			out.op++
		case !register && out.op > opRare:
			out.src = operand
		}
		return d.target(in, i, int64(in.Offset), out)
	}
}

// target resolves where a jump goes: a label, which the assembler of package
// asm leaves as a reference and a distance of -1, or a distance.
func (d *decoder) target(in *asm.Instruction, i int, by int64, out *insn) error {
	var to int
	var ok bool
	if by == -1 && in.Reference() != "" {
		to, ok = d.symbols[in.Reference()]
	} else {
		to, ok = d.index[d.raw[i]+1+by]
	}
	if !ok {
		return errors.New("the jump leads to no instruction of the program")
	}
	out.off = int32(d.base + to)
	return nil
}

func (d *decoder) call(in *asm.Instruction, i int, out *insn) error {
	switch {
	case in.IsFunctionCall():
		target, err := d.function(in, i)
		out.op, out.off = opCall, int32(target)
		return err
	case !in.IsBuiltinCall():
		return fmt.Errorf("call of a kernel function (kfunc): %w", ErrUnsupported)
	case in.Offset != 0:
		return errReserved
	}
	fn := asm.BuiltinFunc(in.Constant)
	if fn == asm.FnTailCall {
		out.op = opTailCall
		return nil
	}
	h, ok := helperNumber(fn, d.socket)
	if !ok {
		return helperError(fn, d.socket)
	}
	out.op, out.imm = opHelper, uint64(h)
	return nil
}

// function resolves a call or the load of a function's address to the index of
// its first instruction.
func (d *decoder) function(in *asm.Instruction, i int) (int, error) {
	if name := in.Reference(); name != "" {
		to, ok := d.symbols[name]
		if !ok {
			return 0, fmt.Errorf("no function of the name %s in the object", name)
		}
		return d.base + to, nil
	}
	to, ok := d.index[d.raw[i]+1+int64(int32(in.Constant))]
	if !ok {
		return 0, errors.New("the function called is not in the program")
	}
	return d.base + to, nil
}

// atomics are the read-modify-write operations of RFC 9669.
var atomics = map[asm.AtomicOp]bool{
	asm.AddAtomic: true, asm.FetchAdd: true, asm.OrAtomic: true, asm.FetchOr: true,
	asm.AndAtomic: true, asm.FetchAnd: true, asm.XorAtomic: true, asm.FetchXor: true,
	asm.Xchg: true, asm.CmpXchg: true,
}

// Loads and stores with an order (BPF_LOAD_ACQ and BPF_STORE_REL of linux/bpf.h,
// from Linux 6.15 on), as package asm has an operation in an opcode.
const (
	loadAcquire  asm.AtomicOp = 0x100 << 8
	storeRelease asm.AtomicOp = 0x110 << 8
)

var (
	loads       = map[asm.Size]op{asm.Byte: opLoad8, asm.Half: opLoad16, asm.Word: opLoad32, asm.DWord: opLoad64}
	signedLoads = map[asm.Size]op{asm.Byte: opLoadS8, asm.Half: opLoadS16, asm.Word: opLoadS32}
	packetLoads = map[asm.Size]op{asm.Byte: opPacket8, asm.Half: opPacket16, asm.Word: opPacket32}
	stores      = map[asm.Size]op{asm.Byte: opStore8, asm.Half: opStore16, asm.Word: opStore32, asm.DWord: opStore64}
	storesR     = map[asm.Size]op{asm.Byte: opStore8R, asm.Half: opStore16R, asm.Word: opStore32R, asm.DWord: opStore64R}
	atomicSizes = map[asm.Size]op{asm.Word: opAtomic32, asm.DWord: opAtomic}
	acquires    = map[asm.Size]op{asm.Byte: opAcquire8, asm.Half: opAcquire16, asm.Word: opAcquire32, asm.DWord: opAcquire64}
	releases    = map[asm.Size]op{asm.Byte: opRelease8, asm.Half: opRelease16, asm.Word: opRelease32, asm.DWord: opRelease64}
)

// memory decodes loads and stores.
func (d *decoder) memory(in *asm.Instruction, out *insn) error {
	class, mode, size := in.OpCode.Class(), in.OpCode.Mode(), in.OpCode.Size()
	if mode != asm.AtomicMode && in.OpCode>>8 != 0 {
		return errOpcode
	}
	var ok bool
	switch {
	case class == asm.LdXClass && (mode == asm.MemMode || mode == asm.MemSXMode):
		if out.op, ok = loads[size]; mode == asm.MemSXMode {
			out.op, ok = signedLoads[size]
		}
		if in.Dst == asm.R10 {
			return errFrame
		}
		if in.Constant != 0 {
			return errReserved
		}
	case class == asm.StClass && mode == asm.MemMode:
		out.op, ok = stores[size]
		if in.Src != 0 {
			return errReserved
		}
	case class == asm.StXClass && mode == asm.MemMode:
		out.op, ok = storesR[size]
		if in.Constant != 0 {
			return errReserved
		}
	case class == asm.StXClass && mode == asm.AtomicMode:
		return atomicOp(in, out)
	case class == asm.LdClass && (mode == asm.AbsMode || mode == asm.IndMode):
		out.op, ok = packetLoads[size]
		if !d.socket {
			return fmt.Errorf("packet loads are for socket filters: %w", ErrUnsupported)
		}
		if mode == asm.AbsMode {
			out.src = operand
		}
		if in.Offset != 0 {
			return errReserved
		}
	}
	if !ok {
		return errOpcode
	}
	return nil
}

func atomicOp(in *asm.Instruction, out *insn) error {
	o := in.OpCode.AtomicOp()
	switch o {
	case loadAcquire:
		if in.Dst == asm.R10 {
			return errFrame
		}
		out.op = acquires[in.OpCode.Size()]
		return nil
	case storeRelease:
		out.op = releases[in.OpCode.Size()]
		return nil
	}
	form, ok := atomicSizes[in.OpCode.Size()]
	if !ok || !atomics[o] {
		return errOpcode
	}
	if in.Src == asm.R10 && (o&asm.FetchAdd != 0 && o != asm.AddAtomic) {
		return errFrame
	}
	out.op, out.imm = form, uint64(o)
	return nil
}
