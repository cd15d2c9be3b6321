package stack_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/stack"
)

// guardedLink counts the calls of its queue's send side that found another one
// under way: the link contract allows one at a time.
type guardedLink struct {
	*fakeLink
	q guardedQueue
}

func (l *guardedLink) Queue(int) link.Queue { return &l.q }

type guardedQueue struct {
	*fakeQueue
	inside, clashes atomic.Int32
}

func (q *guardedQueue) enter() (leave func()) {
	if q.inside.Add(1) > 1 {
		q.clashes.Add(1)
	}
	return func() { q.inside.Add(-1) }
}

func (q *guardedQueue) Send(frames []link.Frame) int {
	defer q.enter()()
	return q.fakeQueue.Send(frames)
}

func (q *guardedQueue) Flush() error {
	defer q.enter()()
	return q.fakeQueue.Flush()
}

func (q *guardedQueue) Reclaim(bufs []uint32) int {
	defer q.enter()()
	return q.fakeQueue.Reclaim(bufs)
}

func (q *guardedQueue) WaitSend(d time.Duration) error {
	defer q.enter()()
	return q.fakeQueue.WaitSend(d)
}

// TestSendSideHasOneUser: while the TX thread waits for room in a full ring,
// whoever reads statistics or looks for completions stays off the send side.
func TestSendSideHasOneUser(t *testing.T) {
	leaktest.Check(t)
	l := &guardedLink{fakeLink: newFakeLink(1)}
	l.q.fakeQueue = l.queues[0]
	l.q.txRoom = 0
	s, err := stack.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	d, err := s.Attach(l, &stack.DeviceConfig{PoolSize: 16})
	if err != nil {
		t.Fatal(err)
	}
	f, err := d.Alloc()
	if err != nil {
		t.Fatal(err)
	}
	f.Len = 60
	if err := d.Send(f, 0, 0); err != nil {
		t.Fatal(err)
	}
	waits := func() (n int) {
		l.set(func() { n = l.q.waits })
		return n
	}
	for end := time.Now().Add(10 * time.Second); waits() < 20; {
		d.Stats()
		if time.Now().After(end) {
			t.Fatalf("the TX thread waited for room %d times", waits())
		}
	}
	l.set(func() { l.q.txRoom = 16 })
	for end := time.Now().Add(10 * time.Second); len(l.q.wire()) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the frame did not leave when there was room")
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if n := l.q.clashes.Load(); n != 0 {
		t.Errorf("%d calls of the send side met another one", n)
	}
}
