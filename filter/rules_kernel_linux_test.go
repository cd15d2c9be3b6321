package filter

import (
	"errors"
	"os"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/oobnet/oobnet/internal/filtertest"
	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/netnstest"
)

// kernelMinimum is the shortest frame that BPF_PROG_TEST_RUN takes.
const kernelMinimum = 14

// loaded is an XDP filter in the kernel.
type loaded struct {
	program *ebpf.Program
	hits    *ebpf.Map
}

// loadRules loads a filter's XDP form, after edit has changed it. The caller closes it.
func loadRules(t testing.TB, r *Rules, edit func(*XDP)) *loaded {
	t.Helper()
	x, err := r.XDP()
	if err != nil {
		t.Fatal(err)
	}
	if x.Actions {
		t.Fatal("the program is said to return actions")
	}
	if edit != nil {
		edit(x)
	}
	c, err := ebpf.NewCollection(x.Spec)
	if err != nil {
		var verifier *ebpf.VerifierError
		if errors.As(err, &verifier) {
			t.Fatalf("%+v\n%v", verifier, r)
		}
		t.Fatalf("%v\n%v", err, r)
	}
	defer c.Close()
	return &loaded{c.DetachProgram(x.Entry), c.DetachMap(x.RuleHits)}
}

func (l *loaded) close() {
	l.program.Close()
	l.hits.Close()
}

func (l *loaded) run(t testing.TB, frame []byte) Verdict {
	t.Helper()
	n, err := l.program.Run(&ebpf.RunOptions{Data: frame})
	if err != nil {
		t.Fatal(err)
	}
	return Verdict(n)
}

func (l *loaded) ruleHits(t testing.TB) []uint64 {
	t.Helper()
	sum := make([]uint64, l.hits.MaxEntries())
	for i := range sum {
		var perCPU []uint64
		if err := l.hits.Lookup(uint32(i), &perCPU); err != nil {
			t.Fatal(err)
		}
		for _, n := range perCPU {
			sum[i] += n
		}
	}
	return sum
}

// The kernel, the matcher and the virtual machine say what the definition says,
// each of the same frame by the same rules, and count the same hits.
func TestKernelIsReference(t *testing.T) {
	leaktest.Check(t)
	netnstest.RequireRoot(t)
	dice := newDice(t)
	jumbo := false
	for range 60 {
		d := draw(t, dice)
		k, m := loadRules(t, d.rules, nil), newRulesVM(t, d.rules)
		for range 200 {
			frame := filtertest.Frame(dice)
			if len(frame) < kernelMinimum {
				continue
			}
			jumbo = jumbo || len(frame) > os.Getpagesize()
			want := d.decide(t, frame, 0, false) // which the matcher has said, too
			if kernel, ours := k.run(t, frame), m.run(t, frame); kernel != want || ours != want {
				t.Fatalf("frame % x: the kernel says %v, the virtual machine %v, want %v, by\n%v", frame, kernel, ours, want, d.rules)
			}
		}
		d.checkHits(t, "the kernel", k.ruleHits(t))
		d.checkHits(t, "the virtual machine", m.ruleHits(t))
		k.close()
	}
	if !jumbo {
		t.Error("no frame was longer than a page: this tries too little")
	}
}

// The entry works as a function of a program that has one of its own around it.
func TestKernelCallsEntry(t *testing.T) {
	leaktest.Check(t)
	netnstest.RequireRoot(t)
	dice := newDice(t)
	d := newDrawn(t, filtertest.Rules(dice, 100))
	const offset = 40
	k := loadRules(t, d.rules, func(x *XDP) {
		entry := x.Spec.Programs[x.Entry]
		entry.Instructions = append(asm.Instructions{
			asm.Mov.Imm(asm.R6, offset),
			asm.Call.Label(x.Entry),
			asm.Add.Reg(asm.R0, asm.R6),
			asm.Return(),
		}, entry.Instructions...)
	})
	defer k.close()
	for range 500 {
		frame := filtertest.Frame(dice)
		if len(frame) >= kernelMinimum {
			if want, got := d.decide(t, frame, 0, false), k.run(t, frame)-offset; got != want {
				t.Fatalf("frame % x: %v, want %v", frame, got, want)
			}
		}
	}
	d.checkHits(t, "the kernel", k.ruleHits(t))
}
