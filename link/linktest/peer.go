package linktest

import (
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/oobnet/oobnet/link"
)

// LinkPeer is a link used as the far end of a wire: bytes in, bytes out.
type LinkPeer struct {
	l      link.Link
	mem    *link.Memory
	queues []peerQueue
	next   int // the queue of the next Send
	look   int // the queue where Receive looks next
	frame  []byte
}

var _ Peer = (*LinkPeer)(nil)

// peerQueue is what each side of a queue works with.
type peerQueue struct {
	link.Queue
	free, done []uint32     // the send side's: free TX buffers, and scratch
	out        []link.Frame // the send side's, for one frame
	in         []link.Frame // the receive side's, for one frame
	refill     []uint32     // the receive side's: buffers that Fill has not taken yet
}

// NewLinkPeer attaches l, which it owns from now on, and gives it all its
// receive buffers.
func NewLinkPeer(l link.Link) (*LinkPeer, error) {
	layout := defaultLayout(l)
	layout.TXBuffers = layout.Queues * txPerQueue
	mem, err := l.Attach(layout)
	if err != nil {
		return nil, fmt.Errorf("linktest: peer: %w", err)
	}
	p := &LinkPeer{l: l, mem: mem, queues: make([]peerQueue, l.Queues()), frame: make([]byte, layout.BufferSize)}
	for i := range p.queues {
		q := &p.queues[i]
		q.Queue = l.Queue(i)
		q.out, q.in = make([]link.Frame, 1), make([]link.Frame, 1)
		q.done = make([]uint32, txPerQueue)
		q.refill = make([]uint32, 0, layout.RXBuffers)
		for b := range layout.RXBuffers {
			q.refill = append(q.refill, uint32(i*layout.RXBuffers+b))
		}
		q.giveBack()
		for b := range txPerQueue {
			q.free = append(q.free, uint32(layout.RXTotal()+i*txPerQueue+b))
		}
	}
	return p, nil
}

// txPerQueue is the number of TX buffers of a peer's queue: a peer sends one
// frame at a time, and waits when they are out.
const txPerQueue = 64

// Close closes the link.
func (p *LinkPeer) Close() error { return p.l.Close() }

// MAC of the link.
func (p *LinkPeer) MAC() link.MAC { return p.l.MAC() }

// Send implements [Peer]. Its frames go to the queues in turn.
func (p *LinkPeer) Send(frame []byte) error {
	i := p.next
	p.next = (p.next + 1) % len(p.queues)
	return p.SendOn(i, frame)
}

// SendOn sends on the given queue. It belongs to the goroutine that calls Send.
func (p *LinkPeer) SendOn(queue int, frame []byte) error {
	q := &p.queues[queue]
	if len(frame) > p.mem.Layout().BufferSize {
		return fmt.Errorf("linktest: peer %s: frame of %d bytes: %w", p.l.Name(), len(frame), syscall.EMSGSIZE)
	}
	if !q.reclaim() {
		return fmt.Errorf("linktest: peer %s: queue %d: no buffer came back: %w", p.l.Name(), queue, syscall.ENOBUFS)
	}
	index := q.free[len(q.free)-1]
	copy(p.mem.Buffer(index), frame)
	q.out[0] = link.Frame{Index: index, Len: uint16(len(frame))}
	if q.Queue.Send(q.out) == 0 {
		return fmt.Errorf("linktest: peer %s: queue %d: the ring is full: %w", p.l.Name(), queue, syscall.ENOBUFS)
	}
	q.free = q.free[:len(q.free)-1]
	if err := q.Flush(); err != nil {
		return fmt.Errorf("linktest: peer %s: %w", p.l.Name(), err)
	}
	return nil
}

// reclaim takes back what is complete, and waits for it if nothing else is left.
func (q *peerQueue) reclaim() bool {
	const tries = 1000 // of 1 ms: longer than any device holds a frame
	for range tries {
		n := q.Reclaim(q.done)
		q.free = append(q.free, q.done[:n]...)
		if len(q.free) > 0 {
			return true
		}
		if q.WaitSend(time.Millisecond) != nil {
			return false
		}
	}
	return false
}

// Receive implements [Peer]. It takes from the queues in turn.
func (p *LinkPeer) Receive(timeout time.Duration) ([]byte, error) {
	deadline := time.Now().Add(timeout)
	for {
		for range p.queues {
			q := &p.queues[p.look]
			p.look = (p.look + 1) % len(p.queues)
			if f := q.take(p.mem, p.frame); f != nil {
				return f, nil
			}
		}
		left := time.Until(deadline)
		if left <= 0 {
			return nil, fmt.Errorf("linktest: peer %s: receive: %w", p.l.Name(), os.ErrDeadlineExceeded)
		}
		// Several queues cannot be waited for at once: look at each in turn.
		if len(p.queues) > 1 {
			left = min(left, 50*time.Microsecond)
		}
		if err := p.queues[p.look].WaitReceive(left); err != nil {
			return nil, fmt.Errorf("linktest: peer %s: %w", p.l.Name(), err)
		}
	}
}

// take copies one frame out and gives its buffer back at once.
func (q *peerQueue) take(mem *link.Memory, into []byte) []byte {
	q.giveBack()
	if q.Queue.Receive(q.in) == 0 {
		return nil
	}
	n := copy(into, restored(mem.Bytes(q.in[0]), q.in[0]))
	q.refill = append(q.refill, q.in[0].Index)
	q.giveBack()
	return into[:n]
}

func (q *peerQueue) giveBack() {
	if len(q.refill) == 0 {
		return
	}
	n := q.Fill(q.refill)
	q.refill = q.refill[:copy(q.refill, q.refill[n:])]
}
