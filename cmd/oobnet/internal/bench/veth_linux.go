package bench

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/oobnet/oobnet/cmd/oobnet/internal/report"
	"github.com/oobnet/oobnet/cmd/oobnet/internal/worker"
)

// The goals of the veth suite.
var (
	goalSpinP50     = report.Goal(0.85)
	goalSpinP99     = report.Goal(0.6)
	goalSleepP50    = report.Goal(1.05)
	goalSendmmsg    = report.Goal(1.4)
	goalTestpmdSend = report.Goal(0.9)
	goalTestpmdRecv = report.Goal(0.95)
	goalTestpmdRTT  = report.Goal(1.1)
)

// vethSuite compares over a wire between two namespaces, which it makes.
func vethSuite() ([]contest, func(), error) {
	l, err := openLab()
	if err != nil {
		return nil, nil, err
	}
	return []contest{l.spinning(), l.sleeping(), l.sending(), l.receiving(), l.receivingAsleep()}, l.close, nil
}

func (l *lab) spinning() contest {
	return contest{suite: "veth", name: "rtt_spin",
		contenders: []contender{
			wireContender("ours", nil, l.echo(worker.Spec{Role: worker.OursEcho, Prefix: wireOurs})),
			wireContender("kernel", nil, l.echo(worker.Spec{Role: worker.KernelEcho, Prefix: wireKernel, Raw: true})),
			wireContender("kernel_ordinary", nil, l.echo(worker.Spec{Role: worker.KernelEcho, Prefix: wireKernel})),
			wireContender("testpmd", testpmdAbsent, l.echoTestpmd),
		},
		rows: []rowSpec{
			{name: "rtt_spin_p50", unit: "ns", metric: "p50", ours: "ours", peer: "kernel", goal: goalSpinP50},
			{name: "rtt_spin_p99", unit: "ns", metric: "p99", ours: "ours", peer: "kernel", goal: goalSpinP99},
			{name: "rtt_spin_p999", unit: "ns", metric: "p999", ours: "ours", peer: "kernel"},
			{name: "rtt_spin_p50", unit: "ns", metric: "p50", ours: "ours", peer: "kernel_ordinary"},
			{name: "rtt_spin_p99", unit: "ns", metric: "p99", ours: "ours", peer: "kernel_ordinary"},
			{name: "rtt_testpmd_p50", unit: "ns", metric: "p50", ours: "ours", peer: "testpmd", goal: goalTestpmdRTT},
			{name: "rtt_testpmd_p99", unit: "ns", metric: "p99", ours: "ours", peer: "testpmd"},
		},
	}
}

func (l *lab) sleeping() contest {
	return contest{suite: "veth", name: "rtt_sleep",
		contenders: []contender{
			wireContender("ours", nil, l.echo(worker.Spec{Role: worker.OursEcho, Prefix: wireOurs, Sleep: true})),
			wireContender("kernel", nil, l.echo(worker.Spec{Role: worker.KernelEcho, Prefix: wireKernel, Sleep: true})),
		},
		rows: []rowSpec{
			{name: "rtt_sleep_p50", unit: "ns", metric: "p50", ours: "ours", peer: "kernel", goal: goalSleepP50},
			{name: "rtt_sleep_p99", unit: "ns", metric: "p99", ours: "ours", peer: "kernel"},
		},
	}
}

func (l *lab) sending() contest {
	return contest{suite: "veth", name: "tx_pps",
		contenders: []contender{
			wireContender("ours", nil, l.send(worker.OursBatch)),
			wireContender("ours singly", nil, l.send(worker.OursSend)),
			wireContender("sendmmsg", nil, l.send(worker.KernelBatch)),
			wireContender("sendto", nil, l.send(worker.KernelSend)),
			wireContender("testpmd", testpmdAbsent, l.sendTestpmd),
		},
		rows: []rowSpec{
			{name: "tx_pps_sendmmsg", unit: "pps", metric: "pps", ours: "ours", peer: "sendmmsg", goal: goalSendmmsg, more: true},
			{name: "tx_pps_sendto", unit: "pps", metric: "pps", ours: "ours singly", peer: "sendto", more: true},
			{name: "tx_pps_testpmd", unit: "pps", metric: "pps", ours: "ours", peer: "testpmd", goal: goalTestpmdSend, more: true},
			{name: "tx_cpu_sendto", unit: "ns", metric: "cpu", ours: "ours singly", peer: "sendto"},
			{name: "tx_cpu_sendmmsg", unit: "ns", metric: "cpu", ours: "ours", peer: "sendmmsg"},
		},
	}
}

func (l *lab) receiving() contest {
	return contest{suite: "veth", name: "rx_pps",
		contenders: []contender{
			wireContender("ours", nil, l.receive(worker.OursSink, wireOurs, false)),
			wireContender("recvmmsg", nil, l.receive(worker.KernelSink, wireKernel, false)),
			wireContender("testpmd", testpmdAbsent, l.receiveTestpmd),
		},
		rows: []rowSpec{
			{name: "rx_pps_testpmd", unit: "pps", metric: "pps", ours: "ours", peer: "testpmd", goal: goalTestpmdRecv, more: true},
			{name: "rx_pps_recvmmsg", unit: "pps", metric: "pps", ours: "ours", peer: "recvmmsg", more: true},
		},
	}
}

// receivingAsleep is where processor time a packet means something: spinning
// receivers use all there is.
func (l *lab) receivingAsleep() contest {
	return contest{suite: "veth", name: "rx_cpu",
		contenders: []contender{
			wireContender("ours", nil, l.receive(worker.OursSink, wireOurs, true)),
			wireContender("recvmmsg", nil, l.receive(worker.KernelSink, wireKernel, true)),
		},
		rows: []rowSpec{
			{name: "rx_cpu_recvmmsg", unit: "ns", metric: "cpu", ours: "ours", peer: "recvmmsg"},
			{name: "rx_sleep_pps_recvmmsg", unit: "pps", metric: "pps", ours: "ours", peer: "recvmmsg", more: true},
		},
	}
}

