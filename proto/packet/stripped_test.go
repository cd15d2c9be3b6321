package packet_test

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/loopback"
	"github.com/oobnet/oobnet/proto/packet"
)

// stripper is a link whose device takes tags out of what it receives.
type stripper struct {
	link.Link
	mem  *link.Memory
	keep uint16 // how many bytes stay free in front of a frame
}

func (s *stripper) Attach(l link.Layout) (m *link.Memory, err error) {
	s.mem, err = s.Link.Attach(l)
	return s.mem, err
}

func (s *stripper) Queue(i int) link.Queue { return &strippedQueue{s.Link.Queue(i), s} }

type strippedQueue struct {
	link.Queue
	l *stripper
}

func (q *strippedQueue) Receive(frames []link.Frame) int {
	n := q.Queue.Receive(frames)
	for i := range frames[:n] {
		f := &frames[i]
		b := q.l.mem.Bytes(*f)
		if h, ok := wire.ParseEthernet(b); ok && h.Tagged {
			f.VLAN, f.Flags = binary.BigEndian.Uint16(b[14:]), f.Flags|link.FlagVLANStripped
			rest := append(bytes.Clone(b[:12]), b[16:]...)
			f.Off, f.Len = q.l.keep, uint16(copy(q.l.mem.Buffer(f.Index)[q.l.keep:], rest))
		}
	}
	return n
}

// TestStrippedTag: what a device has taken out of a frame is in the address, and
// back in the frame of a socket for whole ones, whatever room it has left.
func TestStrippedTag(t *testing.T) {
	for _, keep := range []uint16{0, 3, 4, 64} {
		leaktest.Check(t)
		la, lb, err := loopback.Pair(nil)
		if err != nil {
			t.Fatal(err)
		}
		a := stacktest.On(t, la, netip.PrefixFrom(stacktest.AddrA, 24), manual())
		b := stacktest.On(t, &stripper{Link: lb, keep: keep}, netip.PrefixFrom(stacktest.AddrB, 24), manual())
		x, vlan := listen(t, a.Port, packet.All, nil), onVLAN(t, b, "10.1.0.2/24")
		y, whole := listen(t, vlan, etherCAT, nil), listen(t, vlan, etherCAT, &packet.Config{Raw: true})
		single, double := frame(lb.MAC(), 3<<13|vlanID, etherCAT, "one tag"), frame(lb.MAC(), vlanID, wire.TypeVLAN, "\x00\x05two tags")
		inner := listen(t, vlan, wire.TypeVLAN, nil)
		sendFrame(t, x, single)
		sendFrame(t, x, double)
		b.Poll()
		for c, text := range map[*packet.Conn]string{y: "one tag", inner: "\x00\x05two tags"} {
			if from := receive(t, c, text); from.VLAN != vlanID {
				t.Errorf("from %v", &from)
			}
		}
		if from := receive(t, whole, string(single)); from != (packet.Addr{MAC: stranger, EtherType: etherCAT, VLAN: vlanID, PCP: 3}) {
			t.Errorf("from %v", &from)
		}
		stacktest.AssertBooks(t, b.Device)
	}
}
