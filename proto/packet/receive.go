package packet

import (
	"sync/atomic"

	"github.com/oobnet/oobnet/internal/table"
	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/stack"
)

// counters of a socket, of what is rare: what was delivered, Conn.books counts.
// Written by RX threads, senders and callers, read by Stats.
type counters struct {
	full, noBuffer, filtered, truncated atomic.Uint64
}

// Tap settles a run of packets: the part of the RX step that raw sockets are.
// Neighbours for one audience are delivered together: one with a single socket
// costs it the locked instructions of one frame.
//
//oobnet:hot
func (t *tap) Tap(b *stack.Batch) {
	r := t.rosters.Get(deviceKey(b.Device))
	if r == nil {
		return
	}
	var now *audience // of the packets from first on
	var asked table.Key
	var found *audience
	first := 0
	for i, p := range b.Packets {
		a := r.analysers
		if p.Port != nil {
			key := typeKey(p.TCI&wire.VIDMask, p.EtherType(b.Bytes(p)))
			if found == nil || key != asked {
				asked, found = key, r.find(key)
			}
			a = found
		}
		if a != now {
			now.deliver(b, b.Packets[first:i], r.mac48)
			now, first = a, i
		}
	}
	now.deliver(b, b.Packets[first:], r.mac48)
}

// deliver gives packets to an audience; nil: nobody.
//
//oobnet:hot
func (a *audience) deliver(b *stack.Batch, pkts []*stack.Packet, mac48 uint64) {
	switch {
	case a == nil:
	case a.only != nil && a.only.plain():
		a.only.deliverRun(b, pkts, mac48)
	default:
		a.deliverEach(b, pkts, mac48)
	}
}

// find is who gets the frames of a VLAN and an EtherType; nil: nobody.
//
//oobnet:hot
func (r *roster) find(key table.Key) *audience {
	if a := r.typed.Get(key); a != nil {
		return a
	}
	if r.all {
		if a := r.typed.Get(table.Key{Lo: key.Lo &^ 0xffff}); a != nil {
			return a
		}
	}
	return r.analysers
}

// plain: the socket takes what there is, into its inbox.
//
//oobnet:hot
func (c *Conn) plain() bool {
	return c.attention.Load()&(gone|handled) == 0 && c.program.Load() == nil
}

// hears: a frame to another station is for promiscuous sockets and analysers.
//
//oobnet:hot
func (c *Conn) hears(b *stack.Batch, p *stack.Packet, mac48 uint64) bool {
	return p.Cast != stack.Unicast || c.port == nil || wire.MAC48(b.Bytes(p)) == mac48 || c.promiscuous.Load()
}

// deliverRun puts packets into the inbox of the one socket that gets them. The
// slice is the tap's while it runs, and takes those that are left to look at.
//
//oobnet:hot
func (c *Conn) deliverRun(b *stack.Batch, pkts []*stack.Packet, mac48 uint64) {
	heard := 0
	for _, p := range pkts {
		if c.hears(b, p, mac48) {
			pkts[heard] = p
			heard++
		}
	}
	held := c.hold(heard, b.Share)
	for _, p := range pkts[held:heard] {
		if c.cfg.Consume || b.Unwanted(p) {
			p.Drop(stack.ReasonSocketFull)
		}
	}
	n := 0
	for _, p := range pkts[:held] {
		if c.cfg.Consume || b.Unwanted(p) {
			p.Take()
		} else if p = c.copyOf(b, p); p == nil {
			continue
		}
		c.complete(p)
		pkts[n] = p
		n++
	}
	if n > 0 {
		if c.attention.Load()&timed != 0 {
			b.Stamp(pkts[:n])
		}
		c.inbox.PutAll(pkts[:n])
		c.arrived()
	}
}

