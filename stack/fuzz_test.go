package stack_test

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/loopback"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

// Repairs that the first byte of a frame's record asks for, so that the fuzzer
// gets behind the checks that nearly all bytes fail at.
const (
	repairMAC = 1 << iota
	repairType
	repairVersion
	repairAddrs
	repairLen
	repairSum
	repairUDP
	readOne // the socket's reader takes a datagram first
)

// mend makes some of a frame right.
func mend(b []byte, how byte, mac link.MAC) {
	if how&repairMAC != 0 {
		copy(b, mac[:])
	}
	if how&repairType != 0 {
		binary.BigEndian.PutUint16(b[12:], wire.TypeIPv4)
	}
	h, ok := wire.ParseEthernet(b)
	if !ok || len(b) < h.Len+wire.IPv4HeaderLen {
		return
	}
	ip := b[h.Len:]
	if how&repairVersion != 0 {
		ip[0] = 0x45
	}
	if how&repairAddrs != 0 {
		binary.BigEndian.PutUint32(ip[12:], num(peerAddr))
		binary.BigEndian.PutUint32(ip[16:], num(ownAddr))
	}
	if how&repairLen != 0 {
		binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	}
	if n := int(ip[0]&0xf) * 4; how&repairUDP != 0 && n >= 20 && len(ip) >= n+wire.UDPHeaderLen {
		ip[9] = wire.ProtocolUDP
		wire.PutUDP(ip[n:], binary.BigEndian.Uint32(ip[12:]), binary.BigEndian.Uint32(ip[16:]), 9, 7)
	}
	if n := int(ip[0]&0xf) * 4; how&repairSum != 0 && n >= 20 && n <= len(ip) {
		ip[10], ip[11] = 0, 0
		binary.BigEndian.PutUint16(ip[10:], ^wire.Fold(wire.Sum(ip[:n], 0)))
	}
}

// record is how a seed names a frame: repairs, length, bytes.
func record(how byte, frames ...[]byte) (data []byte) {
	for _, b := range frames {
		data = append(data, how)
		data = binary.BigEndian.AppendUint16(data, uint16(len(b)))
		data = append(data, b...)
	}
	return data
}

// FuzzRX sends whatever the fuzzer makes up over a wire in memory to a stack
// with a UDP socket, a group, a VLAN and a protocol of the test's, and closes
// it: no panic, the books add up, and every buffer is home, which Close says.
func FuzzRX(f *testing.F) {
	for _, c := range fates {
		if len(c.frame) >= 14 { // the wire carries nothing shorter
			f.Add(record(0, c.frame))
		}
	}
	f.Add(record(repairMAC|repairType|repairVersion|repairAddrs|repairLen|repairSum|repairUDP, make([]byte, 60), make([]byte, 1518)))
	f.Add(record(repairMAC|readOne, fates[0].frame, fates[1].frame))
	f.Fuzz(func(t *testing.T, data []byte) {
		wireEnd, end, err := loopback.Pair(&loopback.Config{MACs: [2]link.MAC{peerMAC, fakeMAC}})
		if err != nil {
			t.Fatal(err)
		}
		defer wireEnd.Close()
		mem, err := wireEnd.Attach(link.Layout{BufferSize: 2048, Queues: 1, RXBuffers: 1, TXBuffers: 1})
		if err != nil {
			t.Fatal(err)
		}
		s, err := stack.New(&stack.Config{OnError: func(err error) { t.Error(err) }})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := s.Close(); err != nil {
				t.Errorf("a buffer is lost: %v", err)
			}
		}()
		d, err := s.Attach(end, &stack.DeviceConfig{Poll: link.Manual, RXBuffers: 32, PoolSize: 32, BufferSize: 2048})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range []stack.PortConfig{{Addrs: []netip.Prefix{ownNet}}, {VLAN: 100, Addrs: []netip.Prefix{vlanNet}}} {
			if _, err := d.EnablePort(&p); err != nil {
				t.Fatal(err)
			}
		}
		c, err := udp.Listen(s, netip.AddrPortFrom(netip.Addr{}, 7), &udp.Config{Queue: 4})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.JoinGroup(netip.MustParseAddr("239.1.2.3"), nil); err != nil {
			t.Fatal(err)
		}
		// Its frames meet every fate that a protocol can give.
		turn := 0
		err = s.RegisterProtocol(stack.EtherType(testEtherType), newTestProtocol(func(b *stack.Batch) {
			for _, p := range b.Packets {
				switch turn++; turn % 4 {
				case 0:
					p.Demote(stack.ReasonNoSocket)
				case 1:
					p.Drop(stack.ReasonClosed)
				case 2:
					p.Take()
					b.Device.Release(p.Frame.Index)
				}
				if got := len(b.Bytes(p)); int(p.Offset)+int(p.Len) > got {
					t.Errorf("payload at %d, %d long, of %d bytes", p.Offset, p.Len, got)
				}
			}
		}))
		if err != nil {
			t.Fatal(err)
		}
		q, n := wireEnd.Queue(0), 0
		var back [1]uint32
		for len(data) > 3 {
			how, size := data[0], int(binary.BigEndian.Uint16(data[1:]))
			b := data[3:min(len(data), 3+min(size, 1518))]
			data = data[3+len(b):]
			if len(b) < 14 {
				continue
			}
			frame := link.Frame{Index: 1, Len: uint16(len(b))}
			copy(mem.Bytes(frame), b)
			mend(mem.Bytes(frame), how, fakeMAC)
			n += q.Send([]link.Frame{frame})
			q.Reclaim(back[:])
			if _, err := d.Poll(1); err != nil {
				t.Fatal(err)
			}
			if how&readOne != 0 && c.Stats().Held > 0 {
				if got, err := c.Receive(); err != nil {
					t.Fatal(err)
				} else {
					got.Release()
				}
			}
		}
		st := d.Stats()
		if int(st.RX.Packets) != n || st.RX.Packets != st.RX.Delivered+st.RX.Demoted.Total()+st.RX.Dropped.Total() {
			t.Errorf("%d sent, the books do not add up: %+v", n, st.RX)
		}
		if held := c.Stats().Held; st.Pool.RXHeld > held {
			t.Errorf("%d buffers are held, %d of them by the socket", st.Pool.RXHeld, held)
		}
	})
}
