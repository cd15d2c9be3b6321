package vm

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
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
			if err != io.EOF && r.Len() >= asm.InstructionSize {
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
		f.Add(raw.Bytes(), frames(3, 1)[0], uint8(headroom), spec.Programs[o.entry].Type == ebpf.SocketFilter)
	}
	f.Add([]byte{0xb7, 0, 0, 0, 1, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0}, []byte{}, uint8(0), false)
	f.Fuzz(func(t *testing.T, program, frame []byte, room uint8, socket bool) {
		runFuzz(t, program, frame, int(room), socket)
	})
}

func runFuzz(t *testing.T, program, frame []byte, room int, socket bool) {
	t.Helper()
	const budget, canary = 1 << 12, 64
	if len(program) > 1<<12 || len(frame) > 1<<11 {
		return
	}
	kind := ebpf.XDP
	if socket {
		kind = ebpf.SocketFilter
	}
	v, err := New(&ebpf.CollectionSpec{
		Maps:     fuzzMaps(),
		Programs: map[string]*ebpf.ProgramSpec{"fuzz": {Type: kind, Instructions: decodeFuzz(program)}},
	}, "fuzz", &Config{Budget: budget, CPUs: 2})
	if err != nil {
		return
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
	}
}

// TestRandomInstructions runs mutations of the programs of testdata, as many as
// a test has time for: opcodes, registers, offsets and numbers are exchanged.
func TestRandomInstructions(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 8))
	list := frames(9, 16)
	for n := range 5000 {
		var raw []byte
		for range 1 + r.IntN(40) {
			var b [8]byte
			binary.LittleEndian.PutUint64(b[:], r.Uint64())
			b[0] = fuzzOpcodes[r.IntN(len(fuzzOpcodes))]
			b[1] = byte(r.IntN(11) | r.IntN(11)<<4)
			b[2], b[3] = byte(int8(r.IntN(32)-16)), 0
			if b[2]&0x80 != 0 {
				b[3] = 0xff
			}
			switch {
			case b[0] == 0x18:
				b[1], b[2], b[3] = b[1]&0xf|byte(r.IntN(3))<<4, 0, 0
				raw = append(raw, b[:]...)
				b = [8]byte{7: byte(r.IntN(2))}
			case b[0] == 0x85:
				b[1], b[2], b[3] = byte(r.IntN(2))<<4, 0, 0
				binary.LittleEndian.PutUint32(b[4:], uint32(r.IntN(190)))
				if b[1] != 0 {
					binary.LittleEndian.PutUint32(b[4:], uint32(r.IntN(20)-10))
				}
			case b[0]&7 == 4 || b[0]&7 == 7:
				b[2], b[3] = 0, 0
				if b[0]&8 != 0 {
					b[4], b[5], b[6], b[7] = 0, 0, 0, 0
				} else {
					b[1] &= 0xf
				}
			case b[0]&7 == 1 || b[0]&15 == 0xd || b[0] == 0x7b:
				b[4], b[5], b[6], b[7] = 0, 0, 0, 0
			case b[0]&7 == 5:
				b[1] &= 0xf
			}
			raw = append(raw, b[:]...)
		}
		raw = append(raw, 0x95, 0, 0, 0, 0, 0, 0, 0)
		runFuzz(t, raw, list[n%len(list)], r.IntN(256), n%4 == 0)
	}
}

// fuzzOpcodes are those that programs are made of, the frequent ones twice.
var fuzzOpcodes = []byte{
	0x07, 0x0f, 0x17, 0x1f, 0x57, 0xb7, 0xb7, 0xbf, 0xbf, 0x67, 0x77, 0x27, 0x37, 0x3f, 0x97, 0x9f, 0xd7, 0xdc, 0xbc, 0xb4,
	0x61, 0x61, 0x69, 0x71, 0x79, 0x81, 0x63, 0x6b, 0x73, 0x7b, 0x62, 0x7a, 0x72, 0xdb, 0xc3,
	0x05, 0x15, 0x1d, 0x25, 0x2d, 0x55, 0x5d, 0xad, 0xb5, 0x16, 0x85, 0x85, 0x85, 0x18, 0x18, 0x20, 0x40, 0x30,
}
