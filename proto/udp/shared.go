package udp

import (
	"iter"

	"github.com/oobnet/oobnet/internal/ring"
	"github.com/oobnet/oobnet/stack"
)

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
			c.deliver(b, []*stack.Packet{pkt})
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
	if wantTimes(groups, pkt) {
		b.Stamp([]*stack.Packet{pkt})
	}
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

// wantTimes: one of the sockets that share a packet wants its times, which all
// of them have as the buffer has them.
func wantTimes(groups [2]*group, pkt *stack.Packet) bool {
	for c := range wanters(groups, pkt) {
		if c.attention.Load()&timed != 0 {
			return true
		}
	}
	return false
}

// deliverSide queues what no inbox can hold, or calls the handler.
func (c *Conn) deliverSide(r received, share int) bool {
	attention := c.attention.Load()
	if attention&closed != 0 {
		return false
	}
	if c.hold(1, share) == 0 {
		return false
	}
	if attention&handled != 0 {
		c.handle(r)
		return true
	}
	if !c.side.Load().Push(&r) {
		c.books.Undo()
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
