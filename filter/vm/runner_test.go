package vm

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// assemble makes a VM of instructions.
func assemble(t testing.TB, kind ebpf.ProgramType, code asm.Instructions) (*VM, error) {
	t.Helper()
	return New(&ebpf.CollectionSpec{Maps: fuzzMaps(), Programs: map[string]*ebpf.ProgramSpec{
		"fuzz": {Type: kind, Instructions: code}}}, "fuzz", &Config{Budget: 10000, CPUs: 2})
}

var exit = asm.Return()

// TestFaults: whatever a program must not do ends the run with the fault that
// says so, and a place.
func TestFaults(t *testing.T) {
	load := func(dst, src asm.Register, off int16, size asm.Size) asm.Instruction {
		return asm.LoadMem(dst, src, off, size)
	}
	call := asm.Instruction{OpCode: asm.OpCode(asm.JumpClass).SetJumpOp(asm.Call), Src: asm.PseudoCall, Constant: -1}
	jump := asm.Instruction{OpCode: asm.OpCode(asm.JumpClass).SetJumpOp(asm.Ja), Offset: -1}
	data := load(asm.R2, asm.R1, xdpData, asm.Word)
	for _, c := range []struct {
		name string
		want Fault
		code asm.Instructions
	}{
		{"null", FaultMemory, asm.Instructions{asm.Mov.Imm(asm.R2, 0), load(asm.R0, asm.R2, 0, asm.DWord), exit}},
		{"before null", FaultMemory, asm.Instructions{asm.Mov.Imm(asm.R2, 0), load(asm.R0, asm.R2, -1, asm.Byte), exit}},
		{"before the frame", FaultMemory, asm.Instructions{data, load(asm.R0, asm.R2, -1, asm.Byte), exit}},
		{"behind the frame", FaultMemory, asm.Instructions{data, load(asm.R0, asm.R2, 57, asm.DWord), exit}},
		{"write behind the frame", FaultMemory, asm.Instructions{data, asm.StoreMem(asm.R2, 64, asm.R1, asm.Byte), exit}},
		{"below the stack", FaultMemory, asm.Instructions{asm.StoreMem(asm.R10, -513, asm.R1, asm.Byte), exit}},
		{"unknown region", FaultMemory, asm.Instructions{asm.LoadImm(asm.R2, 1<<40, asm.DWord), load(asm.R0, asm.R2, 0, asm.Byte), exit}},
		{"map itself", FaultMemory, asm.Instructions{asm.LoadMapPtr(asm.R2, 0).WithReference("hash"), load(asm.R0, asm.R2, 0, asm.Word), exit}},
		{"write .rodata", FaultMemory, asm.Instructions{asm.LoadMapValue(asm.R2, 0, 0).WithReference(".rodata"), asm.StoreImm(asm.R2, 0, 1, asm.Word), exit}},
		{"beyond a map", FaultMemory, asm.Instructions{asm.LoadMapValue(asm.R2, 0, 0).WithReference("array"), load(asm.R0, asm.R2, 48, asm.Byte), exit}},
		{"context field", FaultContext, asm.Instructions{load(asm.R0, asm.R1, 24, asm.Word), exit}},
		{"context width", FaultContext, asm.Instructions{load(asm.R0, asm.R1, 0, asm.DWord), exit}},
		{"context write", FaultContext, asm.Instructions{asm.StoreMem(asm.R1, 16, asm.R1, asm.Word), exit}},
		{"atomic on the frame", FaultAlignment, asm.Instructions{data, asm.StoreXAdd(asm.R2, asm.R1, asm.DWord), exit}},
		{"misaligned atomic", FaultAlignment, asm.Instructions{asm.AddAtomic.Mem(asm.R10, asm.R1, asm.DWord, -12), exit}},
		{"acquire on the frame", FaultAlignment, asm.Instructions{data, asm.LoadAcquire(asm.R0, asm.R2, asm.Byte, 0), exit}},
		{"misaligned release", FaultAlignment, asm.Instructions{asm.StoreRelease(asm.R10, asm.R1, asm.Half, -3), exit}},
		{"acquire beyond a map", FaultMemory, asm.Instructions{asm.LoadMapValue(asm.R2, 0, 0).WithReference("array"), asm.LoadAcquire(asm.R0, asm.R2, asm.Half, 48), exit}},
		{"release to .rodata", FaultMemory, asm.Instructions{asm.LoadMapValue(asm.R2, 0, 0).WithReference(".rodata"), asm.StoreRelease(asm.R2, asm.R1, asm.Byte, 1), exit}},
		{"wide release to .rodata", FaultMemory, asm.Instructions{asm.LoadMapValue(asm.R2, 0, 0).WithReference(".rodata"), asm.StoreRelease(asm.R2, asm.R1, asm.DWord, 0), exit}},
		{"endless calls", FaultStack, asm.Instructions{call.WithReference("f").WithSymbol("f"), exit}},
		{"endless loop", FaultBudget, asm.Instructions{jump, exit}},
		{"no map", FaultHelper, asm.Instructions{asm.Mov.Reg(asm.R2, asm.R10), asm.FnMapLookupElem.Call(), exit}},
		{"no key", FaultHelper, asm.Instructions{asm.LoadMapPtr(asm.R1, 0).WithReference("hash"), asm.Mov.Imm(asm.R2, 0), asm.FnMapLookupElem.Call(), exit}},
		{"no context", FaultHelper, asm.Instructions{asm.Mov.Imm(asm.R1, 0), asm.FnXdpGetBuffLen.Call(), exit}},
		{"no callback", FaultHelper, asm.Instructions{asm.Mov.Imm(asm.R1, 3), asm.Mov.Imm(asm.R2, 0), asm.Mov.Imm(asm.R4, 0), asm.FnLoop.Call(), exit}},
		{"redirect to no target", FaultHelper, asm.Instructions{asm.LoadMapPtr(asm.R1, 0).WithReference("hash"), asm.FnRedirectMap.Call(), exit}},
	} {
		v, err := assemble(t, ebpf.XDP, c.code)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		r := v.Runner(0)
		frame := make([]byte, 64)
		code, fault := r.Run(&Context{Buffer: frame, Len: 64})
		if fault != c.want || code != 0 {
			t.Errorf("%s: %d, %v, want %v", c.name, code, fault, c.want)
		}
		if !strings.Contains(r.Where(), "of fuzz") {
			t.Errorf("%s: at %q", c.name, r.Where())
		}
	}
}

