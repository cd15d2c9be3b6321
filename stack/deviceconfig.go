package stack

import (
	"fmt"
	"math/bits"
	"syscall"
	"time"

	"github.com/oobnet/oobnet/internal/rt"
	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
)

// DeviceConfig says how a link is attached. The zero value and nil mean the
// defaults, which are EVL's where EVL has any.
type DeviceConfig struct {
	// PoolSize of the TX pool, buffers: DefaultPoolSize by default,
	// MaxPoolSize at most.
	PoolSize int
	// MaxRXBuffers of each queue, a power of two, and MaxPoolSize are what
	// Device.ResizeRX and ResizePool can extend RXBuffers and PoolSize to, which
	// then may be any number up to them. They take address space, and 110 bytes of
	// heap a buffer, with timestamps 180. One that is 0 is what the device begins
	// with; both 0: the memory is fixed. It takes a link that is a link.Resizer.
	MaxRXBuffers, MaxPoolSize int
	// BufferSize in bytes: one page by default, four at most, a power of two,
	// never less than the MTU needs. The link may have a lower limit.
	BufferSize int
	// RXBuffers of each queue, a power of two unless MaxRXBuffers is set:
	// DefaultRXBuffers by default.
	RXBuffers int
	// Queueing is in which order frames leave that have to wait: FIFO by
	// default, StrictPriority, or one of the application's own. QueueLength is
	// how many frames may wait for each TX queue, those of the in-band stage not
	// counted: PoolSize by default, or MaxPoolSize. A sender that finds so many gets ENOBUFS.
	Queueing    Queueing
	QueueLength int
	// Poll is how the RX threads wait: link.Adaptive by default.
	Poll link.PollMode
	// RXCPUs and TXCPUs pin the thread of queue i to the i-th CPU, and begin
	// anew when there are more queues; empty: not pinned.
	RXCPUs, TXCPUs []int
	// Priority of the threads in SCHED_FIFO, 1 to 99; 0: ordinary scheduling.
	// EVL's threads run at EVLPriority. Threads that are pinned or have a priority
	// have timers that are exact, and a stack that is there before they begin. What
	// the machine refuses, here and below, is in Threads.
	Priority int
	// LockMemory keeps all memory of the process in RAM, for as long as it runs.
	// It is refused where the amount of locked memory is limited: the Go runtime
	// would not survive to meet that limit.
	LockMemory bool
	// Prefault touches what a device has on the heap, for its packets and its
	// queues, before the first one comes. The link's own memory always is.
	Prefault bool
	// Watchdog measures each step of the device's threads, for DeviceStats, and
	// counts those that take longer; negative: it counts none; 0: it is off, and
	// costs nothing. On, it takes two or three readings of the clock a step.
	Watchdog time.Duration
}

// complete fills in defaults and checks the rest against the link.
func (c *DeviceConfig) complete(l link.Link) error {
	caps := l.Capabilities()
	if c.PoolSize == 0 {
		c.PoolSize = DefaultPoolSize
	}
	if c.BufferSize == 0 {
		c.BufferSize = link.PageSize
		for need := frameRoom(l); c.BufferSize < need && c.BufferSize < caps.MaxBufferSize; {
			c.BufferSize *= 2
		}
	}
	if c.Queueing == nil {
		c.Queueing = FIFO
	}
	if c.RXBuffers == 0 {
		c.RXBuffers = DefaultRXBuffers
	}
	if err := c.completeMaxima(l); err != nil {
		return err
	}
	if c.QueueLength == 0 {
		c.QueueLength = max(c.PoolSize, c.MaxPoolSize)
	}
	switch {
	case c.PoolSize < 0 || c.PoolSize > MaxPoolSize:
		return fmt.Errorf("pool of %d buffers: %w: want at most %d", c.PoolSize, syscall.EINVAL, MaxPoolSize)
	case c.QueueLength < 0 || c.QueueLength > link.MaxBuffers:
		return fmt.Errorf("queues of %d frames: %w: want at most %d", c.QueueLength, syscall.EINVAL, link.MaxBuffers)
	case c.BufferSize > caps.MaxBufferSize:
		return fmt.Errorf("buffers of %d bytes: %w: this link takes at most %d", c.BufferSize, syscall.EINVAL, caps.MaxBufferSize)
	case c.BufferSize < frameRoom(l):
		return fmt.Errorf("buffers of %d bytes: %w: an MTU of %d needs %d: raise BufferSize or lower the MTU",
			c.BufferSize, syscall.EINVAL, l.MTU(), frameRoom(l))
	case c.Priority < 0 || c.Priority > rt.MaxPriority:
		return fmt.Errorf("priority %d: %w: want 0 to %d", c.Priority, syscall.EINVAL, rt.MaxPriority)
	}
	if err := c.layout(l).Check(); err != nil {
		return fmt.Errorf("%w: %w", err, syscall.EINVAL)
	}
	return nil
}

// completeMaxima fills in the maxima, if there is one, and checks them.
func (c *DeviceConfig) completeMaxima(l link.Link) error {
	if c.MaxRXBuffers == 0 && c.MaxPoolSize == 0 {
		return nil
	}
	if _, ok := l.(link.Resizer); !ok {
		return fmt.Errorf("memory that comes and goes: %w: that of this link (%s) is fixed at Attach, as the kernel fixes AF_XDP's: leave MaxRXBuffers and MaxPoolSize at 0, and ask for the most that is needed",
			link.ErrNotSupported, l.Capabilities().Driver)
	}
	if c.MaxRXBuffers == 0 {
		c.MaxRXBuffers = 1 << bits.Len(uint(max(c.RXBuffers, 1)-1))
	}
	if c.MaxPoolSize == 0 {
		c.MaxPoolSize = c.PoolSize
	}
	switch {
	case c.MaxRXBuffers < c.RXBuffers:
		return fmt.Errorf("%d receive buffers a queue: %w: MaxRXBuffers is %d", c.RXBuffers, syscall.EINVAL, c.MaxRXBuffers)
	case c.MaxPoolSize < c.PoolSize || c.MaxPoolSize > MaxPoolSize:
		return fmt.Errorf("MaxPoolSize of %d buffers: %w: want PoolSize, %d, to %d", c.MaxPoolSize, syscall.EINVAL, c.PoolSize, MaxPoolSize)
	}
	return nil
}

// layout of the link's region.
func (c *DeviceConfig) layout(l link.Link) link.Layout {
	layout := link.Layout{BufferSize: c.BufferSize, Queues: l.Queues(), RXBuffers: c.RXBuffers, TXBuffers: c.PoolSize}
	if c.MaxRXBuffers != 0 {
		layout.RXPopulated, layout.TXPopulated = c.RXBuffers, c.PoolSize
		layout.RXBuffers, layout.TXBuffers = c.MaxRXBuffers, c.MaxPoolSize
	}
	return layout
}

// frameRoom is what a buffer needs for the longest frame, sent or received.
func frameRoom(l link.Link) int {
	tx := HeaderRoom + l.MTU()
	rx := l.Capabilities().RXHeadroom + wire.EthernetHeaderLen + wire.VLANTagLen + l.MTU()
	return max(tx, rx)
}
