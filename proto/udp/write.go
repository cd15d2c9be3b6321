package udp

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"

	"github.com/oobnet/oobnet/arp"
	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/stack"
)

// WriteToUDPAddrPort sends b as one datagram. It waits for a buffer if the TX
// pool is empty, until the write deadline (or fails, see Config.NoWait), and
// for an address if Config.OnMiss says so. It allocates nothing if the front
// cache knows the destination. Errors: EMSGSIZE (over MaxPayload), ENETUNREACH
// (no route), EHOSTUNREACH (Config.OnMiss), EACCES (broadcast), EINVAL (port
// 0), EMULTIHOP (Config.DontRoute), ENOBUFS, ENETDOWN, os.ErrDeadlineExceeded, net.ErrClosed,
// net.ErrWriteToConnected.
func (c *Conn) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	if c.connected {
		return 0, c.opError("write", net.UDPAddrFromAddrPort(to), net.ErrWriteToConnected)
	}
	return c.writeTo(b, to, nil, 0)
}

// Write sends b to the peer of a connected socket; ENOTCONN if it has none.
// An ICMP error about an earlier datagram (ECONNREFUSED) is returned once, by
// the next read or write.
func (c *Conn) Write(b []byte) (int, error) {
	if !c.connected {
		return 0, c.opError("write", nil, syscall.ENOTCONN)
	}
	return c.writeTo(b, c.remote, nil, 0)
}

// WriteTo is WriteToUDPAddrPort for a *net.UDPAddr.
func (c *Conn) WriteTo(b []byte, addr net.Addr) (int, error) {
	to, ok := addr.(*net.UDPAddr)
	if !ok {
		return 0, c.opError("write", addr, fmt.Errorf("address is a %T, want *net.UDPAddr: %w", addr, syscall.EINVAL))
	}
	return c.WriteToUDP(b, to)
}

// WriteMsgUDPAddrPort is WriteToUDPAddrPort, or Write if addr is not valid.
// There are no control messages: oob must be empty, else EINVAL.
func (c *Conn) WriteMsgUDPAddrPort(b, oob []byte, addr netip.AddrPort) (n, oobn int, err error) {
	if len(oob) > 0 {
		return 0, 0, c.opError("write", nil, fmt.Errorf("control messages are not supported: %w", syscall.EINVAL))
	}
	if addr.IsValid() {
		n, err = c.WriteToUDPAddrPort(b, addr)
	} else {
		n, err = c.Write(b)
	}
	return n, 0, err
}

// writeTo sends b, and leaves the number of the send in id, unless that is nil or
// no times of sends are taken. ecn goes with the DSCP.
//
//oobnet:hot
func (c *Conn) writeTo(b []byte, to netip.AddrPort, id *uint64, ecn uint8) (int, error) {
	if !to.Addr().Is4() {
		to = unmap(to)
	}
	if c.attention.Load()&(closed|writeExpired|failed) != 0 {
		if err := c.writable("write"); err != nil {
			return 0, err
		}
	}
	e, err := c.pathTo(to)
	if err != nil {
		return 0, c.opError("write", net.UDPAddrFromAddrPort(to), err)
	}
	return c.send(b, to, e, id, ecn)
}

// writable says why a write must not go on, nil if it may.
func (c *Conn) writable(op string) error {
	switch attention := c.attention.Load(); {
	case attention&closed != 0:
		return c.opError(op, nil, net.ErrClosed)
	case attention&writeExpired != 0:
		return c.opError(op, nil, os.ErrDeadlineExceeded)
	case attention&failed != 0:
		return c.takeFailure(op)
	}
	return nil
}

// pathTo returns the front-cache entry to a destination; nil: the in-band
// stage has to find the way.
//
//oobnet:hot
func (c *Conn) pathTo(to netip.AddrPort) (*arp.Entry, error) {
	if !to.Addr().Is4() || to.Port() == 0 {
		return nil, notAPeer(to)
	}
	if c.connected {
		if e := c.path.Load(); e != nil && e.Valid() {
			return e, nil
		}
	}
	e := c.lookup(number(to.Addr()))
	if e == nil {
		return c.miss(to.Addr())
	}
	return c.allow(e)
}

// notAPeer says why nothing can be sent to an address.
func notAPeer(to netip.AddrPort) error {
	if !to.Addr().Is4() {
		return fmt.Errorf("address is not IPv4: %w", syscall.EAFNOSUPPORT)
	}
	return fmt.Errorf("port 0 is nobody's: %w", syscall.EINVAL)
}

// allow applies the socket's options to an entry, and keeps the entry if the
// socket is connected.
func (c *Conn) allow(e *arp.Entry) (*arp.Entry, error) {
	if err := c.allowed(e); err != nil {
		return nil, err
	}
	if e.Kind == arp.Broadcast {
		var err error
		if e, err = c.settleMany(e); err != nil {
			return nil, err
		}
	}
	if c.connected {
		c.path.Store(e)
	}
	return e, nil
}

