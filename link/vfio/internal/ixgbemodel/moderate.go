package ixgbemodel

import "time"

// EITR: the least time from one interrupt of a vector to its next (7.3.2.1). What
// happens meanwhile waits, and comes with one interrupt then. The counter cannot be
// written here: an interval is from the last interrupt on. Nor are there credits for
// low latency.
const (
	eitrInterval = 0x1ff << 3
	eitrFirst    = 24 // vectors below have their register at regEITR, the others at regEITR24
	eitrUnit     = 2048 * time.Nanosecond
	eitrSlowUnit = 10 * eitrUnit // on a link of 100 Mbit/s
	messages     = 64            // vectors that messages have
	lineVector   = messages      // INTx, which has the interval of vector 0
)

// moderation is what is known of a vector's interrupts.
type moderation struct {
	last time.Duration // when one came, by Config.Now
	came bool
	held bool // one is due when the interval is over, of which Config.After tells
}

// gap is the interval of a vector; 0: there is none.
func (d *Device) gap(vector int) time.Duration {
	if vector == lineVector {
		vector = 0
	}
	at := regEITR + 4*uint32(vector)
	if vector >= eitrFirst {
		at = regEITR24 + 4*uint32(vector-eitrFirst)
	}
	unit := eitrUnit
	if d.speed() == links100M {
		unit = eitrSlowUnit
	}
	return time.Duration(*d.reg(at)&eitrInterval>>3) * unit
}

// early is how long a vector's next interrupt has to wait; 0: it need not.
func (d *Device) early(vector int) time.Duration {
	m := &d.moderated[vector]
	gap := d.gap(vector)
	if gap == 0 || !m.came {
		return 0
	}
	return max(0, m.last+gap-d.config.Now())
}

// may says whether a vector may raise an interrupt now. If not, it is looked at again
// in time.
func (d *Device) may(vector int) bool {
	m := &d.moderated[vector]
	wait := d.early(vector)
	if wait == 0 {
		*m = moderation{last: d.config.Now(), came: true}
		return true
	}
	if !m.held {
		m.held = true
		d.wakeAfter(vector, wait)
	}
	return false
}

func (d *Device) wakeAfter(vector int, wait time.Duration) {
	if d.config.After != nil {
		d.config.After(wait, func() { d.wake(vector) })
	}
}

// wake is called when an interval should be over, which may have been made longer.
func (d *Device) wake(vector int) {
	d.mu.Lock()
	if wait := d.early(vector); wait > 0 && d.moderated[vector].held {
		d.wakeAfter(vector, wait)
	}
	d.release()
}

// sendHeld sends the messages whose interval is over, of what is still there and not
// masked.
func (d *Device) sendHeld() {
	for v := range messages {
		if !d.moderated[v].held || d.early(v) > 0 {
			continue
		}
		d.moderated[v].held = false
		if queues, misc := d.pending(v); queues != 0 || misc != 0 {
			d.notify(v)
		}
	}
}
