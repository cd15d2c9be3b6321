package leaktest

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// fake is a test that records instead of failing.
type fake struct {
	testing.TB
	cleanups []func()
	errors   []string
	failed   bool
}

func (f *fake) Helper()                   {}
func (f *fake) Cleanup(c func())          { f.cleanups = append(f.cleanups, c) }
func (f *fake) Failed() bool              { return f.failed }
func (f *fake) Errorf(s string, a ...any) { f.errors = append(f.errors, fmt.Sprintf(s, a...)) }
func (f *fake) Fatalf(s string, a ...any) { f.TB.Fatalf(s, a...) }

func (f *fake) end() {
	for i := len(f.cleanups) - 1; i >= 0; i-- {
		f.cleanups[i]()
	}
}

// short is enough for a leak that stays.
const short = 50 * time.Millisecond

// expect runs body between the two looks of a check, then undo, and wants one
// leak that says so, or none.
func expect(t *testing.T, want string, body func(), undo func()) {
	t.Helper()
	f := &fake{TB: t}
	check(f, short)
	body()
	f.end()
	undo()
	switch {
	case want == "" && len(f.errors) != 0:
		t.Errorf("reported %q", f.errors)
	case want != "" && (len(f.errors) != 1 || !strings.Contains(f.errors[0], want)):
		t.Errorf("reported %q, want one with %q", f.errors, want)
	}
}

func nothing() {}

func TestNoLeak(t *testing.T) {
	Check(t)
	expect(t, "", nothing, nothing)
}

func lingering(stop chan bool) { <-stop }

func TestGoroutine(t *testing.T) {
	Check(t)
	stop := make(chan bool)
	expect(t, "leaktest.lingering", func() { go lingering(stop) }, func() { close(stop) })
}

func TestGoroutineThatWasThereBefore(t *testing.T) {
	Check(t)
	stop := make(chan bool)
	go lingering(stop)
	expect(t, "", nothing, func() { close(stop) })
}

func TestSlowGoroutineIsWaitedFor(t *testing.T) {
	Check(t)
	expect(t, "", func() { go time.Sleep(short / 4) }, nothing)
}

func TestForeignGoroutines(t *testing.T) {
	for stack, want := range map[string]bool{
		"goroutine 1 [chan receive]:\nmain.main()\n\t_testmain.go:1":                                                     true,
		"goroutine 7 [select]:\ntesting.tRunner()\n\ttesting.go:1\ncreated by testing.(*T).Run in goroutine 1\n\tx:1":    true,
		"goroutine 8 [syscall]:\nos/signal.loop()\n\tx:1\ncreated by os/signal.Notify.func1.1 in goroutine 1\n\tx:1":     true,
		"goroutine 9 [select]:\nnet.x()\n\tx:1\ncreated by example.org/testing.Run in goroutine 7\n\tx:1":                false,
		"goroutine 10 [select]:\ntesting.x()\n\tx:1\ncreated by github.com/oobnet/oobnet/x.New in goroutine 7\n\tx.go:1": false,
	} {
		if foreign(stack) != want {
			t.Errorf("foreign is %v, want %v, for %s", !want, want, stack)
		}
	}
}

func TestFailedTestIsLeftAlone(t *testing.T) {
	Check(t)
	stop := make(chan bool)
	f := &fake{TB: t}
	check(f, short)
	go lingering(stop)
	f.failed = true
	f.end()
	close(stop)
	if len(f.errors) != 0 {
		t.Errorf("reported %q", f.errors)
	}
}
