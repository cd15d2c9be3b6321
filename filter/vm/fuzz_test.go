package vm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// fuzzMaps are there for a random program: one of each kind.
func fuzzMaps() map[string]*ebpf.MapSpec {
	return map[string]*ebpf.MapSpec{
		"array":   {Type: ebpf.Array, KeySize: 4, ValueSize: 12, MaxEntries: 3},
		"hash":    {Type: ebpf.Hash, KeySize: 4, ValueSize: 8, MaxEntries: 3},
		"lru":     {Type: ebpf.LRUHash, KeySize: 8, ValueSize: 8, MaxEntries: 2},
		"percpu":  {Type: ebpf.PerCPUHash, KeySize: 2, ValueSize: 4, MaxEntries: 3},
		"lpm":     {Type: ebpf.LPMTrie, KeySize: 8, ValueSize: 4, MaxEntries: 3},
		"tail":    {Type: ebpf.ProgramArray, KeySize: 4, ValueSize: 4, MaxEntries: 2, Contents: []ebpf.MapKV{{Key: uint32(0), Value: "fuzz"}}},
		"xsk":     {Type: ebpf.XSKMap, KeySize: 4, ValueSize: 4, MaxEntries: 2},
		"peers":   {Type: ebpf.DevMapHash, KeySize: 4, ValueSize: 4, MaxEntries: 2},
		".rodata": {Type: ebpf.Array, KeySize: 4, ValueSize: 16, MaxEntries: 1, Flags: readOnlyProg},
	}
}

var fuzzMapNames = []string{"array", "hash", "lru", "percpu", "lpm", "tail", "xsk", "peers", ".rodata"}

// decodeFuzz makes instructions of bytes: loads of maps get one of the maps.
func decodeFuzz(b []byte) asm.Instructions {
	var code asm.Instructions
	for r := bytes.NewReader(b); ; {
		var in asm.Instruction
		if err := in.Unmarshal(r, binary.LittleEndian, "linux"); err != nil {
			if !errors.Is(err, io.EOF) && r.Len() >= asm.InstructionSize {
				continue
			}
			return code
		}
		if in.IsLoadFromMap() {
			in = in.WithReference(fuzzMapNames[uint64(in.Constant)%uint64(len(fuzzMapNames))])
		}
		code = append(code, in)
	}
}

// FuzzVM: random instructions are refused, or run to an end within the budget,
// without a panic and without touching what lies around the frame.
func FuzzVM(f *testing.F) {
	for _, o := range objects {
		spec := loadSpec(f, o.file)
		var raw bytes.Buffer
		code := spec.Programs[o.entry].Instructions
		for i := range code {
			in := code[i]
			if in.IsFunctionCall() || in.IsLoadOfFunctionPointer() {
				in.Constant = int64(i % 7)
			}
			if in.OpCode.AtomicOp() != asm.InvalidAtomic {
				in.Constant = int64(in.OpCode.AtomicOp() >> 8)
			}
			if _, err := in.Marshal(&raw, binary.LittleEndian); err != nil {
				f.Fatal(err)
			}
		}
		f.Add(raw.Bytes(), frames(3, 1)[0], uint8(headroom), spec.Programs[o.entry].Type == ebpf.SocketFilter, true)
	}
	f.Add([]byte{0xb7, 0, 0, 0, 1, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0}, []byte{}, uint8(0), false, true)
	r := rand.New(rand.NewPCG(1, 1))
	for n := range 32 {
		b := make([]byte, 16*n)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		f.Add(b, frames(uint64(n), 1)[0], uint8(n), n%2 == 0, false)
	}
	f.Fuzz(func(t *testing.T, program, frame []byte, room uint8, socket, raw bool) {
		if len(program) > 1<<12 || len(frame) > 1<<11 {
			return
		}
		if raw {
			runFuzz(t, decodeFuzz(program), frame, int(room), socket)
		} else {
			runFuzz(t, wellFormed(program, socket), frame, int(room), socket)
		}
	})
}

