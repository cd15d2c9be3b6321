package stack

import (
	"errors"
	"net"
	"sync/atomic"
	"time"

	"github.com/oobnet/oobnet/internal/clock"
	"github.com/oobnet/oobnet/internal/rt"
	"github.com/oobnet/oobnet/link"
)

// EVLPriority is the SCHED_FIFO priority of EVL's own RX and TX threads.
const EVLPriority = 50

// threadStack is the stack of a thread that is pinned or has a priority, bytes,
// of which its loop and its handlers may use half without a fault: ten times what
// the loops use.
const threadStack = 64 << 10

// ThreadInfo describes a thread of a device.
type ThreadInfo struct {
	// Name: the device's name and ".rx" or ".tx", and the queue's number if
	// there are several.
	Name string
	// Own: it is an operating system's thread of its own, which ps -T shows
	// under this name. A thread that waits in the kernel is; one that waits in
	// Go (on a link without a descriptor, or for senders) is a goroutine unless
	// it is pinned or has a priority, because waking a thread takes twice the
	// time of waking a goroutine.
	Own bool
	// Refused says which of its options, and of those of the whole device, the
	// machine refused; nil: none.
	Refused error
}

// parker is where one thread sleeps until it is woken.
type parker struct {
	// parked is set by the thread before its last look for work, and taken
	// back by whoever wakes it, or by itself.
	parked atomic.Bool
	wake   chan struct{}
}

func (p *parker) init() { p.wake = make(chan struct{}, 1) }

// park sleeps unless there is work by now. Only the thread calls it.
func (p *parker) park(work func() bool) {
	p.parked.Store(true)
	if work() && p.parked.CompareAndSwap(true, false) {
		return
	}
	// Asleep, or woken while looking: then the waker's word is on its way.
	<-p.wake
}

// unpark wakes the thread if it sleeps or is about to: an atomic load if not.
// Whoever takes parked back sends one word, and park receives it before it is
// set again: the channel always has room.
func (p *parker) unpark() {
	if p.parked.Load() && p.parked.CompareAndSwap(true, false) {
		p.wake <- struct{}{}
	}
}

// start starts the threads of the device, none in manual mode.
func (d *Device) start() {
	d.threads.Go(d.inBandLoop)
	if d.poll == link.Manual {
		return
	}
	for i, r := range d.rx {
		r.thread.Own = d.link.Capabilities().Pollable
		d.spawn(&r.thread, ".rx", i, d.cfg.RXCPUs, r.loop)
	}
	for i, t := range d.tx {
		d.spawn(&t.info, ".tx", i, d.cfg.TXCPUs, t.loop)
	}
}

func (d *Device) spawn(info *ThreadInfo, suffix string, queue int, cpus []int, loop func()) {
	info.Name = threadName(d.name, suffix, queue, len(d.rx))
	o := rt.Options{Name: info.Name, Priority: d.cfg.Priority}
	if len(cpus) > 0 {
		o.CPUs = cpus[queue%len(cpus) : queue%len(cpus)+1]
	}
	if len(o.CPUs) > 0 || o.Priority > 0 {
		o.TimerSlack, o.Stack, info.Own = time.Nanosecond, threadStack, true
	}
	if !info.Own {
		d.threads.Go(loop)
		return
	}
	d.threads.Add(1)
	started := make(chan error, 1)
	rt.Go(o, func(refused error) { started <- refused }, func() {
		defer d.threads.Done()
		loop()
	})
	info.Refused = <-started
}

// loop is the RX thread.
func (r *rxQueue) loop() {
	mode := r.dev.poll
	wait := mode.Timeout()
	var adaptive adaptive
	for !r.dev.stopping.Load() && !r.dev.dead.Load() {
		r.watch.Begin(stepWork)
		n := r.step(MaxBatch)
		r.watch.End(stepWork)
		switch {
		case n > 0:
			adaptive.dry = false
			continue
		case mode == link.Busy:
			continue
		case mode == link.Adaptive && adaptive.polls(clock.Now()):
			continue
		}
		r.watch.Begin(stepWait)
		err := r.q.WaitReceive(wait)
		r.watch.End(stepWait)
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				r.dev.died(err)
			}
			return
		}
	}
}

// adaptive decides as link.Adaptive says: by when frames came, ns.
type adaptive struct {
	last, gap int64 // when the queue last ran dry, and how long after the time before
	dry       bool  // it has been, since the last frame
}

// polls says whether to look at an empty queue once more, rather than to block.
func (a *adaptive) polls(now int64) bool {
	if !a.dry {
		a.gap, a.last, a.dry = now-a.last, now, true
	}
	return a.gap < int64(link.AdaptiveSpin) && now-a.last < int64(link.AdaptiveSpin)
}

