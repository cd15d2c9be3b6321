package stack

import (
	"fmt"
	"reflect"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/oobnet/oobnet/internal/table"
	"github.com/oobnet/oobnet/internal/wire"
)

// ProtocolID says what a protocol receives: an IPv4Number or an EtherType.
type ProtocolID struct {
	ethernet bool
	number   uint16
}

// IPv4Number is the protocol field of IPv4 packets (IANA, protocol numbers).
// 253 and 254 are for experiments (RFC 3692).
func IPv4Number(n uint8) ProtocolID { return ProtocolID{number: uint16(n)} }

// EtherType is the type field of Ethernet frames (IEEE 802). 0x88b5 and 0x88b6
// are for experiments.
func EtherType(t uint16) ProtocolID { return ProtocolID{ethernet: true, number: t} }

func (id ProtocolID) String() string {
	if id.ethernet {
		return fmt.Sprintf("EtherType %#04x", id.number)
	}
	return fmt.Sprintf("IPv4 protocol %d", id.number)
}

// RegisterOption changes what RegisterProtocol does.
type RegisterOption func(*registerOptions)

type registerOptions struct{ override bool }

// Override lets a protocol take the place of the one that is registered, or of
// the stack's own ICMP, IGMP or TCP. The one before is closed. Without ICMP of
// the stack, nobody answers pings and sockets learn of no error; without IGMP,
// routers learn of no group.
func Override() RegisterOption { return func(o *registerOptions) { o.override = true } }

// registered is what the tables of protocols hold: a pointer to it can be
// swapped atomically, an interface cannot.
type registered struct {
	Protocol
	// inside counts the calls of other goroutines than RX threads: they add
	// before they look at gone, which unregistering sets before it looks at
	// inside.
	inside atomic.Int32
	gone   atomic.Bool
}

// enter begins a call of the protocol, if it is registered yet; leave ends it.
func (r *registered) enter() bool {
	r.inside.Add(1)
	if r.gone.Load() {
		r.inside.Add(-1)
		return false
	}
	return true
}

func (r *registered) leave() { r.inside.Add(-1) }

// unregisterTimeout bounds the wait for calls under way. They take microseconds,
// unless a handler blocks, which it must not.
const unregisterTimeout = time.Second

// RegisterProtocol makes p the receiver of an EtherType's frames on all ports,
// or of an IPv4 protocol's packets. It is how UDP is made, and how an
// application adds a protocol of its own: examples/protocol shows one.
//
// The same protocol may be registered for several ids. Errors about what was
// sent with an IPv4 protocol number reach Protocol.Error; UDP has ports, and
// asks for them by BindErrors.
//
// The error wraps EADDRINUSE if there is a protocol already, EINVAL for what
// belongs to the stack: both can be Overridden, but not the EtherTypes of IPv4
// and ARP, on which all else stands (sockets, routes, the front cache; who
// wants to see those frames uses a Tap), nor VLAN tags, which are not types, nor
// lengths (below 0x0600). A p of a type that cannot be compared is EINVAL, a
// nil one too; net.ErrClosed wrapped after Close.
func (s *Stack) RegisterProtocol(id ProtocolID, p Protocol, opts ...RegisterOption) error {
	var o registerOptions
	for _, opt := range opts {
		opt(&o)
	}
	if p == nil || !reflect.TypeOf(p).Comparable() {
		return fmt.Errorf("stack: register %v: %w: a %T is no protocol: register a pointer", id, syscall.EINVAL, p)
	}
	before, err := s.register(id, p, o)
	if err != nil {
		return fmt.Errorf("stack: register %v: %w", id, err)
	}
	if before != nil {
		return s.retire(before)
	}
	return nil
}

// register puts p in its place and returns who was there.
func (s *Stack) register(id ProtocolID, p Protocol, o registerOptions) (before *registered, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errStackClosed
	}
	switch before = s.lookUp(id); {
	case id.ethernet && stackOwns(id.number):
		return nil, fmt.Errorf("it is the stack's for good: %w", syscall.EINVAL)
	case before != nil && before.Protocol == p:
		return nil, fmt.Errorf("it is registered already: %w", syscall.EADDRINUSE)
	case before != nil && !o.override:
		return nil, fmt.Errorf("a %T is registered already: %w: give Override to take its place", before.Protocol, syscall.EADDRINUSE)
	case !id.ethernet && inBandOwns(uint8(id.number)) && !o.override:
		return nil, fmt.Errorf("it belongs to the in-band stage: %w: give Override to take its place", syscall.EINVAL)
	}
	known := s.known(p)
	s.put(id, &registered{Protocol: p})
	if err = s.takeUp(id, before == nil); err != nil {
		s.put(id, before)
		return nil, err
	}
	if !known {
		for _, d := range s.Devices() {
			p.Attached(d)
		}
	}
	return before, nil
}

// takeUp tells links and the in-band stage of an id that was not registered.
func (s *Stack) takeUp(id ProtocolID, fresh bool) error {
	switch {
	case !fresh:
		return nil
	case id.ethernet:
		return s.selectAll()
	case id.bindsErrors():
		return s.inBand.BindErrors(uint8(id.number), 0)
	}
	return nil
}

