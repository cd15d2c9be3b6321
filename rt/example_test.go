package rt_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/oobnet/oobnet/rt"
)

// A control loop of 1 ms on a real-time thread: what the machine does not grant
// is told, and the loop runs all the same.
func ExampleCycle() {
	cycle, err := rt.NewCycle(&rt.Config{
		Period:   time.Millisecond,
		Name:     "servo",
		Priority: 80,
		Spin:     50 * time.Microsecond,
		Lock:     rt.LockOnFault,
		Started: func(r rt.Report) {
			if err := r.Err(); err != nil {
				_ = err // tell the operator, once, before the machine moves
			}
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer rt.Unlock()
	done := errors.New("done")
	err = cycle.Run(context.Background(), func(now rt.Tick) error {
		// Read the inputs, compute, write the outputs. now.Missed says how many
		// activations were left out since the last one.
		if now.Number >= 20 {
			return done
		}
		return nil
	})
	s := cycle.Stats()
	fmt.Println(err, s.Cycles+s.Missed >= 20, cycle.Latency().Count() == s.Cycles+1)
	// Output: done true true
}

// A measurement that no collection disturbs.
func ExampleQuiet() {
	var h rt.Histogram
	collections := rt.Quiet(func() {
		for range 1000 {
			begin := time.Now()
			h.Record(int64(time.Since(begin)))
		}
	})
	fmt.Println(h.Count(), collections)
	// Output: 1000 0
}

// What a report of latencies should begin with.
func ExampleEnvironment() {
	for _, line := range rt.Environment().Lines() {
		_ = line // print it
	}
	fmt.Println(rt.Environment().Go != "")
	// Output: true
}
