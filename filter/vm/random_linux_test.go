package vm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/oobnet/oobnet/internal/leaktest"
)

const (
	randomRegisters = 10 // r0 to r9 are numbers, r10 the stack
	randomOperands  = 12 // numbers in the map that the program starts from
	randomSlots     = 8  // 64-bit words of the stack that it works on
	randomResults   = randomRegisters + randomSlots
)

// edges are numbers at which operations differ from their neighbours.
var edges = []uint64{0, 1, 2, 7, 31, 32, 63, 64, 255, 1 << 15, 1<<16 - 1, 1 << 31, 1<<31 - 1, 1<<32 - 1, 1 << 32, 1 << 63, 1<<63 - 1, ^uint64(0), ^uint64(1), 0xffffffff80000000}

func number(r *rand.Rand) uint64 {
	if r.IntN(2) == 0 {
		return edges[r.IntN(len(edges))]
	}
	return r.Uint64() >> r.IntN(64)
}

func numbers(r *rand.Rand, n int) []byte {
	var b []byte
	for range n {
		b = binary.LittleEndian.AppendUint64(b, number(r))
	}
	return b
}

// randomProgram loads numbers from a map into all registers and stack slots,
// works on them with random ALU operations, byte swaps, jumps forward, loads,
// stores and atomics, and stores all in the map. Registers come from memory, so
// that the kernel's verifier knows nothing of them and removes no branch.
//
// With ordered, some of the loads and stores are those with an order.
func randomProgram(r *rand.Rand, length int, ordered bool) asm.Instructions {
	register := func() asm.Register { return asm.Register(r.IntN(randomRegisters)) }
	slot := func() int16 { return -8 * int16(1+r.IntN(randomSlots)) }
	code := asm.Instructions{asm.LoadMapValue(asm.R9, 0, 0).WithReference("numbers")}
	for i := range randomSlots {
		code = append(code,
			asm.LoadMem(asm.R0, asm.R9, int16(8*(i%randomOperands)), asm.DWord),
			asm.StoreMem(asm.R10, int16(-8*(i+1)), asm.R0, asm.DWord))
	}
	for i := range randomRegisters {
		code = append(code, asm.LoadMem(asm.Register(i), asm.R9, int16(8*i), asm.DWord))
	}
	body := len(code)
	for len(code) < body+length {
		in := randomInstruction(r, register, slot, ordered)
		code = append(code, in)
		if in.OpCode.AtomicOp() == asm.CmpXchg && in.OpCode.Size() == asm.Word {
			// RFC 9669, 5.3, clears the upper half of r0; the kernel's compiler
			// for amd64 leaves it if the values were equal.
			code = append(code, asm.Mov.Reg32(asm.R0, asm.R0))
		}
	}
	code = append(code, asm.Mov.Reg(asm.R0, asm.R0)) // where the last jumps lead
	// Jumps lead up to 8 ahead within the body: resolved by labels, since a
	// 64-bit load takes the place of two.
	always := func(i int) bool { return code[i].OpCode.JumpOp() == asm.Ja }
	for i := body; i < len(code)-1; i++ {
		if code[i].OpCode.Class().IsJump() {
			to := min(i+1+r.IntN(8), len(code)-1)
			switch { // the verifier refuses code that is never reached
			case always(i) && (!code[i-1].OpCode.Class().IsJump() || always(i-1)):
				to = min(i+1, len(code)-1)
			case !always(i) && i+2 < len(code) && always(i+1):
				to = i + 2
			}
			label := fmt.Sprintf("l%d", to)
			code[to] = code[to].WithSymbol(label)
			if code[i].OpCode.Class() == asm.Jump32Class && code[i].OpCode.JumpOp() == asm.Ja {
				code[i].Constant = -1
			} else {
				code[i].Offset = -1
			}
			code[i] = code[i].WithReference(label)
		}
	}
	// All registers are in use: r0 goes to the stack to make room for an address.
	code = append(code, asm.StoreMem(asm.R10, -8*(randomSlots+1), asm.R0, asm.DWord),
		asm.LoadMapValue(asm.R0, 0, 0).WithReference("results"))
	for i := 1; i < randomRegisters; i++ {
		code = append(code, asm.StoreMem(asm.R0, int16(8*i), asm.Register(i), asm.DWord))
	}
	code = append(code, asm.LoadMem(asm.R1, asm.R10, -8*(randomSlots+1), asm.DWord), asm.StoreMem(asm.R0, 0, asm.R1, asm.DWord))
	for i := range randomSlots {
		code = append(code, asm.LoadMem(asm.R1, asm.R10, int16(-8*(i+1)), asm.DWord),
			asm.StoreMem(asm.R0, int16(8*(randomRegisters+i)), asm.R1, asm.DWord))
	}
	return append(code, asm.Mov.Imm(asm.R0, 1), asm.Return())
}

