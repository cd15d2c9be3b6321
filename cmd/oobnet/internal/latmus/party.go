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
	switches               int64 // involuntary ones of the thread since the last packet
}

// arrival is what the receiving thread knows of a packet.
type arrival struct {
	seq      uint64
	bad      bool // its CRC or its form is wrong
	times    stack.IOTimes
	read     int64 // when the application had it
	switches int64
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
	conn  *udp.Conn
	to    netip.AddrPort
	cycle *rt.Cycle

	// Written by the threads, read by the collector.
	departures *ring.Ring[departure]
	arrivals   *ring.Ring[arrival]
	txTimes    *ring.Ring[stack.IOTimes]
	sent       atomic.Uint64
	sendErrors atomic.Uint64
	firstError atomic.Pointer[error]
	unlogged   atomic.Uint64 // found no room in a log

	other   *kernel // takes every other packet; nil: none
	mu      sync.Mutex
	refused []string // of the receiving thread
	done    sync.WaitGroup
}

// newParty opens the socket of a side.
func newParty(o *Options, s *side, peer netip.Addr) (*party, error) {
	p := &party{
		o: o, to: netip.AddrPortFrom(peer, o.Port),
		departures: ring.New[departure](logRoom), arrivals: ring.New[arrival](logRoom), txTimes: ring.New[stack.IOTimes](logRoom),
	}
	var err error
	cfg := rt.Config{Period: o.Period, Spin: o.spin(), Name: "latmus.tx", Priority: o.Priority}
	if o.CPU >= 0 {
		cfg.CPUs = []int{o.CPU}
	}
	if p.cycle, err = rt.NewCycle(&cfg); err != nil {
		return nil, err
	}
	if p.conn, err = s.listen(o, &udp.Config{Spin: o.Spin, TXTimes: logRoom}); err != nil {
		return nil, err
	}
	if err := p.conn.SetTimestamping(stack.TimeAll); err != nil {
		return nil, errors.Join(err, p.conn.Close())
	}
	return p, nil
}

// listenOn starts the threads that end with the socket.
func (p *party) listenOn() {
	opt := irt.Options{Name: "latmus.rx", Priority: p.o.Priority, TimerSlack: time.Nanosecond, Stack: rt.DefaultStack}
	if p.o.CPU >= 0 {
		opt.CPUs = []int{p.o.CPU}
	}
	p.done.Add(2)
	irt.Go(opt, func(refused error) {
		if refused != nil {
			p.mu.Lock()
			p.refused = append(p.refused, refused.Error())
			p.mu.Unlock()
		}
	}, func() {
		defer p.done.Done()
		p.receive()
	})
	go func() {
		defer p.done.Done()
		p.collectTimes()
	}()
}

// receive is the receiving thread.
func (p *party) receive() {
	m := udp.Message{Buf: make([]byte, MaxSize+1)}
	last := involuntary()
	for {
		if err := p.conn.ReadMsg(&m); err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			p.fail(err) // an ICMP error of an earlier send: the next read waits
			continue
		}
		a := arrival{times: m.Times, read: stack.Now()}
		var ok bool
		a.seq, ok = sequence(m.Buf[:m.N])
		a.bad = !ok
		now := involuntary()
		a.switches, last = now-last, now
		if !p.arrivals.Push(&a) {
			p.unlogged.Add(1)
		}
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
	last := int64(-1) // not read yet: the thread is the cycle's
	return p.cycle.Run(ctx, func(t rt.Tick) error {
		if p.other != nil && t.Number%2 == 1 {
			p.other.send(t)
			return nil
		}
		setSequence(packet, seq)
		d := departure{seq: seq, planned: t.Planned, actual: t.Actual, begun: stack.Now()}
		seq++
		var err error
		if d.id, err = p.conn.WriteTimed(packet, p.to); err != nil {
			d.id = 0
			p.fail(err)
		} else {
			p.sent.Add(1)
		}
		now := involuntary()
		if last >= 0 {
			d.switches = now - last
		}
		last = now
		if !p.departures.Push(&d) {
			p.unlogged.Add(1)
		}
		return nil
	})
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