// bindsErrors: UDP does it port by port; about ICMP there are no errors, and
// about IGMP none that anyone could use.
func (id ProtocolID) bindsErrors() bool {
	return !id.ethernet && id.number != wire.ProtocolUDP && id.number != wire.ProtocolICMP && id.number != wire.ProtocolIGMP
}

// UnregisterProtocol ends a registration of p. When it returns, no call of p
// for that id is under way, and none comes; if it was p's last one, p has been
// closed, and has given back its buffers. It must not be called from within
// the protocol's own methods. Errors: ESRCH if p is not registered for the id;
// ETIMEDOUT if a call of the protocol does not return within a second (then p
// is no longer registered, and not closed); net.ErrClosed wrapped after Close.
func (s *Stack) UnregisterProtocol(id ProtocolID, p Protocol) error {
	s.mu.Lock()
	r := s.lookUp(id)
	if s.closed || r == nil || r.Protocol != p {
		err := error(syscall.ESRCH)
		if s.closed {
			err = errStackClosed
		}
		s.mu.Unlock()
		return fmt.Errorf("stack: unregister %v: %w", id, err)
	}
	s.put(id, nil)
	if id.ethernet {
		s.note(s.selectAll())
	} else if id.bindsErrors() {
		s.UnbindErrors(uint8(id.number), 0)
	}
	s.mu.Unlock()
	return s.retire(r)
}

// retire waits until nobody calls the protocol by a registration that is out of
// the tables, and closes it if that was the last one.
func (s *Stack) retire(r *registered) error {
	r.gone.Store(true)
	deadline := time.Now().Add(unregisterTimeout)
	for _, d := range s.Devices() {
		for _, q := range d.rx {
			// What the queue takes from now on does not find the protocol.
			for begun := q.begun.Load(); q.stats.received.Load() < begun; {
				if !waitUntil(deadline) {
					return errStuck
				}
			}
		}
	}
	for r.inside.Load() != 0 {
		if !waitUntil(deadline) {
			return errStuck
		}
	}
	s.mu.Lock()
	known := s.known(r.Protocol) || s.closed // Close closes whom it finds
	s.mu.Unlock()
	if known {
		return nil
	}
	r.Protocol.Close()
	for _, d := range s.Devices() {
		r.Purge(d)
	}
	return nil
}

var errStuck = fmt.Errorf("stack: a call of the protocol has not returned within %v: %w", unregisterTimeout, syscall.ETIMEDOUT)

// waitUntil lets a moment pass, and reports whether the deadline has not.
func waitUntil(deadline time.Time) bool {
	time.Sleep(50 * time.Microsecond)
	return time.Now().Before(deadline)
}

// lookUp and put read and change the tables of protocols; put under the mutex.
func (s *Stack) lookUp(id ProtocolID) *registered {
	if id.ethernet {
		return s.etherTypes.Get(table.Key{Lo: uint64(id.number)})
	}
	return s.ipv4Protocols[uint8(id.number)].Load()
}

func (s *Stack) put(id ProtocolID, r *registered) {
	if id.ethernet {
		s.etherTypes.Put(table.Key{Lo: uint64(id.number)}, r)
		return
	}
	s.ipv4Protocols[uint8(id.number)].Store(r)
}

// known reports whether a protocol is registered for anything.
func (s *Stack) known(p Protocol) bool {
	for _, r := range s.protocols() {
		if r.Protocol == p {
			return true
		}
	}
	return false
}

// Protocol returns the protocol registered for an id, or nil.
func (s *Stack) Protocol(id ProtocolID) Protocol {
	if r := s.lookUp(id); r != nil {
		return r.Protocol
	}
	return nil
}

// speaking returns who is registered for an IPv4 protocol number, entered, or
// nil: the caller leaves it.
func (s *Stack) speaking(number uint8) *registered {
	if r := s.ipv4Protocols[number].Load(); r != nil && r.enter() {
		return r
	}
	return nil
}

// protocols returns all registered ones, each protocol once.
func (s *Stack) protocols() (rs []*registered) {
	add := func(r *registered) {
		for _, o := range rs {
			if o.Protocol == r.Protocol {
				return
			}
		}
		rs = append(rs, r)
	}
	for i := range s.ipv4Protocols {
		if r := s.ipv4Protocols[i].Load(); r != nil {
			add(r)
		}
	}
	for _, r := range s.etherTypes.All() {
		add(r)
	}
	return rs
}

// inBandOwns: protocols of IPv4 that the in-band stage answers itself.
func inBandOwns(number uint8) bool {
	return number == wire.ProtocolICMP || number == wire.ProtocolIGMP || number == wire.ProtocolTCP
}

// stackOwns: EtherTypes that are no protocol's to register.
func stackOwns(etherType uint16) bool {
	switch etherType {
	case wire.TypeIPv4, wire.TypeARP, wire.TypeVLAN, wire.TypeQinQ:
		return true
	}
	return etherType < 0x0600 // a length, not a type (IEEE 802.3)
}

// closeProtocols ends all protocols, once, in Stack.Close.
func (s *Stack) closeProtocols() {
	for _, r := range s.protocols() {
		r.Close()
	}
}

// purge has every protocol give back the buffers of a device.
func (s *Stack) purge(d *Device) {
	for _, r := range s.protocols() {
		if r.enter() {
			r.Purge(d)
			r.leave()
		}
	}
}
