package stack

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/oobnet/oobnet/arp"
	"github.com/oobnet/oobnet/internal/ring"
	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/stack/internal/inband"
)

const (
	// keeperTick is how often links are looked at and probes are due.
	keeperTick = 100 * time.Millisecond
	// sendSlots bounds the demoted datagrams that wait to be sent; eventSlots
	// the neighbour events. The in-band stage sends one in about a microsecond.
	// (as many that loop back wait beside them).
	sendSlots  = 256
	eventSlots = 1024
	// maxWanted bounds the destinations whose next hop is being asked for.
	maxWanted = 1024
)

// keeper is the stack's one goroutine of its own. It sends what was demoted,
// keeps the front cache true, and watches the links.
type keeper struct {
	s      *Stack
	sends  *ring.Ring[*Outgoing]
	loops  *ring.Ring[*Datagram]
	events *ring.Ring[inband.NeighborEvent]
	// lost says that an event found no room: then every entry is checked
	// against what the in-band stage knows now.
	lost    atomic.Bool
	thread  parker
	ticker  *time.Ticker
	done    sync.WaitGroup
	stopped atomic.Bool

	// wanted are the destinations that were sent in-band, by next hop: they
	// enter the front cache when the next hop is known. The keeper's own.
	wanted map[neighborKey]map[netip.Addr]struct{}
	wants  int

	// Written by senders, the keeper and the in-band stage; read by Stats.
	demoted, sendFull, sendErrors, eventsLost atomic.Uint64
}

// neighborKey names a next hop.
type neighborKey struct {
	port *Port
	addr netip.Addr
}

func newKeeper(s *Stack) *keeper {
	k := &keeper{
		s: s, sends: ring.New[*Outgoing](sendSlots), loops: ring.New[*Datagram](sendSlots), events: ring.New[inband.NeighborEvent](eventSlots),
		wanted: make(map[neighborKey]map[netip.Addr]struct{}),
	}
	k.thread.init()
	return k
}

// start starts the keeper, and a ticker that wakes it.
func (k *keeper) start() {
	k.ticker = time.NewTicker(keeperTick)
	k.done.Go(func() {
		for {
			select {
			case <-k.s.closing:
				return
			case <-k.ticker.C:
				k.thread.unpark()
			}
		}
	})
	k.done.Go(k.loop)
}

func (k *keeper) stop() {
	k.stopped.Store(true)
	k.ticker.Stop()
	k.thread.unpark()
	k.done.Wait()
}

func (k *keeper) loop() {
	next := time.Now()
	due := func() bool { return !time.Now().Before(next) }
	work := func() bool {
		return k.stopped.Load() || !k.events.Empty() || !k.sends.Empty() || !k.loops.Empty() || k.lost.Load() || due()
	}
	for !k.stopped.Load() {
		k.thread.park(work)
		// Events first: they are what makes the next sends fast.
		var e inband.NeighborEvent
		for k.events.Pop(&e) {
			k.apply(e)
		}
		if k.lost.Swap(false) {
			k.resync()
		}
		var o *Outgoing
		for range sendSlots {
			if !k.sends.Pop(&o) {
				break
			}
			k.transmit(o)
		}
		var d *Datagram
		for range sendSlots {
			if !k.loops.Pop(&d) {
				break
			}
			k.s.deliverInBand(d)
		}
		if due() {
			k.tick()
			next = time.Now().Add(keeperTick)
		}
	}
}

// send queues a datagram. Any goroutine; it does not wait.
func (k *keeper) send(o *Outgoing) error {
	if k.stopped.Load() {
		return net.ErrClosed
	}
	if !k.sends.Push(&o) {
		k.sendFull.Add(1)
		return errInBandFull
	}
	k.demoted.Add(1)
	k.thread.unpark()
	return nil
}

var errInBandFull = fmt.Errorf("stack: the in-band stage has %d datagrams to send already: %w", sendSlots, syscall.ENOBUFS)

// neighbor queues an event. It is called with locks of the in-band stage held.
func (k *keeper) neighbor(e inband.NeighborEvent) {
	if !k.events.Push(&e) {
		k.eventsLost.Add(1)
		k.lost.Store(true)
	}
	k.thread.unpark()
}

// transmit sends a demoted datagram, and sees to it that the next one to the
// same destination is fast.
func (k *keeper) transmit(o *Outgoing) {
	h, noRoute := k.s.hopOf(o)
	out := inband.Outgoing{
		Protocol: o.Protocol, Src: o.Src, Dst: o.Dst, TTL: o.TTL, TOS: o.TOS, Priority: o.Priority,
		DontFragment: o.DontFragment, Transport: o.Transport,
	}
	if noRoute == nil && h.kind != arp.Unicast {
		// The in-band stage knows no default for groups: they leave by the
		// port that the fast stage sends them by.
		out.Port = h.port.id
	}
	if err := k.s.inBand.Send(out); err != nil {
		if fault := k.s.faultOf(o); fault != nil {
			err = fault // the in-band stage sees a device without buffers
		}
		k.sendErrors.Add(1)
		k.fail(o, err)
		return
	}
	if noRoute != nil || h.kind != arp.Unicast || k.s.portOf(o.Dst) != nil {
		return
	}
	if mac, state, ok := k.s.inBand.Lookup(h.port.id, h.nextHop); ok && state == inband.Reachable {
		spec := h.spec(o.Dst, mac)
		spec.Unconfirmed = true // the MAC is from memory, not from an answer
		k.learn(spec)
		return
	}
	k.want(neighborKey{h.port, h.nextHop}, o.Dst)
}

