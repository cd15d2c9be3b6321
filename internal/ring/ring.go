package ring

import (
	"math/bits"
	"sync/atomic"
)

// cacheLine keeps what producers move away from what consumers move, bytes.
const cacheLine = 64

// Ring is a bounded FIFO for any number of producers and consumers, without a
// lock (the bounded queue of D. Vyukov: a turn number on each slot says whose
// it is). No call waits: a full or an empty ring says so.
type Ring[T any] struct {
	// tail counts what was put in; producers move it.
	tail atomic.Uint64
	_    [cacheLine - 8]byte
	// head counts what was taken out; consumers move it.
	head atomic.Uint64
	_    [cacheLine - 8]byte

	mask  uint64
	slots []slot[T]
}

type slot[T any] struct {
	// turn is the position whose producer may write the slot; one more, and
	// its consumer may read it. The one who is done moves it on.
	turn  atomic.Uint64
	value T
}

// New makes a ring for at least capacity values, rounded up to a power of two
// of at least 2.
func New[T any](capacity int) *Ring[T] {
	n := 1 << bits.Len(uint(max(2, capacity)-1))
	r := &Ring[T]{mask: uint64(n - 1), slots: make([]slot[T], n)}
	for i := range r.slots {
		r.slots[i].turn.Store(uint64(i))
	}
	return r
}

// Cap is the number of values that fit.
func (r *Ring[T]) Cap() int { return len(r.slots) }

// Head counts the values taken out since the beginning.
func (r *Ring[T]) Head() uint64 { return r.head.Load() }

// Tail counts the values put in since the beginning.
func (r *Ring[T]) Tail() uint64 { return r.tail.Load() }

// Len is the number of values in the ring at some moment.
func (r *Ring[T]) Len() int { return max(0, int(r.tail.Load()-r.head.Load())) }

// Empty reports whether a Pop would find nothing: what a consumer asks before
// it sleeps.
func (r *Ring[T]) Empty() bool {
	pos := r.head.Load()
	return r.slots[pos&r.mask].turn.Load() != pos+1
}

// Push puts a copy of *v in, or reports false if the ring is full.
func (r *Ring[T]) Push(v *T) bool {
	pos := r.tail.Load()
	for {
		s := &r.slots[pos&r.mask]
		switch turn := s.turn.Load(); {
		case turn == pos:
			if r.tail.CompareAndSwap(pos, pos+1) {
				s.value = *v
				s.turn.Store(pos + 1)
				return true
			}
			pos = r.tail.Load()
		case int64(turn-pos) < 0:
			return false
		default:
			pos = r.tail.Load()
		}
	}
}

// Pop takes the oldest value out into *v, or reports false if the ring is empty.
func (r *Ring[T]) Pop(v *T) bool {
	pos := r.head.Load()
	for {
		s := &r.slots[pos&r.mask]
		switch turn := s.turn.Load(); {
		case turn == pos+1:
			if r.head.CompareAndSwap(pos, pos+1) {
				*v = s.value
				s.turn.Store(pos + r.mask + 1)
				return true
			}
			pos = r.head.Load()
		case int64(turn-(pos+1)) < 0:
			return false
		default:
			pos = r.head.Load()
		}
	}
}
