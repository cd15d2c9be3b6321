package demo

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/oobnet/oobnet/internal/clock"
	"github.com/oobnet/oobnet/internal/rt"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/stack"
)

// Run runs the demo until its duration has passed or ctx ends, which is no
// error: the report is of what was.
func Run(ctx context.Context, o Options) (*Report, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	cs, ss, err := openSides(&o)
	if err != nil {
		return nil, err
	}
	r := &run{o: &o, sides: present(cs, ss)}
	report, err := r.exchange(ctx, cs, ss)
	for _, s := range r.sides {
		err = errors.Join(err, s.close())
	}
	return report, err
}

func present(sides ...*side) (out []*side) {
	for _, s := range sides {
		if s != nil {
			out = append(out, s)
		}
	}
	return out
}

// run is one run of the demo.
type run struct {
	o      *Options
	sides  []*side
	client *client // nil for a server
	echo   *echo   // nil for a client

	refused []string // by threads of the demo itself

	started, ended time.Time
	warm           mark // when the first tenth was over
}

// mark is a state of the counters from which allocations are counted.
type mark struct{ packets, objects uint64 }

func (r *run) exchange(ctx context.Context, cs, ss *side) (*Report, error) {
	var err error
	if ss != nil {
		if r.echo, err = startEcho(ctx, ss, r.o); err != nil {
			return nil, err
		}
		if r.o.Poll == link.Manual {
			go ss.pump()
		}
	}
	if cs != nil {
		peer := r.o.Peer
		if !r.o.onNIC() {
			peer = memoryServer.Addr()
		}
		if r.client, err = startClient(ctx, cs, r.o, peer); err != nil {
			return nil, err
		}
		if err := solicit(ctx, cs, peer, r.client.manual); err != nil {
			return nil, err
		}
	}
	r.started = time.Now()
	objects := r.watch(ctx, r.startCycle())
	r.ended = time.Now()
	if r.echo != nil {
		r.echo.settle()
	}
	return r.report(objects), nil
}

// solicit resolves the peer before the first cycle, so that a peer that is not
// there is an error at once and not a table of losses.
func solicit(ctx context.Context, s *side, peer netip.Addr, manual bool) error {
	done := make(chan error, 1)
	go func() { done <- s.stack.Solicit(ctx, peer) }()
	for {
		if manual {
			// The answer comes in by the device, which is the caller's to poll.
			if _, err := s.device.Poll(64); err != nil {
				return err
			}
		}
		select {
		case err := <-done:
			if err != nil && ctx.Err() == nil {
				return fmt.Errorf("%w: is the server running, and the wire the right one?", err)
			}
			return nil
		case <-time.After(time.Millisecond):
		}
	}
}

// startCycle starts the client's thread; the channel closes when it has ended.
// Without a client it never does.
func (r *run) startCycle() <-chan struct{} {
	done := make(chan struct{})
	if r.client == nil {
		return done
	}
	opt := rt.Options{Name: "oobnet.cycle", Priority: r.o.Priority}
	if r.o.CPU >= 0 {
		opt.CPUs = []int{r.o.CPU}
	}
	rt.Go(opt, func(refused error) {
		if refused != nil {
			r.refused = append(r.refused, "cycle: "+refused.Error())
		}
	}, func() {
		defer close(done)
		r.client.cycle(clock.Now() + int64(r.o.Duration))
	})
	return done
}

// warmUp is when a server without an end starts to count allocations.
const warmUp = time.Second

// watch writes the live line until the exchange is over, and returns how many
// objects were allocated since the start of the process.
func (r *run) watch(ctx context.Context, cycle <-chan struct{}) uint64 {
	objects := newAllocations()
	live := newLiveLine(r.o.Live)
	tick := time.NewTicker(liveInterval)
	defer tick.Stop()
	warm := time.NewTimer(r.warmTime())
	defer warm.Stop()
	stop := ctx.Done()
	var end <-chan time.Time
	if r.client == nil && r.o.Duration > 0 {
		end = time.After(r.o.Duration)
	}
	defer func() {
		if r.o.Live != nil {
			live.clear()
		}
	}()
	r.warm = mark{objects: objects.read()}
	for {
		select {
		case <-cycle:
			return objects.read()
		case <-end:
			return objects.read()
		case <-stop:
			if r.client == nil {
				return objects.read()
			}
			r.client.stop.Store(true)
			stop = nil // the cycle ends within a period and its linger
		case <-warm.C:
			r.warm = mark{packets: r.packets(), objects: objects.read()}
		case <-tick.C:
			if r.o.Live != nil {
				r.showLive(live)
			}
		}
	}
}

