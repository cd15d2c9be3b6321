package vm

import (
	"bytes"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// hostile makes a VM of one program and a map, "m".
func hostile(t testing.TB, m *ebpf.MapSpec, cfg *Config, code asm.Instructions) *VM {
	t.Helper()
	v, err := New(&ebpf.CollectionSpec{Maps: map[string]*ebpf.MapSpec{"m": m}, Programs: map[string]*ebpf.ProgramSpec{
		"main": {Type: ebpf.XDP, Instructions: code}}}, "main", cfg)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// onMap calls a helper with the map, a key that the stack has at an offset,
// and no flags.
func onMap(fn asm.BuiltinFunc, key int32) asm.Instructions {
	return asm.Instructions{asm.LoadMapPtr(asm.R1, 0).WithReference("m"), asm.Mov.Reg(asm.R2, asm.R10), asm.Add.Imm(asm.R2, key),
		asm.Mov.Reg(asm.R3, asm.R10), asm.Add.Imm(asm.R3, -16), asm.Mov.Imm(asm.R4, 0), fn.Call()}
}

// steps of a run that has to end without a fault.
func steps(t testing.TB, v *VM) int {
	t.Helper()
	r := v.Runner(0)
	if _, fault := r.Run(newContext(make([]byte, 64))); fault != 0 {
		t.Fatalf("%v at %s", fault, r.Where())
	}
	return r.Steps()
}

// TestBudgetBeforeWork: a helper does not start what the budget has no room
// for. An update with a value of 64 MiB would take as long as many runs.
func TestBudgetBeforeWork(t *testing.T) {
	const size = 64 << 20
	code := asm.Instructions{asm.LoadMapPtr(asm.R1, 0).WithReference("m"), asm.Mov.Reg(asm.R2, asm.R10), asm.Add.Imm(asm.R2, -8),
		asm.LoadMapValue(asm.R3, 0, size).WithReference("m"), asm.StoreImm(asm.R3, 0, 1, asm.Byte), asm.Mov.Imm(asm.R4, 0), asm.FnMapUpdateElem.Call(), exit}
	v := hostile(t, &ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: size, MaxEntries: 2}, nil, code)
	r := v.Runner(0)
	if _, fault := r.Run(newContext(make([]byte, 64))); fault != FaultBudget {
		t.Errorf("an update of %d bytes: %v", size, fault)
	}
	if v.maps[0].slabs[0][0] != 0 {
		t.Error("the value was copied for all that")
	}

	tail := hostile(t, &ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1}, &Config{Budget: 10},
		asm.Instructions{asm.Mov.Imm(asm.R2, 1024), asm.FnXdpAdjustTail.Call(), exit})
	c := &Context{Buffer: bytes.Repeat([]byte{7}, 2048), Len: 64}
	if _, fault := tail.Runner(0).Run(c); fault != FaultBudget || c.Len != 64 || c.Buffer[64] != 7 {
		t.Errorf("an adjustment by 1024 bytes with a budget of 10: %v, %d bytes", fault, c.Len)
	}
}

// TestWorkOnAllCPUsIsCharged: an insertion clears the values of all CPUs; of
// thousands, it takes as long as thousands of instructions.
func TestWorkOnAllCPUsIsCharged(t *testing.T) {
	const cpus = 1000
	for _, kind := range []ebpf.MapType{ebpf.PerCPUHash, ebpf.LRUCPUHash} {
		v := hostile(t, &ebpf.MapSpec{Type: kind, KeySize: 4, ValueSize: 8, MaxEntries: 1}, &Config{CPUs: cpus}, append(onMap(asm.FnMapUpdateElem, -8), exit))
		if n := steps(t, v); n < cpus {
			t.Errorf("%v: an insertion for %d CPUs was charged as %d instructions", kind, cpus, n)
		}
	}
}

// TestPrefixesAreCharged: an LPM trie tries each prefix length that it holds,
// and with keys of 256 bytes there are 2049.
func TestPrefixesAreCharged(t *testing.T) {
	const keySize, lengths = 260, 2049
	v := hostile(t, &ebpf.MapSpec{Type: ebpf.LPMTrie, KeySize: keySize, ValueSize: 8, MaxEntries: lengths}, nil, append(append(asm.Instructions{
		asm.StoreImm(asm.R10, -264, lengths-1, asm.Word)}, onMap(asm.FnMapLookupElem, -264)...), exit))
	key := bytes.Repeat([]byte{0xff}, keySize)
	for n := range lengths {
		key[0], key[1], key[2], key[3] = byte(n), byte(n>>8), 0, 0
		if err := v.Map("m").Update(key, make([]byte, 8)); err != nil {
			t.Fatal(err)
		}
	}
	if n := steps(t, v); n < lengths*keySize/16 {
		t.Errorf("%d hashes of %d bytes were charged as %d instructions", lengths, keySize, n)
	}
}

// TestKeysOfForEachAreCharged, those of slots without an entry too: they are
// looked at.
func TestKeysOfForEachAreCharged(t *testing.T) {
	const keySize, entries = 512, 1000
	f := asm.Instruction{OpCode: asm.LoadImmOp(asm.DWord), Dst: asm.R2, Src: asm.PseudoFunc, Constant: -1}.WithReference("f")
	v := hostile(t, &ebpf.MapSpec{Type: ebpf.Hash, KeySize: keySize, ValueSize: 8, MaxEntries: entries}, nil, asm.Instructions{
		asm.LoadMapPtr(asm.R1, 0).WithReference("m"), f, asm.Mov.Imm(asm.R4, 0), asm.FnForEachMapElem.Call(), exit,
		asm.Mov.Imm(asm.R0, 0).WithSymbol("f"), exit})
	if n := steps(t, v); n < entries*keySize/16 {
		t.Errorf("%d keys of %d bytes were charged as %d instructions", entries, keySize, n)
	}
}

