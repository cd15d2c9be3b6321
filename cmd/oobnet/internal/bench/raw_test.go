package bench

import (
	"errors"
	"testing"
)

func TestRawMovesItsPackets(t *testing.T) {
	for name, c := range map[string]contender{"rx64": rawReceive(64), "tx64": rawSend(64), "cycle64": rawCycle(64), "UDP cycle64": udpCycle(64)} {
		t.Run(name, func(t *testing.T) {
			f := run(t, c)
			if f["ns"] <= 0 {
				t.Errorf("%v", f)
			}
			if f["allocs"] != 0 {
				t.Errorf("%v allocations a frame", f["allocs"])
			}
			t.Log(f)
		})
	}
}

func TestPacketSocketsMoveTheirPackets(t *testing.T) {
	for name, c := range map[string]contender{"rx64": packetReceive(64), "tx64": packetSend(64), "cycle64": packetCycle(64)} {
		t.Run(name, func(t *testing.T) {
			_, tearDown, err := c.setUp(t.Context())
			if skip := (errSkip{}); errors.As(err, &skip) {
				t.Skip(skip.reason)
			}
			if err != nil {
				t.Fatal(err)
			}
			tearDown()
			if f := run(t, c); f["ns"] <= 0 {
				t.Errorf("%v", f)
			}
		})
	}
}

func BenchmarkRawReceive64(b *testing.B) { benchmark(b, rawReceive(64)) }
func BenchmarkRawSend64(b *testing.B)    { benchmark(b, rawSend(64)) }
func BenchmarkRawCycle64(b *testing.B)   { benchmark(b, rawCycle(64)) }
func BenchmarkUDPCycle64(b *testing.B)   { benchmark(b, udpCycle(64)) }
