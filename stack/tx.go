package stack

import (
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/oobnet/oobnet/internal/clock"
	"github.com/oobnet/oobnet/internal/ring"
	"github.com/oobnet/oobnet/internal/watchdog"
	"github.com/oobnet/oobnet/link"
)

// Priorities of a socket, 0 to Priorities-1; the highest is sent first.
const Priorities = 8

const (
	// txBurst is how many frames go to the link before the queue looks again
	// for something more urgent.
	txBurst = 16
	// txBurstInBand is the same for the in-band stage, whose frames a socket
	// should never wait for longer than it must.
	txBurstInBand = 4
	// txDone is how many completions are taken back at a time.
	txDone = 64
	// txReclaim is after how many frames a sender looks for completions: the
	// look costs as much as a tenth of a send. An empty pool looks at once.
	txReclaim = 16
	// txFull is how long the queue waits for room in a link's full ring
	// before it looks again.
	txFull = time.Millisecond
)

// Who may touch the send side of a queue.
const (
	txFree   = iota
	txOwned  // a sender on its own thread, the TX thread, or Device.Poll
	txClosed // nobody ever again but Close
)

// txQueue is the send side of one queue.
//
// A sender that finds nobody else sending, and nothing waiting, owns the queue
// for the moment and rings the doorbell itself. Otherwise it puts its frame on
// a pile, from where the next owner sends it, in the order of the device's
// queueing: itself if it can be the owner, else whoever owns the queue now,
// which looks at what waits when it leaves, and sends one burst; the TX thread
// does the rest. Nobody waits for anybody.
type txQueue struct {
	dev *Device
	q   link.Queue
	// number of the queue, from 0.
	number int
	// owner is moved by whoever wants to send: txFree to txOwned and back.
	owner atomic.Uint32
	// waiting counts the frames of sockets that are on the piles or with the
	// owner: senders add before they push, the owner subtracts after the link
	// took them. limits are the most that it may be for a frame of each
	// priority to wait as well, peak the most that it was.
	waiting, peak atomic.Int32
	limits        [Priorities]int32
	// software are the flags of frames whose work the link leaves to the owner.
	software link.Flags
	// bands of sockets, 1 or Priorities; each has a pile. shaped: the
	// discipline sees every frame.
	bands  int
	shaped bool
	// piles of frames to send, newest first: senders push, the owner takes
	// all. The last one is the in-band stage's.
	piles [Priorities + 1]ring.Pile
	// waitingInBand is waiting for the in-band stage, and overtaken counts the
	// frames that left since it had a turn: owners add.
	waitingInBand atomic.Int32
	overtaken     atomic.Uint32

	// What follows belongs to the owner. A chain is the first buffer of what
	// was taken off a pile, oldest first.
	chains [Priorities + 1]uint32
	// discipline orders what waits, nil: the bands do. It has held frames, whose
	// buffers are those in holds.
	discipline  Discipline
	held        int
	holds       bitset
	full        bool // the link had no room for all of the last burst
	unreclaimed int  // frames passed since the last reclaim
	// sent is what is not in the queue's counters yet, and portSent what is not
	// in those of port: locked additions wait for the next reclaim.
	sent, portSent frameCount
	// leftAt is the device point of the frames that are being given to the link;
	// 0: nobody wants it.
	leftAt   int64
	port     *Port
	one      [1]link.Frame
	burst    [txBurst]link.Frame
	origin   [txBurst]origin
	exchange [handOver]Queued
	done     [txDone]uint32
	sentAt   [txDone]int64 // when the device sent what was in them

	thread parker
	info   ThreadInfo
	watch  watchdog.Watch
	// Written by the owner, read by Stats. books are of the bands.
	packets, bytes, errors, astray atomic.Uint64
	books                          [Priorities + 1]bandBooks
}

// frameCount counts frames and their bytes.
type frameCount struct{ packets, bytes uint64 }

func (c *frameCount) add(frames []link.Frame) {
	c.packets += uint64(len(frames))
	for i := range frames {
		c.bytes += uint64(frames[i].Len)
	}
}

func (t *txQueue) init(d *Device, q link.Queue, order Discipline) {
	t.dev, t.q, t.discipline = d, q, order
	t.software = offloads &^ d.offloads
	_, t.shaped = order.(Shaper)
	if order != nil {
		t.holds = make(bitset, (d.layout.Buffers()+63)/64)
	}
	t.bands = bands(d.cfg.Queueing)
	for p := range t.limits {
		t.limits[p] = int32(share(d.cfg.QueueLength, d.cfg.Queueing, p))
	}
	for p := range t.piles {
		t.piles[p].Init(d.next)
		t.chains[p] = ring.Nil
	}
	t.thread.init()
}

// send sends a frame whose buffer is the caller's until now. On an error the
// frame is lost, and its buffer back in the pool or with the device.
//
//oobnet:hot
func (t *txQueue) send(f link.Frame, p *Port, priority int) error {
	if f.Flags&offloads != 0 {
		f = t.prepared(f)
	}
	if t.direct() {
		t.one[0] = f
		took, err := t.pass(t.one[:])
		if took == 1 && p != nil {
			t.countPort(p, t.one[:])
		}
		t.leave(took)
		if took == 1 {
			return err
		}
		// The link's ring is full: the frame has to wait.
	}
	one := [1]link.Frame{f}
	n, err := t.enqueue(one[:], p, priority)
	if n == 1 && p != nil {
		p.countSent(1, uint64(f.Len))
	}
	return err
}

