package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/cilium/ebpf"

	"github.com/oobnet/oobnet/internal/netns"
)

// kernelRuns is how often the kernel runs a program on one frame to time it: a
// few hundred microseconds.
const kernelRuns = 10_000

// xdp runs n rules in the kernel (BPF_PROG_TEST_RUN), on each frame of a batch
// in turn, and has the kernel's own clock.
func (s ruleShape) xdp(n int) contender {
	return contender{name: scaleName("rules", n), setUp: func(context.Context) (turn, func(), error) {
		if err := netns.Available(); err != nil {
			return nil, nil, errSkip{fmt.Sprintf("loading programs takes root: %v", err)}
		}
		rules, err := s.rules(n)
		if err != nil {
			return nil, nil, err
		}
		x, err := rules.XDP()
		if err != nil {
			return nil, nil, err
		}
		c, err := ebpf.NewCollection(x.Spec)
		if err != nil {
			return nil, nil, err
		}
		return timeProgram(c.Programs[x.Entry], flowFrames(n)), c.Close, nil
	}}
}

// timeProgram makes a turn of a program on frames.
func timeProgram(p *ebpf.Program, frames [][]byte) turn {
	return func(ctx context.Context, d time.Duration) (figures, error) {
		var total time.Duration
		runs := 0
		for end := time.Now().Add(d); runs == 0 || time.Now().Before(end); runs++ {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			_, took, err := p.Benchmark(frames[runs%len(frames)], kernelRuns, nil)
			if err != nil {
				return nil, err
			}
			total += took // the mean of kernelRuns
		}
		return figures{"ns": float64(total) / float64(runs)}, nil
	}
}
