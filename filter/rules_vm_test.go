package filter

import (
	"encoding/binary"
	"testing"

	"github.com/oobnet/oobnet/filter/vm"
	"github.com/oobnet/oobnet/internal/filtertest"
)

// The XDP program of rules says in the virtual machine what the definition
// says, and so what the matcher and the kernel say, and counts the same hits.
func TestVMIsReference(t *testing.T) {
	dice := newDice(t)
	for range 60 {
		d := draw(t, dice)
		m := newRulesVM(t, d.rules)
		for range 300 {
			frame := filtertest.Frame(dice)
			if want, got := d.decide(t, frame, 0, false), m.run(t, frame); got != want {
				t.Fatalf("frame % x: the virtual machine says %v, want %v, by\n%v", frame, got, want, d.rules)
			}
		}
		d.checkHits(t, "the virtual machine", m.ruleHits(t))
	}
}

// rulesVM is the XDP program of rules in the virtual machine.
type rulesVM struct {
	rules  *Rules
	runner *vm.Runner
	hits   *vm.Map
}

func newRulesVM(t testing.TB, r *Rules) *rulesVM {
	t.Helper()
	x, err := r.XDP()
	if err != nil {
		t.Fatal(err)
	}
	machine, err := vm.New(x.Spec, x.Entry, nil)
	if err != nil {
		t.Fatalf("%v\n%v", err, r)
	}
	return &rulesVM{r, machine.Runner(0), machine.Map(x.RuleHits)}
}

func (m *rulesVM) run(t testing.TB, frame []byte) Verdict {
	t.Helper()
	code, fault := m.runner.Run(&vm.Context{Buffer: frame, Len: len(frame)})
	if fault != 0 {
		t.Fatalf("frame % x: %v at %s, by\n%v", frame, fault, m.runner.Where(), m.rules)
	}
	return Verdict(code)
}

func (m *rulesVM) ruleHits(t testing.TB) []uint64 {
	t.Helper()
	return vmHits(t, m.hits)
}

// vmHits reads the counters of the rules.
func vmHits(t testing.TB, m *vm.Map) []uint64 {
	t.Helper()
	hits := make([]uint64, m.MaxEntries())
	err := m.Each(func(key, value []byte) bool {
		for len(value) > 0 {
			hits[binary.NativeEndian.Uint32(key)] += binary.NativeEndian.Uint64(value)
			value = value[8:]
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return hits
}
