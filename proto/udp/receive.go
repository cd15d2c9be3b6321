package udp

import (
	"encoding/binary"
	"iter"
	"net/netip"
	"slices"
	"sync/atomic"

	"github.com/oobnet/oobnet/internal/ring"
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

// deliverAll gives a multicast or broadcast datagram to all that want it. If
// there are several they share the buffer; the last one gives it back.
func (p *protocol) deliverAll(b *stack.Batch, pkt *stack.Packet, port uint16) {
	groups := [...]*group{p.sockets.Get(boundKey(pkt.Dst, port)), p.sockets.Get(boundKey(0, port))}
	switch n := wanting(groups[0], pkt) + wanting(groups[1], pkt); n {
	case 0:
		pkt.Drop(stack.ReasonNoSocket)
	case 1:
		pkt.Drop(stack.ReasonNoSocket) // unless the one is still there
		for c := range wanters(groups, pkt) {
			if why, ok := c.deliver(b, pkt); !ok {
				pkt.Drop(why)
			}
			break // another one has joined since they were counted
		}
	default:
		p.deliverShared(b, pkt, groups, n)
	}
}

// deliverShared makes n sockets, and for as long as it runs itself, the owners
// of one buffer. Members come and go meanwhile: the parts are n all the same.
func (p *protocol) deliverShared(b *stack.Batch, pkt *stack.Packet, groups [2]*group, n int) {
	index, took := pkt.Frame.Index, 0
	pkt.Take()
	b.Device.Share(index, n+1)
	for c := range wanters(groups, pkt) {
		if n == 0 {
			break
		}
		n--
		if c.deliverSide(received{dev: b.Device, index: index, shared: true}, b.Share) {
			took++
		} else {
			b.Device.ReleaseShared(index)
		}
	}
	for range n {
		b.Device.ReleaseShared(index)
	}
	if took == 0 {
		// The parts have come back, all but this one: the buffer is the stack's.
		pkt.Drop(stack.ReasonSocketFull)
		return
	}
	b.Device.ReleaseShared(index)
}

// deliverSide queues what no inbox can hold, or calls the handler.
func (c *Conn) deliverSide(r received, share int) bool {
	attention := c.attention.Load()
	if attention&closed != 0 {
		return false
	}
	if !c.hold(share) {
		return false
	}
	if attention&handled != 0 {
		c.handle(r)
		return true
	}
	if !c.side.Load().Push(&r) {
		c.books.Add(^uint64(gotOne - 1))
		c.stats.full.Add(1)
		return false
	}
	c.arrived()
	return true
}

// makeSide makes the side queue, unless there is one.
func (c *Conn) makeSide() {
	if c.side.Load() == nil {
		c.side.CompareAndSwap(nil, ring.New[received](sideQueue))
	}
}

// wanters goes over the sockets that want a packet.
func wanters(groups [2]*group, pkt *stack.Packet) iter.Seq[*Conn] {
	return func(yield func(*Conn) bool) {
		for _, g := range groups {
			if g == nil {
				continue
			}
			for _, c := range g.conns {
				if c.wants(pkt) && !yield(c) {
					return
				}
			}
		}
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
		!(d.Port != nil && d.Port.Device().PartialChecksum() && wire.UDPChecksumPartial(t, src, dst)) {
		return true
	}
	r := received{heap: &heapDatagram{payload: t[wire.UDPHeaderLen:], src: src, dst: dst, srcPort: h.SrcPort}}
	if !d.Dst.IsMulticast() && !isBroadcast(d) {
		c := p.find(dst, h.DstPort, src, h.SrcPort)
		if c == nil {
			return false
		}
		c.deliverInBand(r)
		return true
	}
	pkt := stack.Packet{Port: d.Port, Dst: dst, Cast: stack.Broadcast}
	if d.Dst.IsMulticast() {
		pkt.Cast = stack.Multicast
	}
	groups := [...]*group{p.sockets.Get(boundKey(dst, h.DstPort)), p.sockets.Get(boundKey(0, h.DstPort))}
	for c := range wanters(groups, &pkt) {
		c.deliverInBand(r)
	}
	return true
}

// isBroadcast: the in-band stage hands over what is for an own address, a
// group, or a broadcast address of the port.
func isBroadcast(d *stack.Datagram) bool {
	return d.Port != nil && !d.Port.Device().Stack().Local(d.Dst)
}

func (c *Conn) deliverInBand(r received) {
	c.makeSide()
	// No device lends anything: the quota and the queue are the only bounds.
	if c.deliverSide(r, MaxQueue) {
		c.stats.inBand.Add(1)
	}
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

// purge drops what waits for a reader: all of it, or what is in the buffers of
// one device.
func (c *Conn) purge(d *stack.Device) {
	var r received
	for _, b := range c.inboxes() {
		if d != nil && b.Device() != d {
			continue
		}
		for {
			index, ok := b.Take()
			if !ok {
				break
			}
			c.release(&received{dev: b.Device(), index: index})
		}
	}
	side := c.side.Load()
	if side == nil {
		return
	}
	for range side.Len() {
		if !side.Pop(&r) {
			return
		}
		if d == nil || r.dev == d || !side.Push(&r) {
			c.release(&r)
		}
	}
}

// inboxes are all inboxes of the socket.
func (c *Conn) inboxes() []*stack.Inbox {
	return append([]*stack.Inbox{&c.inbox}, *c.others.Load()...)
}

// attachFirst gives a socket that nobody knows yet its inboxes. The one in the
// socket itself is the first device's for good: readers look at it at any time.
func (c *Conn) attachFirst(devices []*stack.Device) {
	if len(devices) == 0 {
		c.inbox.Init(nil)
		return
	}
	c.inbox.Init(devices[0])
	for _, d := range devices[1:] {
		c.attach(d)
	}
}

// attach gives the socket an inbox for a device, if it has none yet, and
// forgets those of devices that are no more: of one that is still closing, it
// may get packets. Under the protocol's mutex.
func (c *Conn) attach(d *stack.Device) {
	there := c.s.Devices()
	others := slices.DeleteFunc(slices.Clone(*c.others.Load()), func(b *stack.Inbox) bool { return !slices.Contains(there, b.Device()) })
	if c.inbox.Device() != d && !slices.ContainsFunc(others, func(b *stack.Inbox) bool { return b.Device() == d }) {
		b := new(stack.Inbox)
		b.Init(d)
		others = append(others, b)
	}
	c.others.Store(&others)
}
