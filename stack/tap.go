package stack

import (
	"fmt"
	"net"
	"slices"
	"syscall"

	"github.com/oobnet/oobnet/internal/table"
	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
)

// Tap is shown frames before the protocols that they are for, and those that
// are for nobody: raw sockets are one. It says by Device.Watch which.
type Tap interface {
	// Tap is handed frames of one batch, in the order of the wire, on the
	// device's RX thread, as Protocol.Receive is; some that it did not ask for
	// may be among them. Batch.Packets is the tap's to overwrite while it runs. Src, Dst, TTL and TOS are not filled in, Cast goes by
	// the Ethernet address, and Port is nil where the VLAN has none. What it
	// leaves alone goes on to the protocols. It gets a copy of its own by
	// Batch.Copy, or settles the frame itself: Take where nobody else wants it
	// (Batch.Unwanted) or nobody else is to have it; Drop likewise. It must
	// not block, lock or allocate.
	Tap(b *Batch)
	// Sent is shown frames that the device has taken to send, on the sender's
	// thread, if the tap asked for them: with their tags and checksums, which are
	// not left to the device then. They are to be read, not kept.
	Sent(d *Device, frames []link.Frame)
	// Disabled is told that a port is no more, and returns what the tap asks for
	// of its device from now on, as it would by Device.Watch; nil: what it asked
	// for before, without the port's EtherTypes. The stack's lock is held: it must
	// not call the control path.
	Disabled(p *Port) *Watch
	// Purge gives back all buffers of a device that is closing.
	Purge(d *Device)
	// Close ends all of the tap's sockets. Called once, by Stack.Close.
	Close()
}

// Watch says which frames of a device a tap wants.
type Watch struct {
	// Types lists EtherTypes by VLAN, link.AllEtherTypes for all of a VLAN. A
	// link that shares its device is told to take them.
	Types []link.ClaimEtherType
	// All: every frame that comes here, whatever its VLAN. It takes nothing
	// from whoever shares the device.
	All bool
	// Sent: the frames that the device sends.
	Sent bool
	// Groups are Ethernet multicast addresses that the device is to receive.
	Groups []link.MAC
	// Promiscuous: frames to other stations too.
	Promiscuous bool
}

// empty: a watch that asks for nothing.
func (w *Watch) empty() bool {
	return len(w.Types) == 0 && !w.All && !w.Sent && len(w.Groups) == 0 && !w.Promiscuous
}

// watchers are the taps of a device; immutable.
type watchers struct {
	list []watcher
	// wantSent: one of them wants what is sent.
	wantSent bool
}

// watcher is a tap with what it wants, in the form that the RX step asks for.
type watcher struct {
	tap   Tap
	watch Watch
	all   bool
	// types has a bit for each EtherType that is wanted on any VLAN.
	types *[1 << 16 / 64]uint64
}

//oobnet:hot
func (w *watcher) wants(etherType uint16) bool {
	return w.all || w.types[etherType/64]>>(etherType%64)&1 != 0
}

func newWatcher(t Tap, w *Watch) watcher {
	n := watcher{tap: t, watch: *w, all: w.All, types: new([1 << 16 / 64]uint64)}
	for _, c := range w.Types {
		n.all = n.all || c.EtherType == link.AllEtherTypes
		n.types[c.EtherType/64] |= 1 << (c.EtherType % 64)
	}
	return n
}

// RegisterTap makes the tap known: it is told of what ends. net.ErrClosed
// wrapped after Close.
func (s *Stack) RegisterTap(t Tap) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.closedErr(); err != nil {
		return err
	}
	taps := append(s.Taps(), t)
	s.taps.Store(&taps)
	return nil
}

// Taps returns the registered taps.
func (s *Stack) Taps() []Tap { return slices.Clone(*s.taps.Load()) }

