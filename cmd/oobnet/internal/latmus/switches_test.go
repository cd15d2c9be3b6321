package latmus

import (
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/stack"
)

// TestSwitchesOfTheKernelsTurn: where one thread takes turns, what switches it in
// the kernel's is in no exchange of ours, neither here nor at the echo.
func TestSwitchesOfTheKernelsTurn(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("sockets of the kernel that threads spin on are Linux's only")
	}
	leaktest.Check(t)
	o := short()
	o.Poll, o.RTT, o.Kernel, o.Worst, o.Duration = link.Manual, true, true, 50, 300*time.Millisecond
	report := measuredBy(t, o, func(o Options) (_ *Report, err error) {
		r := &run{o: &o}
		// Each turn of the kernel has one switch, and nothing else has any.
		o.switches = func() int64 {
			if r.party.other == nil {
				return 0
			}
			return int64(r.party.other.sent.Load())
		}
		if r.wire, err = openWire(t.Context(), &o); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, r.wire.close()) }()
		r.near, r.far, r.tally = r.wire.near, r.wire.far, newTally(&o)
		return r.measure(t.Context())
	})
	if report.KernelSent == 0 || len(report.Worst) == 0 {
		t.Fatalf("%d turns of the kernel, %d exchanges", report.KernelSent, len(report.Worst))
	}
	blamed := 0
	for _, e := range report.Worst {
		if e.TotalNS >= patience {
			continue // it was given up: then the kernel's turn fell into it
		}
		for _, cause := range e.Causes {
			if strings.HasPrefix(cause, "preempted") {
				t.Errorf("%s", e)
			}
			if strings.HasPrefix(cause, "the echo was preempted") {
				blamed++
			}
		}
	}
	// An echo that is off its core for the whole of a turn does not know of it, nor
	// one that is between an answer and its note of it.
	if blamed > len(report.Worst)/4 && report.KernelLost == 0 {
		t.Errorf("%d of %d exchanges have switches of the echo's that were before them", blamed, len(report.Worst))
	}
}

// TestSwitchesWithinExchanges: by the counts of the threads at both ends of each.
func TestSwitchesWithinExchanges(t *testing.T) {
	d := &departure{seq: 1, planned: 10, actual: 20, begun: 30, asleep: 100, ready: 103, gone: 107}
	a := &arrival{seq: 1, times: stack.IOTimes{Device: 50, Queuing: 51, Delivery: 52}, read: 60, waited: 200, switches: 201}
	s := &stack.IOTimes{Device: 40, Queuing: 40, Delivery: 31}
	if n := outward(d, s).switches; n != 7 {
		t.Errorf("out: %d", n)
	}
	if n := inward(a).switches; n != 1 {
		t.Errorf("in: %d", n)
	}
	if n := around(d, s, nil, a, false).switches; n != 4+1 {
		t.Errorf("round trip by two threads: %d", n)
	}
	a.switches = 112 // one thread, one count
	if n := around(d, s, nil, a, true).switches; n != 9 {
		t.Errorf("round trip by one thread: %d", n)
	}
	a.times.Device, a.switches = 0, 0 // it came in-band, on a thread that is not ours
	if n := around(d, s, nil, a, true).switches; n != 4 {
		t.Errorf("round trip that came back in-band: %d", n)
	}
	echo := &answer{seq: 1, came: 45, left: 46, switches: 3}
	if n := around(d, s, echo, a, false).echoSwitches; n != 3 {
		t.Errorf("the echo's: %d", n)
	}
}
