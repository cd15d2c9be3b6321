package stack

import (
	"fmt"
	"syscall"

	"github.com/oobnet/oobnet/link"
)

// Queueing says in which order the frames of a device leave that have to wait:
// FIFO, StrictPriority, or one of the application's own. Frames wait while the
// link's ring is full, or somebody else is just sending; most never do.
type Queueing interface {
	// Name is what statistics call it.
	Name() string
	// New makes the discipline of one TX queue. Attach calls it, and returns
	// its error.
	New(q TXQueueInfo) (Discipline, error)
}

// TXQueueInfo says which queue a discipline is for.
type TXQueueInfo struct {
	Device string
	Queue  int // from 0
	// Limit is how many frames the discipline holds at most
	// (DeviceConfig.QueueLength): the stack refuses what is more.
	Limit int
}

// Discipline orders what waits for one TX queue. Its methods are called by
// whoever owns the queue for the moment, one at a time, on a thread of the
// device or of a sender: they must not block, lock or allocate, nor call the
// device. They are called once a batch.
//
// The frames are values; the buffers stay the stack's, which finds them again
// when the device closes, whatever the discipline does with them. A frame that
// Dequeue returns without having it is not sent.
//
// A frame that finds nothing waiting and nobody sending goes to the link past
// the discipline, unless it is a Shaper.
type Discipline interface {
	// Enqueue takes the frames over, oldest first.
	Enqueue(frames []Queued)
	// Dequeue fills frames with those that are to leave next, in order, and
	// returns how many. A discipline that holds back what it has, until some
	// moment after now (CLOCK_MONOTONIC, ns), is asked again when a frame
	// comes, and within a millisecond or two.
	Dequeue(frames []Queued, now int64) int
	// Requeue gives back frames of the last Dequeue, in its order, for which
	// the link had no room: they are in front of all others of their kind.
	Requeue(frames []Queued)
}

// Shaper is a discipline that wants to see every frame, also those that could
// leave at once.
type Shaper interface {
	Discipline
	Shapes()
}

// Queued is a frame that waits to be sent.
type Queued struct {
	// Frame, whose Time is when it was queued. What its flags leave to the device
	// (Device.Offloads) is not yet in its bytes.
	link.Frame
	// Port that it leaves by; nil: what was sent by Device.Send.
	Port *Port
	// Priority of its sender, 0 to Priorities-1.
	Priority uint8
	// Drop, set by Dequeue: the frame is not to be sent, but dropped.
	Drop bool
}

// BuiltIn are the stack's own disciplines. They order buffers where they are,
// without a call through an interface.
type BuiltIn uint8

// Disciplines of the stack.
const (
	// FIFO sends what waits in the order of its coming: the default, as EVL's.
	FIFO BuiltIn = iota
	// StrictPriority has a band for each priority, and sends the highest
	// first: a frame waits for those of its own or a higher priority alone,
	// and for what was given to the link before it came. Each priority leaves
	// the next one a sixteenth of the pool and of the queue's length: a flood
	// cannot take from others what they need to be queued at all.
	StrictPriority
)

// Name implements Queueing.
func (b BuiltIn) Name() string {
	switch b {
	case FIFO:
		return "fifo"
	case StrictPriority:
		return "strict"
	}
	return fmt.Sprintf("builtin(%d)", uint8(b))
}

// New implements Queueing: there is no object, the queue does it itself.
func (b BuiltIn) New(TXQueueInfo) (Discipline, error) {
	if b > StrictPriority {
		return nil, fmt.Errorf("queueing %s: %w: want FIFO or StrictPriority", b.Name(), syscall.EINVAL)
	}
	return nil, nil
}

// bands is how many orders of their own a queueing keeps in the TX queue.
func bands(q Queueing) int {
	if q == StrictPriority {
		return Priorities
	}
	return 1
}

// sharePart of what a device has for frames that wait, as a divisor, is what
// each priority leaves to the next higher one with StrictPriority: a flood of
// the lowest fills 9/16, and whoever is more urgent finds room.
const sharePart = 16

// share is how much of n senders of a priority may fill.
func share(n int, q Queueing, priority int) int {
	if bands(q) == 1 {
		return n
	}
	return n - n/sharePart*(Priorities-1-priority)
}

// disciplines makes one for each queue.
func (c *DeviceConfig) disciplines(l link.Link) ([]Discipline, error) {
	made := make([]Discipline, l.Queues())
	_, own := c.Queueing.(BuiltIn)
	for i := range made {
		d, err := c.Queueing.New(TXQueueInfo{Device: l.Name(), Queue: i, Limit: c.QueueLength})
		if err == nil && d == nil && !own {
			err = fmt.Errorf("queueing %s made no discipline: %w", c.Queueing.Name(), syscall.EINVAL)
		}
		if err != nil {
			return nil, err
		}
		made[i] = d
	}
	return made, nil
}
