package packet_test

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/net/bpf"
	"pgregory.net/rapid"

	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/proto/packet"
)

func assemble(t testing.TB, code ...bpf.Instruction) []bpf.RawInstruction {
	t.Helper()
	raw, err := bpf.Assemble(code)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// onlyType lets snap bytes of an EtherType's frames through.
func onlyType(etherType uint16, snap uint32) []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: 12, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(etherType), SkipFalse: 1},
		bpf.RetConstant{Val: snap},
		bpf.RetConstant{Val: 0},
	}
}

// TestBPF: 0 drops, n cuts to n bytes of the frame, more is all of it; what the
// program of a consumer refuses goes on.
func TestBPF(t *testing.T) {
	a, b := pair(t, manual())
	x := listen(t, a.Port, packet.All, nil)
	y, raw := listen(t, b.Port, packet.All, &packet.Config{Consume: true}), listen(t, b.Port, etherCAT, &packet.Config{Raw: true})
	below := listen(t, b.Port, otherType, nil)
	payload := strings.Repeat("p", 100)
	for _, snap := range []uint32{0, 1, 13, 14, 20, 113, 114, 115, 1 << 31} {
		for _, c := range []*packet.Conn{y, raw} {
			if err := c.SetBPF(assemble(t, onlyType(etherCAT, snap)...)); err != nil {
				t.Fatal(err)
			}
		}
		before := y.Stats().Filtered
		send(t, x, "another type", packet.Addr{MAC: b.Link.MAC(), EtherType: otherType})
		send(t, x, payload, packet.Addr{MAC: b.Link.MAC(), EtherType: etherCAT})
		b.Poll()
		receive(t, below, "another type")
		if snap == 0 {
			empty(t, y)
			if n := y.Stats().Filtered - before; n != 2 {
				t.Errorf("%d filtered, want 2", n)
			}
			continue
		}
		for c, header := range map[*packet.Conn]int{y: 14, raw: 0} {
			want := max(0, int(min(snap, 114))-header)
			m := packet.Message{Buf: make([]byte, 200)}
			etherType := uint16(0)
			if snap >= 14 {
				etherType = etherCAT
			}
			if err := c.ReadMsg(&m); err != nil || m.N != want || m.WireLen != 114 || m.Flags != 0 || m.Addr.EtherType != etherType {
				t.Errorf("snap %d: %d bytes of %d, flags %x, want %d of 114, %v", snap, m.N, m.WireLen, m.Flags, want, err)
			}
			empty(t, c)
		}
	}
	if err := y.SetBPF(nil); err != nil {
		t.Fatal(err)
	}
	send(t, x, payload, packet.Addr{MAC: b.Link.MAC(), EtherType: otherType})
	b.Poll()
	receive(t, y, payload)
	receive(t, below, payload)
}

// TestBPFOfAnAnalyser: its program sees what is sent too, and knows it as such.
func TestBPFOfAnAnalyser(t *testing.T) {
	a, b := pair(t, manual())
	x, here := listen(t, a.Port, etherCAT, nil), analyse(t, a.Device, nil)
	y := listen(t, b.Port, etherCAT, nil)
	for outgoing, want := range map[uint32]string{1: "there", 0: "back"} {
		const kindOutgoing = 4
		if err := here.SetBPF(assemble(t,
			bpf.LoadExtension{Num: bpf.ExtType},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: kindOutgoing, SkipTrue: uint8(1 - outgoing), SkipFalse: uint8(outgoing)},
			bpf.RetConstant{Val: 100},
			bpf.RetConstant{Val: 0},
		)); err != nil {
			t.Fatal(err)
		}
		send(t, x, "there", to(b.Link.MAC()))
		b.Poll()
		send(t, y, "back", to(a.Link.MAC()))
		a.Poll()
		m := packet.Message{Buf: make([]byte, 100)}
		if err := here.ReadMsg(&m); err != nil || m.Outgoing != (outgoing == 1) || !strings.HasPrefix(string(m.Buf), want) {
			t.Errorf("%q, outgoing %v, %v", m.Buf[:m.N], m.Outgoing, err)
		}
	}
}

// TestBPFExtensions: what programs ask beside the bytes.
func TestBPFExtensions(t *testing.T) {
	frame := make([]byte, 60)
	for _, e := range []struct {
		num      bpf.Extension
		stripped bool
		want     uint32
	}{
		{bpf.ExtLen, false, 60}, {bpf.ExtProto, false, etherCAT}, {bpf.ExtType, false, 2},
		{bpf.ExtVLANTag, false, 0}, {bpf.ExtVLANTagPresent, false, 0},
		{bpf.ExtVLANTag, true, vlanID}, {bpf.ExtVLANTagPresent, true, 1},
	} {
		p, err := packet.Compile(assemble(t, bpf.LoadExtension{Num: e.num}, bpf.RetA{}))
		if err != nil {
			t.Fatal(err)
		}
		if got := p.RunBeside(frame, etherCAT, vlanID, e.stripped, 2); got != e.want {
			t.Errorf("extension %d, stripped %v: %d, want %d", e.num, e.stripped, got, e.want)
		}
	}
}

