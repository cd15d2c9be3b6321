package latmus

import (
	"math"
	"runtime/metrics"
	"time"

	"github.com/oobnet/oobnet/stack"
)

// Looks at counters that say how often something happened, and not when: a look
// before an exchange and one behind it tell what happened near it.

// looksKept reach back 1.3 s: to before all exchanges but those that took longer.
const looksKept = 64

// look is one. What had happened before begun is counted, what happened after done
// is not.
type look struct {
	begun, done int64
	demoted     uint64
	collections uint64 // stops of the world for the collector: two a collection
	others      uint64 // stops of the world for anything else
	// longest of the stops since the look before lasted for less than this.
	longest time.Duration
}

// stoppedFor is how long the world can have stood still at most, ns.
func (l *look) stoppedFor() int64 {
	n := int64(l.collections + l.others)
	if n > 0 && int64(l.longest) > math.MaxInt64/n {
		return math.MaxInt64
	}
	return n * int64(l.longest)
}

// looks are the last ones, the oldest first. They are the collector's alone.
type looks struct {
	kept  []look
	stops [2]metrics.Sample
	seen  [2][]uint64 // counts of stops when last looked, by duration
}

func newLooks() *looks {
	l := &looks{kept: make([]look, 0, looksKept)}
	l.stops[0].Name, l.stops[1].Name = "/sched/pauses/total/gc:seconds", "/sched/pauses/total/other:seconds"
	return l
}

// take takes a look, one each round.
func (l *looks) take(demotions func() uint64) {
	k := look{begun: stack.Now(), demoted: demotions()}
	metrics.Read(l.stops[:])
	k.done = stack.Now()
	for i, into := range []*uint64{&k.collections, &k.others} {
		if l.stops[i].Value.Kind() != metrics.KindFloat64Histogram {
			continue // a runtime that does not count them
		}
		h := l.stops[i].Value.Float64Histogram()
		if l.seen[i] == nil {
			l.seen[i] = make([]uint64, len(h.Counts))
		}
		for b, n := range h.Counts {
			*into += n
			if n > l.seen[i][b] {
				k.longest = max(k.longest, seconds(h.Buckets[b+1]))
			}
		}
		copy(l.seen[i], h.Counts)
	}
	if len(l.kept) == looksKept {
		l.kept = append(l.kept[:0], l.kept[1:]...)
	}
	l.kept = append(l.kept, k)
}

// seconds as a duration; the last row of a histogram has no end.
func seconds(s float64) time.Duration {
	if s >= math.MaxInt64/1e9 {
		return math.MaxInt64
	}
	return time.Duration(s * 1e9)
}

// near is what happened between the last look before begin and the first one
// after end; done - begun is the time between them.
func (l *looks) near(begin, end int64) (n look) {
	if len(l.kept) == 0 {
		return n
	}
	first, last := 0, len(l.kept)-1
	for first < last && l.kept[first+1].done <= begin {
		first++
	}
	for last > first+1 && l.kept[last-1].begun >= end {
		last--
	}
	a, b := &l.kept[first], &l.kept[last]
	n = look{begun: a.begun, done: b.done, demoted: b.demoted - a.demoted, collections: b.collections - a.collections, others: b.others - a.others}
	for _, k := range l.kept[first+1 : last+1] {
		n.longest = max(n.longest, k.longest)
	}
	return n
}
