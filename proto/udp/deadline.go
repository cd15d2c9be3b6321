package udp

import (
	"sync"
	"time"
)

// deadline is a moment after which an operation fails. The packet path looks
// at one bit of Conn.attention; those that sleep wait on the channel.
type deadline struct {
	conn *Conn
	bit  uint32

	mu    sync.Mutex
	timer *time.Timer
	// set counts the calls of set, so that a timer that fires late knows
	// that it is no longer meant.
	set uint64
	// passed closes when the moment passes; a new one takes its place when
	// the deadline moves on.
	passed chan struct{}
}

func (d *deadline) init(c *Conn, bit uint32) { d.conn, d.bit, d.passed = c, bit, make(chan struct{}) }

// move sets the deadline; the zero time means none. A moment in the past
// passes at once.
func (d *deadline) move(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.set++
	if d.timer != nil {
		d.timer.Stop()
	}
	if d.conn.attention.And(^d.bit)&d.bit != 0 {
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
func (d *deadline) pass() {
	if d.conn.attention.Or(d.bit)&d.bit == 0 {
		close(d.passed)
	}
}

// channel closes when the deadline that is set now passes.
func (d *deadline) channel() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.passed
}

// stop ends the timer, for good.
func (d *deadline) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.set++
	if d.timer != nil {
		d.timer.Stop()
	}
}
