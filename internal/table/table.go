// Package table is a hash table that packet paths read without a lock while
// the control path changes it: the front cache and the socket tables stand on
// it.
//
// It is open addressing with linear probing over an array of slots. A slot's
// key is written once, before its value is published, and never again in the
// life of that array: whoever sees a value sees the key that belongs to it. So
// a removed key leaves its slot behind, marked, and can come back only to the
// same slot; when live and marked slots fill half of the array, a new array is
// built and published with one store. A reader works on the array that it
// loaded, which stays whole for as long as it holds it; the garbage collector
// takes it after the last reader.
//
// Keys come from the wire, so their hash is seeded at random, afresh for each
// array, and no key may lie further than [reach] slots from its home: an
// insertion that would, makes a new array under another seed. Get is therefore
// wait-free: it looks at no more than reach slots, whatever was put in.
package table

import (
	"iter"
	"math/bits"
	"math/rand/v2"
	"sync/atomic"
)

const (
	// reach is how many slots, from its home on, a key may lie in. At a load
	// of 1/2 the chance of a longer run falls by e^-0.19 a slot: of a million
	// random keys about one table in 50 000 has a run of 128, and is then
	// built once more.
	reach = 128
	// minSlots of an array. A small table must not rebuild for each key.
	minSlots = 16
)

// Key is what a table is asked for: 128 bits that the user fills as it likes.
type Key struct{ Hi, Lo uint64 }

// Table maps keys to pointers. Get, All and Len may be called by any number of
// goroutines at any time; Put and Delete by one at a time, which is the
// caller's mutex to see to. What a value points to is the caller's: Put makes
// all that was written to it before visible to whoever Gets it after.
type Table[V any] struct {
	// array is stored by the mutators and loaded by every reader.
	array atomic.Pointer[array[V]]
	// live counts the keys that have a value; stored by the mutators, loaded by Len.
	live atomic.Int64
	// least is the number of slots that no rebuild goes below.
	least int
}

// array is one generation of slots. All but the slots' values is constant for
// readers; used belongs to the mutators.
type array[V any] struct {
	slots   []slot[V] // homes, and reach more, so that a probe never wraps
	shift   uint8     // 64 - log2(homes): a home is the hash's highest bits
	gone    *V        // the value of a slot whose key has been removed
	seed    [3]uint64
	homes   int
	used    int // slots with a key, removed ones included
	maxUsed int // half of the homes
}

// slot is empty while value is nil; then key is not to be read.
type slot[V any] struct {
	value atomic.Pointer[V] // stored by the mutators, loaded by every reader
	key   Key
}

// New returns a table that takes capacity keys before it first grows.
func New[V any](capacity int) *Table[V] {
	t := &Table[V]{least: minSlots}
	for t.least/2 < capacity {
		t.least *= 2
	}
	t.array.Store(newArray[V](t.least))
	return t
}

// Get returns the value of k, or nil. It is wait-free and allocates nothing.
func (t *Table[V]) Get(k Key) *V {
	a := t.array.Load()
	home := a.home(k)
	for i := home; i < home+reach; i++ {
		s := &a.slots[i]
		v := s.value.Load()
		if v == nil {
			return nil
		}
		if s.key == k {
			if v == a.gone {
				return nil
			}
			return v
		}
	}
	return nil
}

// Put sets the value of k, in place if it has one. A nil v deletes. It costs
// amortised constant time.
func (t *Table[V]) Put(k Key, v *V) {
	if v == nil {
		t.Delete(k)
		return
	}
	a := t.array.Load()
	s, found := a.find(k)
	switch {
	case found:
		if s.value.Load() == a.gone {
			t.live.Add(1)
		}
		s.value.Store(v)
		return
	case s != nil && a.used < a.maxUsed:
		a.fill(s, k, v)
	default:
		t.rebuild(k, v)
	}
	t.live.Add(1)
}

// Delete removes k and returns the value that it had, or nil.
func (t *Table[V]) Delete(k Key) *V {
	a := t.array.Load()
	s, found := a.find(k)
	if !found {
		return nil
	}
	v := s.value.Load()
	if v == a.gone {
		return nil
	}
	s.value.Store(a.gone)
	t.live.Add(-1)
	return v
}

// Len returns the number of keys.
func (t *Table[V]) Len() int { return int(t.live.Load()) }

// All walks the keys in no order. Keys that are put or deleted meanwhile may
// be seen or not; the others are seen once.
func (t *Table[V]) All() iter.Seq2[Key, *V] {
	return func(yield func(Key, *V) bool) {
		a := t.array.Load()
		for i := range a.slots {
			s := &a.slots[i]
			if v := s.value.Load(); v != nil && v != a.gone && !yield(s.key, v) {
				return
			}
		}
	}
}

// rebuild publishes a new array of the live keys and k. At most 3/8 of its
// homes are taken, so that at least an eighth of them can be filled before the
// next time: eight slots copied for one key put, at worst.
func (t *Table[V]) rebuild(k Key, v *V) {
	homes := t.least
	for homes/8*3 < t.Len()+1 {
		homes *= 2
	}
	for {
		a := newArray[V](homes)
		if a.copy(t) && a.place(k, v) {
			t.array.Store(a)
			return
		}
		// A run longer than reach: another seed, and more room.
		homes *= 2
	}
}

func newArray[V any](homes int) *array[V] {
	// The marker needs an address of its own, which a zero-size V has not.
	marker := new(struct {
		v V
		_ byte
	})
	return &array[V]{
		slots:   make([]slot[V], homes+reach),
		shift:   uint8(64 - bits.TrailingZeros(uint(homes))),
		gone:    &marker.v,
		seed:    [3]uint64{rand.Uint64(), rand.Uint64(), rand.Uint64() | 1},
		homes:   homes,
		maxUsed: homes / 2,
	}
}

// home is the first slot to look in for k: two rounds of multiply and fold.
// One round would map the arithmetic progressions that addresses and ports are
// onto clusters under some seeds.
func (a *array[V]) home(k Key) int {
	hi, lo := bits.Mul64(k.Lo^a.seed[0], k.Hi^a.seed[1])
	hi, lo = bits.Mul64(hi^lo, a.seed[2])
	return int((hi ^ lo) >> (a.shift & 63))
}

// find returns the slot of k, else the empty one that it would take, else nil
// when there is none in reach.
func (a *array[V]) find(k Key) (s *slot[V], found bool) {
	home := a.home(k)
	for i := home; i < home+reach; i++ {
		s := &a.slots[i]
		if s.value.Load() == nil {
			return s, false
		}
		if s.key == k {
			return s, true
		}
	}
	return nil, false
}

// fill gives an empty slot its key, for good, and publishes it.
func (a *array[V]) fill(s *slot[V], k Key, v *V) {
	s.key = k
	s.value.Store(v)
	a.used++
}

// place puts a key that a does not have and reports whether it found a slot.
func (a *array[V]) place(k Key, v *V) bool {
	s, _ := a.find(k)
	if s == nil {
		return false
	}
	a.fill(s, k, v)
	return true
}

// copy places all live keys of t and reports whether each found a slot.
func (a *array[V]) copy(t *Table[V]) bool {
	for k, v := range t.All() {
		if !a.place(k, v) {
			return false
		}
	}
	return true
}
