// Package leaktest fails a test that leaves something behind: goroutines,
// off-heap memory, and on Linux file descriptors, eBPF objects and the network
// namespaces of package netns.
//
// What the Go runtime and the testing package own is not counted. Since
// everything looked at belongs to the whole process, a test that calls [Check]
// must not run in parallel with others.
package leaktest

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/offheap"
)

// patience is how long what a test has stopped may take to disappear: a
// goroutine that was told to end has to be scheduled, and on a loaded machine
// with two cores that has been seen to take tens of milliseconds.
const patience = 3 * time.Second

// Check notes what there is now, and fails the test if at its end, after a
// bounded wait, there is more. Call it first: cleanups run in reverse, so all
// that the test registers runs before the second look. A test that has failed
// already is not looked at, since it may well have stopped half-way.
func Check(t testing.TB) {
	t.Helper()
	check(t, patience)
}

func check(t testing.TB, limit time.Duration) {
	t.Helper()
	prepare()
	before, err := take()
	if err != nil {
		t.Fatalf("leaktest: %v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			return
		}
		left, err := before.left(limit)
		if err != nil {
			t.Fatalf("leaktest: %v", err)
		}
		for _, l := range left {
			t.Errorf("leaked %s", l)
		}
	})
}

// snapshot holds one line or more of description for each thing there is,
// under a key that says whether two snapshots mean the same one.
type snapshot map[string]string

// take looks at all kinds.
func take() (snapshot, error) {
	s := snapshot{}
	goroutines(s)
	regions(s)
	return s, system(s)
}

// regions notes the off-heap regions that are mapped. They have no names: the
// n-th is as good as any other.
func regions(s snapshot) {
	for n := range offheap.Live() {
		s[fmt.Sprintf("region %d", n)] = "off-heap region: not closed"
	}
}

// left returns what was not there when s was taken, as soon as that is
// nothing, or else when limit has passed.
func (s snapshot) left(limit time.Duration) ([]string, error) {
	pause := time.Millisecond
	for end := time.Now().Add(limit); ; pause *= 2 {
		now, err := take()
		if err != nil {
			return nil, err
		}
		var left []string
		for key, what := range now {
			if _, ok := s[key]; !ok {
				left = append(left, what)
			}
		}
		if len(left) == 0 || time.Now().After(end) {
			slices.Sort(left)
			return left, nil
		}
		time.Sleep(min(pause, 100*time.Millisecond))
	}
}

// goroutines notes each goroutine but the calling one, the runtime's and the
// testing package's.
func goroutines(s snapshot) {
	stacks := allStacks()
	// The first stack is the caller's.
	for _, stack := range strings.Split(stacks, "\n\n")[1:] {
		var id int
		if _, err := fmt.Sscanf(stack, "goroutine %d ", &id); err != nil || foreign(stack) {
			continue
		}
		s[fmt.Sprintf("goroutine %d", id)] = strings.TrimSpace(stack)
	}
}

func allStacks() string {
	for size := 1 << 20; ; size *= 2 { // 1 MiB holds some hundred goroutines
		buf := make([]byte, size)
		if n := runtime.Stack(buf, true); n < size {
			return string(buf[:n])
		}
	}
}

// foreign says whether the goroutine was not started by code under test: by
// the testing package, by the runtime, by os/signal's one-time start, or as
// the process's first.
func foreign(stack string) bool {
	i := strings.LastIndex(stack, "\ncreated by ")
	if i < 0 {
		return true
	}
	by := stack[i+len("\ncreated by "):]
	return strings.HasPrefix(by, "testing.") || strings.HasPrefix(by, "runtime.") || strings.HasPrefix(by, "os/signal.")
}
