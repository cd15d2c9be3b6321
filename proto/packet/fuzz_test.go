package packet_test

import (
	"bytes"
	"testing"
	"time"

	"golang.org/x/net/bpf"

	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/proto/packet"
	"github.com/oobnet/oobnet/stack"
)

// wireSends sends bytes as they are, however short.
func wireSends(t testing.TB, h *stacktest.Host, b []byte) {
	t.Helper()
	f, err := h.Device.Alloc()
	if err != nil {
		t.Fatal(err)
	}
	f.Off, f.Len = f.Off-18, uint16(copy(h.Device.Memory().Buffer(f.Index)[f.Off-18:], b))
	if err := h.Device.Send(f, 0, 0); err != nil {
		t.Fatal(err)
	}
}

// FuzzReceive: whatever comes, and however much of it a program leaves, sockets
// of all kinds show what there is of it, and no more.
func FuzzReceive(f *testing.F) {
	for _, b := range [][]byte{
		frame(stacktestMAC, 0, etherCAT, "payload"), frame(wire.BroadcastMAC, vlanID, etherCAT, "payload"),
		frame(stranger, vlanID, wire.TypeVLAN, "\x00\x05\x08\x00"), frame(group, 0, wire.TypeQinQ, "\x00\x07"),
		frame(stacktestMAC, 5, etherCAT, "")[:17], {}, {0x81},
	} {
		for _, snap := range []uint16{1, 13, 15, 17, 1500} {
			f.Add(b, snap)
		}
	}
	a, b := pair(f, manual())
	onVLAN(f, b, "10.1.0.2/24")
	var conns []*packet.Conn
	for _, raw := range []bool{false, true} {
		cfg := &packet.Config{Raw: raw}
		conns = append(conns, listen(f, b.Port, etherCAT, cfg), listen(f, b.Port, packet.All, cfg),
			listen(f, b.Device.Ports()[1], packet.All, cfg), analyse(f, b.Device, cfg), analyse(f, a.Device, cfg))
	}
	for _, c := range conns {
		_ = c.SetDeadline(time.Time{}) // the fuzzer has its own
	}
	f.Fuzz(func(t *testing.T, data []byte, snap uint16) {
		data = data[:min(len(data), 1514)]
		for _, c := range conns {
			if err := c.SetBPF([]bpf.RawInstruction{{Op: 0x06, K: uint32(max(1, snap))}}); err != nil {
				t.Fatal(err)
			}
		}
		wireSends(t, a, data)
		for _, h := range []*stacktest.Host{b, a} { // a: what the in-band stage may have answered
			for n := 1; n > 0; {
				var err error
				if n, err = h.Device.Poll(stack.MaxBatch); err != nil {
					t.Fatal(err)
				}
			}
		}
		for i, c := range conns {
			for held := c.Stats(); held.Held > 0; held = c.Stats() {
				read(t, c, data, int(snap), i)
			}
		}
		for _, c := range []*packet.Conn{conns[4], conns[9]} {
			read(t, c, data, int(snap), 4)
		}
	})
}

// read wants the next frame to be what there is of data.
func read(t *testing.T, c *packet.Conn, data []byte, snap, which int) {
	t.Helper()
	f, err := c.Receive()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Release()
	if want := data[:min(len(data), max(1, snap))]; f.WireLen() != len(data) || !bytes.Equal(f.Bytes(), want) {
		t.Fatalf("socket %d: % x of %d bytes, want % x of %d", which, f.Bytes(), f.WireLen(), want, len(data))
	}
	from, header := f.From(), len(f.Bytes())-len(f.Payload())
	if header == len(f.Bytes()) {
		return // the payload is not there, or empty
	}
	if from.MAC != link.MAC(data[6:]) || f.To() != link.MAC(data) || header != 14 && header != 18 ||
		data[header-2] != byte(from.EtherType>>8) || data[header-1] != byte(from.EtherType) {
		t.Fatalf("socket %d: from %v to %x, header of %d, in % x", which, &from, f.To(), header, data)
	}
}

// stacktestMAC is nobody's in particular: loopback ends have random ones.
var stacktestMAC = link.MAC{2, 0x6f, 0x6f, 0, 0, 1}
