package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/oobnet/oobnet/arp"
	"github.com/oobnet/oobnet/stack"
)

// Bounds of a ping. A client that wants more asks again.
const (
	// maxPings at a time: each is a goroutine that waits.
	maxPings = 8
	// maxEchoes of one request: its answer has a line for each.
	maxEchoes = 10_000
	// minInterval keeps a ping from being a flood: 1000 datagrams a second.
	minInterval = time.Millisecond
	// minEcho and maxEcho are payloads of UDP, bytes: a mark and a number, and
	// what an IPv4 packet can hold.
	minEcho, maxEcho = 16, 65507

	defaultEchoes   = 5
	defaultInterval = 100 * time.Millisecond
	defaultPatience = time.Second
	defaultEcho     = 64
	echoPort        = 7 // RFC 862
)

// Kinds of a ping.
const (
	PingUDP = "udp"
	PingARP = "arp"
)

// PingRequest asks the server to see whether a peer answers its stack. It takes
// at most twice the timeout and the intervals, which has to be less than the
// server's time for a request.
type PingRequest struct {
	Address    netip.Addr `json:"address" doc:"of the peer"`
	Interface  string     `json:"interface,omitempty" doc:"the port that it has to leave by"`
	Kind       string     `json:"kind,omitempty" enum:"udp,arp" doc:"udp (the default): datagrams to an echo service; arp: questions on the link, one at a time"`
	Port       uint16     `json:"port,omitempty" doc:"of UDP; 0: 7, echo"`
	Count      int        `json:"count,omitempty" doc:"1 to 10000; 0: 5"`
	IntervalUS int        `json:"interval_us,omitempty" doc:"1000 at least; 0: 100 ms"`
	Size       int        `json:"size,omitempty" doc:"of UDP payloads, 16 to 65507 bytes; 0: 64"`
	TimeoutMS  int        `json:"timeout_ms,omitempty" doc:"what comes later is lost; 0: 1 s"`
}

// Ping is what came of it. Times are those of the server's goroutine, from the
// call that sends to the one that has received: what an application sees.
type Ping struct {
	Kind       string `json:"kind"`
	Port       string `json:"port" doc:"by which it left"`
	Sent       int    `json:"sent"`
	Received   int    `json:"received" doc:"answered in time"`
	Duplicates int    `json:"duplicates" doc:"answers beyond the first; of arp, those to questions of the in-band stage as well"`
	BestNS     int64  `json:"best_ns" doc:"round trip; 0: nothing was received"`
	MeanNS     int64  `json:"mean_ns"`
	WorstNS    int64  `json:"worst_ns"`
	// SolicitNS is how long the front cache took to know the peer, of UDP.
	SolicitNS int64    `json:"solicit_ns,omitempty" doc:"until the peer's address was known; of udp"`
	Problem   string   `json:"problem,omitempty" doc:"why the peer's address is not known; datagrams were sent all the same"`
	MACs      []string `json:"macs,omitempty" doc:"that answered ARP; more than one: two stations have the address"`
	Echoes    []Echo   `json:"echoes" doc:"in the order in which they were sent"`
}

// Echo is one question of a ping.
type Echo struct {
	RTTNS int64  `json:"rtt_ns,omitempty" doc:"0: no answer in time"`
	Error string `json:"error,omitempty" doc:"what came in place of an answer"`
}

// prober sends questions and receives answers.
type prober interface {
	// send sends a question.
	send(number uint32) error
	// receive waits for an answer until the deadline, and returns the number that
	// it has; EAGAIN for what is no answer of ours.
	receive(deadline time.Time) (number uint32, err error)
	Close() error
}

// ping takes no turn: it changes nothing but the front cache.
func (s *Server) ping(ctx context.Context, in *PingRequest) (*Ping, error) {
	if err := in.complete(s.cfg.Timeout); err != nil {
		return nil, err
	}
	select {
	case s.pings <- struct{}{}:
		defer func() { <-s.pings }()
	default:
		return nil, fmt.Errorf("control: ping %v: %d are under way already: %w: try again", in.Address, maxPings, syscall.EBUSY)
	}
	if err := s.leavesBy(in.Address, in.Interface); err != nil {
		return nil, err
	}
	out, err := s.pingPeer(ctx, in)
	if err != nil {
		return nil, fmt.Errorf("control: ping %v: %w", in.Address, err)
	}
	return out, nil
}

