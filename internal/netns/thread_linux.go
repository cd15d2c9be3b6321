package netns

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// do runs f inside the namespace on a goroutine and a thread of its own.
//
// The thread goes home afterwards instead of being thrown away: had the
// goroutine landed on the process's first thread, the runtime could only park
// that one, inside the namespace, and /proc/self/ns/net would name it for ever.
func (h *Host) do(f func()) error {
	type end struct {
		enter    error
		returned bool
		panicked error
	}
	done := make(chan end)
	go func() {
		var e end
		defer func() {
			if !e.returned {
				if v := recover(); v != nil { // nil for Goexit
					// The caller's trace will not show where it came from.
					e.panicked = fmt.Errorf("%v\n\ninside %s:\n%s", v, h.Namespace, debug.Stack())
				}
			}
			done <- e
		}()
		e.enter = inNamespace(int(h.ns.fd.Fd()), f)
		e.returned = true
	}()
	e := <-done
	switch {
	case e.panicked != nil:
		panic(e.panicked)
	case !e.returned:
		runtime.Goexit()
	case e.enter != nil:
		return fmt.Errorf("netns: enter %s: %w", h.Namespace, e.enter)
	}
	return nil
}

// inNamespace locks the calling goroutine to its thread, enters the namespace,
// runs f and goes home. If it cannot go home the lock stays, and the runtime
// ends the thread with the goroutine.
func inNamespace(fd int, f func()) error {
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		home.Close()
		runtime.UnlockOSThread()
		return os.NewSyscallError("setns", err)
	}
	defer func() {
		defer home.Close()
		if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
	}()
	f()
	return nil
}
