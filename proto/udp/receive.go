package udp

import (
	"encoding/binary"
	"net/netip"
	"sync/atomic"

	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/stack"
)

// headersLen is IPv4 without options, and UDP, bytes.
const headersLen = wire.IPv4HeaderLen + wire.UDPHeaderLen

// received is a datagram on its way from the wire to the application: in a
// device's buffer, or, from the in-band stage, on the heap.
type received struct {
	dev   *stack.Device // nil: on the heap
	index uint32
	// shared: other sockets have the buffer too, and each gives back a part.
	shared bool
	heap   *heapDatagram
}

// heapDatagram is a datagram from the in-band stage, which may be longer than
// a buffer.
type heapDatagram struct {
	payload  []byte
	src, dst uint32
	srcPort  uint16
}

// counters of a socket. Those of the receive path are written once a datagram
// that is not delivered; what was delivered, the ring itself counts.
type counters struct {
	inBand, full, truncated, errors atomic.Uint64
	demotedSends                    atomic.Uint64
}

// Receive settles a run of packets: the UDP part of the RX step. It goes over
// the run twice. What a socket costs is its cache lines, and the second pass
// finds them on their way: the loads of the first do not depend on each other.
//
//oobnet:hot
func (p *protocol) Receive(b *stack.Batch) {
	var socks [stack.MaxBatch]*Conn
	partial := b.Device.PartialChecksum()
	for i, pkt := range b.Packets {
		socks[i] = p.examine(b, pkt, partial)
	}
	for i, c := range socks[:len(b.Packets)] {
		if c == nil {
			continue
		}
		if why, ok := c.deliver(b, b.Packets[i]); !ok {
			b.Packets[i].Drop(why)
		}
	}
}

// examine checks a packet and finds the socket that it is for. It returns nil
// if it has settled the packet itself.
//
//oobnet:hot
func (p *protocol) examine(b *stack.Batch, pkt *stack.Packet, partial bool) *Conn {
	t := b.Transport(pkt)
	h, ok := wire.ParseUDP(t)
	if !ok {
		pkt.Drop(stack.ReasonUDPLength)
		return nil
	}
	if !checksumOK(b, pkt, t[:h.Len], partial) {
		pkt.Drop(stack.ReasonChecksum)
		return nil
	}
	pkt.Len = uint16(h.Len) // from here on without what follows the datagram
	if pkt.Cast != stack.Unicast {
		p.deliverAll(b, pkt, h.DstPort)
		return nil
	}
	c := p.find(pkt.Dst, h.DstPort, pkt.Src, h.SrcPort)
	if c == nil {
		pkt.Demote(stack.ReasonNoSocket)
	}
	return c
}

// checksumOK verifies what the device has not.
//
//oobnet:hot
func checksumOK(b *stack.Batch, pkt *stack.Packet, t []byte, partial bool) bool {
	if verdict := pkt.Frame.Flags & (link.FlagChecksumGood | link.FlagChecksumBad); verdict != 0 {
		return verdict == link.FlagChecksumGood
	}
	if wire.UDPChecksumOK(t, pkt.Src, pkt.Dst) {
		return true
	}
	if partial && wire.UDPChecksumPartial(t, pkt.Src, pkt.Dst) {
		b.CountPartial()
		return true
	}
	return false
}

// find returns the socket that a unicast datagram is for: one connected to its
// sender, one bound to its destination, one bound to any, in this order.
//
//oobnet:hot
func (p *protocol) find(dst uint32, port uint16, src uint32, srcPort uint16) *Conn {
	if p.connected.Load() != 0 {
		if g := p.sockets.Get(connectedKey(dst, port, src, srcPort)); g != nil {
			return g.pick(src, srcPort)
		}
	}
	if g := p.sockets.Get(boundKey(dst, port)); g != nil {
		return g.pick(src, srcPort)
	}
	if g := p.sockets.Get(boundKey(0, port)); g != nil {
		return g.pick(src, srcPort)
	}
	return nil
}

// deliver puts a datagram into the socket's inbox, or calls its handler. If it
// reports false the buffer is still the stack's.
//
//oobnet:hot
func (c *Conn) deliver(b *stack.Batch, pkt *stack.Packet) (stack.Reason, bool) {
	if attention := c.attention.Load(); attention&(closed|handled) != 0 {
		if attention&closed != 0 {
			return stack.ReasonClosed, false
		}
		if !c.hold(b.Share) {
			return stack.ReasonSocketFull, false
		}
		pkt.Take()
		c.handle(received{dev: b.Device, index: pkt.Frame.Index})
		return 0, true
	}
	if !c.hold(b.Share) {
		return stack.ReasonSocketFull, false
	}
	pkt.Take()
	c.inboxOf(b.Device).Put(pkt.Frame.Index)
	c.arrived()
	return 0, true
}

// handle lends a datagram that the socket holds to the handler.
func (c *Conn) handle(r received) { c.cfg.Handler(Datagram{conn: c, r: r}) }

// hold counts one more datagram as held, unless the quota or what the device
// can spare is used up.
//
//oobnet:hot
func (c *Conn) hold(share int) bool {
	if held := c.books.Add(gotOne) & heldMask; int64(held) > min(c.quota.Load(), int64(share)) {
		c.books.Add(^uint64(gotOne - 1))
		c.stats.full.Add(1)
		return false
	}
	return true
}

// arrived tells a reader of what was queued.
//
//oobnet:hot
func (c *Conn) arrived() {
	if c.sleepers.Load() != 0 {
		c.wake()
	}
	if c.attention.Load()&closed != 0 {
		// Close may have looked before this came.
		c.purge(nil)
	}
}

// inboxOf is the inbox for a device's buffers.
//
//oobnet:hot
func (c *Conn) inboxOf(d *stack.Device) *stack.Inbox {
	if c.inbox.Device() == d {
		return &c.inbox
	}
	for _, b := range *c.others.Load() {
		if b.Device() == d {
			return b
		}
	}
	// The protocol is told of a device before the device receives.
	return &c.inbox
}

// release gives a datagram's buffer back to where it came from, and the socket
// its place.
//
//oobnet:hot
func (c *Conn) release(r *received) {
	switch {
	case r.dev == nil:
	case r.shared:
		r.dev.ReleaseShared(r.index)
	default:
		r.dev.Release(r.index)
	}
	c.books.Add(^uint64(0))
}

// payload is the datagram's bytes, where they are.
//
//oobnet:hot
func (r *received) payload() []byte {
	if r.dev == nil {
		return r.heap.payload
	}
	pkt := r.dev.Packet(r.index)
	return r.dev.Memory().Bytes(pkt.Frame)[pkt.Offset+wire.UDPHeaderLen:][:pkt.Len-wire.UDPHeaderLen]
}

// from is the sender.
//
//oobnet:hot
func (r *received) from() netip.AddrPort {
	if r.dev == nil {
		return netip.AddrPortFrom(address(r.heap.src), r.heap.srcPort)
	}
	pkt := r.dev.Packet(r.index)
	port := binary.BigEndian.Uint16(r.dev.Memory().Bytes(pkt.Frame)[pkt.Offset:])
	return netip.AddrPortFrom(address(pkt.Src), port)
}

// to is the address that the datagram was sent to.
func (r *received) to() netip.Addr {
	if r.dev == nil {
		return address(r.heap.dst)
	}
	return address(r.dev.Packet(r.index).Dst)
}
