package latmus

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oobnet/oobnet/internal/ring"
	irt "github.com/oobnet/oobnet/internal/rt"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/rt"
	"github.com/oobnet/oobnet/stack"
)

// departure is what the sending thread knows of a packet.
type departure struct {
	seq, id uint64 // id is the socket's number of the send, 0: it failed
	// planned is when the activation was due, actual when the thread was there,
	// begun just before the send.
	planned, actual, begun int64
	// Involuntary switches of the thread so far: when it fell asleep before, with
	// RTT just before begun, and when the send was over.
	asleep, ready, gone int64
}

// arrival is what the receiving thread knows of a packet.
type arrival struct {
	seq   uint64
	bad   bool // its CRC or its form is wrong
	times stack.IOTimes
	read  int64 // when the application had it
	// Involuntary switches of the thread so far: when it began to wait, and when
	// it had the packet.
	waited, switches int64
}

const (
	// logRoom is how much the threads write down for the collector, which looks
	// each collectEvery: enough for a second at MinPeriod.
	logRoom      = 1 << 15
	collectEvery = 20 * time.Millisecond
)

// party is one side's application: a thread that sends once a period, and one
// that waits for the peer's packets. They only write down what they see.
type party struct {
	o     *Options
	cpu   int // for its threads; negative: any
	conn  *udp.Conn
	to    netip.AddrPort
	cycle *rt.Cycle

	// Written by the threads, read by the collector.
	departures *ring.Ring[departure]
	arrivals   *ring.Ring[arrival]
	answers    *ring.Ring[answer]
	txTimes    *ring.Ring[stack.IOTimes]
	sent       atomic.Uint64
	sendErrors atomic.Uint64
	firstError atomic.Pointer[error]
	unlogged   atomic.Uint64 // found no room in a log

	// device that the sending thread moves in manual mode, else nil.
	device *stack.Device
	// latest is the number + 1 of the packet that came last: written where it is
	// received, read by the sending thread.
	latest atomic.Uint64
	// waited are the involuntary switches of the receiving thread, which has this
	// to itself, when it began to wait for a packet.
	waited int64

	other   *kernel // takes every other packet; nil: none
	mu      sync.Mutex
	refused []string // of the receiving thread
	done    sync.WaitGroup
}

// newParty opens the socket of a side.
func newParty(o *Options, s *side, peer netip.Addr, cpu int) (*party, error) {
	p := &party{
		o: o, cpu: cpu, to: netip.AddrPortFrom(peer, o.Port),
		departures: ring.New[departure](logRoom), arrivals: ring.New[arrival](logRoom), answers: ring.New[answer](logRoom), txTimes: ring.New[stack.IOTimes](logRoom),
	}
	var err error
	cfg := rt.Config{Period: o.Period, Spin: o.spin(), Name: "latmus.tx", Priority: o.Priority}
	if cpu >= 0 {
		cfg.CPUs = []int{cpu}
	}
	if p.cycle, err = rt.NewCycle(&cfg); err != nil {
		return nil, err
	}
	socket := &udp.Config{Spin: o.Spin, TXTimes: logRoom}
	if s.manual {
		p.device, socket.Handler = s.device, p.handle
	}
	open := s.listen
	if o.RTT {
		open = s.ask
	}
	if p.conn, err = open(o, socket); err != nil {
		return nil, err
	}
	if err := p.conn.SetTimestamping(stack.TimeAll); err != nil {
		return nil, errors.Join(err, p.conn.Close())
	}
	return p, nil
}

// thread are the options of one of the party's.
func thread(o *Options, name string, cpu int) irt.Options {
	opt := irt.Options{Name: name, Priority: o.Priority, TimerSlack: time.Nanosecond, Stack: rt.DefaultStack}
	if cpu >= 0 {
		opt.CPUs = []int{cpu}
	}
	return opt
}

// listenOn starts the threads that end with the socket.
func (p *party) listenOn() {
	if p.device == nil {
		p.done.Add(1)
		irt.Go(thread(p.o, "latmus.rx", p.cpu), p.refuse, func() {
			defer p.done.Done()
			p.receive()
		})
	}
	p.done.Go(p.collectTimes)
}

// refuse keeps what the machine refused to a thread; nil: nothing.
func (p *party) refuse(refused error) {
	if refused != nil {
		p.mu.Lock()
		p.refused = append(p.refused, refused.Error())
		p.mu.Unlock()
	}
}

