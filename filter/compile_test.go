package filter

import (
	"bytes"
	"errors"
	"syscall"
	"testing"
)

// Each entry of a hash is found; what cannot be placed is an error and no
// endless search.
func TestHash(t *testing.T) {
	for _, n := range []int{1, 4, 5, 100, MaxEntries} {
		entries := make([]uint64, n)
		for i := range entries {
			entries[i] = uint64(i)<<32 | 7
		}
		h, err := newHash(entries)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			bucket := h.words[e>>16*h.factor>>h.shift*bucketWords:][:bucketWords]
			if bucket[0] != e && bucket[1] != e && bucket[2] != e && bucket[3] != e {
				t.Fatalf("%d entries: %#x is not in its bucket %#x", n, e, bucket)
			}
		}
	}
	same := make([]uint64, bucketWords+1)
	for i := range same {
		same[i] = 1 << 16
	}
	if h, err := newHash(same); h != nil || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("one address %d times: %v", len(same), err)
	}
}

// The same rules make the same tables, so that what a program reads does not
// depend on when it was made.
func TestCompileIsDeterministic(t *testing.T) {
	rules := fullRules(t)[:300]
	a, err := compile(rules, Skip)
	if err != nil {
		t.Fatal(err)
	}
	b, err := compile(rules, Skip)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.block, b.block) || a.dims != b.dims {
		t.Error("two compilations differ")
	}
}
