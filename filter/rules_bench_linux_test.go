package filter

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/netns"
	"github.com/oobnet/oobnet/internal/netnstest"
)

func BenchmarkRulesKernel(b *testing.B) {
	netnstest.RequireRoot(b)
	for _, shape := range ruleShapes {
		for _, n := range []int{1, 1000, MaxRules} {
			b.Run(fmt.Sprintf("%s/%d", strings.ReplaceAll(shape.name, " ", "_"), n), func(b *testing.B) {
				k := loadRules(b, manyRules(b, n, shape.rule), nil)
				defer k.close()
				packets := framesFor(n)
				for i := 0; b.Loop(); i++ {
					k.time(b, packets[i%len(packets)].Bytes())
				}
				b.ReportMetric(k.perPacket(b, packets), "ns/packet")
			})
		}
	}
}

// runs is how often the kernel runs a program to time it.
const runs = 10_000

// time returns how long a run takes, as the kernel measures it.
func (l *loaded) time(t testing.TB, frame []byte) time.Duration {
	t.Helper()
	_, d, err := l.program.Benchmark(frame, runs, nil)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// perPacket is the median over packets, in ns.
func (l *loaded) perPacket(t testing.TB, packets []Packet) float64 {
	t.Helper()
	var took []time.Duration
	for i := range packets {
		took = append(took, l.time(t, packets[i].Bytes()))
	}
	slices.Sort(took)
	return float64(took[len(took)/2].Nanoseconds())
}

// All shapes, as many rules as there may be, pass the verifier, and do so within
// a bounded number of instructions.
func TestKernelTakesManyRules(t *testing.T) {
	leaktest.Check(t)
	netnstest.RequireRoot(t)
	for _, shape := range ruleShapes {
		for _, n := range []int{1, 64, 65, 1000, MaxRules} {
			r := manyRules(t, n, shape.rule)
			k := loadRules(t, r, nil)
			want, hits := Accept, n-1
			if shape.misses {
				want, hits = Skip, n
			}
			if got := k.run(t, frameFor(n-1)); got != want {
				t.Errorf("%s, %d rules: the last rule's frame: %v, want %v", shape.name, n, got, want)
			}
			if got := k.ruleHits(t)[hits]; got != 1 {
				t.Errorf("%s, %d rules: %d hits of the one that decides, want 1", shape.name, n, got)
			}
			info, err := k.program.Info()
			if err != nil {
				t.Fatal(err)
			}
			if v, ok := info.VerifiedInstructions(); ok {
				t.Logf("%s, %d rules: the verifier looked at %d instructions; %d bytes of tables", shape.name, n, v, len(r.tables.block))
				if v > 200_000 {
					t.Errorf("%s, %d rules: the verifier looked at %d instructions; its limit is a million", shape.name, n, v)
				}
			}
			k.close()
		}
	}
}

// The fullest tables that there can be pass as well, and decide as here.
func TestKernelTakesFullRules(t *testing.T) {
	leaktest.Check(t)
	netnstest.RequireRoot(t)
	r, err := NewRules(Skip, fullRules(t)...)
	if err != nil {
		t.Fatal(err)
	}
	k := loadRules(t, r, nil)
	defer k.close()
	for i := range 100 {
		frame := frameFor(i)
		want := reference(r, frame, 0, false)
		if got := k.run(t, frame); got != r.tables.verdict(want) {
			t.Errorf("frame %d: %v, want rule %d", i, got, want)
		}
	}
}

// costLimit is how much more 1 000 rules may cost a packet than 1 does.
const costLimit = 5

// Whatever the shape, and even if all words must be looked at, many rules cost
// little more than one. Noise only adds, so the least of several rounds counts,
// and more rounds are made as long as it does not do.
func TestManyRulesCostLittle(t *testing.T) {
	leaktest.Check(t)
	if raceFactor > 1 {
		t.Skip("the race detector's work is what would be timed")
	}
	kernel := netns.Available() == nil
	if !kernel {
		t.Log("without root the kernel is not timed")
	}
	for _, shape := range ruleShapes {
		one, many := manyRules(t, 1, shape.rule), manyRules(t, 1000, shape.rule)
		costsLittle(t, shape.name+" here", timeHere(t, one, 1), timeHere(t, many, 1000))
		if kernel {
			a, b := loadRules(t, one, nil), loadRules(t, many, nil)
			// The mean of a run is in whole ns; that of one rule is some 30.
			costsLittle(t, shape.name+" in the kernel",
				func() time.Duration { return a.time(t, frameFor(0)) },
				func() time.Duration { return b.time(t, frameFor(999)) })
			a.close()
			b.close()
		}
	}
}

// timeHere returns a function that times many batches for n rules.
func timeHere(t *testing.T, r *Rules, n int) func() time.Duration {
	t.Helper()
	m, err := r.Instance(1)
	if err != nil {
		t.Fatal(err)
	}
	packets := framesFor(n)
	return func() time.Duration {
		start := time.Now()
		for range 200 {
			m.Run(0, packets)
		}
		return time.Since(start)
	}
}

func costsLittle(t *testing.T, what string, one, many func() time.Duration) {
	t.Helper()
	const fewest, most = 10, 300
	bestOne, bestMany := one(), many()
	for round := 0; round < most && (round < fewest || bestMany > costLimit*bestOne); round++ {
		bestOne, bestMany = min(bestOne, one()), min(bestMany, many())
	}
	ratio := float64(bestMany) / float64(bestOne)
	t.Logf("%s: 1000 rules cost %.2f times what 1 does", what, ratio)
	if ratio > costLimit {
		t.Errorf("%s: 1000 rules cost %.2f times what 1 does, more than %d", what, ratio, costLimit)
	}
}
