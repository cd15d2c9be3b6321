package bench

import (
	"testing"
	"time"
)

// The paths of ours as Go benchmarks, for a look with pprof:
//
//	go test -run '^$' -bench Receive64 -cpuprofile cpu.out ./cmd/oobnet/internal/bench
func benchmark(b *testing.B, c contender) {
	turn, tearDown, err := c.setUp(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	defer tearDown()
	for b.Loop() {
		f, err := turn(b.Context(), 100*time.Millisecond)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(f["ns"], "ns/packet")
		b.ReportMetric(f["allocs"], "allocs/packet")
	}
}

func BenchmarkReceive64(b *testing.B)     { benchmark(b, oursReceive(64)) }
func BenchmarkReceive1400(b *testing.B)   { benchmark(b, oursReceive(1400)) }
func BenchmarkSend64(b *testing.B)        { benchmark(b, oursSend(64)) }
func BenchmarkSend1400(b *testing.B)      { benchmark(b, oursSend(1400)) }
func BenchmarkSockets10000(b *testing.B)  { benchmark(b, socketsContender(10_000)) }
func BenchmarkPeers64000(b *testing.B)    { benchmark(b, peersContender(64_000)) }
func BenchmarkGVisorReceive(b *testing.B) { benchmark(b, gvisorReceive(64)) }
