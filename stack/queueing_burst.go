package stack

import (
	"math/bits"

	"github.com/oobnet/oobnet/internal/clock"
	"github.com/oobnet/oobnet/internal/ring"
	"github.com/oobnet/oobnet/link"
)

// bandInBand is the in-band stage's place behind the bands of the priorities.
const bandInBand = Priorities

// inBandAfter is how many frames may overtake those of the in-band stage before
// it has a turn of txBurstInBand: a flood leaves it 1/17 of the link, enough
// for ARP and for answers to pings, too little to be felt.
const inBandAfter = 64

// handOver is how many frames a discipline is given at a time.
const handOver = 64

// drain sends a burst of what waits, and reports whether it sent anything. It
// does nothing if somebody else owns the queue: that one looks at what waits
// when it leaves.
//
//oobnet:hot
func (t *txQueue) drain() (sent bool) {
	if t.idle() || !t.owner.CompareAndSwap(txFree, txOwned) {
		return false
	}
	sent = t.sendBurst()
	t.release()
	return sent
}

// sendBurst sends what is to leave next. Owner only.
//
//oobnet:hot
func (t *txQueue) sendBurst() bool {
	n := t.fillBurst()
	if n == 0 {
		t.full = false
		return false
	}
	t.prepare(t.burst[:n])
	took, _ := t.pass(t.burst[:n])
	t.settleBurst(took)
	for i := n - 1; i >= took; i-- {
		t.putBack(i)
	}
	if t.discipline != nil && took < n {
		t.requeue(took, n)
	}
	t.full = took < n
	return took > 0
}

// fillBurst takes what is to leave next off the bands. The in-band stage comes
// after all sockets; once it has been overtaken for long enough it gets the end
// of a burst, behind whatever is urgent.
//
//oobnet:hot
func (t *txQueue) fillBurst() (n int) {
	limit := txBurst
	due := t.waitingInBand.Load() != 0 && t.overtaken.Load() >= inBandAfter
	if due {
		limit -= txBurstInBand
	}
	if t.discipline != nil {
		n = t.dequeue(limit)
	} else {
		for b := t.bands - 1; b >= 0; b-- {
			n = t.take(b, n, limit)
		}
	}
	if n == 0 || due {
		n = t.take(bandInBand, n, n+txBurstInBand)
	}
	return n
}

// take moves frames from a band's chain, refilled from its pile, to the burst,
// which holds n already, and returns how many it holds then.
//
//oobnet:hot
func (t *txQueue) take(band, n, limit int) int {
	chain, pile := &t.chains[band], &t.piles[band]
	for n < limit {
		if *chain == ring.Nil {
			if *chain = pile.TakeOldest(); *chain == ring.Nil {
				break
			}
		}
		q := &t.dev.queued[*chain]
		t.burst[n], t.origin[n] = q.Frame, origin{band: uint8(band), books: q.Priority}
		*chain = pile.Next(*chain)
		n++
	}
	return n
}

// putBack puts a frame that the link had no room for in front of its own band:
// what is more urgent and comes meanwhile goes before it.
//
//oobnet:hot
func (t *txQueue) putBack(i int) {
	band := t.origin[i].band
	if band == bandDiscipline {
		return // goes back in one piece
	}
	index := t.burst[i].Index
	t.piles[band].SetNext(index, t.chains[band])
	t.chains[band] = index
}

// settleBurst counts the first frames of the burst, which have left, and how
// long they had waited.
//
//oobnet:hot
func (t *txQueue) settleBurst(took int) {
	if took == 0 {
		return
	}
	now := clock.Now()
	var left [Priorities + 1]uint32
	var longest [Priorities + 1]int64
	for i := range t.burst[:took] {
		b := t.origin[i].books
		left[b]++
		longest[b] = max(longest[b], now-t.burst[i].Time)
	}
	for b := range left {
		if left[b] == 0 {
			continue
		}
		books := &t.books[b]
		books.left.Add(uint64(left[b]))
		if longest[b] > books.longest.Load() {
			books.longest.Store(longest[b])
		}
	}
	inBand := int32(left[bandInBand])
	if sockets := int32(took) - inBand; sockets > 0 {
		t.waiting.Add(-sockets)
	}
	if inBand > 0 {
		t.waitingInBand.Add(-inBand)
		t.overtaken.Store(0)
	} else if t.waitingInBand.Load() != 0 {
		t.overtaken.Add(uint32(took))
	}
}

