package udp_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/oobnet/oobnet/internal/clock"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio"
	"github.com/oobnet/oobnet/proto/udp"
)

// offloadBurst is how many datagrams are sent before the free device is asked to
// let them leave: less than its ring, with the contexts that some need.
const offloadBurst = 192

// BenchmarkOffload is what a datagram costs from the call to the doorbell on a
// device that costs nothing, with its checksum left to the device and without, one
// by one and in batches of 32. It is the median of bursts: others use the
// processors, too.
func BenchmarkOffload(b *testing.B) {
	for _, model := range []string{"82574L", "82576"} {
		for _, size := range []int{64, 256, 512, 1400} {
			for _, batch := range []int{1, 32} {
				for name, without := range map[string]vfio.Features{"device": 0, "software": vfio.TXChecksum} {
					b.Run(fmt.Sprintf("%s/size=%d/batch=%d/%s", model, size, batch, name), func(b *testing.B) {
						benchOffload(b, model, size, batch, without)
					})
				}
			}
		}
	}
}

func benchOffload(b *testing.B, model string, size, batch int, without vfio.Features) {
	l, far, err := vfio.OpenFree(model, &vfio.Config{Interrupts: vfio.NoInterrupts, Queues: 1, TXDescriptors: 512, Without: without})
	if err != nil {
		b.Skip(err)
	}
	h := stacktest.On(b, l, netip.MustParsePrefix("10.0.0.1/24"), &stacktest.Options{Manual: true})
	peer := netip.MustParseAddrPort("10.0.0.2:7")
	if err := h.Stack.SetNeighbor(peer.Addr(), link.MAC{2, 0, 0, 0, 0, 2}); err != nil {
		b.Fatal(err)
	}
	c := listen(b, h, 1000, nil)
	ms := make([]udp.Message, batch)
	for i := range ms {
		ms[i] = udp.Message{Buf: []byte(pattern(size)), Addr: peer}
	}
	h.Poll()
	if err := far.Begin(); err != nil {
		b.Fatal(err)
	}
	defer far.End()
	far.Leave()
	var took []int64
	for n := 0; n < b.N; n += offloadBurst {
		start := clock.Now()
		for range offloadBurst / batch {
			if batch == 1 {
				_, err = c.WriteToUDPAddrPort(ms[0].Buf, peer)
			} else {
				_, err = c.WriteBatch(ms)
			}
			if err != nil {
				b.Fatal(err)
			}
		}
		took = append(took, clock.Now()-start)
		far.Leave()
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2])/offloadBurst, "ns/packet")
	b.ReportMetric(0, "ns/op")
}
