package inband

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/oobnet/oobnet/link"
)

// maxPending is how many packets gVisor keeps for a neighbour that is being
// resolved. It drops the oldest beyond, but keeps a closure for each: without
// a bound of ours a flood to a dead neighbour would take memory for 3 s.
const maxPending = 256

type neighborKey struct {
	port uint32
	addr netip.Addr
}

type neighborEntry struct {
	mac     link.MAC
	state   NeighborState
	pending int // Sends since it is Incomplete
}

// neighborTable mirrors gVisor's neighbour caches, from its events. gVisor
// calls it with the locks of the entry, and sometimes of the cache, held; its
// own lock is the innermost and nothing is called with it held.
type neighborTable struct {
	host Host

	mu      sync.Mutex
	ports   map[uint32]bool
	entries map[neighborKey]*neighborEntry
	waiters map[neighborKey]map[chan struct{}]struct{}
}

var _ stack.NUDDispatcher = (*neighborTable)(nil)

func newNeighborTable(h Host) *neighborTable {
	return &neighborTable{
		host:    h,
		ports:   make(map[uint32]bool),
		entries: make(map[neighborKey]*neighborEntry),
		waiters: make(map[neighborKey]map[chan struct{}]struct{}),
	}
}

// OnNeighborAdded implements stack.NUDDispatcher.
func (t *neighborTable) OnNeighborAdded(nic tcpip.NICID, e stack.NeighborEntry) {
	t.update(uint32(nic), e, stateOf(e.State))
}

// OnNeighborChanged implements stack.NUDDispatcher.
func (t *neighborTable) OnNeighborChanged(nic tcpip.NICID, e stack.NeighborEntry) {
	t.update(uint32(nic), e, stateOf(e.State))
}

// OnNeighborRemoved implements stack.NUDDispatcher.
func (t *neighborTable) OnNeighborRemoved(nic tcpip.NICID, e stack.NeighborEntry) {
	t.update(uint32(nic), e, Removed)
}

// stateOf folds gVisor's states; 0 for the one that an entry has before it has
// any. Delay and Probe are Stale on the way to a decision.
func stateOf(s stack.NeighborState) NeighborState {
	switch s {
	case stack.Incomplete:
		return Incomplete
	case stack.Reachable:
		return Reachable
	case stack.Stale, stack.Delay, stack.Probe:
		return Stale
	case stack.Static:
		return Static
	case stack.Unreachable:
		return Failed
	}
	return 0
}

func (t *neighborTable) update(port uint32, e stack.NeighborEntry, state NeighborState) {
	key := neighborKey{port, fromAddr(e.Addr)}
	mac, _ := macOf(e.LinkAddr)
	if state == Incomplete {
		mac = link.MAC{} // gVisor keeps the one that has failed
	}
	if state != 0 && t.apply(key, mac, state) {
		t.host.Neighbor(NeighborEvent{Port: port, Addr: key.addr, MAC: mac, State: state})
	}
}

// apply changes the mirror and says whether the host should know.
func (t *neighborTable) apply(key neighborKey, mac link.MAC, state NeighborState) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.ports[key.port] {
		return false // a timer of a port that has just gone
	}
	for w := range t.waiters[key] {
		select {
		case w <- struct{}{}:
		default: // it has been told and has not looked yet
		}
	}
	old, known := t.entries[key]
	if state == Removed {
		delete(t.entries, key)
		return known && old.state != Incomplete
	}
	if known && old.state == state && old.mac == mac {
		return false
	}
	t.entries[key] = &neighborEntry{mac: mac, state: state}
	return state != Incomplete
}

func (t *neighborTable) addPort(id uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ports[id] = true
}

func (t *neighborTable) removePort(id uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.ports, id)
	for k := range t.entries {
		if k.port == id {
			delete(t.entries, k)
		}
	}
}

func (t *neighborTable) lookup(key neighborKey) (link.MAC, NeighborState, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entries[key]
	if e == nil {
		return link.MAC{}, 0, false
	}
	return e.mac, e.state, true
}

// admit counts a packet towards a neighbour. False: too many wait already.
func (t *neighborTable) admit(key neighborKey) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entries[key]
	if e == nil || e.state != Incomplete {
		return true
	}
	e.pending++
	return e.pending <= maxPending
}

// watch returns a channel that gets a token after each event of an entry.
func (t *neighborTable) watch(key neighborKey) chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := make(chan struct{}, 1)
	if t.waiters[key] == nil {
		t.waiters[key] = make(map[chan struct{}]struct{})
	}
	t.waiters[key][w] = struct{}{}
	return w
}

func (t *neighborTable) unwatch(key neighborKey, w chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if delete(t.waiters[key], w); len(t.waiters[key]) == 0 {
		delete(t.waiters, key)
	}
}

