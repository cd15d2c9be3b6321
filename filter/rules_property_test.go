package filter

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/filtertest"
)

// drawn is a drawn set of rules at work.
type drawn struct {
	rules    *Rules
	instance *matcher
	hits     []uint64 // that there ought to be
}

// draw draws rules, and mentions the seed if the test fails.
func draw(t testing.TB, r *rand.Rand) *drawn {
	t.Helper()
	n := r.IntN(12)
	switch r.IntN(8) {
	case 0:
		n = 60 + r.IntN(10) // about a word
	case 1:
		n = r.IntN(400)
	}
	return newDrawn(t, filtertest.Rules(r, n))
}

func newDrawn(t testing.TB, text string) *drawn {
	t.Helper()
	rules, err := ParseRules(text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	instance, err := rules.Instance(1)
	if err != nil {
		t.Fatal(err)
	}
	return &drawn{rules, instance.(*matcher), make([]uint64, len(rules.rules)+1)}
}

// decide checks the matcher against the reference, and returns the verdict.
func (d *drawn) decide(t testing.TB, frame []byte, tci uint16, stripped bool) Verdict {
	t.Helper()
	want := reference(d.rules, frame, tci, stripped)
	d.hits[want]++
	verdict := d.rules.fallback
	if want < len(d.rules.rules) {
		verdict = d.rules.rules[want].Verdict
	}
	p := []Packet{{Buffer: frame, Len: len(frame), TCI: tci, Stripped: stripped, Action: 255}}
	d.instance.Run(0, p)
	if got := d.instance.tables.match(frame, tci, stripped); got != want || p[0].Action != Action(verdict) {
		t.Fatalf("frame % x, stripped %v %#x:\nrule %d and action %d, want rule %d, %v, of\n%v", frame, stripped, tci, got, p[0].Action, want, verdict, d.rules)
	}
	return verdict
}

func (d *drawn) checkHits(t testing.TB, what string, got []uint64) {
	t.Helper()
	for i := range d.hits {
		if len(got) != len(d.hits) || got[i] != d.hits[i] {
			t.Fatalf("%s hits %v, want %v", what, got, d.hits)
		}
	}
}

// newDice makes dice whose seed a failure shows.
func newDice(t testing.TB) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	})
	return rand.New(rand.NewPCG(seed, 0))
}

// The matcher says what the definition says.
func TestMatcherIsReference(t *testing.T) {
	dice := newDice(t)
	var byRule, byDefault int
	for range 300 {
		d := draw(t, dice)
		for range 200 {
			d.decide(t, filtertest.Frame(dice), uint16(dice.Uint32()), dice.IntN(4) == 0)
		}
		d.checkHits(t, "the matcher", d.instance.RuleHits())
		last := len(d.hits) - 1
		byDefault += int(d.hits[last])
		byRule += 200 - int(d.hits[last])
	}
	if byRule < 6000 || byDefault < 6000 {
		t.Errorf("%d frames were decided by rules, %d by defaults: this tries too little", byRule, byDefault)
	}
}
