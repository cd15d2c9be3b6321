package udp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/stack"
)

// bytesPerBuffer is what one datagram counts for in SetReadBuffer, bytes: a
// page, whatever its length, because a page is what it holds.
const bytesPerBuffer = link.PageSize

// SetReadBuffer sets how much the socket may hold, waiting and leased, in bytes
// of whole buffers: at least one datagram, and at most MaxQueue of them, to
// which it is cut without an error, as Linux cuts it to rmem_max. ReadBuffer
// tells what holds.
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
	if c.attention.Load()&closed != 0 {
		return c.opError("set", nil, net.ErrClosed)
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
// highest goes first, and on a VLAN port it is the frame's PCP.
func (c *Conn) SetPriority(p int) error {
	if p < 0 || p >= stack.Priorities {
		return c.opError("set", nil, fmt.Errorf("priority %d: %w: want 0 to %d", p, syscall.EINVAL, stack.Priorities-1))
	}
	c.priority.Store(int32(p))
	return nil
}

// The DSCP is the upper six bits of what was the TOS byte (RFC 2474).
const (
	dscpShift = 2
	maxDSCP   = 63
	maxECN    = 3
)

// SetDSCP sets the DSCP of what is sent from now on, 0 to 63. ECN is a message's
// own: see Message.
func (c *Conn) SetDSCP(dscp int) error {
	if dscp < 0 || dscp > maxDSCP {
		return c.opError("set", nil, fmt.Errorf("DSCP %d: %w: want 0 to %d", dscp, syscall.EINVAL, maxDSCP))
	}
	c.tos.Store(uint32(dscp) << dscpShift)
	return nil
}

// membership is a group that a socket joined on a port.
type membership struct {
	group uint32
	port  *stack.Port
}

// JoinGroup makes the socket receive what is sent to an IPv4 multicast group on
// a port; nil: the one that the route to the group, or the socket's address,
// leads to. Close leaves all groups. Errors: EINVAL (not a group), EADDRINUSE
// (joined already), ENETUNREACH (no port), net.ErrClosed.
func (c *Conn) JoinGroup(group netip.Addr, p *stack.Port) error {
	group = group.Unmap()
	p, err := c.groupPort(group, p)
	if err != nil {
		return c.opError("join", nil, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.attention.Load()&closed != 0 {
		// Close may have left the groups already.
		return c.opError("join", nil, net.ErrClosed)
	}
	m := membership{number(group), p}
	old := *c.groups.Load()
	if slices.Contains(old, m) {
		return c.opError("join", nil, fmt.Errorf("group %v: joined already: %w", group, syscall.EADDRINUSE))
	}
	if err := p.JoinGroup(group); err != nil {
		return c.opError("join", nil, err)
	}
	groups := append(slices.Clone(old), m)
	c.groups.Store(&groups)
	return nil
}

// LeaveGroup undoes JoinGroup; EADDRNOTAVAIL if the group was not joined.
func (c *Conn) LeaveGroup(group netip.Addr, p *stack.Port) error {
	group = group.Unmap()
	p, err := c.groupPort(group, p)
	if err != nil {
		return c.opError("leave", nil, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.attention.Load()&closed != 0 {
		return c.opError("leave", nil, net.ErrClosed)
	}
	old := *c.groups.Load()
	i := slices.Index(old, membership{number(group), p})
	if i < 0 {
		return c.opError("leave", nil, fmt.Errorf("group %v: not joined: %w", group, syscall.EADDRNOTAVAIL))
	}
	groups := slices.Delete(slices.Clone(old), i, i+1)
	c.groups.Store(&groups)
	if err := p.LeaveGroup(group); err != nil {
		return c.opError("leave", nil, err)
	}
	return nil
}

func (c *Conn) groupPort(group netip.Addr, p *stack.Port) (*stack.Port, error) {
	if !group.Is4() || !group.IsMulticast() {
		return nil, fmt.Errorf("group %v: %w: want an address in 224.0.0.0/4", group, syscall.EINVAL)
	}
	if p != nil {
		return p, nil
	}
	if p := c.s.PortOf(c.local.Addr()); p != nil {
		return p, nil
	}
	return c.s.RouteTo(group)
}

// leaveGroups leaves all groups of a closing socket.
func (c *Conn) leaveGroups() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range *c.groups.Load() {
		// A port that has gone has left its groups by that.
		_ = m.port.LeaveGroup(address(m.group))
	}
	c.groups.Store(new([]membership))
}

// Stats is what a socket counted since it was opened.
type Stats struct {
	// Received counts the datagrams that the socket got, InBand those of them
	// that came from the in-band stage.
	Received, InBand uint64
	// Full counts the datagrams that found the socket's quota used up.
	Full uint64
	// Truncated counts the datagrams that did not fit the reader's slice.
	Truncated uint64
	// Errors counts the ICMP errors about what the socket sent.
	Errors uint64
	// Demoted counts the datagrams that were sent in-band.
	Demoted uint64
	// TXTimesLost counts the times of sends that found no room.
	TXTimesLost uint64
	// Held is how many datagrams wait for a reader, or are leased.
	Held int
}

// Stats reads the socket's counters.
func (c *Conn) Stats() Stats {
	return Stats{
		Received: c.books.Got(), Held: c.books.Held(), InBand: c.stats.inBand.Load(),
		Full: c.stats.full.Load(), Truncated: c.stats.truncated.Load(), Errors: c.stats.errors.Load(),
		Demoted: c.stats.demotedSends.Load(), TXTimesLost: c.times.Dropped(),
	}
}
