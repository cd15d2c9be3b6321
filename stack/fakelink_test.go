package stack_test

import (
	"bytes"
	"fmt"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/oobnet/oobnet/internal/offheap"
	"github.com/oobnet/oobnet/link"
)

// fakeLink is a link whose test decides what arrives, with any flags, how much
// the TX ring takes, and when a frame is complete. One mutex makes it slow and
// safe.
type fakeLink struct {
	name   string
	caps   link.Capabilities
	queues []*fakeQueue
	region *offheap.Region

	mu        sync.Mutex
	mem       *link.Memory
	state     link.State
	stopped   bool
	closes    int
	flushErr  error
	claims    []link.Claims
	selectErr error
	sentAt    map[uint32]int64 // by buffer, what SentAt says
}

// fakeQueue is one queue of it. Everything is under the link's mutex.
type fakeQueue struct {
	l    *fakeLink
	fill []uint32
	rx   []link.Frame
	// txRoom is how many frames the ring takes that are not complete; with
	// hold, none completes by itself.
	txRoom int
	hold   bool
	ring   []uint32
	done   []uint32
	// sent is what the wire saw, doorbells how often it was rung, waits how
	// often somebody waited for room.
	sent             [][]byte
	metas            []link.Meta // of what was sent
	doorbells, waits int
	wake             chan struct{}
}

var fakeMAC = link.MAC{0x02, 0xfa, 0xce, 0, 0, 1}

// newFakeLink makes one with n queues and rings of 1024 frames.
func newFakeLink(n int) *fakeLink {
	l := &fakeLink{name: "fake0", caps: link.Capabilities{Driver: "fake", Mode: "memory", MaxBufferSize: link.MaxBufferSize}}
	for range n {
		l.queues = append(l.queues, &fakeQueue{l: l, txRoom: 1024, wake: make(chan struct{}, 1)})
	}
	return l
}

var (
	_ link.Link     = (*fakeLink)(nil)
	_ link.Selector = (*fakeLink)(nil)
)

func (l *fakeLink) Name() string                    { return l.name }
func (l *fakeLink) Capabilities() link.Capabilities { return l.caps }
func (l *fakeLink) MAC() link.MAC                   { return fakeMAC }
func (l *fakeLink) MTU() int                        { return 1500 }
func (l *fakeLink) Queues() int                     { return len(l.queues) }
func (l *fakeLink) Queue(i int) link.Queue          { return l.queues[i] }

func (l *fakeLink) Attach(layout link.Layout) (*link.Memory, error) {
	if err := layout.Check(); err != nil {
		return nil, err
	}
	region, err := offheap.Map(layout.Bytes())
	if err != nil {
		return nil, err
	}
	l.region = region
	l.mem, err = link.NewMemory(region.Bytes(), layout)
	return l.mem, err
}

func (l *fakeLink) State() link.State {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state
}

// set changes the link under its mutex.
func (l *fakeLink) set(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
}

func (l *fakeLink) Stop() error {
	l.set(func() { l.stopped = true })
	for _, q := range l.queues {
		q.Wake()
	}
	return nil
}

func (l *fakeLink) Close() error {
	_ = l.Stop() // never fails
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closes++; l.closes > 1 || l.region == nil {
		return nil
	}
	return l.region.Close()
}

func (l *fakeLink) Select(c *link.Claims) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.selectErr != nil {
		return l.selectErr
	}
	l.claims = append(l.claims, link.Claims{IPv4: slices.Clone(c.IPv4), EtherTypes: slices.Clone(c.EtherTypes)})
	return nil
}

// lastClaims is what the stack last asked for.
func (l *fakeLink) lastClaims() link.Claims {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.claims) == 0 {
		return link.Claims{}
	}
	return l.claims[len(l.claims)-1]
}