// wireContender sets up nothing: the contenders share one interface, so each
// starts and stops all of its own within its turn. absent may say why it
// cannot run here.
func wireContender(name string, absent func() error, t turn) contender {
	return contender{name: name, setUp: func(context.Context) (turn, func(), error) {
		if absent != nil {
			if err := absent(); err != nil {
				return nil, nil, err
			}
		}
		return func(ctx context.Context, d time.Duration) (figures, error) {
			defer settle()
			return t(ctx, d)
		}, func() {}, nil
	}}
}

// echo measures the round trip from a kernel client to an echo server that
// waits as the client does.
func (l *lab) echo(server worker.Spec) turn {
	server.Local = end(server.Prefix, wirePort)
	return func(ctx context.Context, d time.Duration) (figures, error) {
		p, err := l.start(ctx, l.own, server)
		if err != nil {
			return nil, err
		}
		defer p.Stop()
		return l.client(ctx, server.Local, server.Sleep, d)
	}
}

func (l *lab) echoTestpmd(ctx context.Context, d time.Duration) (figures, error) {
	p, err := startTestpmd(ctx, l.own, "5tswap", wireFrame)
	if err != nil {
		return nil, err
	}
	defer p.stop()
	return l.client(ctx, end(wireKernel, wirePort), false, d)
}

func (l *lab) client(ctx context.Context, to netip.AddrPort, sleep bool, d time.Duration) (figures, error) {
	c, err := l.start(ctx, l.load, worker.Spec{Role: worker.KernelClient, Sleep: sleep, Raw: true, Local: end(wireLoad, loadPort), Remote: to})
	if err != nil {
		return nil, err
	}
	defer c.Stop()
	f, err := c.Run(ctx, d)
	return figures(f), err
}

// send counts what a sender brings to the sink, and its processor time.
func (l *lab) send(role worker.Role) turn {
	return func(ctx context.Context, d time.Duration) (figures, error) {
		sink, err := openSink(l.load)
		if err != nil {
			return nil, err
		}
		defer sink.close()
		p, err := l.start(ctx, l.own, worker.Spec{Role: role, Raw: true, Prefix: wireOurs, Remote: end(wireLoad, wirePort)})
		if err != nil {
			return nil, err
		}
		defer p.Stop()
		time.Sleep(rampUp)
		rate := make(chan float64, 1)
		failed := make(chan error, 1)
		go func() {
			r, err := sink.rate(d)
			rate <- r
			failed <- err
		}()
		f, err := p.Run(ctx, d)
		pps := <-rate
		if sinkErr := <-failed; sinkErr != nil {
			return nil, sinkErr
		}
		if err != nil {
			return nil, err
		}
		return perPacket(pps, f)
	}
}

func (l *lab) sendTestpmd(ctx context.Context, d time.Duration) (figures, error) {
	sink, err := openSink(l.load)
	if err != nil {
		return nil, err
	}
	defer sink.close()
	p, err := startTestpmd(ctx, l.own, "txonly", wireFrame)
	if err != nil {
		return nil, err
	}
	defer p.stop()
	time.Sleep(rampUp)
	pps, err := sink.rate(d)
	return figures{"pps": pps}, err
}

// rampUp passes before a rate is taken: caches fill, queues reach their length.
const rampUp = 100 * time.Millisecond

// receive counts what a receiver gets of a stream of frames as fast as an
// AF_XDP socket on the other host sends them.
func (l *lab) receive(role worker.Role, addr netip.Prefix, sleep bool) turn {
	return func(ctx context.Context, d time.Duration) (figures, error) {
		p, err := l.start(ctx, l.own, worker.Spec{Role: role, Raw: true, Sleep: sleep, Prefix: addr, Local: end(addr, wirePort)})
		if err != nil {
			return nil, err
		}
		defer p.Stop()
		stop, err := l.blast(ctx, addr)
		if err != nil {
			return nil, err
		}
		defer stop()
		f, err := p.Run(ctx, d)
		if err != nil {
			return nil, err
		}
		return perPacket(f["packets"]/f["seconds"], f)
	}
}

func (l *lab) receiveTestpmd(ctx context.Context, d time.Duration) (figures, error) {
	p, err := startTestpmd(ctx, l.own, "rxonly", wireFrame)
	if err != nil {
		return nil, err
	}
	defer p.stop()
	stop, err := l.blast(ctx, wireKernel)
	if err != nil {
		return nil, err
	}
	defer stop()
	pps, err := p.receiveRate(ctx, d)
	return figures{"pps": pps}, err
}

// blast starts the sender of the receive contests.
func (l *lab) blast(ctx context.Context, to netip.Prefix) (stop func(), err error) {
	p, err := l.start(ctx, l.load, worker.Spec{
		Role: worker.LinkBlast, Local: end(wireLoad, loadPort), Remote: end(to, wirePort), RemoteMAC: l.own.MAC,
	})
	if err != nil {
		return nil, err
	}
	time.Sleep(rampUp)
	return p.Stop, nil
}

// perPacket adds the processor time a packet to a rate.
func perPacket(pps float64, f worker.Figures) (figures, error) {
	if pps == 0 || f["packets"] == 0 {
		return nil, errors.New("no packet arrived")
	}
	return figures{"pps": pps, "cpu": f["cpu_ns"] / f["packets"]}, nil
}
