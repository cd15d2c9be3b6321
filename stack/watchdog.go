package stack

import (
	"time"

	"github.com/oobnet/oobnet/internal/watchdog"
)

// Steps of a device's threads. A queue's own step comes first, then the wait.
const (
	stepWork = iota
	stepWait
)

// ThreadStats says which steps a thread of a device has made, and how long they
// took: what the device's watchdog has seen.
type ThreadStats struct {
	// Name of the thread. In manual mode there is none: then it is the queue's,
	// in the same form, and Poll and Wait make its steps.
	Name string
	// Steps are "rx" or "tx", and "wait".
	Steps []StepStats
}

// StepStats are the durations of one kind of step since the watchdog was first
// set, but for the times when it was off.
type StepStats struct {
	// Name is "rx": a batch received, and settled by protocols and handlers, or
	// a look that found none; "tx": bursts that senders had left, given to the
	// link; "wait": for frames, or for room in the link's ring.
	Name string
	// Count of the steps, and the time that they took together.
	Count uint64
	Total time.Duration
	// Longest step, and when it ended, CLOCK_MONOTONIC in ns.
	Longest time.Duration
	At      int64
	// Over counts those that took longer than the threshold. Of waits that is
	// no fault: nothing came for so long.
	Over uint64
	// Running is for how long a step has been under way; 0: none is. It shows a
	// thread that hangs, in a handler that blocks.
	Running time.Duration
	// Buckets are the steps by duration: bucket i counts those that took no longer
	// than StepBound(i), and longer than the one before allows. While the thread
	// runs, their sum may be off Count by the step that ends meanwhile.
	Buckets [StepBuckets]uint64
}

// StepBuckets is how many classes of duration there are: up to 256 ns, up to
// twice that, and so on up to 2^30 ns, and above.
const StepBuckets = watchdog.Buckets

// StepBound is the longest step that a bucket counts; 0: the last one has no bound.
func StepBound(bucket int) time.Duration { return watchdog.Bound(bucket) }

// SetWatchdog sets a threshold for the steps of the device's threads, beyond
// which they are counted: see DeviceConfig.Watchdog. Any goroutine.
func (d *Device) SetWatchdog(threshold time.Duration) {
	d.watched.Store(d.watched.Load() || threshold != 0)
	for _, w := range d.watches() {
		if threshold == 0 {
			w.Disable()
		} else {
			w.Enable(threshold)
		}
	}
}

// watches of all threads: of the RX side, then of the TX side.
func (d *Device) watches() (ws []*watchdog.Watch) {
	for _, r := range d.rx {
		ws = append(ws, &r.watch)
	}
	for _, t := range d.tx {
		ws = append(ws, &t.watch)
	}
	return ws
}

// threadStats is what the watchdog has seen; nil: it never was on.
func (d *Device) threadStats() (stats []ThreadStats) {
	if !d.watched.Load() {
		return nil
	}
	for i, w := range d.watches() {
		suffix, queue := ".rx", i
		if i >= len(d.rx) {
			suffix, queue = ".tx", i-len(d.rx)
		}
		ts := ThreadStats{Name: threadName(d.name, suffix, queue, len(d.rx))}
		for _, s := range w.Steps() {
			ts.Steps = append(ts.Steps, StepStats(s))
		}
		stats = append(stats, ts)
	}
	return stats
}
