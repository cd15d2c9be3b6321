package rt

import (
	"errors"
	"runtime"
	"testing"
	"unsafe"

	"github.com/oobnet/oobnet/internal/leaktest"
)

// here is where the caller's stack stands: a number, which does not move when
// the stack is copied.
//
//go:noinline
func here(mark *byte) uintptr { return uintptr(unsafe.Pointer(mark)) }

//go:noinline
func deep(levels int) byte {
	var frame [frameLen]byte
	frame[levels%frameLen] = 1
	if levels > 0 {
		return deep(levels-1) + frame[levels%frameLen]
	}
	return frame[0]
}

// moves runs a loop that uses half of a stack of the given size, with
// collections in between, and says whether the stack was copied meanwhile.
func moves(size int) bool {
	moved := make(chan bool, 1)
	Go(Options{Stack: size}, nil, func() {
		var mark byte
		before := here(&mark)
		for range 3 {
			deep(64 << 10 / 2 / frameLen)
			// A goroutine that collects is stopped at a call, where its stack
			// may be shrunk; twice, for the first collection may be one that
			// is under way.
			runtime.GC()
			runtime.GC()
		}
		moved <- here(&mark) != before
	})
	return <-moved
}

func TestStackStaysWhereItIs(t *testing.T) {
	leaktest.Check(t)
	if moves(64 << 10) {
		t.Error("a stack of 64 KiB was copied while half of it was used")
	}
	if !moves(0) {
		t.Error("a stack that nobody prepared never moved: this test shows nothing")
	}
}

func TestStackSizesOutOfRange(t *testing.T) {
	for _, size := range []int{-1, 0, 1, minStack + 1, MaxStack + 1} {
		ran := 0
		withStack(size, func() { ran++ })
		if ran != 1 {
			t.Errorf("size %d: f ran %d times", size, ran)
		}
	}
}

func TestStackIsPassedOnByAPanic(t *testing.T) {
	want := errors.New("f's")
	defer func() {
		if got, ok := recover().(error); !ok || !errors.Is(got, want) {
			t.Errorf("recovered %v", got)
		}
	}()
	withStack(minStack, func() { panic(want) })
}

func TestPrefaultChangesNothing(t *testing.T) {
	const page = 4 << 10
	b := make([]byte, 5*page+17)
	for i := range b {
		b[i] = byte(i * 7)
	}
	Prefault(b[13:])
	Prefault(nil)
	Prefault(b[:1])
	for i := range b {
		if b[i] != byte(i*7) {
			t.Fatalf("byte %d changed", i)
		}
	}
}