// runFuzz runs a program three times on a frame and returns how the last run
// ended; false: New has refused it.
func runFuzz(t *testing.T, program asm.Instructions, frame []byte, room int, socket bool) (end Fault, taken bool) {
	t.Helper()
	const budget, canary = 1 << 12, 64
	kind := ebpf.XDP
	if socket {
		kind = ebpf.SocketFilter
	}
	v, err := New(&ebpf.CollectionSpec{
		Maps:     fuzzMaps(),
		Programs: map[string]*ebpf.ProgramSpec{"fuzz": {Type: kind, Instructions: program}},
	}, "fuzz", &Config{Budget: budget, CPUs: 2})
	if err != nil {
		return 0, false
	}
	// Canaries lie around the buffer, and in the tailroom, which only a call
	// that moves the end may touch.
	whole := bytes.Repeat([]byte{0xc5}, canary+room+len(frame)+canary)
	copy(whole[canary+room:], frame)
	r := v.Runner(1)
	for range 3 {
		c := &Context{Buffer: whole[canary : canary+room+len(frame)], Off: room, Len: len(frame), Queue: 1, IfIndex: 2}
		code, fault := r.Run(c)
		if fault != 0 && code != 0 {
			t.Fatalf("code %d with a fault: %v", code, fault)
		}
		if fault >= Faults || fault == FaultInput {
			t.Fatalf("fault %d", fault)
		}
		if fault != 0 && r.Where() == "" {
			t.Fatalf("%v, but not where", fault)
		}
		// A helper may take the budget below zero by what it was charged last.
		if r.Steps() > budget {
			t.Fatalf("%d steps of %d", r.Steps(), budget)
		}
		if c.Off < 0 || c.Len < 0 || c.Off+c.Len > len(c.Buffer) {
			t.Fatalf("frame at %d, %d bytes of %d", c.Off, c.Len, len(c.Buffer))
		}
		for i := range canary {
			if whole[i] != 0xc5 || whole[len(whole)-1-i] != 0xc5 {
				t.Fatalf("byte %d before or behind the buffer was written", i)
			}
		}
		if socket && !bytes.Equal(whole[canary+room:][:len(frame)], frame) {
			t.Fatal("a socket filter has changed the frame")
		}
		end = fault
	}
	return end, true
}

// What random programs are made of.
var (
	randomALU  = []asm.ALUOp{asm.Add, asm.Sub, asm.Mul, asm.Div, asm.SDiv, asm.Or, asm.And, asm.LSh, asm.RSh, asm.Neg, asm.Mod, asm.SMod, asm.Xor, asm.Mov, asm.ArSh, asm.MovSX8, asm.MovSX16, asm.MovSX32}
	randomJump = []asm.JumpOp{asm.Ja, asm.JEq, asm.JGT, asm.JGE, asm.JSet, asm.JNE, asm.JSGT, asm.JSGE, asm.JLT, asm.JLE, asm.JSLT, asm.JSLE}
	randomSize = []asm.Size{asm.Byte, asm.Half, asm.Word, asm.DWord}
	randomAtom = []asm.AtomicOp{asm.AddAtomic, asm.FetchAdd, asm.AndAtomic, asm.FetchAnd, asm.OrAtomic, asm.FetchOr, asm.XorAtomic, asm.FetchXor, asm.Xchg, asm.CmpXchg}
)

// fuzzHelpers are all, in a fixed order.
var fuzzHelpers = slices.Sorted(maps.Keys(helperTable))

