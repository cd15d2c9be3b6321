package rt

import (
	"math/bits"
	"runtime"
)

const (
	// MaxStack is the largest stack that Options ask for, bytes: more than any
	// loop has use for, and far below the runtime's limit of 1 GB.
	MaxStack = 16 << 20
	// minStack is what a goroutine has in any case, and more than one frame.
	minStack = 2 * frameLen
	// frameLen is the room that one level of recursion takes, bytes: small
	// against the smallest stack, large against what a call adds.
	frameLen = 1 << 10
)

// withStack runs f on a stack of size bytes that have all been touched.
//
// The stack of a goroutine is small, is doubled by copying when it is full, and
// is halved by the collector when less than a quarter of it is in use. So a
// quarter is kept in use: f runs below frames that hold it. And what is below
// has been touched once, up to 7/8 of the whole: to touch it all would double it.
func withStack(size int, f func()) {
	if size <= 0 {
		f()
		return
	}
	size = 1 << bits.Len(uint(min(max(size, minStack), MaxStack)-1))
	hold(size/4, size*5/8, f)
}

// hold runs f at a depth of bytes, after it has been below bytes deeper.
//
//go:noinline
func hold(bytes, below int, f func()) {
	var frame [frameLen]byte
	if bytes > 0 {
		hold(bytes-frameLen, below, f)
	} else {
		touch(below, &frame)
		f()
	}
	runtime.KeepAlive(&frame)
}

// touch writes to bytes of stack.
//
//go:noinline
func touch(bytes int, above *[frameLen]byte) {
	var frame [frameLen]byte
	for i := range frame {
		frame[i] = above[i] + 1
	}
	if bytes > 0 {
		touch(bytes-frameLen, &frame)
	}
	above[0] = frame[0]
}