// direct makes the caller the owner of a queue where nothing waits.
//
//oobnet:hot
func (t *txQueue) direct() bool {
	return t.waiting.Load() == 0 && !t.shaped && t.owner.CompareAndSwap(txFree, txOwned)
}

// countPort counts frames for a port. Owner only.
//
//oobnet:hot
func (t *txQueue) countPort(p *Port, frames []link.Frame) {
	if t.port != p {
		t.publishPort()
		t.port = p
	}
	t.portSent.add(frames)
}

func (t *txQueue) publishPort() {
	if t.portSent.packets != 0 {
		t.port.countSent(t.portSent.packets, t.portSent.bytes)
		t.portSent = frameCount{}
	}
}

// countSent adds to the port's counters.
func (p *Port) countSent(packets, bytes uint64) {
	p.txPackets.Add(packets)
	p.txBytes.Add(bytes)
}

// sendBatch is send for several frames with one doorbell. What the link has no
// room for waits; what cannot wait is lost, from the end. It returns how many
// were sent or wait.
func (t *txQueue) sendBatch(frames []link.Frame, p *Port, priority int) (int, error) {
	var err error
	took := 0
	t.prepare(frames)
	if t.direct() {
		took, err = t.pass(frames)
		t.leave(took)
	}
	if took < len(frames) {
		queued, refused := t.enqueue(frames[took:], p, priority)
		took += queued
		if refused != nil {
			err = refused
		}
	}
	return took, err
}

// pass gives frames that were prepared to the link, and rings the doorbell. Owner
// only.
//
//oobnet:hot
func (t *txQueue) pass(frames []link.Frame) (took int, err error) {
	if t.unreclaimed += len(frames); t.unreclaimed >= txReclaim {
		t.reclaim()
	}
	if t.dev.times.Load() != nil {
		t.leaving(frames)
	}
	if took = t.q.Send(frames); took == 0 {
		// A full ring may be full of what has left.
		t.reclaim()
		if took = t.q.Send(frames); took == 0 {
			return 0, nil
		}
	}
	t.sent.add(frames[:took])
	if ws := t.dev.watchers.Load(); ws.wantsSent() {
		// The device only reads what it sends, and none of it comes back before
		// this owner reclaims.
		ws.sent(t.dev, frames[:took])
	}
	if to := t.dev.recorders.Load(); to != nil {
		t.recordSent(to, frames[:took])
	}
	if err = t.q.Flush(); err != nil {
		t.errors.Add(1)
		t.dev.linkFailed(err)
	}
	if t.leftAt != 0 {
		t.haveLeft(frames[:took])
	}
	return took, err
}

// leave ends a sender's ownership. Whoever queued a frame meanwhile, the in-band
// stage too, has found the queue owned, and relies on this look at what waits.
//
//oobnet:hot
func (t *txQueue) leave(sent int) {
	t.owner.Store(txFree)
	if !t.idle() {
		t.attend(sent)
	}
}

// attend sends one burst of what came while the caller owned the queue: waking
// the TX thread takes a hundred times as long. Frames of the in-band stage are
// left to that thread, unless it has never been faster than the senders.
func (t *txQueue) attend(sent int) {
	if t.waiting.Load() == 0 && t.overtaken.Add(uint32(sent)) < inBandAfter {
		t.thread.unpark()
		return
	}
	t.drain()
}

// release ends the ownership of whoever has sent what it could: the rest is the
// TX thread's.
//
//oobnet:hot
func (t *txQueue) release() {
	t.owner.Store(txFree)
	if !t.idle() {
		t.thread.unpark()
	}
}

// enqueue leaves frames to the order of the queue, and returns for how many
// there was room: the others are lost, ENOBUFS. On a closed queue all are:
// net.ErrClosed. If nobody owns the queue, the caller sends a burst.
//
//oobnet:hot
func (t *txQueue) enqueue(frames []link.Frame, p *Port, priority int) (n int, err error) {
	if t.owner.Load() == txClosed {
		t.refuse(frames)
		return 0, net.ErrClosed
	}
	priority = min(max(priority, 0), Priorities-1)
	if n = t.admit(len(frames), priority); n < len(frames) {
		t.refuse(frames[n:])
		err = errQueueFull
	}
	t.push(frames[:n], p, priority)
	t.drain()
	return n, err
}

// errQueueFull is one value: a sender that meets a full queue allocates nothing.
var errQueueFull = fmt.Errorf("stack: the TX queue is full: raise DeviceConfig.QueueLength, or send less: %w", syscall.ENOBUFS)

// refuse takes back the buffers of frames that will not be sent.
func (t *txQueue) refuse(frames []link.Frame) {
	var one [1]uint32
	for i := range frames {
		t.recordUnsent(frames[i])
		t.dev.neverLeft(&frames[i], false)
		one[0] = frames[i].Index
		t.dev.takeBack(one[:])
	}
}

