package udp_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/loopback"
	"github.com/oobnet/oobnet/proto/packet"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

// spy is a link that notes what is left to its device.
type spy struct {
	link.Link
	left  map[link.Flags]int // of frames sent
	queue spyQueue
}

type spyQueue struct {
	link.Queue
	l *spy
}

func (s *spy) Queue(i int) link.Queue {
	s.queue = spyQueue{s.Link.Queue(i), s}
	return &s.queue
}

func (q *spyQueue) Send(frames []link.Frame) int {
	n := q.Queue.Send(frames)
	for i := range frames[:n] {
		q.l.left[frames[i].Flags&(link.FlagChecksumOffload|link.FlagVLANStripped)]++
	}
	return n
}

// took returns what was left to the device since the last call.
func (s *spy) took() map[link.Flags]int {
	left := s.left
	s.left = map[link.Flags]int{}
	return left
}

// offloadPair is two manual hosts on a wire whose devices can do something, and
// on a VLAN or not. The receiving stack verifies what arrives.
func offloadPair(t *testing.T, with loopback.Features, vlan uint16) (a, b *stacktest.Host, s *spy) {
	t.Helper()
	leaktest.Check(t)
	la, lb, err := loopback.Pair(&loopback.Config{With: with})
	if err != nil {
		t.Fatal(err)
	}
	o := &stacktest.Options{Manual: true}
	o.Port.VLAN = vlan
	s = &spy{Link: la, left: map[link.Flags]int{}}
	a = stacktest.On(t, s, netip.PrefixFrom(stacktest.AddrA, 24), o)
	b = stacktest.On(t, lb, netip.PrefixFrom(stacktest.AddrB, 24), o)
	stacktest.Know(t, a, b)
	a.Poll()
	s.took()
	return a, b, s
}

// waysToSend are all calls that send one datagram.
var waysToSend = map[string]func(c *udp.Conn, b []byte, to netip.AddrPort) error{
	"WriteToUDPAddrPort": func(c *udp.Conn, b []byte, to netip.AddrPort) error {
		_, err := c.WriteToUDPAddrPort(b, to)
		return err
	},
	"WriteBatch": func(c *udp.Conn, b []byte, to netip.AddrPort) error {
		_, err := c.WriteBatch([]udp.Message{{Buf: b, Addr: to}})
		return err
	},
	"WriteTimed": func(c *udp.Conn, b []byte, to netip.AddrPort) error {
		_, err := c.WriteTimed(b, to)
		return err
	},
	"Lease": func(c *udp.Conn, b []byte, to netip.AddrPort) error {
		l, err := c.Reserve(len(b))
		if err == nil {
			copy(l.Payload(), b)
			err = l.SendTo(to)
		}
		return err
	},
}

// TestOffload: whatever a device does of a frame, the same arrives, and what it
// can do it is left to do.
func TestOffload(t *testing.T) {
	const checksum, tag = link.FlagChecksumOffload, link.FlagVLANStripped
	for _, with := range []loopback.Features{0, loopback.TXChecksum, loopback.VLANInsert, loopback.TXChecksum | loopback.VLANInsert} {
		for _, vlan := range []uint16{0, 100} {
			t.Run(fmt.Sprintf("with=%d/vlan=%d", with, vlan), func(t *testing.T) {
				a, b, s := offloadPair(t, with, vlan)
				x, y := listen(t, a, 1000, &udp.Config{Priority: 5}), listen(t, b, 7, nil)
				if err := x.SetTimestamping(stack.TimeTX); err != nil {
					t.Fatal(err)
				}
				for name, send := range waysToSend {
					for _, size := range []int{0, 1, 17, 18, 19, 64, udp.OffloadFrom - 1, udp.OffloadFrom, udp.OffloadFrom + 1, 1000, 1001, 1471, 1472} {
						payload := pattern(size)
						if err := send(x, []byte(payload), b.At(7)); err != nil {
							t.Fatalf("%s of %d bytes: %v", name, size, err)
						}
						b.Poll()
						receive(t, y, payload, a.At(1000))
						var want link.Flags
						if vlan != 0 && with&loopback.VLANInsert != 0 {
							want |= tag
						}
						if with&loopback.TXChecksum != 0 && size >= udp.OffloadFrom {
							want |= checksum
						}
						if got := s.took(); len(got) != 1 || got[want] != 1 {
							t.Errorf("%s of %d bytes: left to the device %v, want %#x", name, size, got, want)
						}
					}
				}
				for _, h := range []*stacktest.Host{a, b} {
					stacktest.AssertBooks(t, h.Device)
					if st := h.Device.Stats(); st.RX.Dropped.Total() != 0 {
						t.Errorf("dropped: %v", st.RX.Dropped.Map())
					}
				}
			})
		}
	}
}

