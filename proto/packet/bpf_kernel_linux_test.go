package packet_test

import (
	"errors"
	"math/rand/v2"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/proto/packet"
)

// kernelBPF runs programs in the kernel: as the filter of a socket, which sees
// each datagram as a frame.
type kernelBPF struct{ from, to int }

func newKernelBPF(t *testing.T) kernelBPF {
	t.Helper()
	leaktest.Check(t)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(unix.Close(pair[0]), unix.Close(pair[1])); err != nil {
			t.Error(err)
		}
	})
	return kernelBPF{pair[0], pair[1]}
}

// attach has the kernel check a program.
func (k kernelBPF) attach(raw []bpf.RawInstruction) error {
	code := make([]unix.SockFilter, len(raw))
	for i, in := range raw {
		code[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	return unix.SetsockoptSockFprog(k.to, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]})
}

// fataler is a test, or one of rapid's.
type fataler interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
}

// run returns how much of a frame, which is not empty, the program lets through.
func (k kernelBPF) run(t fataler, data []byte) int {
	t.Helper()
	if err := unix.Send(k.from, data, 0); err != nil {
		t.Fatal(err)
	}
	// A datagram is there, or filtered out, when send returns.
	n, _, err := unix.Recvfrom(k.to, make([]byte, len(data)), 0)
	if errors.Is(err, unix.EAGAIN) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestBPFAsInKernel: the kernel takes what we take, and lets as much through.
func TestBPFAsInKernel(t *testing.T) {
	k := newKernelBPF(t)
	taken, refused := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		raw := drawBPF(t)
		p, ours := packet.Compile(raw)
		switch kernel := k.attach(raw); {
		case kernel != nil && !errors.Is(kernel, unix.EINVAL):
			t.Fatal(kernel)
		case (ours == nil) != (kernel == nil):
			t.Fatalf("%v: %v, the kernel: %v", raw, ours, kernel)
		case ours != nil:
			refused++
			return
		}
		taken++
		for range 3 {
			data := rapid.SliceOfN(rapid.Byte(), 1, 80).Draw(t, "frame")
			if got, want := min(int(p.Run(data)), len(data)), k.run(t, data); got != want {
				t.Fatalf("%v on % x: %d, the kernel says %d", raw, data, got, want)
			}
		}
	})
	if taken == 0 || refused == 0 {
		t.Errorf("%d programs taken, %d refused: this tries too little", taken, refused)
	}
}

// TestBPFNumbersAsInKernel: each operation on two numbers gives what the
// kernel's gives, shifts by more than a word has bits and indices that wrap too.
func TestBPFNumbersAsInKernel(t *testing.T) {
	k := newKernelBPF(t)
	dice := rand.New(rand.NewPCG(3, 5))
	edges := []uint32{0, 1, 2, 31, 32, 33, 63, 64, 255, 256, 1 << 31, 1<<31 - 1, 1<<32 - 1, 1<<32 - 31}
	number := func() uint32 {
		if dice.IntN(3) == 0 {
			return dice.Uint32()
		}
		return edges[dice.IntN(len(edges))]
	}
	data := make([]byte, 60)
	for i := range data {
		data[i] = byte(i + 1)
	}
	const indexed = 4 // offsets of these are drawn near the frame's ends
	ops := []uint16{0x40, 0x48, 0x50, 0x81, 0x0c, 0x1c, 0x2c, 0x3c, 0x4c, 0x5c, 0x6c, 0x7c, 0x9c, 0xac, 0x84, 0x64, 0x74}
	for range 2000 {
		op := ops[dice.IntN(len(ops))]
		a, x, c := number(), number(), number()
		if op == 0x40 || op == 0x48 || op == 0x50 {
			c = uint32(dice.IntN(len(data)+2*indexed)) - indexed - x
		}
		if op == 0x64 || op == 0x74 {
			c %= 32
		}
		code := []bpf.RawInstruction{{Op: 0x01, K: x}, {Op: 0x00, K: a}, {Op: op, K: c}, {Op: 0x16}}
		p, err := packet.Compile(code)
		if err != nil {
			t.Fatal(err)
		}
		got := p.Run(data)
		// The kernel is asked for equality: of what it returns, it shows no more
		// than the frame's length. 0 is also what a failed load gives.
		code = append(code[:3], bpf.RawInstruction{Op: 0x15, Jf: 1, K: got}, bpf.RawInstruction{Op: 0x06, K: 1}, bpf.RawInstruction{Op: 0x06, K: 2})
		if err := k.attach(code); err != nil {
			t.Fatal(err)
		}
		if n := k.run(t, data); n != 1 && (n != 0 || got != 0) {
			t.Fatalf("%v with A %#x, X %#x: %#x; the kernel says otherwise (%d)", code[2], a, x, got, n)
		}
	}
}

// TestBPFScratchAsInKernel: which reads of words are refused.
func TestBPFScratchAsInKernel(t *testing.T) {
	k := newKernelBPF(t)
	st := bpf.RawInstruction{Op: 0x02}
	load := bpf.RawInstruction{Op: 0x60}
	ret := bpf.RawInstruction{Op: 0x16}
	if0 := func(jt, jf uint8) bpf.RawInstruction { return bpf.RawInstruction{Op: 0x15, Jt: jt, Jf: jf} }
	for name, c := range map[string]struct {
		code []bpf.RawInstruction
		ok   bool
	}{
		"stored":                    {[]bpf.RawInstruction{st, load, ret}, true},
		"never stored":              {[]bpf.RawInstruction{load, ret}, false},
		"never stored, into X":      {[]bpf.RawInstruction{{Op: 0x61}, ret}, false},
		"another stored":            {[]bpf.RawInstruction{{Op: 0x03, K: 1}, load, ret}, false},
		"stored later":              {[]bpf.RawInstruction{load, st, ret}, false},
		"stored on one way":         {[]bpf.RawInstruction{if0(0, 1), st, load, ret}, false},
		"stored on both ways":       {[]bpf.RawInstruction{if0(0, 2), st, {Op: 0x05, K: 1}, st, load, ret}, true},
		"stored before the fork":    {[]bpf.RawInstruction{st, if0(0, 1), {Op: 0x00}, load, ret}, true},
		"jumped over":               {[]bpf.RawInstruction{{Op: 0x05, K: 1}, st, load, ret}, false},
		"behind a return, jumped":   {[]bpf.RawInstruction{if0(0, 2), st, {Op: 0x05, K: 1}, ret, load, ret}, false},
		"behind a return, no way":   {[]bpf.RawInstruction{ret, load, ret}, false},
		"behind a jump, no way":     {[]bpf.RawInstruction{{Op: 0x05, K: 1}, load, ret}, true},
		"behind a return, a way":    {[]bpf.RawInstruction{st, if0(1, 0), ret, load, ret}, true},
		"stored by one that cannot": {[]bpf.RawInstruction{ret, st, load, ret}, true},
	} {
		t.Run(name, func(t *testing.T) {
			kernel := k.attach(c.code)
			if _, err := packet.Compile(c.code); (err == nil) != c.ok || (kernel == nil) != c.ok {
				t.Errorf("%v, the kernel: %v, want it to be taken: %v", err, kernel, c.ok)
			}
		})
	}
}
