package latmus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/oobnet/oobnet/cmd/oobnet/internal/machine"
	"github.com/oobnet/oobnet/rt"
	"github.com/oobnet/oobnet/stack"
)

// lineEvery is how often a line of figures is due.
const lineEvery = time.Second

// Run measures until the duration has passed or ctx ends, which is no error: the
// report is of what was. An *ExitError comes with the report.
func Run(ctx context.Context, o Options) (report *Report, err error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	if o.switches == nil {
		o.switches = involuntary
	}
	defer spareProcs()()
	w, err := openWire(ctx, &o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	r := &run{o: &o, wire: w, near: w.near, far: w.far, tally: newTally(&o)}
	if o.Echo {
		return r.echo(ctx)
	}
	return r.measure(ctx)
}

// spare is how many threads may run Go code beside one a core: where all are
// busy, one that wakes up waits until another is preempted (package rt).
const spare = 2

// spareProcs sees to that, unless the environment says how many, and returns
// what undoes it.
func spareProcs() (undo func()) {
	if os.Getenv("GOMAXPROCS") != "" {
		return func() {}
	}
	before := runtime.GOMAXPROCS(runtime.NumCPU() + spare)
	return func() { runtime.GOMAXPROCS(before) }
}

// run is one run.
type run struct {
	o         *Options
	wire      *wire
	near, far *side // of the wire
	party     *party
	tally     *tally
	pages     *pages

	started        time.Time
	startedAt      int64
	demotedBefore  uint64 // the run
	demoted        uint64 // since then, when last looked
	looks          *looks
	receivedAt     time.Time
	receivedBefore uint64
}

// echo is the peer of a run with RTT on another host.
func (r *run) echo(ctx context.Context) (*Report, error) {
	e, err := startEcho(r.o, r.near, nil)
	if err != nil {
		return nil, err
	}
	if r.o.Duration > 0 {
		var cancel func()
		ctx, cancel = context.WithTimeout(ctx, r.o.Duration)
		defer cancel()
	}
	stop := func() error { return nil }
	if r.near.manual {
		stop = e.startAnswers(r.near, r.o.CPU, nil, r.refuse)
	}
	stopStress := r.o.Stress.start(nil)
	r.begin()
	<-ctx.Done()
	stopStress()
	err = stop()
	out := r.describe()
	out.Received = e.conn.Stats().Received
	return out, errors.Join(err, e.conn.Close())
}

// refuse keeps what the machine refused to the thread of an echo; nil: nothing.
func (r *run) refuse(err error) {
	if err != nil {
		r.wire.notes.add(err)
	}
}

func (r *run) begin() {
	r.started, r.startedAt = time.Now(), stack.Now()
	r.receivedAt = r.started
	r.looks = newLooks()
	out := r.o.Out
	if out == nil {
		out = io.Discard
	}
	r.pages = &pages{out: out, o: r.o}
}

// measure runs the exchange.
func (r *run) measure(ctx context.Context) (_ *Report, err error) {
	peer := r.o.Peer
	if r.far != nil {
		peer = r.far.addr.Addr()
	}
	if r.party, err = newParty(r.o, r.near, peer, r.o.CPU); err != nil {
		return nil, err
	}
	r.party.listenOn()
	defer func() { err = errors.Join(err, r.party.close()) }()
	if r.o.Kernel {
		if r.party.other, err = newKernel(r.o, r.wire); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, r.party.other.close()) }()
	}
	// Those who answer are there before those who ask.
	stopFar, err := r.startFar(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stopFar()) }()
	if err := r.near.solicit(ctx, peer); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, err
	}
	if r.o.RTT {
		stop := r.near.move()
		r.party.greet(ctx)
		if err := stop(); err != nil {
			return nil, err
		}
	}
	if err := r.settle(); err != nil {
		return nil, err
	}
	var floods []func()
	if r.o.Stress.Flood {
		if floods, err = r.wire.floods(); err != nil {
			return nil, err
		}
	}
	stopStress := r.o.Stress.start(floods)
	defer stopStress()
	r.begin()
	if r.o.Memory == 0 {
		return r.exchange(ctx)
	}
	var out *Report
	rt.QuietUnder(r.o.Memory, func() { out, err = r.exchange(ctx) })
	return out, err
}

// settleFor is long enough for what came in-band to be delivered.
const settleFor = 20 * time.Millisecond

// settle forgets what came before the run: the peer may have begun when this side
// had an address, and no socket yet, so that its first packets went in-band.
func (r *run) settle() error {
	stop := r.near.move()
	time.Sleep(settleFor)
	if err := stop(); err != nil {
		return err
	}
	var early arrival
	for r.party.arrivals.Pop(&early) { // Pop is all there is to do
	}
	r.demotedBefore = r.party.demotions()
	return nil
}

// startFar starts the peer in this process: an echo, or a party like the near one.
func (r *run) startFar(ctx context.Context) (stop func() error, err error) {
	switch {
	case r.far == nil:
		return func() error { return nil }, nil
	case r.o.RTT:
		e, err := startEcho(r.o, r.far, r.party.answers)
		if err != nil {
			return nil, err
		}
		if !r.far.manual {
			return e.conn.Close, nil
		}
		answers := e.startAnswers(r.far, r.o.PeerCPU, r.party.other, r.refuse)
		return func() error { return errors.Join(answers(), e.conn.Close()) }, nil
	}
	p, err := newParty(r.o, r.far, r.near.addr.Addr(), r.o.PeerCPU)
	if err != nil {
		return nil, err
	}
	p.listenOn()
	near := r.near.move() // who answers the far side's question
	if err := errors.Join(r.far.solicit(ctx, r.near.addr.Addr()), near()); err != nil {
		return nil, errors.Join(err, p.close())
	}
	sending, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- p.send(sending) }()
	return func() error {
		cancel()
		err := <-ended
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			err = nil
		}
		return errors.Join(err, p.close())
	}, nil
}