// allowed says which of the socket's options forbids an entry.
func (c *Conn) allowed(e *arp.Entry) error {
	switch {
	case e.Kind == arp.Broadcast && !c.cfg.Broadcast:
		return syscall.EACCES
	case c.cfg.DontRoute && e.NextHop != e.Dst:
		return errMultihop
	}
	return nil
}

// miss does what the socket's policy says of a destination that the front
// cache does not know.
func (c *Conn) miss(dst netip.Addr) (*arp.Entry, error) {
	if dst.IsUnspecified() {
		return nil, syscall.EDESTADDRREQ
	}
	e, err := c.missTo(dst)
	if err != nil {
		return nil, err
	}
	if e != nil {
		return c.allow(e)
	}
	if c.s.Local(dst) || dst.IsLoopback() {
		return nil, nil
	}
	if c.cfg.DontRoute && !c.s.OnLink(dst) {
		return nil, errMultihop
	}
	switch c.cfg.OnMiss {
	case MissFail:
		return nil, syscall.EHOSTUNREACH
	case MissWait:
		return c.solicit(dst)
	}
	return nil, nil
}

// solicit waits for an address until the write deadline.
func (c *Conn) solicit(dst netip.Addr) (*arp.Entry, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	passed := c.write.Channel()
	go func() {
		select {
		case <-passed:
		case <-c.done:
		case <-ctx.Done():
		}
		cancel()
	}()
	if err := c.s.Solicit(ctx, dst, arp.MayRoute); err != nil {
		if e := c.writable("write"); e != nil {
			return nil, e
		}
		return nil, syscall.EHOSTUNREACH
	}
	return c.lookup(number(dst)), nil
}

// send sends b the fast way if there is one, and b fits into a frame.
//
//oobnet:hot
func (c *Conn) send(b []byte, to netip.AddrPort, e *arp.Entry, id *uint64, ecn uint8) (int, error) {
	if e == nil || len(b) > int(e.MTU)-headersLen {
		return c.demote(b, to, id, ecn)
	}
	dev := e.Via.(*stack.Port).Device()
	f, err := dev.AllocFor(int(c.priority.Load()))
	if err != nil {
		if f, err = c.allocAgain(dev, err); err != nil {
			return 0, c.opError("write", net.UDPAddrFromAddrPort(to), err)
		}
	}
	if sends := c.times.Sends(); sends != nil {
		f.Flags |= link.FlagTimed
		tell(id, sends.Begin(dev, f.Index, stack.Now()))
	}
	copy(dev.Memory().Buffer(f.Index)[f.Off:], b)
	if err := c.finish(f, len(b), to.Port(), e, ecn); err != nil {
		return 0, err
	}
	return len(b), nil
}

// alloc takes a TX buffer, waiting for one as the socket wants it.
func (c *Conn) alloc(dev *stack.Device) (link.Frame, error) {
	f, err := dev.AllocFor(int(c.priority.Load()))
	if err == nil {
		return f, nil
	}
	return c.allocAgain(dev, err)
}

// allocAgain is for a sender that found no buffer: it waits for one, or fails.
func (c *Conn) allocAgain(dev *stack.Device, err error) (link.Frame, error) {
	if c.cfg.NoWait {
		return link.Frame{}, err
	}
	f, err := dev.AllocWait(int(c.priority.Load()), c.write.Channel(), c.done)
	if err != nil && c.attention.Load()&writeExpired != 0 {
		err = os.ErrDeadlineExceeded
	}
	return f, err
}

// finish writes the headers in front of a payload that stands at f.Off, and
// sends the frame. The buffer is the device's from then on.
//
//oobnet:hot
func (c *Conn) finish(f link.Frame, size int, to uint16, e *arp.Entry, ecn uint8) error {
	port := e.Via.(*stack.Port)
	dev := port.Device()
	start := int(f.Off)
	buf := dev.Memory().Buffer(f.Index)
	off, length, left := c.build(buf, start, size, to, e, dev.Offloads())
	f.Off, f.Len = off, length
	if ecn != 0 {
		wire.MarkIPv4(buf[start-headersLen:], ecn)
	}
	if left != 0 {
		f.Flags |= left
		f.VLAN = c.tag(e)
	}
	e.Touch()
	if err := port.Send(f, c.flow, int(c.priority.Load())); err != nil {
		return c.opError("write", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.AddrFrom4(e.Dst), to)), err)
	}
	return nil
}