// wellFormed makes a program of bytes, four an instruction, that New takes:
// fields and jumps are valid, and there are ways to come by addresses. r6 is the
// context.
func wellFormed(b []byte, socket bool) asm.Instructions {
	code := asm.Instructions{asm.Mov.Reg(asm.R6, asm.R1)}
	var jumps []int8 // where each instruction's label is, relative to it
	for ; len(b) >= 4; b = b[4:] {
		in, jump := fuzzInstruction(b[0], b[1], int8(b[2]), b[3], socket)
		for len(jumps) < len(code) {
			jumps = append(jumps, 0)
		}
		code = append(code, in...)
		jumps = append(jumps, jump)
	}
	code = append(code, asm.Return())
	for i := range code {
		if i < len(jumps) && jumps[i] != 0 {
			to := min(max(i+int(jumps[i]), 1), len(code)-1)
			label := fmt.Sprintf("l%d", to)
			code[to] = code[to].WithSymbol(label)
			code[i] = code[i].WithReference(label)
		}
	}
	return code
}

func fuzzInstruction(kind, registers byte, off int8, imm byte, socket bool) (code asm.Instructions, jump int8) {
	dst, src := asm.Register(registers%10), asm.Register(registers/16%11)
	class := []asm.Class{asm.ALUClass, asm.ALU64Class}[kind>>7]
	size := randomSize[imm%4]
	away := off / 8
	if away == 0 {
		away = 2
	}
	one := func(in asm.Instruction) (asm.Instructions, int8) { return asm.Instructions{in}, 0 }
	switch kind % 20 {
	case 0, 1:
		o := randomALU[int(imm)%len(randomALU)]
		in := asm.Instruction{OpCode: asm.OpCode(class).SetALUOp(o), Dst: dst, Constant: int64(off)}
		if o == asm.MovSX8 || o == asm.MovSX16 || o == asm.Neg {
			in.Constant = 0
		}
		if o == asm.MovSX32 {
			in.OpCode, in.Constant = asm.OpCode(asm.ALU64Class).SetALUOp(o), 0
		}
		if o != asm.Neg && (o == asm.MovSX8 || o == asm.MovSX16 || o == asm.MovSX32 || off%2 == 0) {
			in.OpCode, in.Src, in.Constant = in.OpCode.SetSource(asm.RegSource), src, 0
		}
		return one(in)
	case 2:
		return one(asm.HostTo([]asm.Endianness{asm.LE, asm.BE}[kind>>7], dst, randomSize[1+imm%3]))
	case 3:
		return one(asm.LoadMem(dst, src, int16(off), size))
	case 4:
		if size == asm.DWord {
			return one(asm.LoadImm(dst, int64(off)<<(imm%60), asm.DWord))
		}
		return one(asm.LoadMemSX(dst, src, int16(off), size))
	case 5:
		return one(asm.StoreMem(src, int16(off), dst, size))
	case 6:
		return one(asm.Instruction{OpCode: asm.StoreImmOp(size), Dst: src, Offset: int16(off), Constant: int64(imm)})
	case 7:
		switch imm % 16 { // beside the operations of which there are fewer
		case 14:
			return one(asm.LoadAcquire(dst, src, randomSize[byte(off)%4], int16(off)&^7))
		case 15:
			return one(asm.StoreRelease(src, dst, randomSize[byte(off)%4], int16(off)&^7))
		}
		return one(randomAtom[int(imm)%len(randomAtom)].Mem(src, dst, randomSize[2+kind>>7], int16(off)&^7))
	case 8:
		o := randomJump[1+int(imm)%(len(randomJump)-1)]
		return asm.Instructions{{OpCode: asm.OpCode(asm.JumpClass).SetJumpOp(o), Dst: dst, Constant: int64(off), Offset: -1}}, away
	case 9:
		o := randomJump[1+int(imm)%(len(randomJump)-1)]
		return asm.Instructions{{OpCode: asm.OpCode(asm.Jump32Class).SetJumpOp(o).SetSource(asm.RegSource), Dst: dst, Src: src, Offset: -1}}, away
	case 10, 11, 12: // a helper, its arguments most often right
		fn := fuzzHelpers[int(imm)%len(fuzzHelpers)]
		if t := helperTable[fn].types; t == forSocket && !socket || t == forXDP && socket {
			fn = asm.FnTailCall
		}
		if off%4 != 0 {
			code = fuzzArguments(helperTable[fn].number, off, fn == asm.FnTailCall)
		}
		return append(code, fn.Call()), 0
	case 13:
		return one(asm.LoadMapPtr(dst, 0).WithReference(fuzzMapNames[int(imm)%len(fuzzMapNames)]))
	case 14:
		return one(asm.LoadMapValue(dst, 0, uint32(imm)%16).WithReference([]string{"array", ".rodata"}[kind>>7]))
	case 15:
		return asm.Instructions{asm.Mov.Reg(dst, asm.R10), asm.Add.Imm(dst, int32(off))}, 0
	case 16:
		return one(asm.LoadMem(dst, asm.R6, int16(imm%3)*4, asm.Word))
	case 17:
		if away < 0 && imm%4 != 0 {
			away = -away
		}
		in := asm.Instruction{OpCode: asm.OpCode(asm.JumpClass).SetJumpOp(asm.Call), Src: asm.PseudoCall, Constant: -1}
		if kind>>7 != 0 {
			in = asm.Instruction{OpCode: asm.LoadImmOp(asm.DWord), Dst: dst, Src: asm.PseudoFunc, Constant: -1}
		}
		return asm.Instructions{in}, away
	case 18:
		if socket {
			return one(asm.LoadInd(asm.R0, src, int32(off), randomSize[imm%3]))
		}
		return asm.Instructions{asm.LoadMem(dst, asm.R6, xdpData, asm.Word), asm.Add.Imm(dst, int32(off))}, 0
	default:
		return one(asm.Return())
	}
}