// linger is what late packets get before they count as lost.
const linger = 100 * time.Millisecond

// exchange sends, collects and prints until the end, which it gives the reason of.
func (r *run) exchange(ctx context.Context) (*Report, error) {
	sending, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r.look() // what stops the world for it is not in the run
	go func() { ended <- r.party.send(sending) }()

	reason := r.collect(ctx, ended)
	cancel()
	if reason == nil || !errors.Is(reason, errSenderEnded) {
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
			reason = errors.Join(reason, err)
		}
	}
	seconds := time.Since(r.started)
	time.Sleep(linger)
	for range 2 { // what was written down, and what waited for its counterpart
		r.round()
	}
	r.pages.summary(r.tally, r.counts(), seconds)
	runtime.ReadMemStats(&after)
	out := r.describe()
	out.Seconds, out.Collections = seconds.Seconds(), after.NumGC-before.NumGC
	if reason == nil && r.tally.odd > 0 {
		reason = &ExitError{ExitOdd, fmt.Sprintf("%d figures below 0: times out of order", r.tally.odd)}
	}
	return out, reason
}

// errSenderEnded comes with the reason for which the sending thread ended.
var errSenderEnded = errors.New("latmus: the sending thread ended")

// collect looks each collectEvery, until it finds a reason to end.
func (r *run) collect(ctx context.Context, ended <-chan error) error {
	tick := time.NewTicker(collectEvery)
	defer tick.Stop()
	var end <-chan time.Time
	if r.o.Duration > 0 {
		end = time.After(r.o.Duration)
	}
	line := r.started.Add(lineEvery)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-end:
			return nil
		case err := <-ended:
			if ctx.Err() != nil {
				err = nil
			}
			return errors.Join(errSenderEnded, err)
		case now := <-tick.C:
			r.round()
			if !now.Before(line) {
				r.pages.figures(r.tally, r.counts(), now.Sub(r.started))
				line = line.Add(lineEvery)
			}
			if err := r.judge(now); err != nil {
				return err
			}
		}
	}
}

// round books what is new.
func (r *run) round() {
	r.tally.collect(r.party, r.o.RTT)
	r.look()
	r.tally.worst.explain(r.looks, r.startedAt)
}

// look notes how often what disturbs exchanges has happened.
func (r *run) look() {
	r.looks.take(func() uint64 {
		r.demoted = r.party.demotions() - r.demotedBefore
		return r.demoted
	})
}

func (r *run) counts() counts { return counts{r.demoted, r.party.cycle.Stats().Missed} }

// judge says why the run has to end.
func (r *run) judge(now time.Time) error {
	if n := r.tally.received; n != r.receivedBefore {
		r.receivedBefore, r.receivedAt = n, now
	}
	if r.o.Silence > 0 && now.Sub(r.receivedAt) > r.o.Silence {
		return &ExitError{ExitWatchdog, fmt.Sprintf("no packet from the peer for %v: is it running?", r.o.Silence)}
	}
	if r.o.Abort > 0 {
		for i := range kernelTrip {
			if most := r.tally.figures[i].Max(); most > int64(r.o.Abort) {
				return &ExitError{ExitAbort, fmt.Sprintf("%s of %.3f us is over the limit of %v", figureNames[i], us(most), r.o.Abort)}
			}
		}
	}
	return nil
}

// describe collects what there is to say, before the sides are closed.
func (r *run) describe() *Report {
	t, o := r.tally, r.o
	out := &Report{
		Mode: mode(o), Context: contextLabel(o), Interface: r.near.device.Name(), Link: r.near.device.Link().Capabilities().Mode, Addr: r.near.addr.String(),
		VLAN: o.VLAN, Poll: o.Poll.String(), PeriodNS: int64(o.Period), Size: o.Size, Priority: o.Priority, Stress: o.Stress.String(),
		Seconds:  time.Since(r.started).Seconds(),
		Received: t.received, Lost: t.order.lost, Late: t.order.late, Duplicates: t.order.duplicate, BadCRC: t.badCRC, Unmatched: t.unmatched,
		InBand: t.inBand, Odd: t.odd, Demoted: r.demoted,
		Worst: t.worst.list, Refused: r.near.refused(),
		Environment: rt.Environment(), Machine: machine.Describe(), started: r.started,
	}
	if b, err := os.ReadFile("/proc/cmdline"); err == nil {
		out.CommandLine = strings.TrimSpace(string(b))
	}
	if o.Interface != "" {
		out.NIC = nicSettings(o.Interface)
	}
	out.Refused = append(out.Refused, r.wire.notes.all()...)
	if p := r.party; p != nil {
		out.Peer = p.to.Addr().String()
		out.Sent, out.SendErrors, out.Unlogged = p.sent.Load(), p.sendErrors.Load(), p.unlogged.Load()
		out.Overruns = p.cycle.Stats().Missed
		if first := p.firstError.Load(); first != nil {
			out.FirstError = (*first).Error()
		}
		out.Refused = append(out.Refused, p.allRefused()...)
		if came := out.Received - t.order.duplicate; o.RTT && !o.NoCheck && out.Sent > came {
			// The last ones are missing at the end of the sequence, too.
			out.Lost = out.Sent - came
		}
		if k := p.other; k != nil {
			out.KernelSent = k.sent.Load()
			out.KernelLost = out.KernelSent - min(out.KernelSent, t.figures[kernelTrip].Count())
		}
		out.addFigures(t, o)
	}
	return out
}
