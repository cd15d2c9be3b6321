package vfio

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/clock"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio/internal/driver"
)

// hangAfter is how long frames may lie on the transmit ring of a device whose
// wire is up before it is taken to hang. The longest frame takes 13 ms at
// 10 Mbit/s, and the other end may hold ours up by pause frames for some time.
const hangAfter = 2 * time.Second

// countPeriod is the longest that State leaves the NIC's counters unread. Those of
// an 82599 stop at their highest value: that of octets after 55 s of a full wire at
// 10 Gbit/s, that of frames after 288 s.
const countPeriod = 10 * time.Second

// State implements link.Link: a read of a register or two, and a look whether the
// device is to be given back. It also reads the NIC's counters in time, so whoever
// wants them right calls it, or Statistics, or a queue's Stats, every 50 s at least;
// a stack does so many times a second. A closed link is gone.
func (l *Link) State() link.State {
	l.look(0)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return link.Gone
	}
	return link.State(l.wire.Load())
}

// Speed is the wire's in Mbit/s, and whether both ends may send at once; 0: not
// known, or the wire is down.
func (l *Link) Speed() (mbits int, fullDuplex bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.gone() {
		return 0, false
	}
	s := l.dev.Status()
	if s.Gone || !s.Up {
		return 0, false
	}
	return s.Speed, s.FullDuplex
}

func wireOf(s driver.Status) link.State {
	switch {
	case s.Gone:
		return link.Gone
	case s.Up:
		return link.Up
	}
	return link.Down
}

// errAllOnes is why a device is taken for gone that nobody has asked for.
var errAllOnes = errors.New("its registers read as all ones: it has been removed or has lost power: close the link")

// learnWire asks for the state of the wire where nobody can have seen another yet.
func (l *Link) learnWire() error {
	status := l.dev.Status()
	if status.Gone {
		return fmt.Errorf("%w: %w", errAllOnes, unix.ENODEV)
	}
	l.wire.Store(uint32(wireOf(status)))
	return nil
}

// look asks the device for the state of the wire, and the bus whether the device
// is to be given back. Whoever calls it holds no lock; what it finds goes to
// OnEvent.
func (l *Link) look(cause driver.Cause) {
	l.mu.Lock()
	event, ok := l.examine(cause)
	l.mu.Unlock()
	if ok && l.onEvent != nil {
		l.onEvent(event)
	}
}

// examine is look with the mutex held.
func (l *Link) examine(cause driver.Cause) (Event, bool) {
	if l.stopped.Load() || l.gone() {
		return Event{}, false
	}
	status := l.dev.Status()
	now, was := wireOf(status), link.State(l.wire.Load())
	switch {
	case l.requested():
		return l.vanish(errors.New("the system wants the device back, or it has failed: close the link")), true
	case now == link.Gone || cause&driver.DeviceGone != 0:
		return l.vanish(errAllOnes), true
	}
	if clock.Now()-l.countedAt > int64(countPeriod) {
		l.count()
	}
	if now == was {
		return Event{}, false
	}
	l.wire.Store(uint32(now))
	l.changes++
	return Event{State: now, Speed: status.Speed}, true
}

// requested says whether the bus has written trouble.
func (l *Link) requested() bool {
	fds := [1]unix.PollFd{{Fd: int32(l.trouble), Events: unix.POLLIN}}
	n, err := unix.Poll(fds[:], 0)
	return err == nil && n > 0 && fds[0].Revents&unix.POLLIN != 0
}

// vanish gives the device up: it is made quiet, if it still listens, and goes
// back to the system at once, which may wait for it. The buffers stay, and all
// waits end. The mutex is held.
func (l *Link) vanish(why error) Event {
	l.fault = l.fail(fmt.Errorf("%w: %w", why, unix.ENODEV))
	if l.running {
		l.dev.Count(&l.counted)
		// What fails here fails because the device is gone.
		_ = l.dev.Stop()
		_ = l.bus.Disarm()
		l.running = false
	}
	_ = l.bus.Release()
	l.wire.Store(uint32(link.Gone))
	l.wakeAll()
	return Event{State: link.Gone, Err: l.fault}
}

// Fault says why the device is gone, nil if it is not.
func (l *Link) Fault() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fault
}

// watch is called by the send side when frames are flying and none has left. It
// has the device reset when that has been so for too long.
func (q *queue) watch(now int64) {
	switch {
	case q.since == 0 || q.link.wire.Load() != uint32(link.Up):
		q.since = now
	case now-q.since > int64(hangAfter):
		q.since = 0
		q.link.recover(q.id)
	}
}

// recover resets a device that has stopped to send. Each side of each queue
// restarts its own ring at its next call: nobody else may touch it. If the
// control path is busy the send side comes again; if that was another queue's
// send side, which has found out first, there is nothing left to do.
func (l *Link) recover(queue int) {
	if !l.mu.TryLock() {
		return
	}
	event, ok := l.restart(queue)
	l.mu.Unlock()
	if ok && l.onEvent != nil {
		l.onEvent(event)
	}
}

func (l *Link) restart(queue int) (Event, bool) {
	if l.queues[queue].restartTX.Load() {
		return Event{}, false
	}
	if event, changed := l.examine(0); changed || !l.running || l.stopped.Load() {
		return event, changed
	}
	l.hangs++
	if err := l.dev.Restart(); err != nil {
		return l.vanish(fmt.Errorf("queue %d did not send for %v, and the reset failed: %w", queue, hangAfter, err)), true
	}
	for _, q := range l.queues {
		q.restartRX.Store(true)
		q.restartTX.Store(true)
		q.Wake()
	}
	return Event{
		State: link.State(l.wire.Load()), Speed: l.dev.Status().Speed,
		Err: l.fail(fmt.Errorf("queue %d did not send for %v: the device has been reset: %w", queue, hangAfter, unix.ETIMEDOUT)),
	}, true
}

// restartReceive is the receive side's part of a reset.
func (q *queue) restartReceive() {
	q.restartRX.Store(false)
	if q.link.stopped.Load() || q.link.gone() {
		return
	}
	q.rxLost.Add(uint64(q.rings.RestartReceive()))
	q.armed, q.recall.paused = false, false
}

// restartSend is the send side's: what was on the ring is lost, counted, and
// comes back by Reclaim.
func (q *queue) restartSend() {
	q.restartTX.Store(false)
	if q.link.stopped.Load() || q.link.gone() {
		return
	}
	before := len(q.unsent)
	q.unsent = q.rings.RestartSend(q.unsent)
	q.txDropped.Add(uint64(len(q.unsent) - before))
	q.flying, q.unflushed, q.since = 0, false, 0
}
