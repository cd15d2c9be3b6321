package vm

import (
	"math/bits"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
)

const (
	maxKeySize  = 512 // of a hash, bytes: as long as the stack, as in the kernel
	maxKeyWords = maxKeySize / 8
	// endMark in a link says that the chain ends, and the other bits of which
	// bucket it is: a reader that was carried into another chain, because an
	// entry was deleted and used again under it, sees that it has to start over.
	endMark = 1 << 31
	// lostMark ends a walk that came to no end; no bucket has this mark.
	lostMark = endMark | (endMark - 1)
	// maxWalks is how often a reader starts over. Each time takes a change of the
	// bucket by somebody else during one walk.
	maxWalks = 16
	// maxSpins is how often a program tries to get a bucket, a few
	// microseconds; holders need less than one, unless they are preempted.
	maxSpins = 1 << 10
	// maxVictims is how many entries an LRU hash looks at to make room; the
	// first half of them are spared if they were used lately.
	maxVictims = 128
	// vacant: the seq of a slot is odd while it holds no entry.
	vacant = 1
)

// table is the structure of a hash: which slot holds which key. Slots are
// there from the start, as in the kernel's preallocated hashes. Lookups follow
// the chain of a bucket and take nothing; changes of a bucket take its lock, a
// word made odd by compare-and-swap for the time of one change, as the kernel's
// programs do too. What a lookup finds it may have at once. That it finds
// nothing it believes only if nobody has changed the bucket meanwhile: it may
// have come too late for the old entry of a key, and too early for the new one.
// Values lie in the map's slabs, by slot.
//
// All is read and written by Runners and by Go code through Map, at the same
// time.
type table struct {
	m     *Map
	seed  uint64
	width int // of a key, words
	slots uint32
	heads []atomic.Uint32 // by bucket: the first slot, or an endMark
	locks []atomic.Uint32 // by bucket: how often it was taken and released; odd while it is changed
	next  []atomic.Uint32 // by slot: the next, or an endMark
	// seq counts by slot how often it was filled and vacated; vacant if odd.
	// Written by whoever holds the lock of the bucket that the slot is in, or
	// has taken the slot from the free ones.
	seq  []atomic.Uint32
	used []atomic.Uint32 // by slot, LRU only: 1 if looked up since last passed over
	hand atomic.Uint32   // LRU only: where the last search for a victim ended
	keys []uint64        // by slot: width words, atomic
	// free is the first free slot with a count of changes above it, against
	// one that is taken and given back while another looks on.
	free     atomic.Uint64
	freeNext []atomic.Uint32 // by slot: the next free one
	// spare is a slot for each updater, the CPUs and last Go code: a new value
	// of an old key goes there, and the key has an entry all the time. The old
	// value stays as it is until the updater's next change of this kind.
	spare []uint32
}

// newTable makes a table for so many entries; extra are the updaters.
func newTable(m *Map, entries, extra int) *table {
	buckets := 1 << bits.Len(uint(entries-1))
	t := &table{m: m, seed: rand.Uint64(), width: (m.keySize + 7) / 8, slots: uint32(entries + extra)}
	t.heads, t.locks = make([]atomic.Uint32, buckets), make([]atomic.Uint32, buckets)
	t.next, t.seq = make([]atomic.Uint32, t.slots), make([]atomic.Uint32, t.slots)
	t.freeNext, t.keys = make([]atomic.Uint32, t.slots), make([]uint64, int(t.slots)*t.width)
	if m.lru() {
		t.used = make([]atomic.Uint32, t.slots)
	}
	for b := range t.heads {
		t.heads[b].Store(endMark | uint32(b))
	}
	for s := range t.seq {
		t.seq[s].Store(vacant)
		t.freeNext[s].Store(uint32(s + 1))
	}
	t.freeNext[entries-1].Store(endMark)
	for i := range extra {
		t.spare = append(t.spare, uint32(entries+i))
	}
	return t
}

// hash of a key. The seed is random, so that nobody can send frames whose keys
// all fall into one bucket.
//
//oobnet:hot
func (t *table) hash(key []uint64) uint64 {
	h := t.seed
	for _, w := range key {
		hi, lo := bits.Mul64(h^w, 0x9e3779b97f4a7c15)
		h = hi ^ lo
	}
	hi, lo := bits.Mul64(h, 0xd6e8feb86659fd93)
	return hi ^ lo
}

