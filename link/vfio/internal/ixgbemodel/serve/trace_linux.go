package main

import (
	"bufio"
	"fmt"
	"io"
	"sync"
)

// trace writes a line for each access to a register:
//
//	r 0x00008 0x00000080
//	w 0x05080 0x00000400
//	# task 3
type trace struct {
	mu     sync.Mutex
	w      *bufio.Writer // nil: nobody wants one
	reads  uint64
	writes uint64
	err    error
}

func newTrace(w io.Writer) *trace {
	if w == nil {
		return &trace{}
	}
	return &trace{w: bufio.NewWriter(w)}
}

// access is the model's Config.Trace.
func (t *trace) access(write bool, offset, value uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	what := 'r'
	if write {
		what = 'w'
		t.writes++
	} else {
		t.reads++
	}
	t.print("%c 0x%05x 0x%08x\n", what, offset, value)
}

// mark notes that the guest has begun a task.
func (t *trace) mark(task uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.print("# task %d\n", task)
}

func (t *trace) print(format string, args ...any) {
	if t.w == nil || t.err != nil {
		return
	}
	_, t.err = fmt.Fprintf(t.w, format, args...)
}

// end flushes, and returns the first error.
func (t *trace) end() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.w == nil || t.err != nil {
		return t.err
	}
	return t.w.Flush()
}
