package udp

import (
	"net/netip"
	"sync/atomic"

	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/stack"
)

// headersLen is IPv4 without options, and UDP, bytes.
const headersLen = wire.IPv4HeaderLen + wire.UDPHeaderLen

// item is a received datagram on a socket's ring.
type item struct {
	// dev is whose buffer holds the payload; nil: it is in heap.
	dev      *stack.Device
	heap     *heapDatagram
	index    uint32
	off, len uint16
	src, dst uint32
	srcPort  uint16
	shared   bool // other sockets have the buffer too
}

// heapDatagram is a datagram from the in-band stage, which may be longer than
// a buffer.
type heapDatagram struct{ payload []byte }

// counters of a socket. Those of the receive path are written once a datagram
// that is not delivered; what was delivered, the ring itself counts.
type counters struct {
	inBand, full, truncated, errors atomic.Uint64
	demotedSends                    atomic.Uint64
}

// Receive settles a run of packets: the UDP part of the RX step.
func (p *protocol) Receive(b *stack.Batch) {
	partial := b.Device.Link().Capabilities().PartialChecksum
	for i := range b.Packets {
		pkt := &b.Packets[i]
		t := b.Transport(pkt)
		h, ok := wire.ParseUDP(t)
		if !ok {
			pkt.Drop(stack.ReasonUDPLength)
			continue
		}
		if !checksumOK(b, pkt, t[:h.Len], partial) {
			pkt.Drop(stack.ReasonChecksum)
			continue
		}
		it := item{
			dev: b.Device, index: pkt.Frame.Index,
			off: pkt.Frame.Off + pkt.Offset + wire.UDPHeaderLen, len: uint16(h.Len - wire.UDPHeaderLen),
			src: pkt.Src, dst: pkt.Dst, srcPort: h.SrcPort,
		}
		if pkt.Cast != stack.Unicast {
			p.deliverAll(b, pkt, &it, h.DstPort)
			continue
		}
		c := p.find(pkt.Dst, h.DstPort, pkt.Src, h.SrcPort)
		if c == nil {
			pkt.Demote(stack.ReasonNoSocket)
			continue
		}
		if r, ok := c.deliver(&it, b.Share); ok {
			pkt.Take()
		} else {
			pkt.Drop(r)
		}
	}
}

// checksumOK verifies what the device has not.
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

// deliver queues a datagram on the socket, or calls its handler. If it reports
// false the buffer is still the caller's.
func (c *Conn) deliver(it *item, share int) (stack.Reason, bool) {
	if c.attention.Load()&closed != 0 {
		return stack.ReasonClosed, false
	}
	if c.cfg.Handler != nil {
		c.leased.Add(1)
		c.cfg.Handler(c.datagram(it))
		return 0, true
	}
	if !c.hasRoom(share) || !c.queue.Push(it) {
		c.stats.full.Add(1)
		return stack.ReasonSocketFull, false
	}
	if c.sleepers.Load() != 0 {
		c.wake()
	}
	if c.attention.Load()&closed != 0 {
		// Close may have looked at the ring before the push.
		c.purge(nil)
	}
	return 0, true
}

// hasRoom reports whether the socket may hold one more buffer, of its quota
// and of what the device can spare. The reader's counters are looked at only
// when the last look no longer suffices: they are on the reader's core.
func (c *Conn) hasRoom(share int) bool {
	limit := uint64(min(c.quota.Load(), int64(share)))
	if c.queue.Tail()-c.freed.Load() < limit {
		return true
	}
	freed := c.queue.Head() - uint64(c.leased.Load())
	c.freed.Store(freed)
	return c.queue.Tail()-freed < limit
}