func (t *table) bucket(h uint64) uint32 { return uint32(h) & uint32(len(t.heads)-1) }

// holds compares the key of a slot.
//
//oobnet:hot
func (t *table) holds(slot uint32, key []uint64) bool {
	stored := t.keys[int(slot)*t.width:][:len(key)]
	for i := range stored {
		if atomic.LoadUint64(&stored[i]) != key[i] {
			return false
		}
	}
	return true
}

// find looks a key up, for readers: changes may be under way.
//
//oobnet:hot
func (t *table) find(key []uint64, h uint64) (slot uint32, ok bool) {
	b := t.bucket(h)
	former := uint32(0) // even: no walk has yet been made during a change
	for range maxWalks {
		version := t.locks[b].Load()
		at := t.walk(b, key)
		if at&endMark == 0 {
			return at, true
		}
		// One change may have put the new entry behind this reader's back and
		// taken the old one away in front of it. Not so if there was none, or
		// if the one under way was so already during the former walk.
		quiet := version&1 == 0 || version == former
		if quiet && at == endMark|b && t.locks[b].Load() == version {
			return 0, false
		}
		former = version
	}
	return 0, false
}

// own looks a key up in a bucket that the caller holds, and so nobody changes.
//
//oobnet:hot
func (t *table) own(b uint32, key []uint64) (slot uint32, ok bool) {
	slot = t.walk(b, key)
	return slot, slot&endMark == 0
}

// walk follows the chain of a bucket to the slot of a key, or to its end: an
// endMark, of this bucket or of another, or lostMark, after more steps than there
// are slots.
//
//oobnet:hot
func (t *table) walk(b uint32, key []uint64) uint32 {
	at := t.heads[b].Load()
	for n := uint32(0); at&endMark == 0; n++ {
		if n > t.slots {
			return lostMark
		}
		seq := t.seq[at].Load()
		if seq&vacant == 0 && t.holds(at, key) && t.seq[at].Load() == seq {
			if t.used != nil && t.used[at].Load() == 0 {
				t.used[at].Store(1)
			}
			return at
		}
		at = t.next[at].Load()
	}
	return at
}

// hold takes a bucket. A program gives up after a while, since it must not
// wait; Go code waits, since who holds it is about to go on.
//
//oobnet:hot
func (t *table) hold(b uint32, wait bool) bool {
	for spins := 0; ; spins++ {
		if v := t.locks[b].Load(); v&1 == 0 && t.locks[b].CompareAndSwap(v, v+1) {
			return true
		}
		if spins >= maxSpins {
			if !wait {
				return false
			}
			runtime.Gosched()
		}
	}
}

func (t *table) release(b uint32) { t.locks[b].Add(1) }

// take takes a free slot.
//
//oobnet:hot
func (t *table) take() (uint32, bool) {
	for {
		old := t.free.Load()
		slot := uint32(old)
		if slot&endMark != 0 {
			return 0, false
		}
		if t.free.CompareAndSwap(old, (old>>32+1)<<32|uint64(t.freeNext[slot].Load())) {
			return slot, true
		}
	}
}

//oobnet:hot
func (t *table) give(slot uint32) {
	for {
		old := t.free.Load()
		t.freeNext[slot].Store(uint32(old))
		if t.free.CompareAndSwap(old, (old>>32+1)<<32|uint64(slot)) {
			return
		}
	}
}

// unlink takes a slot out of a bucket that the caller holds.
//
//oobnet:hot
func (t *table) unlink(b, slot uint32) {
	after := t.next[slot].Load()
	if t.heads[b].Load() == slot {
		t.heads[b].Store(after)
	} else {
		at := t.heads[b].Load()
		for at&endMark == 0 && t.next[at].Load() != slot {
			at = t.next[at].Load()
		}
		if at&endMark == 0 {
			t.next[at].Store(after)
		}
	}
	t.seq[slot].Add(1)
}