// TestOffloadElsewhere: what does not leave by the fast way of a device is whole
// without one: fragments, datagrams to this host, and those that loop back from a
// group.
func TestOffloadElsewhere(t *testing.T) {
	for _, vlan := range []uint16{0, 100} {
		a, b, s := offloadPair(t, loopback.TXChecksum|loopback.VLANInsert, vlan)
		x, y := listen(t, a, 1000, &udp.Config{MulticastLoop: true}), listen(t, b, 7, nil)
		own := listenOn(t, a.Stack, netip.AddrPortFrom(netip.Addr{}, 8), nil)
		member := listenOn(t, b.Stack, netip.AddrPortFrom(netip.Addr{}, 8), nil)

		long := pattern(5000)
		send(t, x, long, b.At(7))
		stacktest.Eventually(t, "a fragmented datagram", func() bool { a.Poll(); b.Poll(); return y.Stats().Held == 1 })
		receive(t, y, long, a.At(1000))
		if left := s.took(); left[0] != 4 || len(left) != 1 {
			t.Errorf("VLAN %d: of fragments was left to the device %v", vlan, left)
		}

		send(t, x, pattern(1200), a.At(8))
		receive(t, own, pattern(1200), a.At(1000))
		join(t, own, group)
		join(t, member, group)
		send(t, x, pattern(1200), netip.AddrPortFrom(group, 8))
		receive(t, own, pattern(1200), a.At(1000))
		stacktest.Eventually(t, "a datagram to the group", func() bool { b.Poll(); return member.Stats().Held == 1 })
		receive(t, member, pattern(1200), a.At(1000))
		if left := s.took(); vlan == 0 && left[link.FlagChecksumOffload] != 1 || vlan != 0 && left[link.FlagChecksumOffload|link.FlagVLANStripped] != 1 {
			t.Errorf("VLAN %d: of a datagram to a group was left to the device %v", vlan, left)
		}
	}
}

// TestOffloadAnalysed: an analyser of the sender sees what an analyser of the
// receiver does.
func TestOffloadAnalysed(t *testing.T) {
	for _, vlan := range []uint16{0, 100} {
		a, b, s := offloadPair(t, loopback.TXChecksum|loopback.VLANInsert, vlan)
		x, y := listen(t, a, 1000, &udp.Config{Priority: 3}), listen(t, b, 7, nil)
		var at [2]*packet.Conn
		for i, h := range []*stacktest.Host{a, b} {
			c, err := packet.ListenDevice(h.Device, &packet.Config{Raw: true})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			at[i] = c
		}
		for _, size := range []int{3, 200, 1472} {
			send(t, x, pattern(size), b.At(7))
			b.Poll()
			receive(t, y, pattern(size), a.At(1000))
			var seen [2][]byte
			for i, c := range at {
				f, err := c.Receive()
				if err != nil {
					t.Fatal(err)
				}
				seen[i] = bytes.Clone(f.Bytes())
				f.Release()
			}
			if !bytes.Equal(seen[0], seen[1]) {
				t.Errorf("VLAN %d, %d bytes: sent as\n% x, arrived as\n% x", vlan, size, seen[0], seen[1])
			}
		}
		if left := s.took(); len(left) != 1 || left[0] != 3 {
			t.Errorf("VLAN %d: left to the device while it was analysed: %v", vlan, left)
		}
	}
}