// enqueueInBand is enqueue for the in-band stage, whose frames a sender need
// not line up behind: they are not counted as waiting, and the TX thread sends
// them.
func (t *txQueue) enqueueInBand(f link.Frame, p *Port) {
	f.Time = clock.Now()
	t.dev.queued[f.Index] = Queued{Frame: f, Port: p, Priority: bandInBand}
	t.books[bandInBand].queued.Add(1)
	t.waitingInBand.Add(1)
	t.piles[bandInBand].Push(f.Index)
	t.thread.unpark()
}

// idle reports whether there is nothing to drain. Any goroutine may ask.
func (t *txQueue) idle() bool { return t.waiting.Load() == 0 && t.waitingInBand.Load() == 0 }

// pushed reports whether a frame is on one of the piles. Any goroutine.
func (t *txQueue) pushed() bool {
	for p := range t.piles {
		if t.piles[p].Len() > 0 {
			return true
		}
	}
	return false
}

// has reports whether the owner has frames of its own. Owner only.
func (t *txQueue) has() bool {
	for _, chain := range t.chains {
		if chain != ring.Nil {
			return true
		}
	}
	return t.held > 0
}

// reclaim takes completed buffers back into the pool, and publishes what was
// counted. Owner only.
//
//oobnet:hot
func (t *txQueue) reclaim() {
	t.unreclaimed = 0
	if t.sent.packets != 0 {
		t.packets.Add(t.sent.packets)
		t.bytes.Add(t.sent.bytes)
		t.sent = frameCount{}
	}
	t.publishPort()
	for {
		n := t.q.Reclaim(t.done[:])
		if n == 0 {
			return
		}
		if t.dev.timer != nil {
			t.haveBeenSent(t.done[:n])
		}
		t.dev.takeBack(t.done[:n])
		if n < txDone {
			return
		}
	}
}

// tryReclaim is reclaim for whoever does not own the queue.
func (t *txQueue) tryReclaim() {
	if t.owner.CompareAndSwap(txFree, txOwned) {
		t.reclaim()
		t.leave(0)
	}
}

// SendBatch is Device.SendBatch on the port's device, counted for the port.
func (p *Port) SendBatch(frames []link.Frame, queue, priority int) (int, error) {
	n, err := p.dev.txQueue(queue).sendBatch(frames, p, priority)
	bytes := 0
	for i := range frames[:n] {
		bytes += int(frames[i].Len)
	}
	p.countSent(uint64(n), uint64(bytes))
	return n, err
}

// flushAgain rings the doorbell for what was left in the ring when the wire
// went.
func (t *txQueue) flushAgain() {
	if t.owner.CompareAndSwap(txFree, txOwned) {
		if err := t.q.Flush(); err != nil {
			t.errors.Add(1)
			t.dev.linkFailed(err)
		}
		t.reclaim()
		t.leave(0)
	}
}

// Send sends a frame built in a buffer from Alloc, or a received one as it is,
// whose buffer was the caller's and is no longer, also on an error. Its flags say
// what is left to do in it: see Offloads. Frames of
// one caller with one queue hint and priority keep their order; a priority out
// of range is cut to it. An error wraps ENETDOWN or ENODEV (the frame may leave
// when the wire is back), ENOBUFS where as many frames wait as may
// (DeviceConfig.QueueLength; the frame is lost), or is net.ErrClosed.
//
//oobnet:hot
func (d *Device) Send(f link.Frame, queue, priority int) error {
	return d.txQueue(queue).send(f, nil, priority)
}

// Send is Device.Send on the port's device, counted for the port.
func (p *Port) Send(f link.Frame, queue, priority int) error {
	return p.dev.txQueue(queue).send(f, p, priority)
}

// SendBatch is Send for several frames with one doorbell. It returns how many,
// from the front, were sent or wait to be; the others are lost.
func (d *Device) SendBatch(frames []link.Frame, queue, priority int) (int, error) {
	return d.txQueue(queue).sendBatch(frames, nil, priority)
}

// txQueue is the queue of a hint; a division only where there is a choice.
//
//oobnet:hot
func (d *Device) txQueue(hint int) *txQueue {
	if len(d.tx) == 1 {
		return d.tx[0]
	}
	return d.tx[uint(hint)%uint(len(d.tx))]
}

// died notes that the device has failed for good: only Close is of use.
func (d *Device) died(err error) {
	d.dead.Store(true)
	d.setFault(&fault{error: fmt.Errorf("stack: device %s has failed, close it: %w", d.name, err), final: true})
}

// linkFailed notes that the wire is down or gone, so that senders are told
// before they build a frame. The keeper looks when it comes back.
func (d *Device) linkFailed(err error) {
	switch {
	case errors.Is(err, syscall.ENETDOWN):
		d.setFault(&fault{error: fmt.Errorf("stack: device %s: link is down: %w", d.name, syscall.ENETDOWN)})
	case errors.Is(err, syscall.ENODEV), errors.Is(err, syscall.ENXIO):
		d.died(syscall.ENODEV)
	}
}
