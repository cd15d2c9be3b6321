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