// link puts a key into a vacant slot, and that into a bucket that the caller
// holds. The value has to be there already.
//
//oobnet:hot
func (t *table) link(b, slot uint32, key []uint64) {
	stored := t.keys[int(slot)*t.width:][:len(key)]
	for i := range stored {
		atomic.StoreUint64(&stored[i], key[i])
	}
	t.next[slot].Store(t.heads[b].Load())
	t.seq[slot].Add(1)
	t.heads[b].Store(slot)
}

// update sets the value of a key for an updater and returns 0 or an error
// number of Linux, negative.
//
//oobnet:hot
func (t *table) update(key []uint64, value []byte, flags uint64, who int) int64 {
	h := t.hash(key)
	b, wait := t.bucket(h), who == t.m.goSide()
	var fresh uint32
	have := false
	for {
		if !t.hold(b, wait) {
			if have {
				t.give(fresh)
			}
			return -eBUSY
		}
		old, found := t.own(b, key)
		switch {
		case found && flags == noExist:
			t.release(b)
			if have {
				t.give(fresh)
			}
			return -eEXIST
		case !found && flags == exist:
			t.release(b)
			if have {
				t.give(fresh)
			}
			return -eNOENT
		case found && t.m.perCPU(): // in place: each CPU has its own
			t.m.put(old, value, who, false)
		case found:
			slot := t.spare[who]
			t.m.put(slot, value, who, true)
			t.link(b, slot, key)
			t.unlink(b, old)
			t.spare[who] = old
		default:
			if !have {
				fresh, have = t.take()
			}
			if have {
				t.m.put(fresh, value, who, true)
				t.link(b, fresh, key)
				t.release(b)
				return 0
			}
			t.release(b)
			if t.used == nil {
				return -e2BIG
			}
			if fresh, have = t.evict(wait); !have {
				return -eNOMEM
			}
			continue // somebody else may have set the key meanwhile
		}
		t.release(b)
		if have {
			t.give(fresh)
		}
		return 0
	}
}

// remove deletes a key and returns 0 or an error number, negative. The value
// stays where it is until the slot is used again, for programs that still
// point to it.
//
//oobnet:hot
func (t *table) remove(key []uint64, wait bool) int64 {
	h := t.hash(key)
	b := t.bucket(h)
	if !t.hold(b, wait) {
		return -eBUSY
	}
	slot, found := t.own(b, key)
	if found {
		t.unlink(b, slot)
		t.give(slot)
	}
	t.release(b)
	if !found {
		return -eNOENT
	}
	return 0
}

// evict takes the slot of an entry that was not used lately out of its bucket:
// the hand of a clock passes over the slots, and spares once those in use.
//
//oobnet:hot
func (t *table) evict(wait bool) (uint32, bool) {
	var key [maxKeyWords]uint64
	for n := range maxVictims {
		slot := t.hand.Add(1) % t.slots
		seq := t.seq[slot].Load()
		if seq&vacant != 0 {
			continue
		}
		if n < maxVictims/2 && t.used[slot].Swap(0) != 0 {
			continue
		}
		k := key[:t.width]
		for i := range k {
			k[i] = atomic.LoadUint64(&t.keys[int(slot)*t.width+i])
		}
		b := t.bucket(t.hash(k))
		if !t.hold(b, wait) {
			continue
		}
		// The slot is changed by holders of its bucket alone, and if it is what
		// it was when the key was read, this is its bucket.
		same := t.seq[slot].Load() == seq
		if same {
			t.unlink(b, slot)
		}
		t.release(b)
		if same {
			return slot, true
		}
	}
	return 0, false
}

// copying is called before the value of a slot is copied and says, with a seq,
// whether the slot holds the key: after the copy, an unchanged seq says that the
// value is whole and the key's.
func (t *table) copying(slot uint32, key []uint64) (seq uint32, ok bool) {
	seq = t.seq[slot].Load()
	return seq, seq&vacant == 0 && t.holds(slot, key)
}

// entry copies the key of a slot; false if it holds none.
func (t *table) entry(slot uint32, key []uint64) (seq uint32, ok bool) {
	seq = t.seq[slot].Load()
	for i := range key {
		key[i] = atomic.LoadUint64(&t.keys[int(slot)*t.width+i])
	}
	return seq, seq&vacant == 0 && t.seq[slot].Load() == seq
}