// TestDecodeRefuses: New says what is wrong, and where.
func TestDecodeRefuses(t *testing.T) {
	for text, code := range map[string]asm.Instructions{
		"last instruction":     {asm.Mov.Imm(asm.R0, 1)},
		"no instruction":       {asm.JEq.Imm(asm.R1, 0, ""), exit, exit},
		"read-only":            {asm.Mov.Imm(asm.R10, 1), exit},
		"r10, the frame":       {asm.LoadAcquire(asm.R10, asm.R1, asm.Word, 0), exit},
		"bpf_fib_lookup":       {asm.FnFibLookup.Call(), exit},
		"bpf_skb_load_bytes":   {asm.FnSkbLoadBytes.Call(), exit},
		"packet loads":         {asm.LoadAbs(0, asm.Byte), exit},
		"unknown opcode":       {asm.Instruction{OpCode: 0xf7}, exit},
		"no such register":     {asm.Instruction{OpCode: asm.Mov.Op(asm.RegSource), Src: 11}, exit},
		"has to be zero":       {asm.Instruction{OpCode: asm.Mov.Op(asm.RegSource), Offset: 1}, exit},
		"kfunc":                {asm.Instruction{OpCode: 0x85, Src: asm.PseudoKfuncCall}, exit},
		"no map":               {asm.LoadMapPtr(asm.R1, 0).WithReference("nobody"), exit},
		"has no address":       {asm.LoadMapValue(asm.R1, 0, 0).WithReference("hash"), exit},
		"no instructions":      {},
		"is not in the progra": {asm.Instruction{OpCode: 0x85, Src: asm.PseudoCall, Constant: 77}, exit},
	} {
		if text == "no instruction" {
			code[0].Offset = 100
		}
		_, err := assemble(t, ebpf.XDP, code)
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("want an error with %q, got %v", text, err)
		}
	}
}

func TestInputIsChecked(t *testing.T) {
	r := newObject(t, objects[8], 1).Runner(0)
	for _, c := range []Context{
		{Buffer: make([]byte, 10), Off: 11}, {Buffer: make([]byte, 10), Off: 5, Len: 6}, {Off: -1}, {Len: -1},
		{Buffer: make([]byte, 10), Off: 1 << 62, Len: 1 << 62},
	} {
		if _, fault := r.Run(&c); fault != FaultInput {
			t.Errorf("%d at %d of %d: %v", c.Len, c.Off, len(c.Buffer), fault)
		}
	}
	if _, fault := r.Run(&Context{}); fault != 0 {
		t.Errorf("an empty frame: %v", fault)
	}
}

