package bench

import (
	"fmt"

	"github.com/oobnet/oobnet/cmd/oobnet/internal/report"
)

// The goals of the loopback suite: shares of gVisor's time.
var (
	goalReceive64   = report.Goal(1.0 / 35)
	goalReceive1400 = report.Goal(1.0 / 15)
	goalSend64      = report.Goal(1.0 / 35)
	goalNoAllocs    = report.Goal(0)
	goalTimes       = report.Goal(1) // of timesBudget
)

// loopbackSuite compares receive and send of one datagram in memory.
func loopbackSuite() []contest {
	return append([]contest{
		loopbackContest("rx", 64, goalReceive64, true, oursReceive(64), gvisorReceive(64), kernelReceive(64)),
		loopbackContest("rx", 1400, goalReceive1400, false, oursReceive(1400), gvisorReceive(1400), kernelReceive(1400)),
		loopbackContest("tx", 64, goalSend64, true, oursSend(64), gvisorSend(64), kernelSend(64)),
		loopbackContest("tx", 1400, nil, false, oursSend(1400), gvisorSend(1400), kernelSend(1400)),
	}, timesContests()...)
}

func loopbackContest(direction string, size int, goal *float64, allocs bool, sides ...contender) contest {
	name := fmt.Sprintf("%s%d", direction, size)
	c := contest{suite: "loopback", name: name, contenders: sides, rows: []rowSpec{
		{name: name, unit: "ns", metric: "ns", ours: "ours", peer: "gvisor", goal: goal},
		{name: name, unit: "ns", metric: "ns", ours: "ours", peer: "kernel"},
	}}
	if allocs {
		c.rows = append(c.rows, rowSpec{name: name + "_allocs", unit: "allocs", metric: "allocs", ours: "ours", peer: "gvisor", goal: goalNoAllocs})
	}
	return c
}

// receivedFrame is what the peer sends to the first socket.
func receivedFrame(size int) []byte {
	return udpFrame(ownMAC, peerMAC, peerEnd, ownEnd, payload(size))
}
