package oracle

import (
	"sync/atomic"
	"testing"

	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/afxdp"
)

// door is in front of the TX ring of a link of ours of one queue: shut, it takes
// no frame, as a full ring does.
type door struct {
	*afxdp.Link
	q doorQueue
	// shut is set by the test, and refused counted by whoever sends.
	shut    atomic.Bool
	refused atomic.Uint64
}

func (d *door) Queue(i int) link.Queue {
	d.q.Queue, d.q.door = d.Link.Queue(i), d
	return &d.q
}

type doorQueue struct {
	link.Queue
	door *door
}

func (q *doorQueue) Send(frames []link.Frame) int {
	if q.door.shut.Load() {
		q.door.refused.Add(1)
		return 0
	}
	return q.Queue.Send(frames)
}

// open lets out what waits, when whoever sends has looked at all of it: a burst
// that was put together before the last frames came has been refused then.
func (d *door) open(t testing.TB) {
	t.Helper()
	before := d.refused.Load()
	stacktest.Eventually(t, "the sender to have seen what waits", func() bool { return d.refused.Load() >= before+2 })
	d.shut.Store(false)
}