// TestBPFRefused: what Linux would refuse.
func TestBPFRefused(t *testing.T) {
	ret := bpf.RawInstruction{Op: 0x06}
	for name, p := range map[string][]bpf.RawInstruction{
		"no return":            {{Op: 0x00}},
		"too long":             make([]bpf.RawInstruction, 4097),
		"unknown":              {{Op: 0xff}, ret},
		"unknown, wide":        {{Op: 0x106}, ret},
		"ret x":                {{Op: 0x0e}},
		"jump beyond":          {{Op: 0x05, K: 1}, ret},
		"jump far beyond":      {{Op: 0x05, K: 0xffffffff}, ret},
		"true beyond":          {{Op: 0x15, Jt: 1}, ret},
		"false beyond":         {{Op: 0x15, Jf: 1}, ret},
		"division by 0":        {{Op: 0x34}, ret},
		"remainder by 0":       {{Op: 0x94}, ret},
		"shift by 32":          {{Op: 0x64, K: 32}, ret},
		"word 16":              {{Op: 0x02, K: 16}, ret},
		"read of word 16":      {{Op: 0x60, K: 16}, ret},
		"word never stored":    {{Op: 0x60, K: 3}, ret},
		"word perhaps stored":  {{Op: 0x15, Jf: 1}, {Op: 0x02, K: 3}, {Op: 0x61, K: 3}, ret},
		"extension unknown":    {{Op: 0x20, K: 0xfffff000 + 56}, ret},
		"the network's header": {{Op: 0x20, K: 0xfff00000}, ret},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := packet.Compile(p); !errors.Is(err, syscall.EINVAL) {
				t.Errorf("%v, want EINVAL", err)
			}
		})
	}
}

// reference runs a program in the VM of x/net; ok is false where that has no
// answer: it does not know all instructions that Linux does.
func reference(raw []bpf.RawInstruction, data []byte) (n uint32, ok bool) {
	code, all := bpf.Disassemble(raw)
	if !all {
		return 0, false
	}
	for _, in := range raw {
		if in.Op == 0x81 { // loads the length into X, which the VM takes for A
			return 0, false
		}
		// The VM shifts by X bits, Linux by X modulo 32, and the VM does not add
		// index and offset modulo 2^32. Ours is compared with Linux.
		switch in.Op {
		case 0x6c, 0x7c:
			return 0, false
		case 0x40, 0x48, 0x50:
			return 0, false
		}
		// In Linux offsets below the extensions are the network's and the
		// link's header, which ours refuses; the VM takes them for offsets.
		if plain := in.Op == 0x20 || in.Op == 0x28 || in.Op == 0x30; plain && in.K >= 0xffe00000 && in.K < 0xfffff000 {
			return 0, false
		}
	}
	for _, in := range code {
		switch in := in.(type) {
		case bpf.NegateA:
			return 0, false
		case bpf.LoadExtension:
			if in.Num != bpf.ExtLen {
				return 0, false
			}
		}
	}
	vm, err := bpf.NewVM(code)
	if err != nil {
		return 0, false
	}
	got, err := vm.Run(data)
	return uint32(got), err == nil
}

// agree compares the two on one program and one frame, and reports whether
// there was anything to compare.
func agree(t interface {
	Helper()
	Fatalf(string, ...any)
}, raw []bpf.RawInstruction, data []byte,
) bool {
	t.Helper()
	p, err := packet.Compile(raw)
	want, ok := reference(raw, data)
	if err != nil {
		if ok {
			// Linux refuses shifts that the VM takes for 0, codes that are no
			// instructions, of which the VM ignores some bits, and reads of words
			// that may not have been stored, which are 0 in the VM.
			for _, in := range raw {
				if !slices.Contains(codes, in.Op) || (in.Op == 0x64 || in.Op == 0x74) && in.K > 31 || in.Op == 0x60 || in.Op == 0x61 {
					return false
				}
			}
			t.Fatalf("%v refused, which the VM runs: %v", raw, err)
		}
		return false
	}
	got := p.Run(data)
	if ok && got != want {
		t.Fatalf("%v on % x: %d, the VM says %d", raw, data, got, want)
	}
	return ok
}

// codes are those of all instructions; jumps and loads come more often.
var codes = []uint16{
	0x00, 0x01, 0x02, 0x03, 0x20, 0x28, 0x30, 0x40, 0x48, 0x50, 0x60, 0x61, 0x80, 0x81, 0xb1,
	0x04, 0x14, 0x24, 0x34, 0x44, 0x54, 0x64, 0x74, 0x84, 0x94, 0xa4, 0x0c, 0x1c, 0x2c, 0x3c, 0x4c, 0x5c, 0x6c, 0x7c, 0x9c, 0xac,
	0x05, 0x15, 0x25, 0x35, 0x45, 0x1d, 0x2d, 0x3d, 0x4d, 0x15, 0x25, 0x45, 0x28, 0x30, 0x20, 0x07, 0x87, 0x06, 0x16,
}

