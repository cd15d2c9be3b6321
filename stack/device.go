package stack

import (
	"errors"
	"fmt"
	"math/bits"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/oobnet/oobnet/internal/ring"
	"github.com/oobnet/oobnet/link"
)

// DefaultRXBuffers of each queue.
const DefaultRXBuffers = 1024

// closeTimeout is how long Close waits for buffers that applications hold
// before it says that they are missing.
const closeTimeout = time.Second

// sendOutTimeout is how long Close lets queued frames leave: a full pool of
// 2048 frames of 1500 bytes takes 25 ms at 1 Gbit/s.
const sendOutTimeout = 100 * time.Millisecond

// Device is a link attached to a stack, with its TX pool, its threads and its
// counters. Its methods may be called by any goroutine, but for Poll.
type Device struct {
	stack  *Stack
	link   link.Link
	name   string
	cfg    DeviceConfig
	poll   link.PollMode
	mem    *link.Memory
	layout link.Layout
	pool   pool
	memory memory
	// partial is the link's capability; offloads are the flags of frames to send
	// that it honours.
	partial  bool
	offloads link.Flags
	// rxShift is the logarithm of the receive buffers of a queue: an index
	// tells its queue by a shift, where a division would take as long as a
	// table lookup.
	rxShift int

	rx []*rxQueue
	tx []*txQueue
	// ending says, under the stack's mutex, that no port can be enabled any more.
	ending bool
	// number names the device as a target of redirects: from 1, in the order of
	// attaching.
	number uint32
	// ports, ingress and watchers are replaced by the control path and read by
	// every RX step; watchers by who sends as well. nil: no filter to run here,
	// no tap.
	ports    atomic.Pointer[portTable]
	ingress  atomic.Pointer[ingress]
	watchers atomic.Pointer[watchers]
	// recorders is replaced by the control path; RX steps and senders read it.
	recorders atomic.Pointer[recorders]
	// next chains buffers: those that come home, those on the TX piles, those in
	// sockets' inboxes. A buffer is in one of them at a time.
	next ring.Next
	// packets describes what was received, or copied, into each buffer; its
	// entry belongs to the buffer's owner.
	packets []Packet
	// shares counts the owners of a received buffer that several sockets have.
	shares []atomic.Int32
	// queued describes the frame in a buffer that waits to be sent: written by
	// the sender before it pushes, then the owner's of the TX queue.
	queued []Queued
	// times are those of the packet in each buffer, whose entry belongs to the
	// buffer's owner; nil as long as no socket wanted any: made by whoever
	// needs it first, read by RX steps, senders and readers. The clocks are the
	// link's; timer is nil where the device does not say when it sent a frame.
	times            atomic.Pointer[[]bufferTimes]
	rxClock, txClock link.ClockDomain
	timer            link.TXTimer
	// fault is why nothing can be sent now: set by whoever finds out, taken
	// back by the keeper.
	fault atomic.Pointer[fault]
	// dead says that the fault is for good: set with it, read by the RX
	// threads and the keeper.
	dead atomic.Bool

	threads      sync.WaitGroup
	inBandThread parker
	// inBandNoBuffer counts frames of the in-band stage that found the pool
	// (its share of it) empty.
	inBandNoBuffer atomic.Uint64
	// watched says that the watchdog was on, once: set by SetWatchdog, read by Stats.
	watched atomic.Bool
	// refused is what the machine refused of the options that are not a thread's.
	refused  error
	polling  atomic.Bool
	stopping atomic.Bool
	closing  chan struct{}

	closeMu sync.Mutex
	closed  bool
}

// fault is an error in a form that can be swapped atomically.
type fault struct {
	error
	final bool // the device is closed, or has failed for good
}