// TestBusyBucketIsCharged: a program that tries again and again to get a bucket
// that somebody holds spends its budget on that.
func TestBusyBucketIsCharged(t *testing.T) {
	for _, fn := range []asm.BuiltinFunc{asm.FnMapUpdateElem, asm.FnMapDeleteElem} {
		v := hostile(t, &ebpf.MapSpec{Type: ebpf.Hash, KeySize: 4, ValueSize: 8, MaxEntries: 1}, nil, append(onMap(fn, -8), exit))
		v.maps[0].table.locks[0].Store(1)
		if n := steps(t, v); n < maxSpins {
			t.Errorf("%v: %d attempts to get a bucket were charged as %d instructions", fn, maxSpins, n)
		}
	}
}

// TestDeepStackIsClear: no run finds what another has left in the stack of
// functions that were not called.
func TestDeepStackIsClear(t *testing.T) {
	v := hostile(t, nil, nil, asm.Instructions{asm.LoadMem(asm.R0, asm.R10, 1024, asm.Word), asm.StoreImm(asm.R10, 1024, 77, asm.Word), exit})
	r := v.Runner(0)
	for range 2 {
		if code, fault := r.Run(newContext(make([]byte, 64))); code != 0 || fault != FaultMemory {
			t.Errorf("beyond the stack of the functions called: %d, %v", code, fault)
		}
	}
}

// TestContentsWithoutValue: a collection that holds nothing for a key is
// refused, not a panic.
func TestContentsWithoutValue(t *testing.T) {
	for _, kv := range []ebpf.MapKV{{Key: uint32(0)}, {Value: uint32(0)}} {
		spec := mapSpec(map[string]*ebpf.MapSpec{"m": {Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1, Contents: []ebpf.MapKV{kv}}})
		if _, err := New(spec, "main", nil); err == nil {
			t.Errorf("contents %+v were taken", kv)
		}
	}
}

// TestMarksOfTargetsAreCounted against the memory for maps: each entry of an
// array of targets has a word that says whether it is set.
func TestMarksOfTargetsAreCounted(t *testing.T) {
	const entries = 1000
	spec := mapSpec(map[string]*ebpf.MapSpec{"m": {Type: ebpf.XSKMap, KeySize: 4, ValueSize: 4, MaxEntries: entries}})
	if _, err := New(spec, "main", &Config{MapMemory: 8 * entries}); err == nil {
		t.Error("the values alone were counted")
	}
	if _, err := New(spec, "main", &Config{MapMemory: 12 * entries}); err != nil {
		t.Error(err)
	}
}

// TestEvictionIsCharged: an update of an LRU hash may look at many entries to
// make room, each in a cache line of its own.
func TestEvictionIsCharged(t *testing.T) {
	v := hostile(t, &ebpf.MapSpec{Type: ebpf.LRUHash, KeySize: 4, ValueSize: 8, MaxEntries: 1}, nil, append(onMap(asm.FnMapUpdateElem, -8), exit))
	if n := steps(t, v); n < maxVictims {
		t.Errorf("an update that may look at %d entries was charged as %d instructions", maxVictims, n)
	}
}

// TestRefusedInputHasNoPlace: what a run says about its fault is not said again
// of the next, which did not start.
func TestRefusedInputHasNoPlace(t *testing.T) {
	v := hostile(t, nil, nil, asm.Instructions{asm.LoadMem(asm.R0, asm.R0, 0, asm.Byte), exit})
	r := v.Runner(0)
	if _, fault := r.Run(&Context{}); fault != FaultMemory || r.Where() == "" {
		t.Fatalf("a load through null: %v at %q", fault, r.Where())
	}
	if _, fault := r.Run(&Context{Off: 1}); fault != FaultInput || r.Where() != "" || r.Steps() != 0 {
		t.Errorf("a frame outside of its buffer: %v at %q after %d steps", fault, r.Where(), r.Steps())
	}
}

// TestInstructionsAreCounted: those of the program alone, whatever helpers are
// charged for their work.
func TestInstructionsAreCounted(t *testing.T) {
	const bytes = 512
	code := append(append(asm.Instructions{}, onMap(asm.FnMapUpdateElem, -8)...), // and with that the LRU looks for room
		asm.Mov.Imm(asm.R1, 0), asm.Mov.Imm(asm.R2, 0), asm.Mov.Reg(asm.R3, asm.R10), asm.Add.Imm(asm.R3, -bytes),
		asm.Mov.Imm(asm.R4, bytes), asm.Mov.Imm(asm.R5, 0), asm.FnCsumDiff.Call(), exit)
	v := hostile(t, &ebpf.MapSpec{Type: ebpf.LRUHash, KeySize: 4, ValueSize: 8, MaxEntries: 4}, nil, code)
	r := v.Runner(0)
	if _, fault := r.Run(newContext(make([]byte, 64))); fault != 0 {
		t.Fatal(fault)
	}
	if got := r.Instructions(); got != len(code) {
		t.Errorf("%d instructions, the program has %d", got, len(code))
	}
	if got, least := r.Steps(), len(code)+maxVictims+bytes/16; got < least {
		t.Errorf("%d steps, want %d at least", got, least)
	}
}
