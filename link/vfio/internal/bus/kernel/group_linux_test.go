package kernel

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/leaktest"
)

// TestJoin has two functions in one group: it is opened once, stays for the second
// when the first leaves, and goes with the last. What the kernel says to it is
// seen in a virtual machine.
func TestJoin(t *testing.T) {
	leaktest.Check(t)
	w, _ := tree(t)
	const first, second = "0000:02:00.0", "0000:02:00.1"
	if g, err := w.join("7", first); err == nil || g != nil {
		t.Fatalf("a group that is not there was opened: %v", g)
	}
	key := groupKey{w, "7"}
	if groups.open[key] != nil {
		t.Fatal("a group that could not be opened is kept")
	}
	opened := &group{key: key, container: -1, fd: -1}
	groups.open[key] = opened
	for _, addr := range []string{first, second} {
		if g, err := w.join("7", addr); err != nil || g != opened {
			t.Errorf("%s: group %p, %v: want %p", addr, g, err, opened)
		}
	}
	if _, err := w.join("7", second); !errors.Is(err, unix.EBUSY) || !strings.Contains(err.Error(), "by this process") {
		t.Errorf("a function was taken twice: %v", err)
	}
	if _, err := (where{w.sys, t.TempDir()}).join("7", first); err == nil {
		t.Error("the group of another tree is the same")
	}
	if err := opened.leave(first); err != nil || groups.open[key] != opened {
		t.Errorf("the group went with the first function: %v", err)
	}
	if _, err := w.join("7", first); err != nil {
		t.Errorf("a function that was given up: %v", err)
	}
	for _, addr := range []string{second, first} {
		if err := opened.leave(addr); err != nil {
			t.Error(err)
		}
	}
	if groups.open[key] != nil {
		t.Error("the group stays after the last function")
	}
}

// TestPut takes addresses and gives them back, in any order: what is taken never
// overlaps, and when all are back the ranges are those there were at first.
func TestPut(t *testing.T) {
	all := []iovaRange{{0, 0xfedfffff}, {0xfef00000, 1<<39 - 1}}
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		g := &group{free: slices.Clone(all)}
		var taken []iovaRange
		for range 200 {
			if len(taken) > 0 && r.IntN(2) == 0 {
				i := r.IntN(len(taken))
				g.put(taken[i].start, taken[i].end-taken[i].start+1)
				taken = slices.Delete(taken, i, i+1)
				continue
			}
			size := uint64(1+r.IntN(2048)) * iommuPages
			at, err := g.place(size)
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			for _, o := range taken {
				if at <= o.end && o.start <= at+size-1 {
					t.Fatalf("seed %d: %#x+%#x meets %#x-%#x", seed, at, size, o.start, o.end)
				}
			}
			taken = append(taken, iovaRange{at, at + size - 1})
		}
		for _, o := range taken {
			g.put(o.start, o.end-o.start+1)
		}
		if !slices.Equal(g.free, all) {
			t.Fatalf("seed %d: %x are free, want %x", seed, g.free, all)
		}
	}
}

// TestReleased asks a function that was given back for memory.
func TestReleased(t *testing.T) {
	leaktest.Check(t)
	b := &Bus{device: -1}
	_, alloc := b.Alloc(4096)
	_, reserve := b.Reserve(4096)
	_, populate := b.Populate(firstIOVA, 4096)
	for what, err := range map[string]error{"Alloc": alloc, "Reserve": reserve, "Populate": populate, "Discard": b.Discard(firstIOVA, 4096)} {
		if !errors.Is(err, unix.ENODEV) {
			t.Errorf("%s: %v, want ENODEV", what, err)
		}
	}
	if err := errors.Join(b.Release(), b.Close()); err != nil {
		t.Error(err)
	}
}
