// Package check tests a NIC of link/vfio by itself: no partner, no cable, half a
// minute. It opens the NIC again and again, most times with its loopback, and says
// of each thing that a driver has to get right whether the silicon agrees. The
// report is for people, and to be sent to the project: drivers here were written
// from datasheets and proved on models.
package check

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio"
)

// NIC is what is tested: *vfio.Link.
type NIC interface {
	link.Link
	link.TXTimer
	Features() (supported, on vfio.Features)
	Depths() (rx, tx int)
	Speed() (mbits int, fullDuplex bool)
	Statistics() vfio.Statistics
	SetPromiscuous(on bool) error
	RSS() (vfio.RSSConfig, error)
	Fault() error
	Registers() []vfio.Register
}

// Opener opens the NIC. It was closed before.
type Opener func(*vfio.Config) (NIC, error)

// Result of a step.
type Result string

// Results.
const (
	Pass Result = "pass"
	Fail Result = "FAIL"
	Skip Result = "skip" // the NIC has not what is tested
)

// Step is a line of the report.
type Step struct {
	Name   string        `json:"name"`
	Result Result        `json:"result"`
	Found  string        `json:"found"` // what was seen, or why it failed
	Took   time.Duration `json:"took_ns"`
	// Registers are those of the NIC before it was closed, of a step that failed
	// and of "the wire".
	Registers []vfio.Register `json:"registers,omitempty"`
}

// step is a test: it returns what it found, or an error; one that is a skip says
// that there is nothing to test.
type step struct {
	name  string
	run   func(context.Context, Opener) (found string, err error)
	shows bool // registers, in any case
}

// watched keeps the registers of a NIC when it is closed.
type watched struct {
	NIC
	last *[]vfio.Register
}

func (w *watched) Close() error {
	if r := w.Registers(); len(r) > 0 {
		*w.last = r
	}
	return w.NIC.Close()
}

// steps, the simple ones first: what fails early explains what fails later.
var steps = []step{
	{name: "open and close", run: openClose},
	{name: "the wire", run: wireUp, shows: true},
	{name: "frames", run: frames},
	{name: "queues", run: queues},
	{name: "checksums", run: checksums},
	{name: "VLAN tags", run: tags},
	{name: "spread by hash", run: spread},
	{name: "address filter", run: filter},
	{name: "interrupts", run: interrupts},
	{name: "hardware times", run: times},
	{name: "full speed", run: fullSpeed},
	{name: "closed in the midst", run: midst},
}

// skipped is the error of a step that the NIC has nothing for, if nothing else went
// wrong.
type skipped string

func (s skipped) Error() string { return string(s) }

// Run does all steps, and tells each when it has ended. A step that fails does
// not keep the others from being done, but for the first, without which nothing
// can be; the context's end does.
func Run(ctx context.Context, open Opener, tell func(Step)) []Step {
	return run(ctx, steps, open, tell)
}

func run(ctx context.Context, steps []step, open Opener, tell func(Step)) []Step {
	var all []Step
	for _, s := range steps {
		if ctx.Err() != nil {
			break
		}
		begin := time.Now()
		var last []vfio.Register
		found, err := s.run(ctx, func(cfg *vfio.Config) (NIC, error) {
			n, err := open(cfg)
			if err != nil {
				return nil, err
			}
			return &watched{n, &last}, nil
		})
		done := Step{Name: s.name, Result: Pass, Found: found, Took: time.Since(begin)}
		var why skipped
		switch {
		case errors.As(err, &why):
			done.Result, done.Found = Skip, string(why)
		case err != nil:
			done.Result, done.Found = Fail, err.Error()
		}
		if s.shows || done.Result == Fail {
			done.Registers = last
		}
		all = append(all, done)
		tell(done)
		if len(all) == 1 && done.Result == Fail {
			break
		}
	}
	return all
}

// Failed counts the steps that did.
func Failed(all []Step) (n int) {
	for _, s := range all {
		if s.Result == Fail {
			n++
		}
	}
	return n
}

// wants returns a skip if the NIC lacks a feature.
func wants(n NIC, f vfio.Features, name string) error {
	if supported, _ := n.Features(); supported&f != f {
		return skipped(fmt.Sprintf("this NIC has no %s, or the driver does not use it", name))
	}
	return nil
}
