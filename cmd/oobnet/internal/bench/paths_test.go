package bench

import (
	"context"
	"testing"
	"time"
)

// run takes one short turn of a contender.
func run(t *testing.T, c contender) figures {
	t.Helper()
	turn, tearDown, err := c.setUp(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tearDown()
	f, err := turn(context.Background(), 20*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestPeersMoveTheirPackets(t *testing.T) {
	for name, c := range map[string]contender{
		"gvisor rx64":   gvisorReceive(64),
		"gvisor rx1400": gvisorReceive(1400),
		"gvisor tx64":   gvisorSend(64),
		"gvisor tx1400": gvisorSend(1400),
		"kernel rx64":   kernelReceive(64),
		"kernel rx1400": kernelReceive(1400),
		"kernel tx64":   kernelSend(64),
		"kernel tx1400": kernelSend(1400),
	} {
		t.Run(name, func(t *testing.T) {
			if f := run(t, c); f["ns"] <= 0 {
				t.Errorf("%v", f)
			} else {
				t.Log(f)
			}
		})
	}
}

func TestOursMovesItsPackets(t *testing.T) {
	for name, c := range map[string]contender{
		"rx64": oursReceive(64), "rx1400": oursReceive(1400), "tx64": oursSend(64), "tx1400": oursSend(1400),
		"rx64 times": oursReceiveTimes(64), "tx64 times": oursSendTimes(64, false), "tx64 times, batches": oursSendTimes(64, true),
		"100 sockets": socketsContender(100), "1000 peers": peersContender(1000),
	} {
		t.Run(name, func(t *testing.T) {
			f := run(t, c)
			if f["ns"] <= 0 {
				t.Errorf("%v", f)
			}
			if f["allocs"] != 0 {
				t.Errorf("%v allocations a packet", f["allocs"])
			}
			t.Log(f)
		})
	}
}
