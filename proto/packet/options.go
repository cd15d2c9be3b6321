package packet

import (
	"errors"
	"fmt"
	"net"
	"syscall"

	"golang.org/x/net/bpf"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/stack"
)

// bytesPerBuffer is what one frame counts for in SetReadBuffer, bytes: a page,
// whatever its length, because a page is what it holds.
const bytesPerBuffer = link.PageSize

// SetReadBuffer sets how much the socket may hold, waiting and leased, in bytes
// of whole buffers: at least one frame, and at most MaxQueue of them, to which
// it is cut without an error. ReadBuffer tells what holds.
func (c *Conn) SetReadBuffer(bytes int) error {
	if bytes < 0 {
		return c.opError("set", nil, fmt.Errorf("read buffer of %d bytes: %w", bytes, syscall.EINVAL))
	}
	n := (bytes + bytesPerBuffer - 1) / bytesPerBuffer
	c.quota.Store(int64(min(max(1, n), MaxQueue)))
	return nil
}

// ReadBuffer is what SetReadBuffer set, bytes.
func (c *Conn) ReadBuffer() int { return int(c.quota.Load()) * bytesPerBuffer }

// SetReadNoWait makes reads take what is there now, and fail with EAGAIN wrapped, at
// once and without an allocation, where nothing is: O_NONBLOCK of reads, as EVL's
// sockets have it, for a cycle that must not wait and for who drains a socket. It
// holds for all reads alike, ReadTXTimes among them, whatever the deadline, which
// fails them as before once it has passed. A read that waits already goes on
// waiting. Sends have Config.NoWait. net.ErrClosed after Close.
func (c *Conn) SetReadNoWait(on bool) error {
	if c.attention.Load()&gone != 0 {
		return c.opError("set", nil, c.whyGone())
	}
	if !on {
		c.attention.And(^noWait)
		return nil
	}
	// Made once, and before a read can look for it: an empty look costs nothing.
	var e *net.OpError
	if errors.As(c.opError("read", nil, syscall.EAGAIN), &e) {
		c.nothing.CompareAndSwap(nil, e)
	}
	c.attention.Or(noWait)
	return nil
}

// SetPriority sets the priority of what is sent from now on, 0 to 7; the
// highest goes first, and on a VLAN it is the frame's PCP.
func (c *Conn) SetPriority(p int) error {
	if p < 0 || p >= stack.Priorities {
		return c.opError("set", nil, fmt.Errorf("priority %d: %w: want 0 to %d", p, syscall.EINVAL, stack.Priorities-1))
	}
	c.priority.Store(int32(p))
	return nil
}

// JoinGroup asks the device to receive an Ethernet multicast group. What the
// device lets through, every socket of the EtherType sees, member or not, as
// with the packet sockets of Linux: joining is for devices that filter. It
// counts: as many LeaveGroups undo it, or Close, or the end of the port. EINVAL if
// it is no group.
func (c *Conn) JoinGroup(group link.MAC) error {
	if group[0]&1 == 0 {
		return c.opError("join", nil, fmt.Errorf("%v: %w: a group has the lowest bit of its first byte set", net.HardwareAddr(group[:]), syscall.EINVAL))
	}
	return c.changeMembership("join", func() { c.groups[group]++ }, func() { c.leave(group) })
}

// LeaveGroup undoes one JoinGroup. EADDRNOTAVAIL if the group was not joined.
func (c *Conn) LeaveGroup(group link.MAC) error {
	joined := false
	err := c.changeMembership("leave", func() { joined = c.leave(group) }, func() {})
	if err == nil && !joined {
		err = c.opError("leave", nil, fmt.Errorf("group %v: not joined: %w", net.HardwareAddr(group[:]), syscall.EADDRNOTAVAIL))
	}
	return err
}

// leave takes one join back. Under the tap's mutex.
func (c *Conn) leave(group link.MAC) bool {
	switch c.groups[group] {
	case 0:
		return false
	case 1:
		delete(c.groups, group)
	default:
		c.groups[group]--
	}
	return true
}

// SetPromiscuous makes the socket see frames to other stations too, and asks the
// device for them, for as long as any socket of the device wants them: until each
// takes it back, closes, or loses its port.
func (c *Conn) SetPromiscuous(on bool) error {
	before := c.promiscuous.Load()
	return c.changeMembership("set", func() { c.promiscuous.Store(on) }, func() { c.promiscuous.Store(before) })
}

func (c *Conn) changeMembership(op string, do, undo func()) error {
	if err := c.errGone(op); err != nil {
		return err
	}
	if err := c.tap.change(c, do, undo); err != nil {
		return c.opError(op, nil, err)
	}
	return nil
}

// SetBPF puts a classic BPF program before the socket, nil for none. It sees
// each frame that the socket would get, from the destination address on, as the
// device gave it. What it returns is how many bytes the socket gets of it; 0:
// nothing. It may use the extensions for length, protocol, packet type and VLAN
// tag. EINVAL, with the reason, for a program that Linux would refuse.
func (c *Conn) SetBPF(filter []bpf.RawInstruction) error {
	if err := c.errGone("set"); err != nil {
		return err
	}
	if len(filter) == 0 {
		c.program.Store(nil)
		return nil
	}
	p, err := compile(filter)
	if err != nil {
		return c.opError("set", nil, err)
	}
	c.program.Store(p)
	return nil
}

// Stats is what a socket counted since it was opened.
type Stats struct {
	// Received counts the frames that the socket got.
	Received uint64
	// Full counts the frames that found the socket's quota used up, NoBuffer
	// those for a copy of which the TX pool had no buffer to spare.
	Full, NoBuffer uint64
	// Filtered counts the frames that the socket's program refused.
	Filtered uint64
	// Truncated counts the frames that did not fit the reader's slice.
	Truncated uint64
	// Outgoing counts the device's own frames that an analyser got,
	// OutgoingDropped those for which it had no room.
	Outgoing, OutgoingDropped uint64
	// TXTimesLost counts the times of sends that found no room.
	TXTimesLost uint64
	// Held is how many received frames wait for a reader, or are leased.
	Held int
}

// Stats reads the socket's counters.
func (c *Conn) Stats() Stats {
	st := Stats{
		Received: c.books.Got(), Held: c.books.Held(), Full: c.stats.full.Load(), NoBuffer: c.stats.noBuffer.Load(),
		Filtered: c.stats.filtered.Load(), Truncated: c.stats.truncated.Load(),
		TXTimesLost: c.times.Dropped(),
	}
	if c.sent != nil {
		st.Outgoing, st.OutgoingDropped = c.sent.got.Load(), c.sent.dropped.Load()
	}
	return st
}