// arrive puts a frame into queue 0, if there is a buffer for it.
func (l *fakeLink) arrive(b []byte, flags link.Flags, vlan uint16) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := l.queues[0]
	if len(q.fill) == 0 {
		return false
	}
	index := q.fill[0]
	q.fill = q.fill[1:]
	const off = 128 // somewhere in the buffer
	copy(l.mem.Buffer(index)[off:], b)
	q.rx = append(q.rx, link.Frame{Index: index, Off: off, Len: uint16(len(b)), Meta: link.Meta{Flags: flags, VLAN: vlan}})
	q.wakeUp()
	return true
}

// complete lets what is in the ring leave.
func (q *fakeQueue) complete() {
	q.l.mu.Lock()
	defer q.l.mu.Unlock()
	q.done = append(q.done, q.ring...)
	q.ring = nil
}

// wire is what has been sent.
func (q *fakeQueue) wire() [][]byte {
	q.l.mu.Lock()
	defer q.l.mu.Unlock()
	return slices.Clone(q.sent)
}

func (l *fakeLink) SentAt(bufs []uint32, times []int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, index := range bufs {
		times[i] = l.sentAt[index]
	}
}

func (q *fakeQueue) Receive(frames []link.Frame) int {
	q.l.mu.Lock()
	defer q.l.mu.Unlock()
	n := copy(frames, q.rx)
	q.rx = q.rx[n:]
	return n
}

func (q *fakeQueue) Fill(bufs []uint32) int {
	q.l.mu.Lock()
	defer q.l.mu.Unlock()
	if q.l.stopped {
		return 0
	}
	q.fill = append(q.fill, bufs...)
	return len(bufs)
}

func (q *fakeQueue) WaitReceive(d time.Duration) error {
	q.l.mu.Lock()
	ready := len(q.rx) > 0 || q.l.stopped
	q.l.mu.Unlock()
	var timer <-chan time.Time
	if d >= 0 {
		timer = time.After(d)
	}
	if !ready && d != 0 {
		select {
		case <-q.wake:
		case <-timer:
		}
	}
	q.l.mu.Lock()
	defer q.l.mu.Unlock()
	switch {
	case q.l.stopped:
		return net.ErrClosed
	case q.l.state == link.Gone:
		return fmt.Errorf("fake: removed: %w", syscall.ENODEV)
	}
	return nil
}

func (q *fakeQueue) Send(frames []link.Frame) int {
	q.l.mu.Lock()
	defer q.l.mu.Unlock()
	if q.l.stopped {
		return 0
	}
	n := min(len(frames), max(0, q.txRoom-len(q.ring)-len(q.done)))
	for _, f := range frames[:n] {
		q.sent = append(q.sent, bytes.Clone(q.l.mem.Bytes(f)))
		q.metas = append(q.metas, f.Meta)
		if q.hold {
			q.ring = append(q.ring, f.Index)
		} else {
			q.done = append(q.done, f.Index)
		}
	}
	return n
}

func (q *fakeQueue) Flush() error {
	q.l.mu.Lock()
	defer q.l.mu.Unlock()
	q.doorbells++
	return q.l.flushErr
}

func (q *fakeQueue) Reclaim(bufs []uint32) int {
	q.l.mu.Lock()
	defer q.l.mu.Unlock()
	n := copy(bufs, q.done)
	q.done = q.done[n:]
	return n
}

func (q *fakeQueue) WaitSend(d time.Duration) error {
	q.l.set(func() { q.waits++ })
	time.Sleep(d)
	return nil
}

func (q *fakeQueue) wakeUp() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *fakeQueue) Wake()   { q.wakeUp() }
func (q *fakeQueue) FD() int { return -1 }

func (q *fakeQueue) Drain(bufs []uint32) int {
	q.l.mu.Lock()
	defer q.l.mu.Unlock()
	if !q.l.stopped {
		return 0
	}
	for _, f := range q.rx {
		q.done = append(q.done, f.Index)
	}
	q.done = append(append(q.done, q.fill...), q.ring...)
	q.rx, q.fill, q.ring = nil, nil, nil
	n := copy(bufs, q.done)
	q.done = q.done[n:]
	return n
}

func (q *fakeQueue) Stats() link.QueueStats { return link.QueueStats{} }