// dequeue gives the discipline what is new, and takes up to limit frames from
// it: two calls a burst.
//
//oobnet:hot
func (t *txQueue) dequeue(limit int) (n int) {
	t.handToDiscipline()
	if t.held == 0 {
		return 0
	}
	out := t.exchange[:limit]
	got := t.discipline.Dequeue(out, clock.Now())
	for i := range out[:min(max(got, 0), limit)] {
		index := out[i].Index
		if int(index) >= len(t.dev.queued) || !t.holds.has(index) {
			t.astray.Add(1)
			continue
		}
		q := &t.dev.queued[index]
		t.holds.flip(index)
		t.held--
		if out[i].Drop {
			t.lose(q)
			continue
		}
		t.burst[n], t.origin[n] = q.Frame, origin{band: bandDiscipline, books: q.Priority}
		n++
	}
	return n
}

// handToDiscipline gives the discipline what came since the last time.
//
//oobnet:hot
func (t *txQueue) handToDiscipline() {
	for chain := t.piles[0].TakeOldest(); chain != ring.Nil; {
		n := 0
		for ; n < handOver && chain != ring.Nil; n++ {
			t.exchange[n] = t.dev.queued[chain]
			t.holds.flip(chain)
			chain = t.dev.next[chain]
		}
		t.held += n
		t.discipline.Enqueue(t.exchange[:n])
	}
}

// requeue gives back what the link had no room for, but for in-band frames.
//
//oobnet:hot
func (t *txQueue) requeue(from, to int) {
	n := 0
	for i := from; i < to; i++ {
		if t.origin[i].band != bandDiscipline {
			continue
		}
		t.exchange[n] = t.dev.queued[t.burst[i].Index]
		t.holds.flip(t.burst[i].Index)
		n++
	}
	if n > 0 {
		t.held += n
		t.discipline.Requeue(t.exchange[:n])
	}
}

// lose drops a frame that waited.
func (t *txQueue) lose(q *Queued) {
	t.books[q.Priority].left.Add(1)
	t.books[q.Priority].dropped.Add(1)
	t.waiting.Add(-1)
	t.recordUnsent(q.Frame)
	t.dev.neverLeft(&q.Frame, true)
	var one [1]uint32
	one[0] = q.Index
	t.dev.takeBack(one[:])
}

// bitset is a set of buffers.
type bitset []uint64

func (s bitset) has(i uint32) bool { return s[i/64]>>(i%64)&1 != 0 }

// flip puts a buffer in, or takes it out.
func (s bitset) flip(i uint32) { s[i/64] ^= 1 << (i % 64) }

func (s bitset) each(f func(uint32)) {
	for i, word := range s {
		for ; word != 0; word &= word - 1 {
			f(uint32(i*64 + bits.TrailingZeros64(word)))
		}
	}
}

// origin of a frame in a burst.
type origin struct {
	// band whose chain it was taken from, books where it is counted.
	band, books uint8
}

// bandDiscipline is for frames that a discipline had.
const bandDiscipline = Priorities + 1

// admit counts n frames more as waiting, or as many as there is room for, and
// returns how many.
//
//oobnet:hot
func (t *txQueue) admit(n, priority int) int {
	waiting := t.waiting.Add(int32(n))
	if over := waiting - t.limits[priority]; over > 0 {
		over = min(over, int32(n))
		waiting = t.waiting.Add(-over)
		n -= int(over)
		t.books[priority].dropped.Add(uint64(over))
	}
	t.books[priority].queued.Add(uint64(n))
	for peak := t.peak.Load(); waiting > peak && !t.peak.CompareAndSwap(peak, waiting); {
		peak = t.peak.Load()
	}
	return n
}

// push puts frames that were admitted on the pile of their priority.
//
//oobnet:hot
func (t *txQueue) push(frames []link.Frame, p *Port, priority int) {
	now := clock.Now()
	pile := &t.piles[priority&(t.bands-1)]
	for i := range frames {
		f := &frames[i]
		q := &t.dev.queued[f.Index]
		*q = Queued{Frame: *f, Port: p, Priority: uint8(priority)}
		q.Time = now
		pile.Push(f.Index)
	}
}
