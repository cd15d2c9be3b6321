package stack_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/rt"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/link/loopback"
	"github.com/oobnet/oobnet/stack"
)

// stepOf finds a step of a thread by names.
func stepOf(t testing.TB, d *stack.Device, thread, step string) stack.StepStats {
	t.Helper()
	for _, ts := range d.Stats().Threads {
		for _, s := range ts.Steps {
			if ts.Name == thread && s.Name == step {
				return s
			}
		}
	}
	t.Fatalf("no step %s of a thread %s: %+v", step, thread, d.Stats().Threads)
	return stack.StepStats{}
}

// In manual mode, with a clock that goes on by 1 with each look, a step is as
// long as the looks that fall into it.
func TestWatchdogOfPoll(t *testing.T) {
	leaktest.Check(t)
	l := newFakeLink(1)
	o := manual()
	o.Device.Watchdog = 10 * time.Nanosecond
	looks := tick(t) // before the watchdog is set, which looks at the clock too
	h := fakeHost(t, l, o)
	slow := 0
	p := newTestProtocol(func(*stack.Batch) { looks.Add(int64(slow)) })
	if err := h.Stack.RegisterProtocol(stack.EtherType(testEtherType), p); err != nil {
		t.Fatal(err)
	}
	frame := packet{}.frame()
	frame[12], frame[13] = testEtherType>>8, testEtherType&0xff
	for _, slow = range []int{3, 50, 7} {
		l.arrive(frame, 0, 0)
		if n, err := h.Device.Poll(1); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}
	rx := stepOf(t, h.Device, "fake0.rx", "rx")
	if rx.Buckets[0] != 3 || stack.StepBound(0) != 256 || stack.StepBound(stack.StepBuckets-1) != 0 {
		t.Errorf("rx: buckets %v, want 3 steps up to %v", rx.Buckets, stack.StepBound(0))
	}
	if rx.Count != 3 || rx.Longest != 51 || rx.Over != 1 || rx.Total != 4+51+8 {
		t.Errorf("rx: %+v, want 3 steps, the longest of 51 ns, and 1 over 10 ns", rx)
	}
	if tx := stepOf(t, h.Device, "fake0.tx", "tx"); tx.Count != 3 || tx.Over != 0 {
		t.Errorf("tx: %+v, want 3 steps", tx)
	}
	if err := h.Device.Wait(0); err != nil {
		t.Fatal(err)
	}
	if w := stepOf(t, h.Device, "fake0.rx", "wait"); w.Count != 1 {
		t.Errorf("wait: %+v, want 1", w)
	}
}

// Off, it looks at no clock, and has nothing to say; it can be set at any time.
func TestWatchdogOff(t *testing.T) {
	leaktest.Check(t)
	h := fakeHost(t, newFakeLink(1), manual())
	looks := tick(t)
	for range 10 {
		h.Poll()
	}
	if n := looks.Load(); n != 0 || h.Device.Stats().Threads != nil {
		t.Errorf("%d looks at the clock, %+v", n, h.Device.Stats().Threads)
	}
	h.Device.SetWatchdog(-1)
	_, _ = h.Device.Poll(1)
	h.Device.SetWatchdog(0)
	_, _ = h.Device.Poll(1)
	if rx := stepOf(t, h.Device, "fake0.rx", "rx"); rx.Count != 1 || rx.Over != 0 {
		t.Errorf("rx: %+v, want 1 step", rx)
	}
}

// The threads of a device have their steps counted while traffic flows.
func TestWatchdogOfThreads(t *testing.T) {
	leaktest.Check(t)
	a, b := stacktest.Pair(t, &stacktest.Options{Loopback: loopback.Config{Queues: 2}, Device: stack.DeviceConfig{Watchdog: -1}})
	exchange(t, a, b)
	names := map[string]bool{}
	for _, info := range b.Device.Threads() {
		names[info.Name] = true
	}
	for _, ts := range b.Device.Stats().Threads {
		if !names[ts.Name] {
			t.Errorf("steps of %s, which is no thread of %v", ts.Name, names)
		}
		delete(names, ts.Name)
	}
	if len(names) != 0 {
		t.Errorf("no steps of %v", names)
	}
	var steps uint64
	for _, ts := range b.Device.Stats().Threads {
		steps += ts.Steps[0].Count
	}
	if steps == 0 {
		t.Error("no step was counted")
	}
}

// A device with all that real time asks for works, whatever the machine refuses,
// and says what that was.
func TestRealTimeOptions(t *testing.T) {
	leaktest.Check(t)
	defer rt.UnlockMemory() //nolint:errcheck // what was not locked need not be unlocked
	a, b := stacktest.Pair(t, &stacktest.Options{Device: stack.DeviceConfig{Priority: stack.EVLPriority, LockMemory: true, Prefault: true}})
	for _, info := range a.Device.Threads() {
		if !info.Own {
			t.Errorf("%s has a priority and no thread of its own", info.Name)
		}
		if a.Device.Refused() != nil && info.Refused == nil {
			t.Errorf("%s does not say that %v", info.Name, a.Device.Refused())
		}
		t.Logf("%s: refused: %v", info.Name, info.Refused)
	}
	if runtime.GOOS != "linux" && a.Device.Refused() == nil {
		t.Error("nothing was refused where nothing can be had")
	}
	exchange(t, a, b)
	exchange(t, b, a)
}