// Lookup returns what is known of a neighbour. Its MAC is zero while the state
// is Incomplete, and that of old, if any, when it is Failed.
func (s *Stage) Lookup(id uint32, addr netip.Addr) (link.MAC, NeighborState, bool) {
	return s.neighbors.lookup(neighborKey{id, addr})
}

// Resolve returns the MAC of an address on the link of a port, and asks by ARP
// and waits if it is not known or not confirmed. Broadcast, multicast and own
// addresses need no asking. Errors: ETIMEDOUT when nobody answers, for 3 s, or
// 6 s when an old MAC was to be tried first; EHOSTUNREACH when the entry goes
// meanwhile, or the port has no address to ask from; ENODEV, EINVAL; the
// context's; net.ErrClosed.
func (s *Stage) Resolve(ctx context.Context, id uint32, addr netip.Addr) (link.MAC, error) {
	if err := s.begin("resolve"); err != nil {
		return link.MAC{}, err
	}
	defer s.calls.leave()
	p := s.port(id)
	switch {
	case p == nil:
		return link.MAC{}, wrap("resolve by port", id, syscall.ENODEV)
	case !addr.Is4() || addr.IsUnspecified() || addr.IsLoopback():
		return link.MAC{}, wrap("resolve", addr, syscall.EINVAL)
	case p.local.Load().owns(addr):
		return p.MAC, nil
	case p.local.Load().broadcast(addr):
		return link.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, nil
	case addr.IsMulticast():
		b := addr.As4() // RFC 1112, 6.4: the low 23 bits
		return link.MAC{0x01, 0x00, 0x5e, b[1] & 0x7f, b[2], b[3]}, nil
	case len(p.local.Load().addrs) == 0:
		return link.MAC{}, wrap("resolve from a port without address", addr, syscall.EHOSTUNREACH)
	}
	return s.solicit(ctx, neighborKey{id, addr})
}

// solicit starts a resolution or a confirmation and waits for its end.
func (s *Stage) solicit(ctx context.Context, key neighborKey) (link.MAC, error) {
	w := s.neighbors.watch(key)
	defer s.neighbors.unwatch(key, w)
	again := false
	s.kick(key)
	for {
		mac, state, known := s.neighbors.lookup(key)
		if state == Stale {
			// It was, or the peer's own question has ended ours: gVisor takes the MAC
			// from it, asks no more, and confirms it only if it is told to. Told twice
			// it does no more than once.
			s.kick(key)
			// Stale entries are probed at their old MAC only. If that fails, the peer
			// may have a new one: ask everybody, once.
			again = true
		}
		switch {
		case !known:
			return link.MAC{}, wrap("resolve", key.addr, syscall.EHOSTUNREACH)
		case state == Reachable || state == Static:
			return mac, nil
		case state == Failed && again:
			again = false
			s.kick(key)
			continue
		case state == Failed:
			return link.MAC{}, wrap("resolve", key.addr, syscall.ETIMEDOUT)
		}
		select {
		case <-w:
		case <-ctx.Done():
			return link.MAC{}, fmt.Errorf("inband: resolve %v: %w", key.addr, context.Cause(ctx))
		case <-s.closing:
			return link.MAC{}, fmt.Errorf("inband: resolve %v: %w", key.addr, net.ErrClosed)
		}
	}
}

// kick makes gVisor resolve or confirm. Its events precede its return, so that
// the mirror no longer holds a former failure.
func (s *Stage) kick(key neighborKey) {
	s.gs.GetLinkAddress(tcpip.NICID(key.port), toAddr(key.addr), tcpip.Address{}, ipv4.ProtocolNumber,
		func(stack.LinkResolutionResult) {})
}

// SetStatic makes an entry that neither ages nor learns, in the place of what
// was known: ENODEV, EINVAL.
func (s *Stage) SetStatic(id uint32, addr netip.Addr, mac link.MAC) error {
	return s.withPort("set neighbour", id, func(*port) error {
		if !addr.Is4() || addr.IsUnspecified() || addr.IsMulticast() || !unicast(mac) {
			return wrap("set neighbour", fmt.Sprintf("%v at %x", addr, mac), syscall.EINVAL)
		}
		err := s.gs.AddStaticNeighbor(tcpip.NICID(id), ipv4.ProtocolNumber, toAddr(addr), tcpip.LinkAddress(mac[:]))
		if err != nil {
			return wrap("set neighbour", addr, errnoOf(err))
		}
		return nil
	})
}

// RemoveNeighbor forgets an entry, static or learned: ENODEV, ENOENT.
func (s *Stage) RemoveNeighbor(id uint32, addr netip.Addr) error {
	return s.withPort("remove neighbour", id, func(*port) error {
		if !addr.Is4() || s.gs.RemoveNeighbor(tcpip.NICID(id), ipv4.ProtocolNumber, toAddr(addr)) != nil {
			return wrap("remove neighbour", addr, syscall.ENOENT)
		}
		return nil
	})
}
