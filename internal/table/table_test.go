package table

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"
)

// value carries its own key, so that a reader can tell a mismatch.
type value struct {
	key Key
	n   int
}

func TestAgainstMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tab := New[value](rapid.IntRange(0, 40).Draw(t, "capacity"))
		model := map[Key]*value{}
		keys := rapid.Custom(func(t *rapid.T) Key {
			// Few keys, so that removed ones come back.
			return Key{Hi: rapid.Uint64Range(0, 1).Draw(t, "hi"), Lo: rapid.Uint64Range(0, 60).Draw(t, "lo") << 56}
		})
		n := 0
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				k := keys.Draw(t, "key")
				n++
				v := &value{k, n}
				tab.Put(k, v)
				model[k] = v
			},
			"delete": func(t *rapid.T) {
				k := keys.Draw(t, "key")
				if got := tab.Delete(k); got != model[k] {
					t.Fatalf("Delete(%v) = %v, want %v", k, got, model[k])
				}
				delete(model, k)
			},
			"put nil": func(t *rapid.T) {
				k := keys.Draw(t, "key")
				tab.Put(k, nil)
				delete(model, k)
			},
			"get": func(t *rapid.T) {
				k := keys.Draw(t, "key")
				if got := tab.Get(k); got != model[k] {
					t.Fatalf("Get(%v) = %v, want %v", k, got, model[k])
				}
			},
			"": func(t *rapid.T) { compare(t, tab, model) },
		})
	})
}

func compare(t *rapid.T, tab *Table[value], model map[Key]*value) {
	if tab.Len() != len(model) {
		t.Fatalf("Len() = %d, want %d", tab.Len(), len(model))
	}
	seen := 0
	for k, v := range tab.All() {
		seen++
		if model[k] != v {
			t.Fatalf("All: %v -> %v, want %v", k, v, model[k])
		}
	}
	if seen != len(model) {
		t.Fatalf("All saw %d keys, want %d", seen, len(model))
	}
	if a := tab.array.Load(); 2*a.used > a.homes {
		t.Fatalf("%d of %d homes used: over the load limit", a.used, a.homes)
	}
}

func TestAllStops(t *testing.T) {
	tab := New[value](10)
	for i := range 10 {
		tab.Put(Key{Lo: uint64(i)}, &value{})
	}
	n := 0
	for range tab.All() {
		n++
		if n == 3 {
			break
		}
	}
	if n != 3 {
		t.Fatalf("walked %d keys, want 3", n)
	}
}

// A zero-size value has no address of its own; the marker must still differ.
func TestZeroSizeValue(t *testing.T) {
	tab := New[struct{}](4)
	tab.Put(Key{}, new(struct{}))
	if tab.Get(Key{}) == nil {
		t.Fatal("the key is not found")
	}
	tab.Delete(Key{})
	if tab.Get(Key{}) != nil {
		t.Fatal("the removed key is found")
	}
}

// Whoever opens 10 000 sockets pays for a few arrays, not for 10 000.
func TestGrowthIsAmortised(t *testing.T) {
	tab := New[value](0)
	const keys = 10_000
	arrays := 0
	last := tab.array.Load()
	note := func() {
		if a := tab.array.Load(); a != last {
			arrays, last = arrays+1, a
		}
	}
	for i := range keys {
		tab.Put(Key{Lo: uint64(i)}, &value{})
		note()
	}
	if arrays > 12 {
		t.Errorf("%d arrays for %d insertions", arrays, keys)
	}
	// Churn at a constant size: an array lasts an eighth of its homes.
	arrays = 0
	for i := range keys {
		tab.Delete(Key{Lo: uint64(i)})
		tab.Put(Key{Lo: uint64(keys + i)}, &value{})
		note()
	}
	if arrays > 4 {
		t.Errorf("%d arrays for %d replacements", arrays, keys)
	}
	// After a flood the table becomes small again.
	for i := range keys {
		tab.Delete(Key{Lo: uint64(keys + i)})
	}
	for i := range 2 * keys {
		tab.Put(Key{Hi: 1, Lo: uint64(i)}, &value{})
		tab.Delete(Key{Hi: 1, Lo: uint64(i)})
	}
	if a := tab.array.Load(); a.homes != minSlots {
		t.Errorf("%d homes for no key, want %d", a.homes, minSlots)
	}
}

// Keys that all fall on one home are the worst that a flood can reach for:
// the table moves to another seed, loses none and stays within its bound.
func TestCollidingKeys(t *testing.T) {
	tab := New[value](1024)
	first := tab.array.Load()
	var keys []Key
	for i := uint64(0); len(keys) < 4*reach; i++ {
		if k := (Key{Lo: i}); first.home(k) < 4 {
			keys = append(keys, k)
			tab.Put(k, &value{key: k})
		}
	}
	if tab.array.Load() == first {
		t.Fatalf("%d keys with 4 homes did not lead to another array", len(keys))
	}
	a := tab.array.Load()
	for _, k := range keys {
		s, found := a.find(k)
		if !found || s.value.Load().key != k {
			t.Fatalf("%v is lost", k)
		}
	}
}

func TestSeedsDiffer(t *testing.T) {
	a, b := newArray[value](1<<16), newArray[value](1<<16)
	same := 0
	for i := range uint64(1000) {
		if a.home(Key{Lo: i}) == b.home(Key{Lo: i}) {
			same++
		}
	}
	if same > 10 {
		t.Fatalf("two arrays agree on the home of %d of 1000 keys", same)
	}
}