// receive is the receiving thread.
func (p *party) receive() {
	m := udp.Message{Buf: make([]byte, MaxSize+1)}
	p.waited = p.o.switches()
	for {
		if err := p.conn.ReadMsg(&m); err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			p.fail(err) // an ICMP error of an earlier send: the next read waits
			continue
		}
		p.arrived(m.Buf[:m.N], m.Times)
	}
}

// arrived writes down a packet that the application has now.
func (p *party) arrived(b []byte, t stack.IOTimes) {
	a := arrival{times: t, read: stack.Now()}
	var ok bool
	a.seq, ok = sequence(b)
	if a.bad = !ok; ok {
		p.latest.Store(a.seq + 1)
	}
	switch {
	case p.device == nil:
		a.waited, a.switches = p.waited, p.o.switches()
		p.waited = a.switches
	case t.Device != 0: // what went in-band comes on another thread
		a.waited, a.switches = p.waited, p.o.switches()
	}
	if !p.arrivals.Push(&a) {
		p.unlogged.Add(1)
	}
}

// collectTimes moves times of sends from the socket, whose reads wait.
func (p *party) collectTimes() {
	times := make([]stack.IOTimes, 256)
	for {
		n, err := p.conn.ReadTXTimes(times)
		for i := range times[:n] {
			if !p.txTimes.Push(&times[i]) {
				p.unlogged.Add(1)
			}
		}
		switch {
		case errors.Is(err, stack.ErrTimesLost):
			p.unlogged.Add(1)
		case err != nil:
			return // closed
		}
		// It is awake for a bunch, not for each: who wakes it is who sends.
		time.Sleep(collectEvery / 4)
	}
}

// send runs the sending thread until ctx ends.
func (p *party) send(ctx context.Context) error {
	packet := newPacket(p.o.Size)
	var seq uint64
	asleep := int64(-1) // not read yet: the thread is the cycle's
	return p.cycle.Run(ctx, func(t rt.Tick) error {
		if asleep < 0 {
			asleep = p.o.switches()
		}
		// What comes until the thread sleeps again is in no exchange of the next
		// activation: neither the kernel's turn nor the wait for an answer.
		defer func() { asleep = p.o.switches() }()
		if p.device != nil {
			if err := p.drain(asleep); err != nil {
				return err
			}
		}
		if p.other != nil && t.Number%2 == 1 {
			p.other.turn()
			return nil
		}
		setSequence(packet, seq)
		d := departure{seq: seq, planned: t.Planned, actual: t.Actual, asleep: asleep}
		if p.o.RTT { // else the measured part has begun: to count would be in it
			d.ready = p.o.switches()
			d.gone = d.ready
		}
		d.begun = stack.Now()
		seq++
		var err error
		if d.id, err = p.conn.WriteTimed(packet, p.to); err != nil {
			d.id = 0
			p.fail(err)
		} else {
			p.sent.Add(1)
		}
		if p.device == nil || !p.o.RTT { // else who waits for the answer counts them: it may be there
			d.gone = p.o.switches()
		}
		if !p.departures.Push(&d) {
			p.unlogged.Add(1)
		}
		switch {
		case p.device == nil:
			return nil
		case p.o.RTT:
			return p.pollFor(seq)
		}
		return p.poll(t.Planned)
	})
}

const (
	// greeting is the number of packets that are no part of a run, greetEvery and
	// greetFor the pace and the length of it.
	greeting   = 1 << 62
	greetEvery = 20 * time.Millisecond
	greetFor   = 2 * time.Second
)

// greet sends until the first answer comes: an echo that was just started answers
// for its address before it listens. One that is not there costs packets, not the run.
func (p *party) greet(ctx context.Context) {
	packet := newPacket(p.o.Size)
	setSequence(packet, greeting)
	for end := time.Now().Add(greetFor); p.latest.Load() != greeting+1 && time.Now().Before(end) && ctx.Err() == nil; {
		_, _ = p.conn.WriteToUDPAddrPort(packet, p.to) // an error of an earlier one
		time.Sleep(greetEvery)
	}
}

func (p *party) fail(err error) {
	p.sendErrors.Add(1)
	e := err
	p.firstError.CompareAndSwap(nil, &e)
}

// demotions of the socket's packets, in and out.
func (p *party) demotions() uint64 {
	st := p.conn.Stats()
	return st.Demoted + st.InBand
}

// close ends the receiving threads; send has ended.
func (p *party) close() error {
	err := p.conn.Close()
	p.done.Wait()
	return err
}

// allRefused is what the machine refused to both threads.
func (p *party) allRefused() []string {
	p.mu.Lock()
	out := append([]string(nil), p.refused...)
	p.mu.Unlock()
	for _, err := range p.cycle.Report().Refused {
		out = append(out, err.Error())
	}
	return out
}
