package stack

import "sync/atomic"

// QueueingStats is what waits for a TX queue, or for all queues of a device,
// and what has waited since it was attached.
type QueueingStats struct {
	// Discipline is the name of the device's queueing.
	Discipline string
	// Limit is how many frames of sockets may wait for one queue. Length is
	// how many do now, Peak the most that ever did (of a device: the sum of its
	// queues' peaks).
	Limit, Length, Peak int
	// Dropped counts the frames that found the queue full, and those that a
	// discipline dropped.
	Dropped uint64
	// Astray counts the frames that a discipline returned without having them.
	Astray uint64
	// Bands by the priority of the sender; InBand are the in-band stage's.
	Bands  [Priorities]BandStats
	InBand BandStats
}

// BandStats is what waited of one priority.
type BandStats struct {
	// Queued counts the frames that had to wait, Dropped those that were lost.
	Queued, Dropped uint64
	// Length is how many wait now.
	Length int
	// LongestWait of a frame that the link has taken, ns.
	LongestWait int64
}

// bandBooks count one band of one queue: queued and dropped are written by
// senders, left and longest by the owner of the queue; Stats reads them.
type bandBooks struct {
	queued, dropped, left atomic.Uint64
	longest               atomic.Int64
}

func (b *bandBooks) addTo(st *BandStats) {
	// What left first: what comes meanwhile makes the length larger, never negative.
	left := b.left.Load()
	queued := b.queued.Load()
	st.Queued += queued
	st.Dropped += b.dropped.Load()
	st.Length += int(queued - left)
	st.LongestWait = max(st.LongestWait, b.longest.Load())
}

// queueing reads the queue's statistics.
func (t *txQueue) queueing() QueueingStats {
	st := QueueingStats{Discipline: t.dev.cfg.Queueing.Name(), Limit: int(t.limits[Priorities-1]), Peak: int(t.peak.Load()), Astray: t.astray.Load()}
	for p := range st.Bands {
		t.books[p].addTo(&st.Bands[p])
		st.Length += st.Bands[p].Length
		st.Dropped += st.Bands[p].Dropped
	}
	t.books[bandInBand].addTo(&st.InBand)
	return st
}

// add sums up the queues of a device.
func (st *QueueingStats) add(q *QueueingStats) {
	st.Discipline, st.Limit = q.Discipline, q.Limit
	st.Length += q.Length
	st.Peak += q.Peak
	st.Dropped += q.Dropped
	st.Astray += q.Astray
	for p := range st.Bands {
		st.Bands[p].add(&q.Bands[p])
	}
	st.InBand.add(&q.InBand)
}

func (b *BandStats) add(o *BandStats) {
	b.Queued += o.Queued
	b.Dropped += o.Dropped
	b.Length += o.Length
	b.LongestWait = max(b.LongestWait, o.LongestWait)
}