// loop is the TX thread.
func (t *txQueue) loop() {
	work := func() bool {
		return t.dev.stopping.Load() || (!t.idle() && t.owner.Load() == txFree)
	}
	pushed := func() bool { return t.dev.stopping.Load() || t.pushed() }
	for !t.dev.stopping.Load() {
		t.watch.Begin(stepWork)
		if t.drain() {
			t.watch.End(stepWork)
			continue
		}
		t.watch.Next(stepWork, stepWait)
		switch {
		case t.idle() || t.owner.Load() != txFree:
			t.thread.park(work)
		case t.awaitRoom():
		default:
			// A sender has counted its frame and not yet pushed it: it wakes
			// this thread when it has.
			t.thread.park(pushed)
		}
		t.watch.End(stepWait)
	}
}

// awaitRoom is for the TX thread, which found work and could send nothing: if
// the link's ring was full, it waits for room there. It owns the queue for that
// time, for the wait is a call of the send side: senders line up on the piles
// meanwhile. It reports false if there is nothing to send.
func (t *txQueue) awaitRoom() bool {
	if !t.owner.CompareAndSwap(txFree, txOwned) {
		return true
	}
	full, there := t.full, t.full || t.has()
	var err error
	if full {
		err = t.q.WaitSend(txFull)
		t.reclaim()
	}
	// A discipline that has frames and sent none holds them back.
	idle := !full && t.held > 0
	t.release()
	if err != nil || idle {
		time.Sleep(txFull)
	}
	return there
}

// Poll runs the RX step of each queue, and sends what waits, on the caller's
// thread. It takes up to budget frames from each queue, 64 at most, and
// returns how many it took; it never waits, and what others queue meanwhile to
// be sent is the next Poll's. A goroutine that is taken off its CPU in the
// middle of a send owns the queue until it is back: where a cycle must not wait
// for others, they hand it their leases, and it sends them (examples/plc does).
// It is for link.Manual: the error is ErrNotManual otherwise, ErrConcurrentPoll
// if another Poll or Wait is under way, net.ErrClosed after Close.
func (d *Device) Poll(budget int) (int, error) {
	if err := d.beginPoll(); err != nil {
		return 0, err
	}
	// A handler may panic, and its caller recover.
	defer d.polling.Store(false)
	n := 0
	for _, r := range d.rx {
		r.watch.Begin(stepWork)
		n += r.step(max(budget, 0))
		r.watch.End(stepWork)
	}
	for _, t := range d.tx {
		t.watch.Begin(stepWork)
		for left := t.waiting.Load() + t.waitingInBand.Load(); left > 0 && t.drain(); left -= txBurstInBand {
		}
		t.tryReclaim()
		t.watch.End(stepWork)
	}
	return n, nil
}

// beginPoll makes the caller the one who runs the receive side; it ends that
// by taking polling back.
func (d *Device) beginPoll() error {
	if d.poll != link.Manual {
		return ErrNotManual
	}
	if !d.polling.CompareAndSwap(false, true) {
		if d.stopping.Load() {
			return net.ErrClosed // Close polls for good
		}
		return ErrConcurrentPoll
	}
	if d.stopping.Load() {
		d.polling.Store(false)
		return net.ErrClosed
	}
	return nil
}

// Errors of Poll.
var (
	// ErrNotManual says that the device's own threads poll it.
	ErrNotManual = errors.New("stack: Poll on a device with threads of its own: attach it with link.Manual")
	// ErrConcurrentPoll says that two goroutines poll one device.
	ErrConcurrentPoll = errors.New("stack: Poll while another Poll or Wait of this device is under way: poll from one goroutine")
)

// Wait blocks until frames may be waiting on the first queue, until timeout
// has passed, or until Wake; a negative timeout has no limit. With Poll it makes the
// loop of an application that sleeps, on the goroutine that polls. Errors are
// Poll's, and ENODEV wrapped when the device is gone.
func (d *Device) Wait(timeout time.Duration) error {
	if err := d.beginPoll(); err != nil {
		return err
	}
	watch := &d.rx[0].watch
	watch.Begin(stepWait)
	err := d.rx[0].q.WaitReceive(timeout)
	watch.End(stepWait)
	d.polling.Store(false)
	return err
}

// Wake ends a Wait. Any goroutine.
func (d *Device) Wake() { d.rx[0].q.Wake() }

// FD is the descriptor of a queue to poll(2) for received frames, -1 if the
// link has none, or the device no such queue. It stays the link's.
func (d *Device) FD(queue int) int {
	if queue < 0 || queue >= len(d.rx) {
		return -1
	}
	return d.rx[queue].q.FD()
}

// Threads describes the device's threads, none in manual mode.
func (d *Device) Threads() (infos []ThreadInfo) {
	if d.poll == link.Manual {
		return nil
	}
	d.stack.mu.Lock() // Attach holds it until they have started
	defer d.stack.mu.Unlock()
	for _, r := range d.rx {
		infos = append(infos, r.thread)
	}
	for _, t := range d.tx {
		infos = append(infos, t.info)
	}
	for i := range infos {
		infos[i].Refused = errors.Join(infos[i].Refused, d.refused)
	}
	return infos
}
