package bench

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

// timesBudget is what full timestamping may add to a packet, ns.
const timesBudget = 25

// timesContests compare the paths with all points of time taken, and read,
// against the same calls without: "added" is the one less the other, each the
// mean of its half of a turn.
func timesContests() []contest {
	return []contest{
		timesContest("rx64_times", goalTimes, oursReceiveTimes(64)),
		timesContest("tx64_batch_times", goalTimes, oursSendTimes(64, true)),
		// A single send has two moments of its own, and reads the clock for each:
		// where a reading takes more than half the budget, the goal is missed.
		timesContest("tx64_times", goalTimes, oursSendTimes(64, false)),
	}
}

func timesContest(name string, goal *float64, ours contender) contest {
	return contest{suite: "loopback", name: name, contenders: []contender{ours, budget}, rows: []rowSpec{
		{name: name, unit: "ns", metric: "with", ours: "ours", peer: "ours", peerLabel: "without", peerMetric: "ns"},
		{name: name + "_added", unit: "ns", metric: "added", ours: "ours", peer: "budget", goal: goal},
		{name: name + "_allocs", unit: "allocs", metric: "allocs", ours: "ours", peer: "budget", goal: goalNoAllocs},
	}}
}

// budget is not measured: it stands for what is allowed.
var budget = contender{name: "budget", setUp: func(context.Context) (turn, func(), error) {
	return func(context.Context, time.Duration) (figures, error) {
		return figures{"added": timesBudget, "allocs": 0}, nil
	}, func() {}, nil
}}

// both takes a turn of the path without times, and one with them.
func both(set func(stack.TimestampFlags) error, flags stack.TimestampFlags, p path) turn {
	return func(ctx context.Context, d time.Duration) (figures, error) {
		var halves [2]figures
		for i, f := range []stack.TimestampFlags{0, flags} {
			if err := set(f); err != nil {
				return nil, err
			}
			var err error
			if halves[i], err = p.turn(ctx, d/2); err != nil {
				return nil, err
			}
		}
		without, with := halves[0]["ns"], halves[1]["ns"]
		return figures{"ns": without, "with": with, "added": with - without, "allocs": halves[1]["allocs"]}, nil
	}
}

// oursReceiveTimes is oursReceive with ReadMsg, which tells the times.
func oursReceiveTimes(size int) contender {
	return contender{name: "ours", setUp: func(context.Context) (turn, func(), error) {
		m, err := openMemStack(nil)
		if err != nil {
			return nil, nil, err
		}
		c, err := udp.Listen(m.stack, ownEnd, nil)
		if err != nil {
			m.close()
			return nil, nil, err
		}
		frame, msg := receivedFrame(size), udp.Message{Buf: make([]byte, 2048)}
		var armed error
		p := path{
			before: func() { armed = m.refill(frame, nil) },
			run: func() error {
				if armed != nil {
					return armed
				}
				if n, err := m.device.Poll(batch); n != batch || err != nil {
					return fmt.Errorf("ours: polled %d frames, %w", n, err)
				}
				for range batch {
					if err := c.ReadMsg(&msg); err != nil {
						return err
					}
				}
				return nil
			},
			after: func() error {
				if (msg.Times.Device != 0) != (c.Timestamping() != 0) {
					return fmt.Errorf("ours: times %+v", msg.Times)
				}
				return nil
			},
		}
		return both(c.SetTimestamping, stack.TimeRX, p), m.close, nil
	}}
}

// oursSendTimes is oursSend, singly or by WriteBatch, with a ReadTXTimes for
// each batch where times are taken.
func oursSendTimes(size int, batched bool) contender {
	return contender{name: "ours", setUp: func(context.Context) (turn, func(), error) {
		m, err := openMemStack(nil)
		if err != nil {
			return nil, nil, err
		}
		if err = m.stack.SetNeighbor(peerAddr, peerMAC); err != nil {
			m.close()
			return nil, nil, err
		}
		c, err := udp.Listen(m.stack, ownEnd, nil)
		if err != nil {
			m.close()
			return nil, nil, err
		}
		to := netip.AddrPortFrom(peerAddr, peerPort)
		ms := make([]udp.Message, batch)
		for i := range ms {
			ms[i] = udp.Message{Buf: payload(size), Addr: to}
		}
		times := make([]stack.IOTimes, batch)
		send := func() error {
			if batched {
				_, err := c.WriteBatch(ms)
				return err
			}
			for i := range ms {
				if _, err := c.WriteTimed(ms[i].Buf, to); err != nil {
					return err
				}
			}
			return nil
		}
		p := path{before: nothing, after: nothingErr, run: func() error {
			if err := send(); err != nil || c.Timestamping() == 0 {
				return err
			}
			if n, err := c.ReadTXTimes(times); n != batch || err != nil {
				return fmt.Errorf("ours: %d times of sends, %w", n, err)
			}
			return nil
		}}
		return both(c.SetTimestamping, stack.TimeTX, p), m.close, nil
	}}
}