// deliverAll gives a multicast or broadcast datagram to all that want it. They
// share the buffer; the last one gives it back.
func (p *protocol) deliverAll(b *stack.Batch, pkt *stack.Packet, it *item, port uint16) {
	exact, any := p.sockets.Get(boundKey(pkt.Dst, port)), p.sockets.Get(boundKey(0, port))
	n := wanting(exact, pkt) + wanting(any, pkt)
	switch n {
	case 0:
		pkt.Drop(stack.ReasonNoSocket)
		return
	case 1:
	default:
		it.shared = true
	}
	// One part is the caller's own, until it is known whether anybody took one.
	if it.shared {
		b.Device.Share(it.index, n+1)
	}
	took, why := 0, stack.ReasonSocketFull
	for _, g := range [...]*group{exact, any} {
		if g == nil {
			continue
		}
		for _, c := range g.conns {
			if !c.wants(pkt) {
				continue
			}
			if r, ok := c.deliver(it, b.Share); ok {
				took++
			} else {
				why = r
				if it.shared {
					b.Device.ReleaseShared(it.index)
				}
			}
		}
	}
	if took == 0 {
		pkt.Drop(why)
		return
	}
	pkt.Take()
	if it.shared {
		b.Device.ReleaseShared(it.index)
	}
}

func wanting(g *group, pkt *stack.Packet) (n int) {
	if g == nil {
		return 0
	}
	for _, c := range g.conns {
		if c.wants(pkt) {
			n++
		}
	}
	return n
}

// wants: a group's datagrams are for the sockets that joined it, on the port
// where they joined; a broadcast is for all.
func (c *Conn) wants(pkt *stack.Packet) bool {
	if pkt.Cast == stack.Broadcast {
		return true
	}
	for _, m := range *c.groups.Load() {
		if m.group == pkt.Dst && m.port == pkt.Port {
			return true
		}
	}
	return false
}

// ReceiveInBand takes a datagram from the in-band stage: the same sockets by
// the same rules, the payload on the heap.
func (p *protocol) ReceiveInBand(d *stack.Datagram) bool {
	h, ok := wire.ParseUDP(d.Transport)
	if !ok {
		return true // malformed: nobody is told
	}
	src, dst := number(d.Src), number(d.Dst)
	t := d.Transport[:h.Len]
	if !d.Verified && !wire.UDPChecksumOK(t, src, dst) &&
		!(d.Port != nil && d.Port.Device().Link().Capabilities().PartialChecksum && wire.UDPChecksumPartial(t, src, dst)) {
		return true
	}
	it := item{heap: &heapDatagram{t[wire.UDPHeaderLen:]}, src: src, dst: dst, srcPort: h.SrcPort}
	if !d.Dst.IsMulticast() && !isBroadcast(d) {
		c := p.find(dst, h.DstPort, src, h.SrcPort)
		if c == nil {
			return false
		}
		c.deliverInBand(&it)
		return true
	}
	pkt := stack.Packet{Port: d.Port, Dst: dst, Cast: stack.Broadcast}
	if d.Dst.IsMulticast() {
		pkt.Cast = stack.Multicast
	}
	for _, k := range [...]uint32{dst, 0} {
		if g := p.sockets.Get(boundKey(k, h.DstPort)); g != nil {
			for _, c := range g.conns {
				if c.wants(&pkt) {
					c.deliverInBand(&it)
				}
			}
		}
	}
	return true
}

// isBroadcast: the in-band stage hands over what is for an own address, a
// group, or a broadcast address of the port.
func isBroadcast(d *stack.Datagram) bool {
	return d.Port != nil && !d.Port.Device().Stack().Local(d.Dst)
}

func (c *Conn) deliverInBand(it *item) {
	if _, ok := c.deliver(it, c.queue.Cap()); ok {
		c.stats.inBand.Add(1)
	}
}

// release gives a datagram's buffer back to where it came from.
func (it *item) release() {
	switch {
	case it.dev == nil:
	case it.shared:
		it.dev.ReleaseShared(it.index)
	default:
		it.dev.Release(it.index)
	}
}

func (it *item) payload() []byte {
	if it.dev == nil {
		return it.heap.payload
	}
	return it.dev.Memory().Buffer(it.index)[it.off:][:it.len]
}

func (it *item) from() netip.AddrPort { return netip.AddrPortFrom(address(it.src), it.srcPort) }

// purge drops what waits for a reader: all of it, or what is in the buffers of
// one device.
func (c *Conn) purge(d *stack.Device) {
	var it item
	for range c.queue.Len() {
		if !c.queue.Pop(&it) {
			return
		}
		if d == nil || it.dev == d || !c.queue.Push(&it) {
			it.release()
		}
	}
}