// fuzzArguments sets what a helper of maps or of the frame takes.
func fuzzArguments(h helper, off int8, tail bool) asm.Instructions {
	name := fuzzMapNames[uint8(off)%9]
	if tail {
		return asm.Instructions{asm.Mov.Reg(asm.R1, asm.R6), asm.LoadMapPtr(asm.R2, 0).WithReference("tail"), asm.Mov.Imm(asm.R3, int32(off&1))}
	}
	if h <= helpForEach || h == helpRedirectMap {
		return asm.Instructions{
			asm.LoadMapPtr(asm.R1, 0).WithReference(name),
			asm.Mov.Reg(asm.R2, asm.R10), asm.Add.Imm(asm.R2, int32(off&63)-64),
			asm.Mov.Reg(asm.R3, asm.R10), asm.Add.Imm(asm.R3, -32), asm.Mov.Imm(asm.R4, 0)}
	}
	return asm.Instructions{
		asm.Mov.Reg(asm.R1, asm.R6), asm.Mov.Imm(asm.R2, int32(off)),
		asm.Mov.Reg(asm.R3, asm.R10), asm.Add.Imm(asm.R3, -128), asm.Mov.Imm(asm.R4, int32(off&127)), asm.Mov.Imm(asm.R5, int32(off&1))}
}

// TestRandomPrograms runs well-formed programs of random bytes. Nearly all are
// taken, and they end in many ways.
func TestRandomPrograms(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 8))
	list := frames(9, 16)
	taken, ends := 0, [Faults]int{}
	const programs = 5000
	for n := range programs {
		b := make([]byte, 4*(1+r.IntN(60)))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		socket := n%4 == 0
		if fault, ok := runFuzz(t, wellFormed(b, socket), list[n%len(list)], r.IntN(256), socket); ok {
			taken++
			ends[fault]++
		}
	}
	if taken < programs*9/10 {
		t.Errorf("%d of %d programs were taken", taken, programs)
	}
	for fault, n := range ends {
		if n == 0 && Fault(fault) != FaultInput {
			t.Errorf("no run has ended with fault %d (%v)", fault, Fault(fault))
		}
	}
	t.Logf("%d of %d taken, by fault: %v", taken, programs, ends)
}
