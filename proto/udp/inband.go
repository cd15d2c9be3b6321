package udp

import (
	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/stack"
)

// ReceiveInBand takes a datagram from the in-band stage: the same sockets by
// the same rules, the payload on the heap.
func (p *protocol) ReceiveInBand(d *stack.Datagram) bool {
	h, ok := wire.ParseUDP(d.Transport)
	if !ok {
		d.Drop(stack.ReasonUDPLength)
		return true // nobody is told
	}
	src, dst := number(d.Src), number(d.Dst)
	t := d.Transport[:h.Len]
	if !d.Verified && !wire.UDPChecksumOK(t, src, dst) &&
		!(d.Port != nil && d.Port.Device().PartialChecksum() && wire.UDPChecksumPartial(t, src, dst)) {
		d.Drop(stack.ReasonChecksum)
		return true
	}
	r := received{heap: &heapDatagram{payload: t[wire.UDPHeaderLen:], src: src, dst: dst, srcPort: h.SrcPort, tos: d.TOS}}
	if p.s.TimesWanted() {
		// A copy: the points before are those of the frames that it came in.
		r.heap.times.Delivery = stack.Now()
	}
	if !d.Dst.IsMulticast() && !isBroadcast(d) {
		c := p.find(dst, h.DstPort, src, h.SrcPort)
		if c == nil {
			return false
		}
		if !c.deliverInBand(r) {
			d.Drop(stack.ReasonSocketFull)
		}
		return true
	}
	pkt := stack.Packet{Port: d.Port, Dst: dst, Cast: stack.Broadcast}
	if d.Dst.IsMulticast() {
		pkt.Cast = stack.Multicast
	}
	groups := [...]*group{p.sockets.Get(boundKey(dst, h.DstPort)), p.sockets.Get(boundKey(0, h.DstPort))}
	took := false
	for c := range wanters(groups, &pkt) {
		took = c.deliverInBand(r) || took
	}
	if !took {
		d.Drop(stack.ReasonNoSocket)
	}
	return true
}

// isBroadcast: the in-band stage hands over what is for an own address, a
// group, or a broadcast address of the port.
func isBroadcast(d *stack.Datagram) bool {
	return d.Port != nil && !d.Port.Device().Stack().Local(d.Dst)
}

func (c *Conn) deliverInBand(r received) bool {
	c.makeSide()
	// Counted before its reader can have it, and look at the counter.
	c.stats.inBand.Add(1)
	// No device lends anything: the quota and the queue are the only bounds.
	if !c.deliverSide(r, MaxQueue) {
		c.stats.inBand.Add(^uint64(0))
		return false
	}
	return true
}
