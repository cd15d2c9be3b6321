// Package ring holds the queues that threads of oobnet share without a lock:
// lists of buffer indexes ([List], [Pile]), and a bounded ring of values ([Ring]).
package ring

import "sync/atomic"

// Nil is the index that stands for none.
const Nil = indexMask

// A list's head is one word, so that one compare-and-swap moves it: the index
// of the first buffer, how many there are, and a tag that every change
// increments. The tag is what tells a head apart from the same head some pops
// and pushes ago: a thread would have to sleep through an exact multiple of
// 2^24 changes, and wake to the same first buffer and the same length, to be
// misled.
const (
	indexBits = 20
	indexMask = 1<<indexBits - 1
	countBits = 20
	countUnit = 1 << indexBits
	countMask = (1<<countBits - 1) << indexBits
	tagUnit   = 1 << (indexBits + countBits)
)

// Links holds, for each buffer of a region, the buffer behind it in a list.
type Links []atomic.Uint32

// NewLinks makes the links of n buffers, n <= 1<<20 - 1.
func NewLinks(n int) Links { return make(Links, n) }

// List is a lock-free LIFO list of buffer indexes: what was freed last is used
// first, while the caches still hold it. Any number of goroutines may use it.
type List struct {
	// head is moved by whoever pushes or pops.
	head  atomic.Uint64
	links Links
}

// Init makes the list empty over the links. Not for concurrent use.
func (l *List) Init(links Links) {
	l.links = links
	l.head.Store(Nil)
}

// Len is the number of buffers in the list at some moment.
func (l *List) Len() int { return int(l.head.Load() & countMask >> indexBits) }

// Push puts one buffer in front.
func (l *List) Push(index uint32) {
	for {
		old := l.head.Load()
		l.links[index].Store(uint32(old & indexMask))
		if l.head.CompareAndSwap(old, (old&^uint64(indexMask)|uint64(index))+countUnit+tagUnit) {
			return
		}
	}
}

// PushAll puts all of the buffers in front with one swap.
func (l *List) PushAll(indexes []uint32) {
	if len(indexes) == 0 {
		return
	}
	for i, index := range indexes[:len(indexes)-1] {
		l.links[index].Store(indexes[i+1])
	}
	first, last := indexes[0], indexes[len(indexes)-1]
	for {
		old := l.head.Load()
		l.links[last].Store(uint32(old & indexMask))
		if l.head.CompareAndSwap(old, (old&^uint64(indexMask)|uint64(first))+uint64(len(indexes))*countUnit+tagUnit) {
			return
		}
	}
}

// Pop takes the first buffer; ok is false if there is none.
func (l *List) Pop() (index uint32, ok bool) {
	for {
		old := l.head.Load()
		index = uint32(old & indexMask)
		if index == Nil {
			return 0, false
		}
		// Another thread may pop and reuse the buffer at this moment: then
		// what is read here is of no use, and the swap fails.
		next := uint64(l.links[index].Load())
		if l.head.CompareAndSwap(old, (old&^uint64(indexMask)|next)-countUnit+tagUnit) {
			return index, true
		}
	}
}

// PopN takes up to len(into) buffers from the front with one swap and returns
// how many.
func (l *List) PopN(into []uint32) int {
	for {
		old := l.head.Load()
		next := uint32(old & indexMask)
		n := 0
		for n < len(into) && next != Nil {
			into[n] = next
			n++
			next = l.links[next].Load()
		}
		if n == 0 {
			return 0
		}
		if l.head.CompareAndSwap(old, (old&^uint64(indexMask)|uint64(next))-uint64(n)*countUnit+tagUnit) {
			return n
		}
	}
}