// complete fills in the defaults and checks the bounds.
func (in *PingRequest) complete(limit time.Duration) error {
	for _, d := range []struct {
		value *int
		def   int
	}{
		{&in.Count, defaultEchoes}, {&in.IntervalUS, int(defaultInterval.Microseconds())},
		{&in.Size, defaultEcho}, {&in.TimeoutMS, int(defaultPatience.Milliseconds())},
	} {
		if *d.value == 0 {
			*d.value = d.def
		}
	}
	if in.Kind == "" {
		in.Kind = PingUDP
	}
	if in.Port == 0 {
		in.Port = echoPort
	}
	switch {
	case !in.Address.Is4() || in.Address.IsMulticast() || in.Address.IsUnspecified() || in.Address == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return badRequest("ping %v: want the IPv4 address of one station", in.Address)
	case in.Kind != PingUDP && in.Kind != PingARP:
		return badRequest("ping: kind %q: want udp or arp", in.Kind)
	case in.Count < 0 || in.Count > maxEchoes:
		return badRequest("ping: count %d: want 1 to %d, and more requests for more", in.Count, maxEchoes)
	case in.Size < minEcho || in.Size > maxEcho:
		return badRequest("ping: size %d: want %d to %d bytes", in.Size, minEcho, maxEcho)
	case in.TimeoutMS < 0 || in.TimeoutMS > int(limit.Milliseconds()):
		return badRequest("ping: timeout_ms %d: want 1 to %d", in.TimeoutMS, limit.Milliseconds())
	case in.interval() < minInterval || in.interval() > limit:
		return badRequest("ping: interval_us %d: want %d to %d", in.IntervalUS, minInterval.Microseconds(), limit.Microseconds())
	}
	if longest := in.longest(); longest >= limit {
		return badRequest("ping: it may take %v, and a request of this server %v: ask for fewer at a time", longest, limit)
	}
	return nil
}

func (in *PingRequest) interval() time.Duration {
	return time.Duration(in.IntervalUS) * time.Microsecond
}

func (in *PingRequest) patience() time.Duration {
	return time.Duration(in.TimeoutMS) * time.Millisecond
}

// longest is how long it takes if nothing is answered.
func (in *PingRequest) longest() time.Duration {
	if in.Kind == PingARP {
		return time.Duration(in.Count) * max(in.interval(), in.patience())
	}
	return 2*in.patience() + time.Duration(in.Count-1)*in.interval()
}

func (s *Server) pingPeer(ctx context.Context, in *PingRequest) (*Ping, error) {
	via, err := s.stack.RouteTo(in.Address)
	if err != nil {
		return nil, err
	}
	if s.stack.Local(in.Address) {
		return nil, fmt.Errorf("it is an address of this stack: %w: ping a peer", syscall.EINVAL)
	}
	if slices.ContainsFunc(via.Addrs(), func(p netip.Prefix) bool { return broadcast(p) == in.Address }) {
		return nil, fmt.Errorf("it is all stations of the network: %w: ping one", syscall.EINVAL)
	}
	run := &pinging{in: in, out: &Ping{Kind: in.Kind, Port: via.Name(), Echoes: []Echo{}}, sent: make([]time.Time, 0, in.Count)}
	if in.Kind == PingARP {
		run.prober, err = newARPProber(s.stack, via, in.Address, &run.out.MACs)
	} else if err = run.solicit(ctx, s.stack); err == nil {
		run.prober, err = newUDPProber(s.stack, netip.AddrPortFrom(in.Address, in.Port), in.Size)
	}
	if err != nil {
		return nil, err
	}
	// Whoever waits for an answer wakes when the request ends.
	stop := context.AfterFunc(ctx, func() { run.prober.Close() })
	err = run.run()
	stop()
	err = errors.Join(err, ignoreClosed(run.prober.Close()))
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return run.out, err
}

