package bench

import (
	"context"
	"runtime"
	"slices"
	"time"
)

// batch is how many packets go by between two looks at the clock: a look costs
// 20 to 50 ns in a virtual machine, which is then below 1 ns a packet. It is
// also the most that one Receive of a link hands out.
const batch = 64

// path moves batches of packets. run is timed, before and after are not; none
// of the three may be nil.
type path struct {
	before func()       // places the frames, or makes room
	run    func() error // batch packets
	after  func() error // takes away what run left, and checks it
}

func nothing()          {}
func nothingErr() error { return nil }

// warmUp is how many batches run before the clock counts: caches, lazily made
// state, the branch predictor.
const warmUp = 50

// maxBatches bounds a turn's samples: more than 10 s of the fastest path.
const maxBatches = 1 << 21

// disturbed is how many times the median a batch takes only if something from
// outside came between: an interrupt, another process. For a path that
// allocates that is a millisecond and more, beyond any pause of the collector.
const disturbed = 8

// turn makes a contender's turn of a path: "ns" a packet is the mean over all
// batches that were not disturbed, so what a contender's garbage costs is in
// it; "ns_median" is the median batch, and "allocs" the allocations a packet.
func (p path) turn(ctx context.Context, d time.Duration) (figures, error) {
	for range warmUp {
		if _, err := p.batch(); err != nil {
			return nil, err
		}
	}
	times := make([]time.Duration, 0, maxBatches)
	var before, after runtime.MemStats
	runtime.GC() // the peer of the turn before left its garbage
	runtime.ReadMemStats(&before)
	for end := time.Now().Add(d); len(times) < maxBatches; {
		t, err := p.batch()
		if err != nil {
			return nil, err
		}
		times = append(times, t)
		// Looking at the context and the end each 16 batches keeps it out of
		// the caches of what is measured.
		if len(times)%16 == 0 && (ctx.Err() != nil || time.Now().After(end)) {
			break
		}
	}
	runtime.ReadMemStats(&after)
	// A few allocations of the runtime's own background work fall into each
	// turn of millions of packets: below a thousandth a packet is none.
	allocs := float64(after.Mallocs-before.Mallocs) / float64(len(times)*batch)
	if allocs < 0.001 {
		allocs = 0
	}
	slices.Sort(times)
	median := times[len(times)/2]
	good, _ := slices.BinarySearch(times, disturbed*median+1)
	var total time.Duration
	for _, t := range times[:good] {
		total += t
	}
	return figures{
		"ns":        float64(total) / float64(good*batch),
		"ns_median": float64(median) / batch,
		"disturbed": float64(len(times) - good),
		"allocs":    allocs,
	}, nil
}

func (p path) batch() (time.Duration, error) {
	p.before()
	t0 := time.Now()
	err := p.run()
	t := time.Since(t0)
	if err != nil {
		return 0, err
	}
	return t, p.after()
}
