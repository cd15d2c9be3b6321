package vm

import (
	"errors"
	"fmt"
	"math"

	"github.com/cilium/ebpf/asm"
)

// ErrUnsupported is wrapped by errors about an instruction, a helper or a map
// that the VM does not have.
var ErrUnsupported = errors.ErrUnsupported

// maxInstructions of all programs of a VM together: the kernel's limit for one
// program is a million.
const maxInstructions = 1 << 22

// decoder turns the instructions of a program into the VM's. Jumps count raw
// instructions of 8 bytes, of which a 64-bit load has two, so it has to know
// where each one is.
type decoder struct {
	source  asm.Instructions
	base    int             // index of the program's first instruction in the VM
	index   map[int64]int   // raw offset to index in source
	raw     []int64         // index in source to raw offset
	symbols map[string]int  // function to index in source
	maps    map[string]*Map // by name
	socket  bool            // packet loads are allowed
}

func newDecoder(source asm.Instructions, base int, maps map[string]*Map, socket bool) (*decoder, error) {
	if len(source) == 0 {
		return nil, errors.New("no instructions")
	}
	if len(source) > maxInstructions-base {
		return nil, fmt.Errorf("%d instructions, more than the %d of a VM", len(source), maxInstructions)
	}
	d := &decoder{source: source, base: base, maps: maps, socket: socket,
		index: map[int64]int{}, raw: make([]int64, len(source)), symbols: map[string]int{}}
	var at int64
	for i := range source {
		d.index[at], d.raw[i] = i, at
		at += int64(source[i].Width())
		if s := source[i].Symbol(); s != "" {
			if _, twice := d.symbols[s]; twice {
				return nil, fmt.Errorf("two functions of the name %s", s)
			}
			d.symbols[s] = i
		}
	}
	return d, nil
}

// decode returns the program's instructions for the VM. Errors name the
// instruction, its function and its line of source, as far as they are known.
func (d *decoder) decode() ([]insn, error) {
	code := make([]insn, len(d.source))
	symbol := ""
	for i := range d.source {
		if s := d.source[i].Symbol(); s != "" {
			symbol = s
		}
		in, err := d.instruction(i)
		if err == nil && i == len(d.source)-1 && in.op != opExit && in.op != opJa {
			err = errors.New("the program runs beyond its last instruction: end it with exit")
		}
		if err != nil {
			where := fmt.Sprintf("instruction %d (%v)", i, d.source[i])
			if symbol != "" {
				where += " of " + symbol
			}
			if line := d.source[i].Source(); line != nil {
				where += fmt.Sprintf(", source %q", line.String())
			}
			return nil, fmt.Errorf("%s: %w", where, err)
		}
		code[i] = in
	}
	return code, nil
}

func (d *decoder) instruction(i int) (insn, error) {
	in := &d.source[i]
	if in.Dst > asm.R10 || in.Src > asm.R10 {
		return insn{}, errors.New("no such register: there are r0 to r10")
	}
	out := insn{dst: uint8(in.Dst), src: uint8(in.Src), imm: uint64(in.Constant), off: int32(in.Offset)}
	var err error
	switch class := in.OpCode.Class(); {
	case in.OpCode.IsDWordLoad():
		err = d.wide(in, i, &out)
	case class.IsALU():
		err = alu(in, &out)
	case class.IsJump():
		err = d.jump(in, i, &out)
	default:
		err = d.memory(in, &out)
	}
	return out, err
}

var (
	errOpcode   = fmt.Errorf("unknown opcode: %w", ErrUnsupported)
	errReserved = fmt.Errorf("a field that has to be zero is not: an extension of the instruction set that the VM does not have: %w", ErrUnsupported)
	errFrame    = errors.New("r10, the frame pointer, is read-only")
)

