package packet

import (
	"fmt"
	"syscall"

	"golang.org/x/net/bpf"
)

// maxProgram is how many instructions Linux takes (BPF_MAXINSNS).
const maxProgram = 4096

// scratch is how many words a program may keep (BPF_MEMWORDS).
const scratch = 16

// Operations: the codes of classic BPF, of which all that are valid fit into a
// byte (S. McCanne and V. Jacobson, "The BSD Packet Filter", 1993; Linux,
// include/uapi/linux/bpf_common.h).
const (
	opLdImm, opLdxImm   = 0x00, 0x01
	opSt, opStx         = 0x02, 0x03
	opRetK, opRetA      = 0x06, 0x16
	opTax, opTxa        = 0x07, 0x87
	opLdW, opLdH, opLdB = 0x20, 0x28, 0x30 // at k
	opIndW, opIndH      = 0x40, 0x48       // at X + k
	opIndB              = 0x50
	opLdMem, opLdxMem   = 0x60, 0x61
	opLdLen, opLdxLen   = 0x80, 0x81
	opLdxMsh            = 0xb1
	opNeg               = 0x84
	opJa                = 0x05

	// Arithmetic with k; with X it is 8 more. Jumps likewise.
	opAdd, opSub, opMul, opDiv, opOr, opAnd = 0x04, 0x14, 0x24, 0x34, 0x44, 0x54
	opLsh, opRsh, opMod, opXor              = 0x64, 0x74, 0x94, 0xa4
	opJeq, opJgt, opJge, opJset             = 0x15, 0x25, 0x35, 0x45
	opX                                     = 0x08
	opExtProtocol, opExtType                = 0xc0, 0xc1 // ours, for Linux's extensions
	opExtVLANTag, opExtVLANPresent          = 0xc2, 0xc3
)

// extensions begin at this offset (SKF_AD_OFF), and those that are known are
// at so much more (SKF_AD_...).
const (
	extensions  = 0xfffff000
	extProtocol = 0
	extType     = 4
	extVLANTag  = 44
	extVLANHas  = 48
	// negativeOffsets are Linux's ways to the network and link headers.
	negativeOffsets = 0xffe00000
)

// instruction is one operation: a byte of code, where to jump, and the constant.
type instruction struct {
	op     uint8
	jt, jf uint8
	k      uint32
}

// program is a checked program: it ends, and it stays inside its words.
type program struct {
	code []instruction
}

// compile checks a program by the rules of Linux (bpf_check_classic and
// check_load_and_stores).
func compile(raw []bpf.RawInstruction) (*program, error) {
	if len(raw) > maxProgram {
		return nil, fmt.Errorf("program of %d instructions: %w: want at most %d", len(raw), syscall.EINVAL, maxProgram)
	}
	p := &program{code: make([]instruction, len(raw))}
	for i, r := range raw {
		in, what := decode(r, len(raw)-i-1)
		if what != "" {
			return nil, fmt.Errorf("instruction %d (code 0x%x, k 0x%x): %s: %w", i, r.Op, r.K, what, syscall.EINVAL)
		}
		p.code[i] = in
	}
	if last := p.code[len(raw)-1].op; last != opRetK && last != opRetA {
		return nil, fmt.Errorf("the program does not end with a return: %w", syscall.EINVAL)
	}
	if i := p.unstored(); i >= 0 {
		return nil, fmt.Errorf("instruction %d (code 0x%x, k 0x%x): reads a word that is not stored on every way there: %w", i, raw[i].Op, raw[i].K, syscall.EINVAL)
	}
	return p, nil
}

// unstored finds an instruction that reads a word which may not have been stored
// before; -1: none. All jumps lead forward, so one pass does: what is stored on
// all ways to an instruction is known when it is reached. As in Linux, a return
// leads to what stands behind it, and nothing leads behind a jump but jumps.
func (p *program) unstored() int {
	const all = 1<<scratch - 1
	jumps := make([]uint16, len(p.code)) // by instruction: words stored on all jumps there
	for i := range jumps {
		jumps[i] = all
	}
	stored := uint16(0)
	for i, in := range p.code {
		stored &= jumps[i]
		switch in.op {
		case opSt, opStx:
			stored |= 1 << in.k
		case opLdMem, opLdxMem:
			if stored>>in.k&1 == 0 {
				return i
			}
		case opJa:
			jumps[i+1+int(in.k)] &= stored
			stored = all
		case opJeq, opJgt, opJge, opJset, opJeq | opX, opJgt | opX, opJge | opX, opJset | opX:
			jumps[i+1+int(in.jt)] &= stored
			jumps[i+1+int(in.jf)] &= stored
			stored = all
		}
	}
	return -1
}

// decode checks one instruction, with so many after it, and says what is wrong.
func decode(r bpf.RawInstruction, after int) (in instruction, what string) {
	in = instruction{op: uint8(r.Op), jt: r.Jt, jf: r.Jf, k: r.K}
	if r.Op > 0xff {
		return in, unknownCode
	}
	switch r.Op {
	case opLdImm, opLdxImm, opRetK, opRetA, opTax, opTxa, opIndW, opIndH, opIndB,
		opLdLen, opLdxLen, opLdxMsh, opNeg,
		opAdd, opSub, opMul, opOr, opAnd, opXor,
		opAdd | opX, opSub | opX, opMul | opX, opDiv | opX, opOr | opX, opAnd | opX,
		opLsh | opX, opRsh | opX, opMod | opX, opXor | opX:
		return in, ""
	case opLdW, opLdH, opLdB:
		return decodeLoad(in)
	case opSt, opStx, opLdMem, opLdxMem:
		return in, unless(r.K < scratch, "there are 16 words")
	case opDiv, opMod:
		return in, unless(r.K != 0, "division by 0")
	case opLsh, opRsh:
		return in, unless(r.K < 32, "a word has 32 bits")
	case opJa:
		return in, unless(uint64(r.K) < uint64(after), beyond)
	case opJeq, opJgt, opJge, opJset, opJeq | opX, opJgt | opX, opJge | opX, opJset | opX:
		return in, unless(int(max(r.Jt, r.Jf)) < after, beyond)
	}
	return in, unknownCode
}

const (
	unknownCode = "no such instruction"
	beyond      = "jumps beyond the end"
)

// decodeLoad sorts the extensions out from loads at an offset.
func decodeLoad(in instruction) (instruction, string) {
	if in.k < negativeOffsets {
		return in, ""
	}
	switch in.k - extensions {
	case extProtocol:
		in.op = opExtProtocol
	case extType:
		in.op = opExtType
	case extVLANTag:
		in.op = opExtVLANTag
	case extVLANHas:
		in.op = opExtVLANPresent
	default:
		return in, "an extension that is not supported: want length, protocol, packet type or VLAN tag"
	}
	return in, ""
}

func unless(ok bool, what string) string {
	if ok {
		return ""
	}
	return what
}