func (r *run) warmTime() time.Duration {
	if r.o.Duration == 0 {
		return warmUp
	}
	return r.o.Duration / 10
}

func (r *run) showLive(live *liveLine) {
	if r.client != nil {
		live.write(r.client.sent.Load(), r.client.received.Load(), &r.client.rtt)
		return
	}
	live.write(r.echo.sent.Load(), r.echo.received.Load(), noRTT)
}

// packets of all sides, sent and received.
func (r *run) packets() (n uint64) {
	for _, s := range r.sides {
		st := s.device.Stats()
		n += st.RX.Packets + st.TX.Packets
	}
	return n
}

// report collects the figures, before the sides are closed.
func (r *run) report(objects uint64) *Report {
	s := r.sides[0]
	out := &Report{
		Role: "client", Interface: s.link.Name(), Link: s.link.Capabilities().Mode, Addr: s.addr.String(),
		VLAN: r.o.VLAN, Poll: r.o.Poll.String(), PeriodNS: int64(r.o.Period), Size: r.o.Size,
		Seconds: r.ended.Sub(r.started).Seconds(), Demoted: map[string]uint64{}, Dropped: map[string]uint64{},
		Refused: r.refused,
	}
	if r.client != nil {
		r.client.report(out)
		out.Peer = r.client.to.Addr().String()
	}
	switch {
	case r.client == nil:
		out.Role = "server"
		out.setTally(&r.echo.tally)
	case r.echo != nil:
		out.Role = "loopback"
	}
	for _, s := range r.sides {
		out.addStack(s.stack.Stats())
		for _, t := range s.device.Threads() {
			if t.Refused != nil {
				out.Refused = append(out.Refused, t.Name+": "+t.Refused.Error())
			}
		}
		if s.notes != nil {
			out.Notes = append(out.Notes, s.notes.all()...)
		}
	}
	if n := r.packets() - r.warm.packets; n > 0 {
		out.AllocsPerPacket = float64(objects-r.warm.objects) / float64(n)
	}
	return out
}

func (c *client) report(out *Report) {
	out.setTally(&c.tally)
	out.Lost = out.Sent - min(out.Received, out.Sent)
	out.Late = c.late.Load()
	out.RTT = &RTT{P50: c.rtt.Quantile(0.5), P99: c.rtt.Quantile(0.99), P999: c.rtt.Quantile(0.999), Max: c.rtt.Max()}
}

func (r *Report) setTally(t *tally) {
	r.Sent, r.Received, r.Duplicates, r.SendErrors = t.sent.Load(), t.received.Load(), t.duplicates.Load(), t.errors.Load()
	if first := t.first.Load(); first != nil {
		r.FirstError = (*first).Error()
	}
}

// addStack adds what a stack and its devices' links lost or handed in-band.
func (r *Report) addStack(st stack.StackStats) {
	add := func(to map[string]uint64, name string, n uint64) {
		if n > 0 {
			to[name] += n
		}
	}
	add(r.Demoted, "sent in-band", st.Demoted)
	add(r.Dropped, "in-band queue full (send)", st.DemotedFull)
	add(r.Dropped, "in-band send error", st.DemotedErrors)
	for _, d := range st.Devices {
		for name, n := range d.RX.Demoted.Map() {
			add(r.Demoted, name, n)
		}
		for name, n := range d.RX.Dropped.Map() {
			add(r.Dropped, name, n)
		}
		for _, q := range d.Queues {
			add(r.Dropped, "link: no receive buffer", q.RXNoBuffer)
			add(r.Dropped, "link: receive ring full", q.RXRingFull)
			add(r.Dropped, "link: malformed", q.RXInvalid)
			add(r.Dropped, "link: unsendable", q.TXInvalid)
			add(r.Dropped, "link: lost on send", q.TXDropped)
		}
		r.BuffersInUse += d.Pool.Size - d.Pool.Free + d.Pool.RXHeld
	}
}