// wide decodes a 64-bit load: a number, or something that has an address.
func (d *decoder) wide(in *asm.Instruction, i int, out *insn) error {
	out.op, out.src = opMov, 0
	switch {
	case in.Dst == asm.R10:
		return errFrame
	case in.Offset != 0:
		return errReserved
	case in.Src == 0:
		return nil
	case in.IsLoadOfFunctionPointer():
		target, err := d.function(in, i)
		out.imm = regionFunction<<regionShift | uint64(target)
		return err
	case !in.IsLoadFromMap():
		return fmt.Errorf("64-bit load of kind %d: %w", in.Src, ErrUnsupported)
	}
	m := d.maps[in.Reference()]
	if m == nil {
		return fmt.Errorf("no map of the name %q that the VM could use", in.Reference())
	}
	if in.Src == asm.PseudoMapFD {
		out.imm = regionMap<<regionShift | uint64(m.number)
		return nil
	}
	offset := uint64(in.Constant) >> 32
	if !m.isArray() || m.perCPU() || offset >= uint64(len(m.slabs[0])) {
		return fmt.Errorf("map %s has no address at offset %d", m.name, offset)
	}
	out.imm = m.address() | offset
	return nil
}

// aluOps lists, for each ALU operation, the 64-bit form and its width-32 one;
// the register form follows each.
var aluOps = map[asm.ALUOp][2]op{
	asm.Add: {opAdd, opAdd32}, asm.Sub: {opSub, opSub32}, asm.Mul: {opMul, opMul32},
	asm.Or: {opOr, opOr32}, asm.And: {opAnd, opAnd32}, asm.LSh: {opLsh, opLsh32},
	asm.RSh: {opRsh, opRsh32}, asm.ArSh: {opArsh, opArsh32}, asm.Xor: {opXor, opXor32},
	asm.Mov: {opMov, opMov32},
}

// rareOps are those that have one form, and no 32-bit one where that is 0.
var rareOps = map[asm.ALUOp][2]op{
	asm.Div: {opDiv, opDiv32}, asm.SDiv: {opSdiv, opSdiv32},
	asm.Mod: {opMod, opMod32}, asm.SMod: {opSmod, opSmod32},
	asm.MovSX8: {opMovS8, opMovS8W}, asm.MovSX16: {opMovS16, opMovS16W}, asm.MovSX32: {opMovS32, 0},
}

func alu(in *asm.Instruction, out *insn) error {
	o, width := in.OpCode.ALUOp(), 0
	if in.OpCode.Class() == asm.ALUClass {
		width = 1
		out.imm = uint64(uint32(in.Constant))
	}
	register := in.OpCode.Source() == asm.RegSource
	switch {
	case in.Dst == asm.R10:
		return errFrame
	case in.Offset != 0, in.OpCode>>16 != 0:
		return errReserved
	case o == asm.Swap:
		return swap(in, out)
	case register && in.Constant != 0, !register && in.Src != 0:
		return errReserved
	case o == asm.Neg:
		if register || in.Constant != 0 {
			return errReserved
		}
		out.op = [2]op{opNeg, opNeg32}[width]
		return nil
	}
	if ops, ok := rareOps[o]; ok {
		out.op = ops[width]
		extends := o == asm.MovSX8 || o == asm.MovSX16 || o == asm.MovSX32
		if out.op == 0 || extends && !register {
			return errOpcode
		}
		if !register {
			out.src = operand
		}
		return nil
	}
	ops, ok := aluOps[o]
	if !ok {
		return errOpcode
	}
	out.op = ops[width]
	if register {
		out.op++
	} else if o == asm.LSh || o == asm.RSh || o == asm.ArSh {
		out.imm &= 63 >> width
	}
	return nil
}

// swap decodes the byte swaps. The VM is little-endian: a conversion to
// little-endian cuts off, the others swap.
func swap(in *asm.Instruction, out *insn) error {
	unconditional := in.OpCode.Class() == asm.ALU64Class
	little := !unconditional && in.OpCode.Endianness() == asm.LE
	if in.Src != 0 {
		return errReserved
	}
	if unconditional && in.OpCode.Endianness() != asm.LE {
		return errOpcode
	}
	switch {
	case in.Constant == 16 && little:
		out.op, out.imm = opAnd, math.MaxUint16
	case in.Constant == 32 && little:
		out.op, out.src = opMov32R, out.dst
	case in.Constant == 64 && little:
		out.op, out.src = opMovR, out.dst
	case in.Constant == 16:
		out.op = opSwap16
	case in.Constant == 32:
		out.op = opSwap32
	case in.Constant == 64:
		out.op = opSwap64
	default:
		return fmt.Errorf("byte swap of %d bits: %w", in.Constant, ErrUnsupported)
	}
	return nil
}
