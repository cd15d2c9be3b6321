package vm

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// perInstruction is how long a program takes, nanoseconds an instruction of its
// own, over all the frames of a run, with the best of several runs. The time that
// helpers take is in it, and what they are charged for that is not.
func perInstruction(t testing.TB, o object, runs int) (ns float64, steps int) {
	t.Helper()
	r := newObject(t, o, 1).Runner(0)
	list := frames(7, 64)
	contexts, before := make([]Context, len(list)), make([]Context, len(list))
	for i, f := range list {
		before[i] = *newContext(f)
	}
	best := time.Duration(1<<63 - 1)
	for range runs {
		steps = 0
		var took time.Duration
		for range 16 {
			copy(contexts, before)
			start := time.Now()
			for i := range contexts {
				_, _ = r.Run(&contexts[i])
				steps += r.Instructions()
			}
			took += time.Since(start)
		}
		best = min(best, took)
	}
	return float64(best) / float64(steps), steps
}

func medianPerInstruction(t testing.TB) float64 {
	t.Helper()
	var all []float64
	for _, o := range objects {
		ns, _ := perInstruction(t, o, 3)
		all = append(all, ns)
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// BenchmarkPrograms reports ns an instruction for each program of testdata,
// all of a run's overhead included, and the median of all.
func BenchmarkPrograms(b *testing.B) {
	var all []float64
	for _, o := range objects {
		b.Run(o.file, func(b *testing.B) {
			ns, steps := 0.0, 0
			for range b.N {
				ns, steps = perInstruction(b, o, 5)
			}
			all = append(all, ns)
			b.ReportMetric(ns, "ns/insn")
			b.ReportMetric(float64(steps)/16/64, "insn/frame")
			b.ReportMetric(0, "ns/op")
		})
	}
	slices.Sort(all)
	if len(all) > 0 {
		fmt.Printf("median %.2f ns an instruction over %d programs\n", all[len(all)/2], len(all))
	}
}
