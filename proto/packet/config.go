package packet

import (
	"fmt"
	"syscall"
	"time"

	"github.com/oobnet/oobnet/stack"
)

const (
	// DefaultQueue is how many received frames wait for a reader by default.
	DefaultQueue = 128
	// MaxQueue is the most that Config.Queue may ask for.
	MaxQueue = 1 << 16
	// DefaultOutgoing is how many of the device's own frames wait for the
	// reader of an analyser by default: as many as four full batches.
	DefaultOutgoing = 256
	// MaxOutgoing is the most that Config.Outgoing may ask for: EVL's taps have
	// as many.
	MaxOutgoing = 2048
	// DefaultSpin is how long a blocked reader polls before it sleeps, as of
	// UDP sockets.
	DefaultSpin = 5 * time.Microsecond
)

// Config of a socket. The zero value and nil mean the defaults.
type Config struct {
	// Queue is how many received frames may wait for a reader, those that it
	// holds leases of included: DefaultQueue by default, MaxQueue at most.
	// SetReadBuffer changes it.
	Queue int
	// Handler, if set, is called for each frame in place of a reader: on the RX
	// thread, to completion, so it must not block; by several threads at once
	// on a device of several queues. It may read and send, but open or close
	// nothing. The frame is the handler's, which Releases it; what it keeps
	// counts against Queue. Not for analysers.
	Handler func(Frame)
	// Consume takes the frames that the socket gets, or has no room for, from
	// the protocols below: the IP stack does not see them. Other raw sockets
	// that match get theirs all the same. Not for analysers.
	Consume bool
	// Raw: what is read and written are whole frames, from the destination
	// address on; else payloads. A tag that the device has taken out of a frame is
	// back in it, as it is in the address.
	Raw bool
	// NoWait makes a send fail with ENOBUFS when the TX pool is empty; else it
	// waits for a buffer until the write deadline.
	NoWait bool
	// Priority of what is sent, 0 to 7; on a VLAN also the frame's PCP.
	Priority int
	// Spin is how long a blocked reader polls before it sleeps: DefaultSpin by
	// default; negative: not at all.
	Spin time.Duration
	// Outgoing is how many of the device's own frames may wait for the reader
	// of an analyser: DefaultOutgoing by default, MaxOutgoing at most.
	Outgoing int
	// TXTimes is how many times of sends wait for ReadTXTimes, rounded up to a
	// power of two: stack.DefaultTXTimes by default, stack.MaxTXTimes at most.
	TXTimes int
}

func (c *Config) complete() error {
	if c.Queue == 0 {
		c.Queue = DefaultQueue
	}
	if c.Spin == 0 {
		c.Spin = DefaultSpin
	}
	if c.Outgoing == 0 {
		c.Outgoing = DefaultOutgoing
	}
	switch {
	case c.Queue < 1 || c.Queue > MaxQueue:
		return fmt.Errorf("queue of %d frames: %w: want 1 to %d", c.Queue, syscall.EINVAL, MaxQueue)
	case c.Outgoing < 1 || c.Outgoing > MaxOutgoing:
		return fmt.Errorf("queue of %d outgoing frames: %w: want 1 to %d", c.Outgoing, syscall.EINVAL, MaxOutgoing)
	case c.Priority < 0 || c.Priority >= stack.Priorities:
		return fmt.Errorf("priority %d: %w: want 0 to %d", c.Priority, syscall.EINVAL, stack.Priorities-1)
	}
	return stack.CheckTXTimes(c.TXTimes)
}

// completeAnalyser is complete for a socket that sees all of a device.
func (c *Config) completeAnalyser() error {
	switch {
	case c.Consume:
		return fmt.Errorf("an analyser that consumes would cut the device off: %w: leave Consume to a socket of a port", syscall.EINVAL)
	case c.Handler != nil:
		return fmt.Errorf("an analyser's handler would run in every sender: %w: read instead", syscall.EINVAL)
	}
	return c.complete()
}