func randomInstruction(r *rand.Rand, register func() asm.Register, slot func() int16, ordered bool) asm.Instruction {
	immediate := int64(int32(number(r)))
	size := randomSize[r.IntN(4)]
	inSlot := slot() + int16(r.IntN(8/size.Sizeof())*size.Sizeof())
	class := []asm.Class{asm.ALUClass, asm.ALU64Class}[r.IntN(2)]
	switch r.IntN(12) {
	case 0:
		if r.IntN(2) == 0 {
			return asm.BSwap(register(), randomSize[1+r.IntN(3)])
		}
		return asm.HostTo([]asm.Endianness{asm.LE, asm.BE}[r.IntN(2)], register(), randomSize[1+r.IntN(3)])
	case 1:
		if ordered && r.IntN(3) == 0 {
			in := asm.StoreRelease(asm.R10, register(), size, inSlot)
			if r.IntN(2) == 0 {
				in = asm.LoadAcquire(register(), asm.R10, size, inSlot)
			}
			in.Constant = int64(in.OpCode.AtomicOp() >> 8) // as below
			return in
		}
		size := randomSize[2+r.IntN(2)]
		o := randomAtom[r.IntN(len(randomAtom))]
		in := o.Mem(asm.R10, register(), size, slot())
		in.Constant = int64(o >> 8) // which the loader takes for the operation
		return in
	case 2:
		return asm.LoadMem(register(), asm.R10, inSlot, size)
	case 3:
		if size == asm.DWord {
			return asm.LoadImm(register(), int64(number(r)), asm.DWord)
		}
		return asm.LoadMemSX(register(), asm.R10, inSlot, size)
	case 4:
		return asm.StoreMem(asm.R10, inSlot, register(), size)
	case 5:
		return asm.Instruction{OpCode: asm.StoreImmOp(size), Dst: asm.R10, Offset: inSlot, Constant: immediate}
	case 6, 7, 8:
		return randomJumpInstruction(r, register, immediate)
	}
	o := randomALU[r.IntN(len(randomALU))]
	if o == asm.MovSX32 {
		class = asm.ALU64Class
	}
	in := asm.Instruction{OpCode: asm.OpCode(class).SetALUOp(o), Dst: register()}
	extends := o == asm.MovSX8 || o == asm.MovSX16 || o == asm.MovSX32
	switch {
	case o == asm.Neg:
	case extends || r.IntN(2) == 0:
		in.OpCode, in.Src = in.OpCode.SetSource(asm.RegSource), register()
	default:
		in.Constant = immediate
		switch o {
		case asm.LSh, asm.RSh, asm.ArSh: // the kernel refuses more
			in.Constant &= 31
		case asm.Div, asm.SDiv, asm.Mod, asm.SMod:
			if in.Constant == 0 {
				in.Constant = -1
			}
		}
	}
	return in
}

func randomJumpInstruction(r *rand.Rand, register func() asm.Register, immediate int64) asm.Instruction {
	o := randomJump[r.IntN(len(randomJump))]
	in := asm.Instruction{OpCode: asm.OpCode([]asm.Class{asm.JumpClass, asm.Jump32Class}[r.IntN(2)]).SetJumpOp(o)}
	switch {
	case o == asm.Ja:
	case r.IntN(2) == 0:
		in.OpCode, in.Dst, in.Src = in.OpCode.SetSource(asm.RegSource), register(), register()
	default:
		in.Dst, in.Constant = register(), immediate
	}
	return in
}