// Attach makes the link a device of the stack: it makes the region, gives the
// link its receive buffers, and starts the threads. The stack owns the link
// from then on and closes it. On an error the link is still the caller's.
// Errors say which limit was broken and wrap EINVAL, ENOMEM, or what the link
// reports; net.ErrClosed after Close.
func (s *Stack) Attach(l link.Link, cfg *DeviceConfig) (*Device, error) {
	if l == nil {
		return nil, fmt.Errorf("stack: attach: no link: %w: open one first, by afxdp.Open or loopback.Pair", syscall.EINVAL)
	}
	d := &Device{stack: s, link: l, name: l.Name(), closing: make(chan struct{})}
	if cfg != nil {
		d.cfg = *cfg
	}
	if err := d.cfg.complete(l); err != nil {
		return nil, fmt.Errorf("stack: attach %s: %w", d.name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.closedErr(); err != nil {
		return nil, err
	}
	orders, err := d.cfg.disciplines(l)
	if err != nil {
		return nil, fmt.Errorf("stack: attach %s: %w", d.name, err)
	}
	mem, err := l.Attach(d.cfg.layout(l))
	if err != nil {
		return nil, fmt.Errorf("stack: attach %s: %w", d.name, err)
	}
	s.lastDevice++
	d.number = s.lastDevice
	d.mem, d.layout, d.poll = mem, mem.Layout(), d.cfg.Poll
	d.partial, d.rxClock = l.Capabilities().PartialChecksum, l.Capabilities().RXClock
	if d.txClock = l.Capabilities().TXClock; d.txClock != link.ClockNone {
		d.timer, _ = l.(link.TXTimer)
	}
	d.offloads = offloadsOf(l.Capabilities())
	d.build(orders)
	s.setDevices(append(s.Devices(), d))
	if s.timed.Load() {
		d.makeTimes()
	}
	for _, p := range s.protocols() {
		p.Attached(d)
	}
	d.settleMemory()
	d.SetWatchdog(d.cfg.Watchdog)
	d.start()
	return d, nil
}

// build makes the queues and the pool over the region.
func (d *Device) build(orders []Discipline) {
	d.rxShift = bits.TrailingZeros(uint(d.layout.RXBuffers))
	d.next = make(ring.Next, d.layout.Buffers())
	d.memory.init(d)
	d.pool.init(d)
	d.packets = make([]Packet, d.layout.Buffers())
	d.shares = make([]atomic.Int32, d.layout.RXTotal())
	d.queued = make([]Queued, d.layout.Buffers())
	d.inBandThread.init()
	d.ports.Store(&portTable{})
	for i := range d.layout.Queues {
		q := d.link.Queue(i)
		r := &rxQueue{dev: d, q: q, number: i, returned: ring.Nil, spare: make([]uint32, 0, 2*MaxBatch), demote: newDemoteQueue(d.layout.BufferSize, &d.inBandThread)}
		r.watch.Init("rx", "wait")
		r.run = Batch{Device: d, Packets: r.room[:0], q: r}
		r.watched = Batch{Device: d, Packets: r.watchRoom[:0], q: r}
		r.home.Init(d.next)
		r.section.init(d, fmt.Sprintf("receive buffers of queue %d", i), i*d.layout.RXBuffers, d.layout.RXBuffers, d.cfg.RXBuffers)
		if d.memory.link != nil {
			r.recaller, _ = q.(link.Recaller)
			r.recalled = make([]uint32, d.layout.RXBuffers)
		}
		for b := d.cfg.RXBuffers - 1; b >= 0; b-- {
			r.home.Push(uint32(i*d.layout.RXBuffers + b))
		}
		r.settled()
		r.refill()
		d.rx = append(d.rx, r)
		t := new(txQueue)
		t.watch.Init("tx", "wait")
		t.number = i
		t.init(d, q, orders[i])
		d.tx = append(d.tx, t)
	}
}

// Name is the link's name.
func (d *Device) Name() string { return d.name }

// Number names the device where a filter's program redirects frames to it: from
// 1, in the order of attaching.
func (d *Device) Number() uint32 { return d.number }

// Stack is whose device it is.
func (d *Device) Stack() *Stack { return d.stack }

// Closed reports whether Close has ended the device.
func (d *Device) Closed() bool { return d.stopping.Load() }

// Link is the link behind the device. Its queues are the device's.
func (d *Device) Link() link.Link { return d.link }

// Memory is the link's region.
func (d *Device) Memory() *link.Memory { return d.mem }

// Config returns the sizes that the device was attached with, and the options in
// force. Stats has the sizes as Resize has left them.
func (d *Device) Config() DeviceConfig { return d.cfg }

// PartialChecksum says whether frames can come from a virtual peer that leaves
// its checksums to a device: see link.Capabilities.
func (d *Device) PartialChecksum() bool { return d.partial }

// MTU is the largest IPv4 packet of an untagged port, bytes.
func (d *Device) MTU() int { return d.link.MTU() }

// Fault says why nothing can be sent: ENETDOWN or ENODEV wrapped, or
// net.ErrClosed; nil: nothing is wrong.
func (d *Device) Fault() error {
	if f := d.fault.Load(); f != nil {
		return f.error
	}
	return nil
}

// setFault replaces the fault, nil for none. After a final one only Close has
// another word.
func (d *Device) setFault(f *fault) {
	for {
		old := d.fault.Load()
		if old != nil && old.final && (errors.Is(old.error, net.ErrClosed) || f == nil || !f.final) {
			return
		}
		if d.fault.CompareAndSwap(old, f) {
			return
		}
	}
}

// Close disables the device's ports, unblocks senders with net.ErrClosed,
// stops the threads, takes back every buffer and closes the link. It takes a
// second at most. If applications still hold buffers (leases, datagrams not
// released) the region stays mapped, so that they do not fault, and the error
// says how many; Close may then be called again. Idempotent.
func (d *Device) Close() error {
	d.closeMu.Lock()
	defer d.closeMu.Unlock()
	if d.closed {
		return nil
	}
	d.quiet()
	if missing := d.collect(time.Now().Add(closeTimeout)); missing > 0 {
		return fmt.Errorf("stack: close %s: %d of %d buffers are still held by the application: release its datagrams and leases, and close again: %w",
			d.name, missing, d.layout.Buffers(), syscall.EBUSY)
	}
	d.closed = true
	d.stack.forget(d)
	if err := d.link.Close(); err != nil {
		return fmt.Errorf("stack: close %s: %w", d.name, err)
	}
	return nil
}

// quiet brings all of the device's own activity to an end.
func (d *Device) quiet() {
	if d.stopping.Load() {
		return
	}
	d.stack.disablePorts(d)
	d.setFault(&fault{error: net.ErrClosed, final: true})
	d.sendOut(time.Now().Add(sendOutTimeout))
	d.stopping.Store(true)
	close(d.closing)
	d.memory.turn <- struct{}{} // for good: a Resize under way has ended
	stopped := d.link.Stop()
	for _, r := range d.rx {
		r.q.Wake()
	}
	for _, t := range d.tx {
		t.thread.unpark()
	}
	d.inBandThread.unpark()
	d.threads.Wait()
	// A Poll under way sees stopping before its next step.
	for !d.polling.CompareAndSwap(false, true) {
		time.Sleep(time.Millisecond)
	}
	if stopped != nil {
		// Not fatal: what the device still holds shows in the count of buffers.
		d.stack.note(fmt.Errorf("stack: stop %s: %w", d.name, stopped))
	}
	for _, t := range d.tx {
		for !t.owner.CompareAndSwap(txFree, txClosed) {
			time.Sleep(time.Millisecond)
		}
	}
}

// sendOut lets what senders have queued leave, until the deadline.
func (d *Device) sendOut(deadline time.Time) {
	for _, t := range d.tx {
		for t.waiting.Load() != 0 && time.Now().Before(deadline) {
			if !t.drain() {
				time.Sleep(time.Millisecond)
			}
		}
	}
}

// collect gathers all buffers, from wherever they are, until the deadline, and
// returns how many are missing. Every buffer is in exactly one place.
func (d *Device) collect(deadline time.Time) (missing int) {
	back := make([]bool, d.layout.Buffers())
	missing = len(back)
	found := func(index uint32) {
		if !back[index] {
			back[index] = true
			missing--
		}
	}
	for {
		d.gather(found)
		if missing == 0 || time.Now().After(deadline) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if missing > 0 {
		// Close will be called again: what is here must be found then too.
		for i, here := range back {
			if here {
				d.pool.free.Push(uint32(i))
			}
		}
	}
	return missing
}

// gather empties every place where a buffer can be when the device is quiet.
func (d *Device) gather(found func(uint32)) {
	d.stack.purge(d)
	for _, t := range d.stack.Taps() {
		t.Purge(d)
	}
	var bufs [txDone]uint32
	all := func(take func([]uint32) int) {
		for n := take(bufs[:]); n > 0; n = take(bufs[:]) {
			for _, index := range bufs[:n] {
				found(index)
			}
		}
	}
	all(d.pool.free.PopN)
	all(d.pool.stash.PopN)
	d.follow(d.pool.aside.Take(), found)
	d.memory.parked.each(found)
	for _, r := range d.rx {
		d.follow(r.aside.Take(), found)
		d.follow(r.home.Take(), found)
		d.follow(r.returned, found)
		r.returned, r.queued = ring.Nil, 0
		for _, index := range r.spare {
			found(index)
		}
		r.spare = r.spare[:0]
	}
	for _, t := range d.tx {
		for _, take := range []func([]uint32) int{t.q.Reclaim, t.q.Drain} {
			all(func(bufs []uint32) int {
				n := take(bufs)
				if d.timer != nil {
					t.haveBeenSent(bufs[:n])
				}
				return n
			})
		}
		for p := range t.piles {
			d.follow(t.piles[p].Take(), found)
			d.follow(t.chains[p], found)
			t.chains[p] = ring.Nil
		}
		t.holds.each(found) // what a discipline has, whatever it makes of it
		clear(t.holds)
	}
}

// follow goes over a chain of buffers that the caller owns.
func (d *Device) follow(chain uint32, found func(uint32)) {
	for chain != ring.Nil {
		next := d.next[chain]
		found(chain)
		chain = next
	}
}

// threadName cuts a device's name so that the suffix survives the kernel's 15
// bytes.
func threadName(device, suffix string, queue, queues int) string {
	if queues > 1 {
		suffix += strconv.Itoa(queue)
	}
	const most = 15
	return device[:min(len(device), most-len(suffix))] + suffix
}