// Watch replaces what a tap sees of the device; nil: nothing. When it returns,
// an RX step under way may still show the tap what it asked for before. Errors
// are those of the link that refuses a claim, and net.ErrClosed wrapped; then
// what the tap asked for before holds.
func (d *Device) Watch(t Tap, w *Watch) error {
	s := d.stack
	s.mu.Lock()
	defer s.mu.Unlock()
	if w == nil {
		w = new(Watch)
	}
	if (s.closed || d.ending) && !w.empty() {
		return fmt.Errorf("stack: device %s: %w", d.name, net.ErrClosed)
	}
	if !slices.Contains(*s.taps.Load(), t) {
		return fmt.Errorf("stack: device %s: the tap is not registered: %w: see RegisterTap", d.name, syscall.EINVAL)
	}
	before := d.watchers.Load()
	d.watchers.Store(before.with(t, w))
	if d.ending || d.dead.Load() {
		return nil // the link has nothing more to take
	}
	if err := s.selectClaims(d); err != nil {
		d.watchers.Store(before)
		return err
	}
	return nil
}

// with returns the watchers with another watch for a tap; nil: there are none.
func (ws *watchers) with(t Tap, w *Watch) *watchers {
	n := new(watchers)
	if ws != nil {
		n.list = slices.DeleteFunc(slices.Clone(ws.list), func(o watcher) bool { return o.tap == t })
	}
	if !w.empty() {
		n.list = append(n.list, newWatcher(t, w))
	}
	if len(n.list) == 0 {
		return nil
	}
	n.wantSent = slices.ContainsFunc(n.list, func(o watcher) bool { return o.watch.Sent })
	return n
}

// tellTaps tells the taps that a port is no more, and notes what they want from
// now on; the link is not told. Under the stack's mutex.
func (p *Port) tellTaps() {
	for _, t := range p.dev.stack.Taps() {
		if w := t.Disabled(p); w != nil {
			p.dev.watchers.Store(p.dev.watchers.Load().with(t, w))
		}
	}
}

// unwatch ends what taps watch on a VLAN: it ends with the VLAN's port. Under
// the stack's mutex.
func (d *Device) unwatch(vlan uint16) {
	ws := d.watchers.Load()
	if ws == nil {
		return
	}
	for i := range ws.list {
		w := ws.list[i].watch
		w.Types = slices.DeleteFunc(slices.Clone(w.Types), func(c link.ClaimEtherType) bool { return c.VLAN == vlan })
		if len(w.Types) != len(ws.list[i].watch.Types) {
			d.watchers.Store(d.watchers.Load().with(ws.list[i].tap, &w))
		}
	}
}

// claimWatched adds what taps want of the device. Under the stack's mutex.
func (d *Device) claimWatched(claims *link.Claims) {
	ws := d.watchers.Load()
	if ws == nil {
		return
	}
	for i := range ws.list {
		w := &ws.list[i].watch
		claims.EtherTypes = append(claims.EtherTypes, w.Types...)
		claims.Groups = append(claims.Groups, w.Groups...)
		claims.Promiscuous = claims.Promiscuous || w.Promiscuous
	}
}

// wantsSent: somebody wants what is sent; nil: nobody wants anything.
//
//oobnet:hot
func (ws *watchers) wantsSent() bool { return ws != nil && ws.wantSent }

// sent shows what the device sends to the taps that asked for it.
func (ws *watchers) sent(d *Device, frames []link.Frame) {
	for whole := range wholes(frames) {
		for i := range ws.list {
			if ws.list[i].watch.Sent {
				ws.list[i].tap.Sent(d, whole)
			}
		}
	}
}

// show lets the taps see what they want of a batch, and returns the frames
// that go on to the protocols, in order.
//
//oobnet:hot
func (r *rxQueue) show(ws []watcher, frames []link.Frame, ports *portTable) []link.Frame {
	for i := range frames {
		r.types[i], r.whose[i] = r.describe(&frames[i], ports)
	}
	r.watched.Share = r.run.Share
	for w := range ws {
		run := r.watched.Packets[:0]
		for i := range frames {
			p := &r.dev.packets[frames[i].Index]
			if p.fate == fatePass && ws[w].wants(r.types[i]) {
				run = run[:len(run)+1]
				run[len(run)-1] = p
			}
		}
		if len(run) > 0 {
			r.watched.Packets, r.watched.more = run, w < len(ws)-1
			if r.timesWanted != 0 {
				r.notePassing()
			}
			ws[w].tap.Tap(&r.watched)
			r.countRun(&r.watched)
		}
	}
	return r.settleShown(frames)
}