func randomSpec(code asm.Instructions) *ebpf.CollectionSpec {
	return &ebpf.CollectionSpec{
		Programs: map[string]*ebpf.ProgramSpec{"random": {Name: "random", Type: ebpf.XDP, Instructions: code, License: "GPL"}},
		Maps: map[string]*ebpf.MapSpec{
			"numbers": {Name: "numbers", Type: ebpf.Array, KeySize: 4, ValueSize: 8 * randomOperands, MaxEntries: 1},
			"results": {Name: "results", Type: ebpf.Array, KeySize: 4, ValueSize: 8 * randomResults, MaxEntries: 1},
		},
	}
}

// kernelOrders reports whether the kernel has loads and stores with an order:
// Linux 6.15 is the first.
func kernelOrders(t *testing.T) bool {
	t.Helper()
	load := asm.LoadAcquire(asm.R0, asm.R10, asm.DWord, -8)
	load.Constant = int64(load.OpCode.AtomicOp() >> 8)
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, License: "GPL", Instructions: asm.Instructions{
		asm.StoreMem(asm.R10, -8, asm.R10, asm.DWord), load, asm.Return()}})
	if err != nil {
		t.Logf("the kernel has no load with an order, so none is compared: %v", err)
		return false
	}
	_ = p.Close() // nothing was done with it
	return true
}

// TestInstructionsAsInKernel: random programs leave the same registers and the
// same stack here and in the kernel.
func TestInstructionsAsInKernel(t *testing.T) {
	leaktest.Check(t)
	onFirstCPU(t)
	programs, inputs := 1000, 8
	if testing.Short() {
		programs = 100
	}
	r := rand.New(rand.NewPCG(11, 13))
	zero, frame := make([]byte, 4), make([]byte, 64)
	refused, ordered := 0, kernelOrders(t)
	for n := range programs {
		code := randomProgram(r, 5+r.IntN(60), ordered)
		v, err := New(randomSpec(code), "random", nil)
		if err != nil {
			t.Fatalf("program %d: %v\n%v", n, err, code)
		}
		k, err := ebpf.NewCollection(randomSpec(code))
		if err != nil {
			var verifier *ebpf.VerifierError
			if errors.As(err, &verifier) {
				refused++
				continue
			}
			t.Fatalf("program %d: %v\n%v", n, err, code)
		}
		runner := v.Runner(0)
		for range inputs {
			in := numbers(r, randomOperands)
			if err := k.Maps["numbers"].Put(zero, in); err != nil {
				t.Fatal(err)
			}
			if err := v.Map("numbers").Update(zero, in); err != nil {
				t.Fatal(err)
			}
			if _, err := k.Programs["random"].Run(&ebpf.RunOptions{Data: frame}); err != nil {
				t.Fatal(err)
			}
			if code, fault := runner.Run(&Context{Buffer: frame, Len: len(frame)}); code != 1 || fault != 0 {
				t.Fatalf("program %d: %d, %v at %s", n, code, fault, runner.Where())
			}
			want, err := k.Maps["results"].LookupBytes(zero)
			if err != nil {
				t.Fatal(err)
			}
			got, err := v.Map("results").Lookup(zero)
			if err != nil {
				t.Fatal(err)
			}
			for i := range randomResults {
				if w, g := want[8*i:][:8], got[8*i:][:8]; !bytes.Equal(w, g) {
					t.Fatalf("program %d: result %d (r0 to r9, then the stack) is %x, the kernel's %x; numbers %x\n%v", n, i, g, w, in, code)
				}
			}
		}
		k.Close()
	}
	if refused > programs/10 {
		t.Errorf("the kernel refused %d of %d programs: the test tries too little", refused, programs)
	}
}