// TestRedirects: the targets that programs choose arrive in the context.
func TestRedirects(t *testing.T) {
	const redirect, pass, drop = 4, 2, 1
	frame := append(append(make([]byte, 12), 8, 0, 0x45), make([]byte, 45)...)
	frame[14+8] = 64 // TTL
	v := newObject(t, objects[7], 1)
	r, xsks := v.Runner(0), v.Map("xsks_map")
	if err := xsks.Update(le32(3), le32(42)); err != nil {
		t.Fatal(err)
	}
	for queue, want := range map[uint32]Redirect{3: {RedirectSocket, 42, xsks, 3}, 4: {}} {
		c := newContext(frame)
		c.Queue = queue
		code, fault := r.Run(c)
		if fault != 0 || c.Redirect != want || (code == redirect) != (queue == 3) || code != redirect && code != pass {
			t.Errorf("queue %d: %d, %v, %+v", queue, code, fault, c.Redirect)
		}
	}
	v = newObject(t, objects[11], 1)
	r = v.Runner(0)
	ports, peers := v.Map("ports"), v.Map("peers")
	for _, c := range []struct {
		protocol byte
		to       uint32 // the destination
		code     uint32
		want     Redirect
	}{
		{17, 1, redirect, Redirect{RedirectMapping, 1, ports, 1}},
		{17, 5, drop, Redirect{}},
		{6, 0x0a000002, redirect, Redirect{RedirectMapping, 1, peers, 0x0a000002}},
		{6, 0x0a000003, pass, Redirect{}},
	} {
		frame[23] = c.protocol
		binary.BigEndian.PutUint32(frame[30:], c.to)
		context := newContext(frame)
		code, fault := r.Run(context)
		if fault != 0 || code != c.code || context.Redirect != c.want {
			t.Errorf("%d to %#x: %d, %v, %+v", c.protocol, c.to, code, fault, context.Redirect)
		}
	}
	context := newContext(make([]byte, 20))
	context.IfIndex = 5
	if code, _ := r.Run(context); code != redirect || context.Redirect != (Redirect{Kind: RedirectDevice, Value: 5}) {
		t.Errorf("bpf_redirect: %d, %+v", code, context.Redirect)
	}
}

// TestSocketFilterContext: what the kernel's test run cannot show.
func TestSocketFilterContext(t *testing.T) {
	field := func(off int16, size asm.Size) asm.Instructions {
		return asm.Instructions{asm.LoadMem(asm.R0, asm.R1, off, size), exit}
	}
	relative := func(at, header int32) asm.Instructions {
		return asm.Instructions{asm.Mov.Imm(asm.R2, at), asm.Mov.Reg(asm.R3, asm.R10), asm.Add.Imm(asm.R3, -8),
			asm.StoreImm(asm.R10, -8, -1, asm.Word), asm.Mov.Imm(asm.R4, 4), asm.Mov.Imm(asm.R5, header),
			asm.FnSkbLoadBytesRelative.Call(), asm.LoadMem(asm.R0, asm.R10, -8, asm.Word), exit}
	}
	packet := func(at int32, size asm.Size) asm.Instructions {
		return asm.Instructions{asm.Mov.Reg(asm.R6, asm.R1), asm.LoadAbs(at, size), exit}
	}
	frame := make([]byte, 64)
	for i := range frame {
		frame[i] = byte(i)
	}
	frame[12], frame[13] = 0x88, 0xa4
	c := Context{Buffer: frame, Len: 64, Queue: 3, IfIndex: 7, TCI: 0x2005, Stripped: true, PacketType: 3, Mark: 0xa1b2c3d4, Priority: 6, Hash: 9}
	for name, x := range map[string]struct {
		code asm.Instructions
		want uint32
	}{
		"len": {field(skbLen, asm.Word), 64}, "pkt_type": {field(skbPacketType, asm.Word), 3},
		"mark": {field(skbMark, asm.Word), 0xa1b2c3d4}, "byte of mark": {field(skbMark+1, asm.Byte), 0xc3},
		"half of mark": {field(skbMark+2, asm.Half), 0xa1b2}, "queue": {field(skbQueue, asm.Word), 4},
		"protocol": {field(skbProtocol, asm.Word), 0xa488}, "vlan_present": {field(skbVLANPresent, asm.Word), 1},
		"vlan_tci": {field(skbVLANTCI, asm.Word), 0x2005}, "vlan_proto": {field(skbVLANProto, asm.Word), 0x0081},
		"priority": {field(skbPriority, asm.Word), 6}, "ifindex": {field(skbIfIndex, asm.Word), 7},
		"ingress": {field(skbIngress, asm.Word), 7}, "hash": {field(skbHash, asm.Word), 9},
		"from MAC": {relative(2, 0), 0x05040302}, "from network": {relative(2, 1), 0x13121110},
		"beyond": {relative(62, 0), 0}, "far beyond": {relative(0x10000, 1), 0},
		"word": {packet(12, asm.Word), 0x88a40e0f}, "half": {packet(12, asm.Half), 0x88a4}, "byte": {packet(63, asm.Byte), 63},
		"word beyond": {packet(61, asm.Word), 0}, "network": {packet(fromNetwork+1, asm.Byte), 15}, "link": {packet(fromLink+1, asm.Byte), 1},
		"below": {packet(-0x7fffffff, asm.Byte), 0},
	} {
		v, err := assemble(t, ebpf.SocketFilter, x.code)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		context := c
		if got, fault := v.Runner(0).Run(&context); got != x.want || fault != 0 {
			t.Errorf("%s: %#x, %v, want %#x", name, got, fault, x.want)
		}
	}
}

