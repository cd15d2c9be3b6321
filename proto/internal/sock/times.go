package sock

import (
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/oobnet/oobnet/stack"
)

// Times is a socket's timestamping: which times it wants, and those of what it
// has sent.
type Times struct {
	// attention is the socket's: the bit is set while it wants times of what it
	// receives, for RX threads to see.
	attention *atomic.Uint32
	bit       uint32
	stack     *stack.Stack
	room      int

	// mu is held by who changes the flags, which readers look at.
	mu     sync.Mutex
	flags  atomic.Uint32
	closed bool
	// sends is where the records of sends go, nil: nobody wants them. Set with the
	// flags, read by senders and readers. replaced closes when it is replaced.
	sends    atomic.Pointer[stack.TXTimes]
	replaced chan struct{}
	// dropped counts what did not find room in those that were replaced.
	dropped uint64
}

// Init makes it take no times. room is for how many records of sends.
func (t *Times) Init(s *stack.Stack, attention *atomic.Uint32, bit uint32, room int) {
	t.attention, t.bit, t.stack, t.room, t.replaced = attention, bit, s, room, make(chan struct{})
}

// Set replaces the flags, and what there is of times of sends. EINVAL wrapped
// for flags that mean nothing, net.ErrClosed after Close.
func (t *Times) Set(f stack.TimestampFlags) error {
	if err := f.Check(); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return net.ErrClosed
	}
	t.set(f)
	return nil
}

// set is Set under the mutex.
func (t *Times) set(f stack.TimestampFlags) {
	t.stack.SetTimestamping(t.Flags(), f)
	t.flags.Store(uint32(f))
	if f&stack.TimeRX != 0 {
		t.attention.Or(t.bit)
	} else {
		t.attention.And(^t.bit)
	}
	var sends *stack.TXTimes
	if f&stack.TimeTX != 0 {
		sends = stack.NewTXTimes(f, t.room)
	}
	if before := t.sends.Swap(sends); before != nil {
		t.dropped += before.Dropped()
	}
	close(t.replaced)
	t.replaced = make(chan struct{})
}

// Close ends it: a reader returns net.ErrClosed.
func (t *Times) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed {
		t.closed = true
		t.set(0)
	}
}

// Flags are those that are set.
func (t *Times) Flags() stack.TimestampFlags { return stack.TimestampFlags(t.flags.Load()) }

// Sends is where the records of sends go, nil: nowhere.
//
//oobnet:hot
func (t *Times) Sends() *stack.TXTimes { return t.sends.Load() }

// Dropped counts the records of sends that found no room.
func (t *Times) Dropped() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.sends.Load(); s != nil {
		return t.dropped + s.Dropped()
	}
	return t.dropped
}

// errNoTimes is for a reader of times that nobody takes.
var errNoTimes = fmt.Errorf("no times of sends are taken: %w: ask for them by SetTimestamping", syscall.EINVAL)

// Read takes records of sends, waiting for the first one until the deadline, or not
// at all: then it returns EAGAIN where there is none. It
// returns stack.ErrTimesLost, once, when records were dropped since the last
// call: those that it has taken are good.
func (t *Times) Read(into []stack.IOTimes, deadline *Deadline, noWait bool) (int, error) {
	for {
		t.mu.Lock()
		sends, replaced, closed := t.sends.Load(), t.replaced, t.closed
		t.mu.Unlock()
		switch {
		case closed:
			return 0, net.ErrClosed
		case sends == nil:
			return 0, errNoTimes
		case len(into) == 0:
			return 0, nil
		}
		n, lost := sends.Take(into)
		var err error
		switch {
		case n > 0 || lost:
		case noWait:
			return 0, syscall.EAGAIN
		default:
			n, lost, err = await(sends, into, deadline, replaced)
		}
		if lost {
			err = stack.ErrTimesLost
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// await waits until there may be something, and takes what there is.
func await(sends *stack.TXTimes, into []stack.IOTimes, deadline *Deadline, replaced <-chan struct{}) (n int, lost bool, err error) {
	passed := deadline.Channel()
	readable := sends.Sleep()
	defer sends.Awake()
	if n, lost = sends.Take(into); n > 0 || lost {
		return n, lost, nil
	}
	select {
	case <-readable:
	case <-replaced:
	case <-passed:
		n, lost = sends.Take(into)
		if n == 0 && !lost {
			err = os.ErrDeadlineExceeded
		}
	}
	return n, lost, err
}
