package bench

import (
	"context"
	"runtime"
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

// turn makes a contender's turn of a path: mean ns and allocations a packet,
// what the collector costs included.
func (p path) turn(ctx context.Context, d time.Duration) (figures, error) {
	for range warmUp {
		if _, err := p.batch(); err != nil {
			return nil, err
		}
	}
	var timed time.Duration
	batches := 0
	var before, after runtime.MemStats
	runtime.GC() // the peer of the turn before left its garbage
	runtime.ReadMemStats(&before)
	for end := time.Now().Add(d); ; {
		t, err := p.batch()
		if err != nil {
			return nil, err
		}
		timed += t
		batches++
		// Looking at the context and the end each 16 batches keeps it out of
		// the caches of what is measured.
		if batches%16 == 0 && (ctx.Err() != nil || time.Now().After(end)) {
			break
		}
	}
	runtime.ReadMemStats(&after)
	packets := float64(batches * batch)
	// A few allocations of the runtime's own background work fall into each
	// turn of millions of packets: below a thousandth a packet is none.
	allocs := float64(after.Mallocs-before.Mallocs) / packets
	if allocs < 0.001 {
		allocs = 0
	}
	return figures{"ns": float64(timed) / packets, "allocs": allocs}, nil
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
