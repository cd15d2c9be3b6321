package packet

import (
	"net"
	"slices"
	"sync"

	"github.com/oobnet/oobnet/internal/table"
	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/stack"
)

// tap is the raw sockets of one stack.
type tap struct {
	// rosters by device number: read by RX threads and senders, changed under mu.
	rosters *table.Table[roster]
	// control is held while the stack is told what is wanted, so that the last
	// word is the last change's. It goes before the stack's lock, and that
	// before mu.
	control sync.Mutex

	mu     sync.Mutex
	conns  []*Conn
	ends   int // of ports
	closed bool
	// retired is what sockets counted that are closed.
	retired Stats
}

var _ stack.Tap = (*tap)(nil)

// roster is who on a device gets what; immutable.
type roster struct {
	mac48 uint64
	// typed has an audience for each VLAN and EtherType that somebody listens
	// to, and under All those that listen to all of a VLAN.
	typed *table.Table[audience]
	all   bool
	// analysers get what nobody else does; nil: none.
	analysers *audience
}

// audience is the sockets that get the same frames.
type audience struct {
	// only is the one socket, if there is one: it spares a look elsewhere.
	only  *Conn
	conns []*Conn
}

func newAudience(conns []*Conn) *audience {
	a := &audience{conns: conns}
	if len(conns) == 1 {
		a.only = conns[0]
	}
	return a
}

func typeKey(vlan, etherType uint16) table.Key {
	return table.Key{Lo: uint64(vlan)<<16 | uint64(etherType)}
}

func deviceKey(d *stack.Device) table.Key { return table.Key{Lo: uint64(d.Number())} }

// registering keeps two first sockets of a stack from making two taps.
var registering sync.Mutex

// tapOf returns the stack's tap, which the first socket registers.
func tapOf(s *stack.Stack) (*tap, error) {
	registering.Lock()
	defer registering.Unlock()
	for _, o := range s.Taps() {
		if t, ok := o.(*tap); ok {
			return t, nil
		}
	}
	t := &tap{rosters: table.New[roster](0)}
	return t, s.RegisterTap(t)
}

// add makes a socket known.
func (t *tap) add(c *Conn) error {
	t.control.Lock()
	defer t.control.Unlock()
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return errClosedStack
	}
	t.conns = append(t.conns, c)
	t.publish(c.dev)
	t.mu.Unlock()
	err := t.tell(c.dev)
	if err == nil && c.port != nil && c.port.Disabled() {
		// Disabled may have been told before the socket was known.
		err = disabledError(c.port)
	}
	if err != nil {
		c.attention.Or(closed) // for RX threads that have found it meanwhile
		t.forget(c)
		c.purge()
	}
	return err
}

// remove makes a socket unknown. What the stack says of it is of no use: the
// worst is frames that nobody wants.
func (t *tap) remove(c *Conn) {
	t.control.Lock()
	defer t.control.Unlock()
	t.forget(c)
}

// forget is remove under control.
func (t *tap) forget(c *Conn) {
	t.mu.Lock()
	st := c.Stats()
	t.retired.add(&st)
	t.conns = slices.DeleteFunc(t.conns, func(o *Conn) bool { return o == c })
	t.publish(c.dev)
	t.mu.Unlock()
	_ = t.tell(c.dev)
}

// change changes a membership, by do, under the locks; it is undone if the
// stack refuses what follows from it.
func (t *tap) change(c *Conn, do, undo func()) error {
	t.control.Lock()
	defer t.control.Unlock()
	t.locked(do)
	err := t.tell(c.dev)
	if err != nil {
		t.locked(undo)
	}
	return err
}

func (t *tap) locked(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f()
}

// tell tells the stack what is wanted of a device. Under control. A port that
// ends between the look and the word has taken its claims with it already: then
// it takes another word to take them back.
func (t *tap) tell(d *stack.Device) error {
	for {
		t.mu.Lock()
		w, ends := t.watch(d), t.ends
		t.mu.Unlock()
		if err := d.Watch(t, w); err != nil {
			return err
		}
		t.mu.Lock()
		done := ends == t.ends
		t.mu.Unlock()
		if done {
			return nil
		}
	}
}

// watch is what all sockets of a device want together. Under the mutex.
func (t *tap) watch(d *stack.Device) *stack.Watch {
	w := new(stack.Watch)
	for _, c := range t.live(d) {
		if c.port == nil {
			w.All, w.Sent = true, true
		} else if claim := (link.ClaimEtherType{VLAN: c.vlan, EtherType: c.proto}); !slices.Contains(w.Types, claim) {
			w.Types = append(w.Types, claim)
		}
		for g := range c.groups {
			if !slices.Contains(w.Groups, g) {
				w.Groups = append(w.Groups, g)
			}
		}
		w.Promiscuous = w.Promiscuous || c.promiscuous.Load()
	}
	return w
}

// live are the sockets of a device whose ports are there. Under the mutex.
func (t *tap) live(d *stack.Device) (conns []*Conn) {
	for _, c := range t.conns {
		if c.dev == d && c.attention.Load()&gone == 0 {
			conns = append(conns, c)
		}
	}
	return conns
}

// publish makes the roster of a device anew. Under the mutex.
func (t *tap) publish(d *stack.Device) {
	conns := t.live(d)
	if len(conns) == 0 {
		t.rosters.Delete(deviceKey(d))
		return
	}
	mac := d.Link().MAC()
	r := &roster{mac48: wire.MAC48(append(mac[:], 0, 0)), typed: table.New[audience](0)}
	var analysers []*Conn
	for _, c := range conns {
		if c.port == nil {
			analysers = append(analysers, c)
		}
	}
	if len(analysers) > 0 {
		r.analysers = newAudience(analysers)
	}
	for _, c := range conns {
		key := typeKey(c.vlan, c.proto)
		if c.port == nil || r.typed.Get(key) != nil {
			continue
		}
		r.all = r.all || c.proto == All
		r.typed.Put(key, newAudience(slices.DeleteFunc(slices.Clone(conns), func(o *Conn) bool {
			return o.port != nil && (o.vlan != c.vlan || o.proto != c.proto && o.proto != All)
		})))
	}
	t.rosters.Put(deviceKey(d), r)
}

// Disabled ends the sockets of a port, and with them what they have joined: the
// device is told what the others want. The stack's lock is held.
func (t *tap) Disabled(p *stack.Port) *stack.Watch {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ends++
	for _, c := range t.conns {
		if c.port == p {
			c.end()
		}
	}
	t.publish(p.Device())
	return t.watch(p.Device())
}

// Purge gives back the buffers of a device that is closing, and ends its analysers.
func (t *tap) Purge(d *stack.Device) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.conns {
		if c.dev == d {
			c.end()
		}
	}
	t.publish(d)
}

// Close closes all sockets.
func (t *tap) Close() {
	t.mu.Lock()
	t.closed = true
	conns := slices.Clone(t.conns)
	t.mu.Unlock()
	for _, c := range conns {
		_ = c.Close() // the only error says that the application was faster
	}
}

// errGone is for a change of a socket that is no more.
func (c *Conn) errGone(op string) error {
	if c.attention.Load()&closed != 0 {
		return c.opError(op, nil, net.ErrClosed)
	}
	if c.attention.Load()&ended != 0 {
		return c.opError(op, nil, c.whyGone())
	}
	return nil
}
