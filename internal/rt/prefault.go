package rt

import "os"

// Prefault writes to each page of b what stands there, so that nobody meets a
// page fault in it later. b is the caller's for that time: a write by another
// could be undone.
func Prefault(b []byte) {
	if len(b) == 0 {
		return
	}
	page := os.Getpagesize()
	for i := 0; i < len(b); i += page {
		put(&b[i], b[i])
	}
	// The steps are a page from b's start, which may stand anywhere in one.
	put(&b[len(b)-1], b[len(b)-1])
}

// put is not inlined: to store what was just loaded is nothing to a compiler.
//
//go:noinline
func put(p *byte, v byte) { *p = v }