// offloadFrom is the shortest payload, bytes, whose checksum is left to a device
// that can. To describe a frame to a NIC takes some 8 ns, in which a processor sums
// 300 bytes (BenchmarkOffload). It is also more than a frame has that needs padding,
// which some devices would count with the datagram.
const offloadFrom = 384

// build makes a frame of the payload that stands in the buffer, and returns
// where it is, and what of it is left to the device, which does what offloads say.
//
//oobnet:hot
func (c *Conn) build(buf []byte, at, size int, to uint16, e *arp.Entry, offloads link.Flags) (off, length uint16, left link.Flags) {
	src, ttl := c.localIP, c.cfg.TTL
	if src == 0 || src>>28 == 0xe {
		src = number4(e.Src)
	}
	dst := number4(e.Dst)
	if e.Kind == arp.Multicast {
		ttl = c.cfg.MulticastTTL
		if c.loop.Load() {
			c.loopBack(buf[at:at+size], src, dst, to, e.Via.(*stack.Port))
		}
	}
	start := at - headersLen - int(e.HeaderLen)
	b := buf[start : at+size]
	n := int(e.HeaderLen)
	*(*[wire.EthernetHeaderLen]byte)(b) = [wire.EthernetHeaderLen]byte(e.Header[:])
	if n == arp.MaxHeaderLen {
		if offloads&link.FlagVLANStripped != 0 {
			left, n, start, b = link.FlagVLANStripped, n-wire.VLANTagLen, start+wire.VLANTagLen, b[wire.VLANTagLen:]
			*(*[2 * 6]byte)(b) = [2 * 6]byte(e.Header[:])
			b[12], b[13] = e.Header[16], e.Header[17]
		} else {
			binary.BigEndian.PutUint16(b[12:], wire.TypeVLAN)
			binary.BigEndian.PutUint16(b[14:], c.tag(e))
			binary.BigEndian.PutUint16(b[16:], wire.TypeIPv4)
		}
	}
	wire.PutIPv4(b[n:], src, dst, wire.ProtocolUDP, ttl, uint8(c.tos.Load()), len(b)-n)
	if size >= offloadFrom && offloads&link.FlagChecksumOffload != 0 {
		left |= link.FlagChecksumOffload
		wire.PutUDPPartial(b[n+wire.IPv4HeaderLen:], src, dst, c.localPort, to)
	} else {
		wire.PutUDP(b[n+wire.IPv4HeaderLen:], src, dst, c.localPort, to)
	}
	if len(b) < wire.MinFrame {
		clear(buf[start+len(b) : start+wire.MinFrame])
		return uint16(start), wire.MinFrame, left
	}
	return uint16(start), uint16(len(b)), left
}

// tag is the control information of the tag that the socket's frames to a
// destination have; 0: none.
//
//oobnet:hot
func (c *Conn) tag(e *arp.Entry) uint16 {
	if e.HeaderLen != arp.MaxHeaderLen {
		return 0
	}
	return binary.BigEndian.Uint16(e.Header[14:]) | uint16(c.priority.Load())<<wire.PCPShift
}

// demote sends a datagram in-band: it is copied, and goes through a bounded
// queue.
func (c *Conn) demote(b []byte, to netip.AddrPort, id *uint64, ecn uint8) (int, error) {
	sends, begun := c.times.Sends(), int64(0)
	if sends != nil {
		begun = stack.Now()
	}
	fail := func(err error) (int, error) { return 0, c.opError("write", net.UDPAddrFromAddrPort(to), err) }
	if len(b) > MaxPayload {
		return fail(syscall.EMSGSIZE)
	}
	src, by, err := c.sourceTo(to.Addr())
	if err != nil {
		return fail(err)
	}
	t := make([]byte, wire.UDPHeaderLen+len(b))
	copy(t[wire.UDPHeaderLen:], b)
	wire.PutUDP(t, number(src), number(to.Addr()), c.local.Port(), to.Port())
	ttl := c.cfg.TTL
	if to.Addr().IsMulticast() {
		ttl = c.cfg.MulticastTTL
	}
	out := stack.Outgoing{
		Protocol: wire.ProtocolUDP, Src: src, Dst: to.Addr(), Via: by, TTL: ttl, TOS: uint8(c.tos.Load()) | ecn,
		Priority: uint8(c.priority.Load()), Transport: t,
	}
	if err := c.s.Demote(&out); err != nil {
		return fail(err)
	}
	if sends != nil {
		tell(id, sends.Demoted(begun))
	}
	if to.Addr().IsMulticast() && c.loop.Load() {
		if by == nil {
			by, err = c.s.RouteTo(to.Addr())
		}
		if err == nil {
			c.loopBack(b, number(src), number(to.Addr()), to.Port(), by)
		}
	}
	c.stats.demotedSends.Add(1)
	return len(b), nil
}

func number4(b [4]byte) uint32 {
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}
