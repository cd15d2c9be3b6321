package sock

import (
	"sync"
	"sync/atomic"
	"time"
)

// Deadline is a moment after which an operation fails. The packet path looks
// at one bit of the socket's word of attention; those that sleep wait on the
// channel.
type Deadline struct {
	// attention is the socket's: timers set the bit here, every call reads it.
	attention *atomic.Uint32
	bit       uint32

	mu    sync.Mutex
	timer *time.Timer
	// set counts the calls of Move, so that a timer that fires late knows
	// that it is no longer meant.
	set uint64
	// passed closes when the moment passes; a new one takes its place when
	// the deadline moves on.
	passed chan struct{}
}

// Init makes it a deadline that never passes, and bit its bit of attention.
func (d *Deadline) Init(attention *atomic.Uint32, bit uint32) {
	d.attention, d.bit, d.passed = attention, bit, make(chan struct{})
}

// Move sets the deadline; the zero time means none. A moment in the past
// passes at once.
func (d *Deadline) Move(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.set++
	if d.timer != nil {
		d.timer.Stop()
	}
	if d.attention.And(^d.bit)&d.bit != 0 {
		d.passed = make(chan struct{})
	}
	if t.IsZero() {
		return
	}
	left := time.Until(t)
	if left <= 0 {
		d.pass()
		return
	}
	set := d.set
	d.timer = time.AfterFunc(left, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.set == set {
			d.pass()
		}
	})
}

// pass lets the moment pass. Under the mutex.
func (d *Deadline) pass() {
	if d.attention.Or(d.bit)&d.bit == 0 {
		close(d.passed)
	}
}

// Channel closes when the deadline that is set now passes.
func (d *Deadline) Channel() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.passed
}

// Stop ends the timer, for good.
func (d *Deadline) Stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.set++
	if d.timer != nil {
		d.timer.Stop()
	}
}
