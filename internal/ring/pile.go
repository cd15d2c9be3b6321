package ring

import "sync/atomic"

// Next holds, for each buffer of a region, the one below it in whatever pile
// it is on. It belongs to the buffer's owner: an index is read only by who has
// taken the pile, so these are plain words, where the links of a List, which
// every Pop may look at, are not.
type Next []uint32

// Pile is a lock-free list of buffer indexes that any number of goroutines put
// on and that is taken as a whole, by one at a time. A Push is a plain store
// and one locked instruction.
type Pile struct {
	// head is the index on top and, above pileShift, how many there are. Who
	// pushes and who takes moves it. There is no tag as in List: nobody looks
	// below the top before the swap, so it does not matter whether the top is
	// the same as before or the same again.
	head atomic.Uint64
	next Next
}

const (
	pileShift = 32
	pileUnit  = 1 << pileShift
)

// Init makes the pile empty over next. Not for concurrent use.
func (p *Pile) Init(next Next) {
	p.next = next
	p.head.Store(Nil)
}

// Len is the number of buffers on the pile at some moment.
func (p *Pile) Len() int { return int(p.head.Load() >> pileShift) }

// Push puts a buffer on top. It is the taker's from then on.
func (p *Pile) Push(index uint32) {
	for {
		old := p.head.Load()
		p.next[index] = uint32(old)
		if p.head.CompareAndSwap(old, old&^(pileUnit-1)+pileUnit|uint64(index)) {
			return
		}
	}
}

// PushChain is Push for n buffers that the caller has chained, from top, the
// newest, to bottom.
func (p *Pile) PushChain(top, bottom uint32, n int) {
	for {
		old := p.head.Load()
		p.next[bottom] = uint32(old)
		if p.head.CompareAndSwap(old, old&^(pileUnit-1)+uint64(n)*pileUnit|uint64(top)) {
			return
		}
	}
}

// Take empties the pile and returns its top, or Nil; Next leads from there to
// the others, the newest first. The caller owns them all.
func (p *Pile) Take() uint32 {
	if uint32(p.head.Load()) == Nil {
		return Nil
	}
	return uint32(p.head.Swap(Nil))
}

// TakeAll is Take that also says how many they are.
func (p *Pile) TakeAll() (top uint32, n int) {
	if uint32(p.head.Load()) == Nil {
		return Nil, 0
	}
	head := p.head.Swap(Nil)
	return uint32(head), int(head >> pileShift)
}

// TakeOldest is Take with the order turned round: the oldest first.
func (p *Pile) TakeOldest() uint32 {
	before := uint32(Nil)
	for index := p.Take(); index != Nil; {
		below := p.next[index]
		p.next[index] = before
		before, index = index, below
	}
	return before
}

// Next is the buffer behind index in what was taken, or Nil.
func (p *Pile) Next(index uint32) uint32 { return p.next[index] }

// SetNext puts next behind index, both owned by the caller: how an owner keeps
// buffers in a chain of its own.
func (p *Pile) SetNext(index, next uint32) { p.next[index] = next }