// describe fills in what can be said of any frame, and returns its EtherType and
// its port. One that is shorter than its header is for the analysers alone: it
// has no type, and no payload.
//
//oobnet:hot
func (r *rxQueue) describe(f *link.Frame, ports *portTable) (uint16, *Port) {
	p := &r.dev.packets[f.Index]
	b := r.dev.mem.Bytes(*f)
	*p = Packet{Frame: *f, reason: ReasonNoSocket}
	h, ok := parse(f, b)
	if !ok {
		p.Offset = f.Len
		return 0, nil
	}
	p.Port, p.Cast = ports.of(h), castOf(b)
	p.Offset, p.Len, p.TCI = uint16(h.Len), f.Len-uint16(h.Len), h.TCI
	return h.Type, p.Port
}

// settleShown counts what the taps have settled, and returns the rest.
//
//oobnet:hot
func (r *rxQueue) settleShown(frames []link.Frame) []link.Frame {
	rest := frames[:0]
	for i := range frames {
		f := frames[i]
		p := &r.dev.packets[f.Index]
		if p.fate == fatePass {
			rest = rest[:len(rest)+1]
			rest[len(rest)-1] = f
			continue
		}
		// The packet may be another owner's by now, but for its fate.
		fate, reason, port := p.fate, p.reason, r.whose[i]
		r.seen.bytes += uint64(f.Len)
		if port != nil {
			r.countFrame(port, int(f.Len))
		}
		if fate == fateTaken {
			r.seen.delivered++
			continue
		}
		if fate == fateDemote && port != nil {
			r.toInBand(&f, port, reason)
			continue
		}
		r.drop(f.Index, reason)
	}
	return rest
}

// Unwanted reports whether nobody but the tap that has the batch wants the
// packet: then the tap may take it, and need not copy it.
//
//oobnet:hot
func (b *Batch) Unwanted(p *Packet) bool {
	if b.more {
		return false
	}
	if p.Port == nil || p.Len == 0 && p.Offset == p.Frame.Len {
		return true
	}
	frame := b.Bytes(p)
	if p.Cast == Unicast && wire.MAC48(frame) != p.Port.mac48 {
		return true
	}
	switch t := p.EtherType(frame); t {
	case wire.TypeIPv4, wire.TypeARP:
		return false
	default:
		types := b.Device.stack.etherTypes
		return types.Len() == 0 || types.Get(table.Key{Lo: uint64(t)}) == nil
	}
}

// EtherType of a packet, whose frame it is given: what stands before its payload.
//
//oobnet:hot
func (p *Packet) EtherType(frame []byte) uint16 {
	at := int(p.Offset) - 2
	if at < 12 || at+2 > len(frame) {
		return 0
	}
	return uint16(frame[at])<<8 | uint16(frame[at+1])
}

// Copy makes a copy of a packet in a buffer of the device's TX pool. It is the
// protocol's, which gives it back by Device.Release, and counts as delivered.
// It returns nil when the pool has no more than the sockets' share: nobody's
// sends suffer for those who only listen.
//
//oobnet:hot
func (b *Batch) Copy(p *Packet) *Packet {
	d := b.Device
	if !d.inBandMay() {
		return nil
	}
	index, ok := d.pool.take()
	if !ok {
		return nil
	}
	f := p.Frame
	f.Index = index
	copy(d.mem.Bytes(f), d.mem.Bytes(p.Frame))
	c := &d.packets[index]
	*c = *p
	c.Frame = f
	c.Frame.Flags &^= link.FlagTimed
	b.copied++
	return c
}
