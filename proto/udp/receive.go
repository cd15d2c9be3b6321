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
	tos      uint8
	times    stack.IOTimes
}

// counters of a socket, of what is rare: what was delivered, Conn.books counts.
// Written by RX threads, callers and the in-band stage, read by Stats.
type counters struct {
	inBand, full, truncated, errors atomic.Uint64
	demotedSends                    atomic.Uint64
}

// Receive settles a run of packets: the UDP part of the RX step. It goes over
// the run several times. What thousands of sockets cost is cache lines, and a
// processor waits for those together whose loads stand close to each other and
// do not depend on each other: so first all packets are checked, then all
// sockets looked up, then the first line of each is touched. What comes last
// has locked instructions, at which it would wait one by one.
//
//oobnet:hot
func (p *protocol) Receive(b *stack.Batch) {
	var socks [stack.MaxBatch]*Conn
	var ports [stack.MaxBatch]portPair
	partial := b.Device.PartialChecksum()
	for i, pkt := range b.Packets {
		ports[i] = p.examine(b, pkt, partial)
	}
	n := len(b.Packets)
	for i, pkt := range b.Packets {
		if ports[i].unsettled {
			socks[i] = p.find(pkt.Dst, ports[i].dst, pkt.Src, ports[i].src)
		}
	}
	for i, c := range socks[:n] {
		if c != nil {
			c.attention.Load()
		} else if ports[i].unsettled {
			b.Packets[i].Demote(stack.ReasonNoSocket)
		}
	}
	for i := 0; i < n; {
		c, first := socks[i], i
		for i++; i < n && socks[i] == c; i++ {
			// Neighbours for one socket are delivered together.
		}
		if c != nil {
			c.deliver(b, b.Packets[first:i])
		}
	}
}

// portPair is what the look for a packet's socket needs to know.
type portPair struct {
	src, dst  uint16
	unsettled bool
}

// examine checks a packet, and settles it if it is wrong, or for many.
//
//oobnet:hot
func (p *protocol) examine(b *stack.Batch, pkt *stack.Packet, partial bool) portPair {
	t := b.Transport(pkt)
	h, ok := wire.ParseUDP(t)
	if !ok {
		pkt.Drop(stack.ReasonUDPLength)
		return portPair{}
	}
	if !checksumOK(b, pkt, t[:h.Len], partial) {
		pkt.Drop(stack.ReasonChecksum)
		return portPair{}
	}
	pkt.Len = uint16(h.Len) // from here on without what follows the datagram
	if pkt.Cast != stack.Unicast {
		p.deliverAll(b, pkt, h.DstPort)
		return portPair{}
	}
	return portPair{src: h.SrcPort, dst: h.DstPort, unsettled: true}
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

// deliver settles packets for the socket: into its inbox, or to its handler.
//
//oobnet:hot
func (c *Conn) deliver(b *stack.Batch, pkts []*stack.Packet) {
	if attention := c.attention.Load(); attention&(closed|handled|timed) != 0 {
		if attention&timed != 0 {
			b.Stamp(pkts)
		}
		if attention&(closed|handled) != 0 {
			c.deliverOtherwise(b, pkts)
			return
		}
	}
	n := c.hold(len(pkts), b.Share)
	for _, pkt := range pkts[n:] {
		pkt.Drop(stack.ReasonSocketFull)
	}
	if n == 0 {
		return
	}
	for _, pkt := range pkts[:n] {
		pkt.Take()
	}
	c.inboxOf(b.Device).PutAll(pkts[:n])
	c.arrived()
}

// deliverOtherwise is deliver for a socket that is closed or has a handler.
func (c *Conn) deliverOtherwise(b *stack.Batch, pkts []*stack.Packet) {
	for _, pkt := range pkts {
		switch {
		case c.attention.Load()&closed != 0:
			pkt.Drop(stack.ReasonClosed)
		case c.hold(1, b.Share) == 0:
			pkt.Drop(stack.ReasonSocketFull)
		default:
			pkt.Take()
			c.handle(received{dev: b.Device, index: pkt.Frame.Index})
		}
	}
}

// handle lends a datagram that the socket holds to the handler.
func (c *Conn) handle(r received) { c.cfg.Handler(Datagram{conn: c, r: r}) }

// hold counts n more datagrams as held, or as many as the quota and what the
// device can spare allow, and returns how many.
//
//oobnet:hot
func (c *Conn) hold(n, share int) int {
	held := c.books.Hold(n, min(int(c.quota.Load()), share))
	if held < n {
		c.stats.full.Add(uint64(n - held))
	}
	return held
}

// arrived tells a reader of what was queued.
//
//oobnet:hot
func (c *Conn) arrived() {
	if c.readers.Asleep() {
		c.readers.Wake()
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
	c.books.Release()
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

// tos is the TOS byte that the datagram came with.
func (r *received) tos() uint8 {
	if r.dev == nil {
		return r.heap.tos
	}
	return r.dev.Packet(r.index).TOS
}

// to is the address that the datagram was sent to.
func (r *received) to() netip.Addr {
	if r.dev == nil {
		return address(r.heap.dst)
	}
	return address(r.dev.Packet(r.index).Dst)
}
