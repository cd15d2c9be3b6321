package stack

import (
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/oobnet/oobnet/internal/ring"
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
// the pile of its priority, from where the TX thread sends it. Nobody waits
// for anybody: the piles take every buffer there is.
type txQueue struct {
	dev *Device
	q   link.Queue
	// owner is moved by whoever wants to send: txFree to txOwned and back.
	owner atomic.Uint32
	// waiting counts the frames of sockets that are on the piles or in the
	// owner's chains: senders add before they push, the owner subtracts after
	// the link took them.
	waiting atomic.Int32
	// piles of frames to send, newest first: senders push, the owner takes all.
	piles [Priorities]ring.Pile
	// inBand and waitingInBand are the same for the in-band stage.
	inBand        ring.Pile
	waitingInBand atomic.Int32

	// What follows belongs to the owner. A chain is the first buffer of what
	// was taken off a pile, oldest first.
	chains      [Priorities]uint32
	inBandChain uint32
	full        bool // the link had no room for all of the last burst
	unreclaimed int  // frames passed since the last reclaim
	// sent is what is not in the queue's counters yet, and portSent what is not
	// in those of port: locked additions wait for the next reclaim.
	sent, portSent frameCount
	port           *Port
	one            [1]link.Frame
	burst          [txBurst]link.Frame
	done           [txDone]uint32

	thread parker
	info   ThreadInfo
	// Written by the owner, but for queued, which senders write; read by Stats.
	packets, bytes, errors, queued atomic.Uint64
}

// frameCount counts frames and their bytes.
type frameCount struct{ packets, bytes uint64 }

func (c *frameCount) add(frames []link.Frame) {
	c.packets += uint64(len(frames))
	for i := range frames {
		c.bytes += uint64(frames[i].Len)
	}
}

func (t *txQueue) init(d *Device, q link.Queue) {
	t.dev, t.q = d, q
	for p := range t.piles {
		t.piles[p].Init(d.next)
		t.chains[p] = ring.Nil
	}
	t.inBand.Init(d.next)
	t.inBandChain = ring.Nil
	t.thread.init()
}

// send sends a frame whose buffer is the caller's until now. On an error the
// frame is lost, and its buffer back in the pool or with the device.
//
//oobnet:hot
func (t *txQueue) send(f link.Frame, p *Port, priority int) error {
	if t.waiting.Load() == 0 {
		if t.owner.CompareAndSwap(txFree, txOwned) {
			t.one[0] = f
			took, err := t.pass(t.one[:])
			if took == 1 && p != nil {
				t.countPort(p, t.one[:])
			}
			t.leave()
			if took == 1 {
				return err
			}
			// The link's ring is full: wait on the pile.
		}
	}
	if p != nil {
		p.countSent(1, uint64(f.Len))
	}
	return t.enqueue(f, priority)
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

// sendBatch is send for several frames with one doorbell. It never fails in
// part: what the link has no room for waits on the pile.
func (t *txQueue) sendBatch(frames []link.Frame, priority int) error {
	var err error
	took := 0
	if t.waiting.Load() == 0 && t.owner.CompareAndSwap(txFree, txOwned) {
		took, err = t.pass(frames)
		t.leave()
	}
	for i := range frames[took:] {
		if refused := t.enqueue(frames[took+i], priority); refused != nil {
			err = refused
		}
	}
	return err
}

// pass gives frames to the link and rings the doorbell. Owner only.
//
//oobnet:hot
func (t *txQueue) pass(frames []link.Frame) (took int, err error) {
	if t.unreclaimed += len(frames); t.unreclaimed >= txReclaim {
		t.reclaim()
	}
	if took = t.q.Send(frames); took == 0 {
		// A full ring may be full of what has left.
		t.reclaim()
		if took = t.q.Send(frames); took == 0 {
			return 0, nil
		}
	}
	t.sent.add(frames[:took])
	if ws := t.dev.watchers.Load(); ws != nil {
		// The device only reads what it sends, and none of it comes back before
		// this owner reclaims.
		ws.sent(t.dev, frames[:took])
	}
	if err = t.q.Flush(); err != nil {
		t.errors.Add(1)
		t.dev.linkFailed(err)
	}
	return took, err
}

// leave ends the ownership. Whoever queued a frame meanwhile, the in-band stage
// too, has found the queue owned, and relies on this look at what waits.
//
//oobnet:hot
func (t *txQueue) leave() {
	t.owner.Store(txFree)
	if !t.idle() {
		t.thread.unpark()
	}
}

// enqueue leaves a frame to the TX thread (in manual mode: to Device.Poll). On
// a closed queue the frame is lost and its buffer taken back: net.ErrClosed.
//
//oobnet:hot
func (t *txQueue) enqueue(f link.Frame, priority int) error {
	if t.owner.Load() == txClosed {
		t.dev.takeBack([]uint32{f.Index})
		return net.ErrClosed
	}
	t.dev.queuedFrame[f.Index] = f
	t.waiting.Add(1)
	t.piles[min(max(priority, 0), Priorities-1)].Push(f.Index)
	t.queued.Add(1)
	t.thread.unpark()
	return nil
}

// enqueueInBand is enqueue for the in-band stage, whose frames a sender need
// not line up behind: they are not counted as waiting.
func (t *txQueue) enqueueInBand(f link.Frame) {
	t.dev.queuedFrame[f.Index] = f
	t.waitingInBand.Add(1)
	t.inBand.Push(f.Index)
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
	return t.inBand.Len() > 0
}

// drain sends a burst of what is on the piles, and reports whether it sent
// anything. It does nothing if somebody else owns the queue: that one looks at
// waiting when it leaves.
//
//oobnet:hot
func (t *txQueue) drain() (sent bool) {
	if t.idle() || !t.owner.CompareAndSwap(txFree, txOwned) {
		return false
	}
	// Sockets come before the in-band stage, and a burst is of one or the other.
	n, waiting := 0, &t.waiting
	for p := Priorities - 1; p >= 0; p-- {
		n = t.take(&t.chains[p], &t.piles[p], n, txBurst)
	}
	chain := &t.chains[Priorities-1]
	if n == 0 {
		waiting, chain = &t.waitingInBand, &t.inBandChain
		n = t.take(chain, &t.inBand, 0, txBurstInBand)
	}
	took, _ := t.pass(t.burst[:n])
	// What the link had no room for has been in turn once: it goes first.
	for i := n - 1; i >= took; i-- {
		t.inBand.SetNext(t.burst[i].Index, *chain)
		*chain = t.burst[i].Index
	}
	waiting.Add(-int32(took))
	t.full = took < n
	t.leave()
	return took > 0
}

// take moves frames from a chain, refilled from its pile, to the burst, which
// holds n already, and returns how many it holds then.
//
//oobnet:hot
func (t *txQueue) take(chain *uint32, pile *ring.Pile, n, limit int) int {
	for n < limit {
		if *chain == ring.Nil {
			*chain = pile.TakeOldest()
		}
		if *chain == ring.Nil {
			break
		}
		t.burst[n] = t.dev.queuedFrame[*chain]
		*chain = pile.Next(*chain)
		n++
	}
	return n
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
		t.leave()
	}
}

// SendBatch is Device.SendBatch on the port's device, counted for the port.
func (p *Port) SendBatch(frames []link.Frame, queue, priority int) error {
	bytes := 0
	for i := range frames {
		bytes += int(frames[i].Len)
	}
	p.txPackets.Add(uint64(len(frames)))
	p.txBytes.Add(uint64(bytes))
	return p.dev.SendBatch(frames, queue, priority)
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
		t.leave()
	}
}

// Send sends a frame built in a buffer from Alloc, or a received one as it is,
// whose buffer was the caller's and is no longer, also on an error. Frames of
// one caller with one queue hint and priority keep their order; a priority out
// of range is cut to it. An error wraps ENETDOWN or ENODEV (the frame may leave
// when the wire is back), EMSGSIZE, or is net.ErrClosed.
//
//oobnet:hot
func (d *Device) Send(f link.Frame, queue, priority int) error {
	return d.txQueue(queue).send(f, nil, priority)
}

// Send is Device.Send on the port's device, counted for the port.
func (p *Port) Send(f link.Frame, queue, priority int) error {
	return p.dev.txQueue(queue).send(f, p, priority)
}

// SendBatch is Send for several frames with one doorbell.
func (d *Device) SendBatch(frames []link.Frame, queue, priority int) error {
	return d.txQueue(queue).sendBatch(frames, priority)
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