// drawBPF draws a program of valid instructions, which may read words that it has
// not stored: half of them store the first two to begin with.
func drawBPF(t *rapid.T) []bpf.RawInstruction {
	n := rapid.IntRange(1, 40).Draw(t, "length")
	raw := make([]bpf.RawInstruction, n)
	for i := range raw {
		after := n - i - 1
		in := &raw[i]
		in.Op = rapid.SampledFrom(codes).Draw(t, "code")
		switch {
		case after == 0:
			in.Op = rapid.SampledFrom([]uint16{0x06, 0x16}).Draw(t, "return")
			in.K = rapid.Uint32().Draw(t, "k")
		case in.Op == 0x05:
			in.K = uint32(rapid.IntRange(0, after-1).Draw(t, "skip"))
		case in.Op&7 == 5:
			in.Jt, in.Jf = uint8(rapid.IntRange(0, after-1).Draw(t, "true")), uint8(rapid.IntRange(0, after-1).Draw(t, "false"))
			in.K = rapid.Uint32Range(0, 300).Draw(t, "k")
		case in.Op == 0x02 || in.Op == 0x03 || in.Op == 0x60 || in.Op == 0x61:
			in.K = rapid.OneOf(rapid.Uint32Range(0, 1), rapid.Uint32Range(0, 15)).Draw(t, "word")
		case in.Op&7 == 4:
			in.K = rapid.Uint32Range(1, 31).Draw(t, "k")
		default:
			in.K = rapid.OneOf(rapid.Uint32Range(0, 70), rapid.Uint32Range(0, 1<<31)).Draw(t, "k")
		}
	}
	if rapid.Bool().Draw(t, "stores") {
		raw = append([]bpf.RawInstruction{{Op: 0x02, K: 0}, {Op: 0x03, K: 1}}, raw...)
	}
	return raw
}

// TestBPFAgrees: random programs on random frames, ours against x/net's VM.
func TestBPFAgrees(t *testing.T) {
	compared := 0
	rapid.Check(t, func(t *rapid.T) {
		if agree(t, drawBPF(t), rapid.SliceOfN(rapid.Byte(), 0, 80).Draw(t, "frame")) {
			compared++
		}
	})
	if compared == 0 {
		t.Error("nothing was compared")
	}
}

// FuzzBPF: any program either is refused or ends, inside its memory, with what
// the VM says.
func FuzzBPF(f *testing.F) {
	add := func(data []byte, raw ...bpf.RawInstruction) {
		var code []byte
		for _, in := range raw {
			code = binary.BigEndian.AppendUint16(code, in.Op)
			code = binary.BigEndian.AppendUint32(append(code, in.Jt, in.Jf), in.K)
		}
		f.Add(code, data)
	}
	add(make([]byte, 60), assemble(f, onlyType(etherCAT, 60)...)...)
	add([]byte{1, 2, 3}, bpf.RawInstruction{Op: 0x30, K: 2}, bpf.RawInstruction{Op: 0x16})
	add(nil, bpf.RawInstruction{Op: 0xb1}, bpf.RawInstruction{Op: 0x87}, bpf.RawInstruction{Op: 0x84}, bpf.RawInstruction{Op: 0x16})
	f.Fuzz(func(t *testing.T, code, data []byte) {
		var raw []bpf.RawInstruction
		for ; len(code) >= 8; code = code[8:] {
			raw = append(raw, bpf.RawInstruction{Op: binary.BigEndian.Uint16(code), Jt: code[2], Jf: code[3], K: binary.BigEndian.Uint32(code[4:])})
		}
		if len(raw) > 0 {
			agree(t, raw, data)
		}
	})
}

// BenchmarkBPF is a program of tcpdump's size ("udp port 7"), ours and x/net's.
func BenchmarkBPF(b *testing.B) {
	code := []bpf.Instruction{
		bpf.LoadAbsolute{Off: 12, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: wire.TypeIPv4, SkipFalse: 8},
		bpf.LoadAbsolute{Off: 23, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 17, SkipFalse: 6},
		bpf.LoadAbsolute{Off: 20, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: 0x1fff, SkipTrue: 4},
		bpf.LoadMemShift{Off: 14},
		bpf.LoadIndirect{Off: 16, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 7, SkipFalse: 1},
		bpf.RetConstant{Val: 1 << 18},
		bpf.RetConstant{Val: 0},
	}
	data := make([]byte, 60)
	data[12], data[14], data[23], data[37] = 8, 0x45, 17, 7
	b.Run("ours", func(b *testing.B) {
		p, err := packet.Compile(assemble(b, code...))
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if p.Run(data) == 0 {
				b.Fatal("refused")
			}
		}
	})
	b.Run("x/net", func(b *testing.B) {
		vm, err := bpf.NewVM(code)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if n, _ := vm.Run(data); n == 0 {
				b.Fatal("refused")
			}
		}
	})
}
