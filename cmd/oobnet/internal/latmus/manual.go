package latmus

import (
	"context"
	"errors"
	"net"

	irt "github.com/oobnet/oobnet/internal/rt"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

// Manual mode: the thread that sends moves the device and takes what comes, as a
// controller does. It waits for its peer with its eyes open.

const (
	// restOfPeriod is left of each period for the thread to fall asleep and wake
	// up, ns.
	restOfPeriod = 30_000
	// patience is how long an answer is waited for, past the end of a period as
	// well, before it counts as lost, ns.
	patience = 100_000_000
	// looksEvery is how often a thread looks that has waited long, ns. It sleeps in
	// between: with a priority it may be what the packet waits for, if ksoftirqd of
	// its core is to bring it.
	looksEvery = 50_000
)

// waiting is the wait of a thread for an answer.
type waiting struct{ openEyes, until int64 }

// waitFrom is a wait that begins now.
func (o *Options) waitFrom(now int64) waiting {
	return waiting{openEyes: now + int64(o.Period/4), until: now + patience}
}

// more says at the time now whether to look once more, after a sleep if it has to be.
func (w waiting) more(now int64) bool {
	if now < w.openEyes {
		return true
	}
	// What the system has against it shows as a wait with open eyes.
	_ = irt.SleepUntil(now + looksEvery)
	return now < w.until
}

// handle takes a packet: on the sending thread, within poll. What went in-band
// comes on another.
func (p *party) handle(d udp.Datagram) {
	p.arrived(d.Payload(), d.Times())
	d.Release()
}

// take takes what has come. With RTT the wait is measured, and so not held up: the
// thread's switches are known from the send on.
func (p *party) take() (int, error) {
	if !p.o.RTT {
		p.waited = p.o.switches()
	}
	return p.device.Poll(stack.MaxBatch)
}

// drain takes what came while the thread slept, as controllers begin with their
// inputs, so that the answer does not queue behind it. asleep are the thread's
// switches until then.
func (p *party) drain(asleep int64) error {
	p.waited = asleep
	for {
		n, err := p.device.Poll(stack.MaxBatch)
		if err != nil || n < stack.MaxBatch {
			return err
		}
	}
}

// poll takes what comes until the end of the period that began at planned.
func (p *party) poll(planned int64) error {
	until := planned + int64(p.o.Period-p.o.spin()) - restOfPeriod
	for stack.Now() < until {
		if _, err := p.take(); err != nil {
			return err
		}
	}
	return nil
}

// pollFor takes what comes until the answer to the last of seq packets is there.
func (p *party) pollFor(seq uint64) error {
	now := stack.Now()
	for w := p.o.waitFrom(now); w.more(now); now = stack.Now() {
		if _, err := p.take(); err != nil || p.latest.Load() == seq {
			return err
		}
	}
	return nil
}

// startAnswers starts the thread that moves an echo's device and, where k is not
// nil, the kernel's echo in its turns. stop ends and waits for it.
func (e *echo) startAnswers(s *side, cpu int, k *kernel, refused func(error)) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	irt.Go(thread(e.o, "latmus.echo", cpu), refused, func() { ended <- e.answers(ctx, s, k) })
	return func() error {
		cancel()
		err := <-ended
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		return err
	}
}

// answers is the thread, which waits with its eyes open. With a priority it leaves
// its core to others for half a period after each packet, for the next comes a
// period later, and while none come.
func (e *echo) answers(ctx context.Context, s *side, k *kernel) error {
	o, done := e.o, ctx.Done()
	theirs := false     // it is, or was a moment ago, the kernel's turn
	last := stack.Now() // when a packet came
	for {
		select {
		case <-done:
			return nil
		default:
		}
		var n int
		var err error
		if k != nil && k.mine.Load() {
			n, theirs = k.answerOnce(), true
		} else {
			if theirs { // nobody measures before the next activation
				theirs = false
				e.begin()
			}
			if n, err = s.device.Poll(stack.MaxBatch); err != nil {
				return err
			}
		}
		if o.Priority == 0 {
			continue
		}
		now := stack.Now()
		switch {
		case n > 0:
			last = now
			err = irt.SleepUntil(now + int64(o.Period/2))
			e.begin()
		case now-last > 2*int64(o.Period):
			err = irt.SleepUntil(now + looksEvery)
		}
		if err != nil {
			return err
		}
	}
}