// deliverEach gives packets to each socket of an audience that wants them. All but
// the last one get copies, and the last one too if the packet is the stack's.
//
//oobnet:hot
func (a *audience) deliverEach(b *stack.Batch, pkts []*stack.Packet, mac48 uint64) {
	var now int64 // the delivery point of all of them
	for _, p := range pkts {
		unwanted := b.Unwanted(p)
		var last *Conn // holds a place for the packet, and has no buffer yet
		var lastSnap uint32
		full, consumed := false, false
		for _, c := range a.conns {
			if c.attention.Load()&gone != 0 || !c.hears(b, p, mac48) {
				continue
			}
			snap := c.snap(b, p, mac48)
			if snap == 0 {
				continue
			}
			consumed = consumed || c.cfg.Consume
			if c.hold(1, b.Share) == 0 {
				full = true
				continue
			}
			if last != nil {
				last.put(b, last.copyOf(b, p), lastSnap, &now)
			}
			last, lastSnap = c, snap
		}
		ours := unwanted || consumed
		switch {
		case last != nil && ours:
			p.Take()
			last.put(b, p, lastSnap, &now)
		case last != nil:
			last.put(b, last.copyOf(b, p), lastSnap, &now)
		case full && ours:
			p.Drop(stack.ReasonSocketFull)
		}
	}
}

// copyOf copies a packet for the socket, which holds a place for it, or counts
// that there is no buffer, and returns nil.
//
//oobnet:hot
func (c *Conn) copyOf(b *stack.Batch, p *stack.Packet) *stack.Packet {
	q := b.Copy(p)
	if q == nil {
		c.books.Undo()
		c.stats.noBuffer.Add(1)
	}
	return q
}

// put hands the socket a packet of its own, cut to snap bytes: to its handler,
// or into its inbox. nil: there was no buffer for it. now is the delivery point of
// the run; 0: not yet taken.
//
//oobnet:hot
func (c *Conn) put(b *stack.Batch, p *stack.Packet, snap uint32, now *int64) {
	if p == nil {
		return
	}
	if c.attention.Load()&timed != 0 {
		if *now == 0 {
			*now = stack.Now()
		}
		one := [1]*stack.Packet{p}
		b.StampAt(one[:], *now)
	}
	c.complete(p)
	if snap < uint32(p.Frame.Len) {
		cut(p, uint16(snap))
	}
	if c.cfg.Handler != nil {
		c.cfg.Handler(Frame{conn: c, r: received{index: p.Frame.Index}})
		return
	}
	c.inbox.Put(p.Frame.Index)
	c.arrived()
}

// complete makes a packet of the socket's own what its reader wants. The
// frame's length on the wire stands where other packets have an IPv4 source.
//
//oobnet:hot
func (c *Conn) complete(p *stack.Packet) {
	p.Src = uint32(p.Frame.Len)
	if p.Frame.Flags&link.FlagVLANStripped != 0 {
		p.Src += wire.VLANTagLen
		if c.cfg.Raw {
			c.putTagBack(p)
		}
	}
}

// cut leaves the first snap bytes of a frame. They may be less than its header:
// its payload begins where it did.
//
//oobnet:hot
func cut(p *stack.Packet, snap uint16) {
	p.Frame.Len = snap
	p.Len = snap - min(p.Offset, snap)
}

// putTagBack makes a frame what it was on the wire. A buffer has room for the
// longest frame with its tag; one that is longer yet stays without.
func (c *Conn) putTagBack(p *stack.Packet) {
	f := &p.Frame
	off, n, ok := wire.InsertTag(c.dev.Memory().Buffer(f.Index), int(f.Off), int(f.Len), p.TCI)
	if !ok {
		return
	}
	f.Off, f.Len = uint16(off), uint16(n)
	f.Flags &^= link.FlagVLANStripped
	p.Offset += wire.VLANTagLen
}

// hold counts n more frames as held, or as many as the quota and what the
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
	if c.attention.Load()&gone != 0 {
		// Close may have looked before this came.
		c.purge()
	}
}