// TestStackIsClear: a run finds zeros where an earlier one, deep in calls, has
// left something.
func TestStackIsClear(t *testing.T) {
	call := asm.Instruction{OpCode: asm.OpCode(asm.JumpClass).SetJumpOp(asm.Call), Src: asm.PseudoCall, Constant: -1}
	v, err := assemble(t, ebpf.XDP, asm.Instructions{
		asm.LoadMem(asm.R6, asm.R10, -8, asm.DWord), asm.StoreImm(asm.R10, -8, 77, asm.Word),
		call.WithReference("deep"), asm.Add.Reg(asm.R0, asm.R6), exit,
		asm.LoadMem(asm.R0, asm.R10, -512, asm.DWord).WithSymbol("deep"), asm.StoreImm(asm.R10, -512, 88, asm.Word), exit})
	if err != nil {
		t.Fatal(err)
	}
	r := v.Runner(0)
	for range 3 {
		if code, fault := r.Run(&Context{}); code != 0 || fault != 0 {
			t.Fatalf("%d, %v", code, fault)
		}
	}
}

// TestFrameWindow: what lies around the frame is neither read nor written,
// while its ends move.
func TestFrameWindow(t *testing.T) {
	for _, o := range objects {
		r := newObject(t, o, 1).Runner(0)
		for _, f := range frames(33, 100) {
			whole := bytes.Repeat([]byte{0xa5}, 64+len(f)+64)
			copy(whole[64:], f)
			c := Context{Buffer: whole[32 : 64+len(f)+32], Off: 32, Len: len(f)}
			if _, fault := r.Run(&c); fault != 0 {
				t.Fatalf("%s: %v at %s", o.file, fault, r.Where())
			}
			around := append(bytes.Clone(whole[:32]), whole[64+len(f)+32:]...)
			if bytes.Count(around, []byte{0xa5}) != len(around) {
				t.Fatalf("%s has written outside of the buffer", o.file)
			}
		}
	}
}

// TestRunAllocatesNothing, in any of the programs.
func TestRunAllocatesNothing(t *testing.T) {
	for _, o := range objects {
		r := newObject(t, o, 2).Runner(1)
		list := frames(5, 50)
		contexts := make([]Context, len(list))
		for i, f := range list {
			contexts[i] = *newContext(f)
		}
		var c Context
		if n := testing.AllocsPerRun(20, func() {
			for i := range contexts {
				c = contexts[i]
				_, _ = r.Run(&c)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", o.file, n)
		}
	}
}

// TestInstructionIsFast: the median over the programs of testdata is within
// the 6 ns that the house allows.
func TestInstructionIsFast(t *testing.T) {
	if raceEnabled || testing.Short() {
		t.Skip("the race detector and -short measure something else: run without them")
	}
	const limit = 6.0
	for attempt := 1; ; attempt++ {
		median := medianPerInstruction(t)
		t.Logf("median of %d programs: %.2f ns an instruction", len(objects), median)
		if median <= limit {
			return
		}
		if attempt == 5 { // other load on the machine goes away at times
			t.Fatalf("median of %.2f ns an instruction in the best of %d attempts, the limit is %.1f", median, attempt, limit)
		}
	}
}