// The patterns of real networks must spread like random numbers: at half load
// a successful search looks at 1.5 slots in the mean.
func TestProbeLength(t *testing.T) {
	const n = 1 << 14
	patterns := map[string]func(i uint64) Key{
		"hosts":    func(i uint64) Key { return Key{Lo: 0x0a000000 + i} },
		"networks": func(i uint64) Key { return Key{Lo: 0x0a000001 + i<<8} },
		"ports":    func(i uint64) Key { return Key{Hi: 0xc0a80001, Lo: 0xc0a80002<<32 | i<<16 | 5000} },
		"high":     func(i uint64) Key { return Key{Hi: i << 48} },
		"square":   func(i uint64) Key { return Key{Hi: i & 127, Lo: i >> 7} },
	}
	for name, key := range patterns {
		t.Run(name, func(t *testing.T) {
			a := newArray[value](2 * n)
			for i := range uint64(n) {
				if !a.place(key(i), &value{}) {
					t.Fatalf("key %d of %d is out of reach", i, n)
				}
			}
			sum := 0
			for i := range a.slots {
				if a.slots[i].value.Load() != nil {
					sum += i - a.home(a.slots[i].key) + 1
				}
			}
			if mean := float64(sum) / n; mean > 1.7 {
				t.Errorf("mean probe length %.2f, want about 1.5", mean)
			}
		})
	}
}

// Readers run against a writer that puts, replaces, removes and rebuilds; the
// race detector watches, and every value must belong to the key asked for.
func TestReadersAndWriter(t *testing.T) {
	tab := New[value](8)
	const space = 200
	stable := Key{Hi: 7, Lo: 7}
	tab.Put(stable, &value{key: stable})
	var stop atomic.Bool
	var wg sync.WaitGroup
	for r := range 3 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(r), 1))
			for !stop.Load() {
				k := Key{Lo: rng.Uint64N(space)}
				if v := tab.Get(k); v != nil && v.key != k {
					t.Errorf("Get(%v) = value of %v", k, v.key)
					return
				}
				if tab.Get(stable) == nil {
					t.Error("a key that is never removed was not found")
					return
				}
				if rng.Uint64N(1000) == 0 {
					for k, v := range tab.All() {
						if v.key != k {
							t.Errorf("All: %v -> value of %v", k, v.key)
							return
						}
					}
				}
			}
		})
	}
	rng := rand.New(rand.NewPCG(9, 9))
	for i := range 50_000 {
		k := Key{Lo: rng.Uint64N(space)}
		if rng.Uint64N(3) == 0 {
			tab.Delete(k)
		} else {
			tab.Put(k, &value{key: k, n: i})
		}
	}
	stop.Store(true)
	wg.Wait()
}

func TestGetAllocatesNothing(t *testing.T) {
	tab := New[value](1)
	tab.Put(Key{Lo: 1}, &value{n: 3})
	n := testing.AllocsPerRun(1000, func() {
		if tab.Get(Key{Lo: 1}) == nil || tab.Get(Key{Lo: 2}) != nil {
			t.Fatal("wrong answer")
		}
	})
	if n != 0 {
		t.Fatalf("Get allocates %v times", n)
	}
}

func BenchmarkGet(b *testing.B) {
	for _, n := range []int{1, 1_000, 64_000} {
		tab := New[value](n)
		keys := make([]Key, n)
		for i := range keys {
			keys[i] = Key{Hi: 0xc0a80101, Lo: uint64(0x0a000000 + i)}
			tab.Put(keys[i], &value{key: keys[i]})
		}
		rand.Shuffle(n, func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
		for _, mode := range []string{"hit", "miss"} {
			b.Run(fmt.Sprintf("%s/%d", mode, n), func(b *testing.B) {
				hits, i := 0, 0
				var flip uint64
				if mode == "miss" {
					flip = 1 << 63
				}
				for b.Loop() {
					k := keys[i]
					k.Hi ^= flip
					if tab.Get(k) != nil {
						hits++
					}
					if i++; i == n {
						i = 0
					}
				}
				if (hits != 0) != (mode == "hit") {
					b.Fatalf("%d hits", hits)
				}
			})
		}
	}
}

// BenchmarkGetDependent makes each key depend on the value before, so that the
// processor cannot overlap the memory accesses of several lookups.
func BenchmarkGetDependent(b *testing.B) {
	for _, n := range []int{1, 1_000, 64_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			tab := New[value](n)
			order := rand.Perm(n)
			for i, o := range order {
				k := Key{Lo: uint64(o)}
				tab.Put(k, &value{key: k, n: order[(i+1)%n]})
			}
			next := 0
			for b.Loop() {
				next = tab.Get(Key{Lo: uint64(next)}).n
			}
		})
	}
}

func BenchmarkPutGrow10000(b *testing.B) {
	v := &value{}
	for b.Loop() {
		tab := New[value](0)
		for i := range 10_000 {
			tab.Put(Key{Lo: uint64(i)}, v)
		}
	}
}

// A rebuild whose array proves too small for its runs starts over with more
// room. Chance alone would not show it in a lifetime: the count of keys is
// falsified, so that the first array is far too small.
func TestRebuildStartsOver(t *testing.T) {
	tab := New[value](0)
	const keys = 1000
	for i := range uint64(keys) {
		tab.Put(Key{Lo: i}, &value{key: Key{Lo: i}})
	}
	tab.live.Store(0)
	extra := Key{Hi: 1}
	tab.rebuild(extra, &value{key: extra})
	if homes := tab.array.Load().homes; homes < 512 {
		t.Fatalf("%d homes for %d keys", homes, keys)
	}
	for i := range uint64(keys) {
		if v := tab.Get(Key{Lo: i}); v == nil || v.key.Lo != i {
			t.Fatalf("key %d is lost", i)
		}
	}
	if tab.Get(extra) == nil {
		t.Fatal("the key that was being put is lost")
	}
}