// broadcast is a network's own (RFC 919); the zero value where there is none.
func broadcast(p netip.Prefix) netip.Addr {
	if p.Bits() > 30 {
		return netip.Addr{} // RFC 3021
	}
	return address(number(p.Addr()) | (1<<(32-p.Bits()) - 1))
}

// ignoreClosed lets a second Close be none.
func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// pinging is a ping that runs, on one goroutine.
type pinging struct {
	in     *PingRequest
	out    *Ping
	prober prober
	sent   []time.Time // by number
	total  time.Duration
	open   int // questions that have neither an answer nor an error
}

// solicit makes the peer known, so that the first datagram is as fast as the
// others. A peer that does not answer ARP is lost as one that does not echo.
func (p *pinging) solicit(ctx context.Context, st *stack.Stack) error {
	ctx, cancel := context.WithTimeout(ctx, p.in.patience())
	defer cancel()
	begun := time.Now()
	err := st.Solicit(ctx, p.in.Address, arp.MayRoute)
	p.out.SolicitNS = time.Since(begun).Nanoseconds()
	if errors.Is(err, syscall.ETIMEDOUT) || errors.Is(err, context.DeadlineExceeded) {
		p.out.Problem, err = err.Error(), nil
	}
	return err
}

// run asks, at its times, and takes what comes in between.
func (p *pinging) run() error {
	begun := time.Now()
	for number := range p.in.Count {
		due := begun.Add(time.Duration(number) * p.in.interval())
		if p.in.Kind == PingARP && number > 0 {
			// Answers have no number: each question waits for its own.
			if err := p.collect(p.sent[number-1].Add(p.in.patience()), false); err != nil {
				return err
			}
		}
		if err := p.collect(due, true); err != nil {
			return err
		}
		p.out.Echoes = append(p.out.Echoes, Echo{})
		p.sent = append(p.sent, time.Now())
		p.out.Sent++
		p.open++
		if err := p.prober.send(uint32(number)); err != nil {
			if errors.Is(err, net.ErrClosed) {
				return err
			}
			p.fail(err)
		}
	}
	return p.collect(p.sent[len(p.sent)-1].Add(p.in.patience()), false)
}

// collect takes answers until a time, or, unless it is to wait in any case,
// until nothing is missing.
func (p *pinging) collect(until time.Time, wait bool) error {
	for wait || p.open > 0 {
		number, err := p.prober.receive(until)
		switch {
		case err == nil:
			p.answered(int(number))
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case errors.Is(err, syscall.EAGAIN):
		case errors.Is(err, net.ErrClosed):
			return err
		default:
			p.fail(err)
		}
	}
	return nil
}

// fail notes an error as the fate of the last question.
func (p *pinging) fail(err error) {
	if len(p.out.Echoes) == 0 {
		return
	}
	if last := &p.out.Echoes[len(p.out.Echoes)-1]; last.RTTNS == 0 && last.Error == "" {
		last.Error = err.Error()
		p.open--
	}
}

// answered notes an answer.
func (p *pinging) answered(number int) {
	if number >= len(p.sent) {
		return // nothing that was asked
	}
	rtt := time.Since(p.sent[number])
	echo := &p.out.Echoes[number]
	switch {
	case echo.RTTNS != 0:
		p.out.Duplicates++
		return
	case rtt > p.in.patience():
		return // too late: it is lost already
	case echo.Error == "":
		p.open--
	}
	echo.RTTNS, echo.Error = max(rtt.Nanoseconds(), 1), ""
	p.out.Received++
	p.total += rtt
	p.out.WorstNS = max(p.out.WorstNS, echo.RTTNS)
	if p.out.BestNS == 0 || echo.RTTNS < p.out.BestNS {
		p.out.BestNS = echo.RTTNS
	}
	p.out.MeanNS = p.total.Nanoseconds() / int64(p.out.Received)
}

// addOnce adds a name to a list that has not got it.
func addOnce(list *[]string, name string) {
	if !slices.Contains(*list, name) {
		*list = append(*list, name)
	}
}
