package udp_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/clock"
	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/netnstest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/afxdp"
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

// TestOffloadToKernel: a kernel takes what was left to the device of an AF_XDP link
// for right, as it takes it from its own stack, and answers.
func TestOffloadToKernel(t *testing.T) {
	leaktest.Check(t)
	w := netnstest.NewPair(t, nil)
	var l *afxdp.Link
	var err error
	w.A.Do(func() { l, err = afxdp.Open(w.A.IfName, &afxdp.Config{With: afxdp.TXChecksum}) })
	if errors.Is(err, link.ErrNotSupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := netip.MustParsePrefix("10.7.0.1/24"), netip.MustParsePrefix("10.7.0.2/24")
	if err := w.B.AddAddr(theirs); err != nil {
		t.Fatal(err)
	}
	h := stacktest.On(t, l, ours, nil)
	if h.Device.Offloads()&link.FlagChecksumOffload == 0 {
		t.Fatal("the device completes no checksums")
	}
	k, err := w.B.ListenUDP(netip.AddrPortFrom(theirs.Addr(), 7))
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	if err := k.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	c := listen(t, h, 1000, &udp.Config{OnMiss: udp.MissWait})
	buf := make([]byte, udp.MaxPayload)
	for _, size := range []int{0, 1, 100, udp.OffloadFrom, udp.OffloadFrom + 1, 1400, 1472, 4000} {
		payload := pattern(size)
		send(t, c, payload, netip.AddrPortFrom(theirs.Addr(), 7))
		n, from, err := k.ReadFromUDPAddrPort(buf)
		if err != nil || string(buf[:n]) != payload {
			t.Fatalf("of %d bytes came %s, %v", size, brief(buf[:n]), err)
		}
		if _, err := k.WriteToUDPAddrPort(buf[:n], from); err != nil {
			t.Fatal(err)
		}
		receive(t, c, payload, netip.AddrPortFrom(theirs.Addr(), 7))
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