// Loop hands a datagram that was sent back to its own protocol, as if the
// in-band stage had received it: for members of a group on the sender's own
// host. It is the stack's from then on. It goes through a bounded queue to the
// keeper's goroutine, so that nobody's receiver runs on the sender's thread:
// ENOBUFS, counted in StackStats.InBandDropped, if that is full; net.ErrClosed.
func (s *Stack) Loop(d *Datagram) error {
	if s.keeper.stopped.Load() {
		return net.ErrClosed
	}
	if !s.keeper.loops.Push(&d) {
		s.inBandDropped[ReasonInBandFull].Add(1)
		return errInBandFull
	}
	s.keeper.thread.unpark()
	return nil
}

// fail tells the protocol what the in-band stage said at once.
func (k *keeper) fail(o *Outgoing, err error) {
	p := k.s.speaking(o.Protocol)
	if p == nil {
		return
	}
	defer p.leave()
	var from, to uint16
	if t := o.Transport; o.Protocol == wire.ProtocolUDP && len(t) >= 4 {
		from, to = uint16(t[0])<<8|uint16(t[1]), uint16(t[2])<<8|uint16(t[3])
	}
	p.Error(&TransportError{
		Protocol: o.Protocol, Errno: errnoOf(err),
		Local: netip.AddrPortFrom(o.Src, from), Remote: netip.AddrPortFrom(o.Dst, to),
	})
}

func (k *keeper) want(hop neighborKey, dst netip.Addr) {
	if k.wants >= maxWanted {
		// Whoever keeps sending asks again.
		clear(k.wanted)
		k.wants = 0
	}
	dsts := k.wanted[hop]
	if dsts == nil {
		dsts = make(map[netip.Addr]struct{})
		k.wanted[hop] = dsts
	}
	if _, there := dsts[dst]; !there {
		dsts[dst] = struct{}{}
		k.wants++
	}
}

// apply lets the front cache follow the in-band stage's neighbours.
func (k *keeper) apply(e inband.NeighborEvent) {
	p := (*k.s.ports.Load())[e.Port]
	if p == nil {
		return
	}
	hop := neighborKey{p, e.Addr}
	switch e.State {
	case inband.Reachable:
		k.s.front.Confirm(p, e.Addr, e.MAC)
		k.resolved(hop, e.MAC)
	case inband.Static:
		k.resolved(hop, e.MAC)
	case inband.Stale:
		k.s.front.Drop(p, e.Addr)
	case inband.Failed, inband.Removed:
		k.s.front.Drop(p, e.Addr)
		k.forget(hop)
	}
}

// resolved makes entries for all that waited for a next hop.
func (k *keeper) resolved(hop neighborKey, mac link.MAC) {
	for dst := range k.wanted[hop] {
		if h, err := k.s.hopTo(dst); err == nil && h.port == hop.port && h.nextHop == hop.addr {
			k.learn(h.spec(dst, mac))
		}
	}
	k.forget(hop)
}

func (k *keeper) forget(hop neighborKey) {
	k.wants -= len(k.wanted[hop])
	delete(k.wanted, hop)
}

func (k *keeper) learn(spec arp.Spec) {
	// A port or a route that went meanwhile is no fault.
	if _, err := k.s.learn(spec); err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, errMoved) {
		k.s.note(err)
	}
}

// resync asks the in-band stage about every neighbour in the front cache:
// events were lost, and which is not known.
func (k *keeper) resync() {
	k.s.front.Revise(func(e arp.Spec) (arp.Spec, bool) {
		if e.Kind != arp.Unicast || e.Permanent {
			return e, true
		}
		mac, state, ok := k.s.inBand.Lookup(e.Via.(*Port).id, e.NextHop)
		return e, ok && state == inband.Reachable && mac == e.MAC
	})
}

// tick sends the probes that are due and looks at the links.
func (k *keeper) tick() {
	for _, p := range k.s.front.Due(time.Now()) {
		// A probe that finds no buffer is due again in a second.
		k.s.inBand.Probe(p.Via.(*Port).id, p.NextHop, p.MAC, p.Src)
	}
	// Not a copy, as Devices makes: this runs many times a second, beside programs
	// that want nothing allocated.
	for _, d := range *k.s.devices.Load() {
		d.watch()
	}
}

// watch notes that a link went or came back, and takes back what the last
// sends left with the device.
func (d *Device) watch() {
	if d.stopping.Load() || d.dead.Load() {
		return
	}
	if d.poll != link.Manual {
		d.settle()
	}
	switch d.link.State() {
	case link.Down:
		if d.Fault() == nil {
			d.linkFailed(syscall.ENETDOWN)
		}
	case link.Gone:
		d.died(syscall.ENODEV)
	case link.Up:
		if d.Fault() == nil {
			return
		}
		d.setFault(nil)
		for _, p := range d.Ports() {
			// Routers may have forgotten us meanwhile, or be others.
			d.stack.note(d.stack.inBand.Announce(p.id))
		}
		// What was in the ring when the wire went leaves now.
		for _, t := range d.tx {
			t.flushAgain()
		}
	}
}
