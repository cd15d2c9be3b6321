package ring

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

func TestListKeepsEveryIndexOnce(t *testing.T) {
	const n = 100
	var l List
	l.Init(NewLinks(n))
	for i := range uint32(n / 2) {
		l.Push(i)
	}
	rest := make([]uint32, 0, n)
	for i := uint32(n / 2); i < n; i++ {
		rest = append(rest, i)
	}
	l.PushAll(rest)
	if l.Len() != n {
		t.Fatalf("Len = %d, want %d", l.Len(), n)
	}
	seen := make([]bool, n)
	take := func(i uint32) {
		if seen[i] {
			t.Fatalf("index %d twice", i)
		}
		seen[i] = true
	}
	if i, ok := l.Pop(); !ok || i != n/2 {
		t.Fatalf("Pop = %d, %v: want what was pushed in front", i, ok)
	} else {
		take(i)
	}
	var some [7]uint32
	for range 3 {
		for _, i := range some[:l.PopN(some[:])] {
			take(i)
		}
	}
	for i, ok := l.Pop(); ok; i, ok = l.Pop() {
		take(i)
	}
	if slices.Contains(seen, false) {
		t.Fatal("an index is missing")
	}
	if _, ok := l.Pop(); ok || l.Len() != 0 || l.PopN(some[:]) != 0 {
		t.Fatal("the list is not empty")
	}
}

// Each goroutine takes indexes, marks them as its own and gives them back: two
// owners of one index at a time fail.
func TestListConcurrentOwners(t *testing.T) {
	const n, workers, rounds = 64, 4, 20000
	var l List
	l.Init(NewLinks(n))
	for i := range uint32(n) {
		l.Push(i)
	}
	var owner [n]atomic.Int32
	var wg sync.WaitGroup
	for w := range int32(workers) {
		wg.Go(func() {
			var bufs [5]uint32
			for r := range rounds {
				got := bufs[:0]
				if r%3 == 0 {
					if i, ok := l.Pop(); ok {
						got = append(got, i)
					}
				} else {
					got = bufs[:l.PopN(bufs[:])]
				}
				for _, i := range got {
					if !owner[i].CompareAndSwap(0, w+1) {
						t.Errorf("index %d has two owners", i)
					}
				}
				for _, i := range got {
					owner[i].Store(0)
				}
				l.PushAll(got)
			}
		})
	}
	wg.Wait()
	if l.Len() != n {
		t.Fatalf("Len = %d after all, want %d", l.Len(), n)
	}
}

func TestPileOrder(t *testing.T) {
	var p Pile
	p.Init(make(Next, 8))
	if p.Take() != Nil || p.TakeOldest() != Nil || p.Len() != 0 {
		t.Fatal("an empty pile is not empty")
	}
	chain := func(first uint32) (got []uint32) {
		for i := first; i != Nil; i = p.Next(i) {
			got = append(got, i)
		}
		return got
	}
	for range 2 {
		for i := range uint32(5) {
			p.Push(i)
		}
		if p.Len() != 5 {
			t.Fatalf("Len = %d, want 5", p.Len())
		}
		if got := chain(p.Take()); !slices.Equal(got, []uint32{4, 3, 2, 1, 0}) {
			t.Fatalf("Take: %v", got)
		}
		p.Push(7)
		p.SetNext(2, 1)
		p.SetNext(3, 2)
		p.PushChain(3, 1, 3)
		p.Push(0)
		if p.Len() != 5 {
			t.Fatalf("Len = %d with a chain, want 5", p.Len())
		}
		if got := chain(p.TakeOldest()); !slices.Equal(got, []uint32{7, 1, 2, 3, 0}) {
			t.Fatalf("TakeOldest: %v", got)
		}
	}
}

// Buffers go round between pushers and the one who takes: none is lost, none
// has two owners, and what one goroutine pushed keeps its order.
func TestPileConcurrent(t *testing.T) {
	const n, pushers, rounds = 64, 3, 20000
	var p Pile
	p.Init(make(Next, n))
	free := New[uint32](n)
	for i := range uint32(n) {
		free.Push(&i)
	}
	var data [n]struct{ who, seq int } // plain: its owner's
	var wg sync.WaitGroup
	for w := range pushers {
		wg.Go(func() {
			for seq := range rounds {
				var i uint32
				for !free.Pop(&i) {
					runtime.Gosched()
				}
				data[i].who, data[i].seq = w, seq
				p.Push(i)
			}
		})
	}
	last := [pushers]int{-1, -1, -1}
	for got := 0; got < pushers*rounds; {
		for i := p.TakeOldest(); i != Nil; {
			next := p.Next(i)
			if d := data[i]; d.seq != last[d.who]+1 {
				t.Fatalf("pusher %d: %d after %d", d.who, d.seq, last[d.who])
			} else {
				last[d.who] = d.seq
			}
			got++
			free.Push(&i)
			i = next
		}
		runtime.Gosched()
	}
	wg.Wait()
}

func TestRingOrderAndBounds(t *testing.T) {
	r := New[int](5)
	if r.Cap() != 8 {
		t.Fatalf("Cap = %d, want 8", r.Cap())
	}
	next := 0
	for round := range 10 {
		for i := range r.Cap() {
			v := round*r.Cap() + i
			if !r.Push(&v) {
				t.Fatal("full too early")
			}
		}
		if v := 0; r.Push(&v) {
			t.Fatal("a full ring took a value")
		}
		if r.Len() != r.Cap() || r.Empty() {
			t.Fatalf("Len = %d, Empty = %v", r.Len(), r.Empty())
		}
		for range r.Cap() {
			var v int
			if !r.Pop(&v) || v != next {
				t.Fatalf("Pop = %d, want %d", v, next)
			}
			next++
		}
		if v := 0; r.Pop(&v) || !r.Empty() {
			t.Fatal("an empty ring gave a value")
		}
	}
}

func TestRingConcurrent(t *testing.T) {
	const producers, consumers, each = 2, 2, 20000
	r := New[uint64](16)
	var got [producers * each]atomic.Int32
	var left atomic.Int64
	left.Store(producers * each)
	var wg sync.WaitGroup
	for p := range uint64(producers) {
		wg.Go(func() {
			for i := range uint64(each) {
				v := p*each + i
				for !r.Push(&v) {
					runtime.Gosched()
				}
			}
		})
	}
	for range consumers {
		wg.Go(func() {
			last := [producers]int64{-1, -1}
			for left.Load() > 0 {
				var v uint64
				if !r.Pop(&v) {
					runtime.Gosched()
					continue
				}
				left.Add(-1)
				got[v].Add(1)
				p, i := v/each, int64(v%each)
				if i <= last[p] {
					t.Errorf("producer %d: %d after %d", p, i, last[p])
				}
				last[p] = i
			}
		})
	}
	wg.Wait()
	for i := range got {
		if got[i].Load() != 1 {
			t.Fatalf("value %d came %d times", i, got[i].Load())
		}
	}
}

func BenchmarkListPushPop(b *testing.B) {
	var l List
	l.Init(NewLinks(64))
	for i := range uint32(64) {
		l.Push(i)
	}
	for b.Loop() {
		i, _ := l.Pop()
		l.Push(i)
	}
}

func BenchmarkPilePushTake(b *testing.B) {
	var p Pile
	p.Init(make(Next, 64))
	for b.Loop() {
		p.Push(1)
		p.Take()
	}
}

func BenchmarkRingPushPop(b *testing.B) {
	r := New[[6]uint64](64)
	var v [6]uint64
	for b.Loop() {
		r.Push(&v)
		r.Pop(&v)
	}
}
