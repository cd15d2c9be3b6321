package packet_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/proto/packet"
	"github.com/oobnet/oobnet/stack"
)

// TestExchange: there and back, with addresses that can be answered.
func TestExchange(t *testing.T) {
	a, b := pair(t, nil)
	x, y := listen(t, a.Port, etherCAT, nil), listen(t, b.Port, etherCAT, nil)
	for _, size := range []int{1, 46, 47, 64, 1500} {
		out := strings.Repeat("x", size)
		send(t, x, out, to(b.Link.MAC()))
		from := receive(t, y, out)
		if want := (packet.Addr{MAC: a.Link.MAC(), EtherType: etherCAT}); from != want {
			t.Errorf("from %v, want %v", &from, &want)
		}
		send(t, y, "answer", from)
		receive(t, x, "answer")
	}
}

// TestNetPacketConn: the sockets as net has them.
func TestNetPacketConn(t *testing.T) {
	a, b := pair(t, nil)
	var x, y net.PacketConn = listen(t, a.Port, etherCAT, nil), listen(t, b.Port, etherCAT, nil)
	if n, err := x.WriteTo([]byte("hello"), &packet.Addr{MAC: b.Link.MAC()}); n != 5 || err != nil {
		t.Fatal(n, err)
	}
	buf := make([]byte, 100)
	n, from, err := y.ReadFrom(buf)
	if err != nil || n != wire.MinFrame-wire.EthernetHeaderLen || !bytes.HasPrefix(buf, []byte("hello")) {
		t.Fatalf("%q, %v", buf[:n], err)
	}
	if from.Network() != "packet" || from.String() != x.LocalAddr().String() {
		t.Errorf("from %v %v, want %v", from.Network(), from, x.LocalAddr())
	}
}

func TestAddrString(t *testing.T) {
	mac := link.MAC{2, 0, 0, 0, 0, 1}
	for want, a := range map[string]*packet.Addr{
		"02:00:00:00:00:01 0x88a4":                {MAC: mac, EtherType: etherCAT},
		"02:00:00:00:00:01 0x88a4 vlan 100 pcp 6": {MAC: mac, EtherType: etherCAT, VLAN: 100, PCP: 6},
		"<nil>": nil,
	} {
		if got := fmt.Sprint(a); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestPadding: a short frame is 60 bytes, and what an earlier one left in the
// buffer is not in it.
func TestPadding(t *testing.T) {
	o := manual()
	o.Device.PoolSize = 1 // every frame is in the same buffer
	a, b := pair(t, o)
	x, y := listen(t, a.Port, etherCAT, nil), listen(t, b.Port, packet.All, &packet.Config{Raw: true})
	raw := listen(t, a.Port, etherCAT, &packet.Config{Raw: true})
	whole := frame(b.Link.MAC(), 0, etherCAT, "whole")
	buf := make([]byte, 2000)
	for _, write := range []func() error{
		func() error { _, err := x.WriteToAddr([]byte("short"), to(b.Link.MAC())); return err },
		func() error { _, err := x.WriteFrame(whole); return err },
		func() error { _, err := raw.WriteTo(whole, nil); return err },
		func() error {
			l, err := x.Reserve(1)
			if err == nil {
				l.Payload()[0] = '!'
				err = l.SendTo(to(b.Link.MAC()))
			}
			return err
		},
	} {
		for _, fill := range []bool{true, false} {
			err := write()
			if fill {
				_, err = x.WriteToAddr(bytes.Repeat([]byte{0xff}, 1500), to(b.Link.MAC()))
			}
			if err != nil {
				t.Fatal(err)
			}
			b.Poll()
			n := 0
			for range 1 + map[bool]int{true: 1}[fill] {
				if n, _, err = y.ReadFromAddr(buf); err != nil {
					t.Fatal(err)
				}
			}
			if !fill && (n != wire.MinFrame || bytes.Contains(buf[:n], []byte{0xff, 0xff})) {
				t.Errorf("%d bytes: % x", n, buf[:n])
			}
		}
	}
}

// TestTruncation: what does not fit is cut off, and that is told.
func TestTruncation(t *testing.T) {
	a, b := pair(t, nil)
	x, y := listen(t, a.Port, etherCAT, nil), listen(t, b.Port, etherCAT, nil)
	const msgTrunc = 0x20
	for _, f := range []struct{ room, flags int }{{99, msgTrunc}, {100, 0}, {0, msgTrunc}} {
		send(t, x, strings.Repeat("y", 100), to(b.Link.MAC()))
		m := packet.Message{Buf: make([]byte, f.room)}
		if err := y.ReadMsg(&m); err != nil {
			t.Fatal(err)
		}
		if m.N != f.room || m.Flags != f.flags || m.WireLen != 114 || m.To != b.Link.MAC() || m.Addr.MAC != a.Link.MAC() || m.Outgoing {
			t.Errorf("%+v", m)
		}
	}
	if n := y.Stats().Truncated; n != 2 {
		t.Errorf("%d frames counted as truncated", n)
	}
}

// TestVLAN: the port's tag with the socket's priority, or the address's; frames
// of the one VLAN are not those of the other.
func TestVLAN(t *testing.T) {
	a, b := pair(t, manual())
	pa, pb := onVLAN(t, a, "10.1.0.1/24"), onVLAN(t, b, "10.1.0.2/24")
	x := listen(t, pa, etherCAT, &packet.Config{Priority: 3})
	y, plain := listen(t, pb, etherCAT, nil), listen(t, b.Port, etherCAT, nil)
	raw := listen(t, pb, packet.All, &packet.Config{Raw: true})
	read := func(pcp uint8) {
		t.Helper()
		b.Poll()
		want := packet.Addr{MAC: a.Link.MAC(), EtherType: etherCAT, VLAN: vlanID, PCP: pcp}
		if from := receive(t, y, "tagged"); from != want {
			t.Errorf("from %v, want %v", &from, &want)
		}
		buf := make([]byte, 100)
		n, from, err := raw.ReadFromAddr(buf)
		if err != nil || from != want || n != wire.MinFrame || binary.BigEndian.Uint16(buf[12:]) != wire.TypeVLAN ||
			binary.BigEndian.Uint16(buf[14:]) != uint16(pcp)<<13|vlanID || !bytes.HasPrefix(buf[18:], []byte("tagged")) {
			t.Errorf("% x, %v, %v", buf[:n], &from, err)
		}
	}
	send(t, x, "tagged", to(b.Link.MAC()))
	read(3)
	send(t, x, "tagged", packet.Addr{MAC: b.Link.MAC(), VLAN: vlanID, PCP: 7})
	read(7)
	if err := x.SetPriority(5); err != nil {
		t.Fatal(err)
	}
	sendFrame(t, x, append(append(append([]byte{}, addresses(a, b)...), 0x88, 0xa4), "tagged"...))
	read(5)
	if n := plain.Stats().Received; n != 0 {
		t.Errorf("the untagged port got %d frames", n)
	}
}

// addresses are the first 12 bytes of a frame from a to b.
func addresses(a, b *stacktest.Host) []byte {
	src, dst := a.Link.MAC(), b.Link.MAC()
	return append(dst[:], src[:]...)
}

// TestQinQ: a frame with a tag of its own leaves a VLAN port with two, and one
// with a service tag is a type of its own on the untagged port.
func TestQinQ(t *testing.T) {
	a, b := pair(t, manual())
	pa, pb := onVLAN(t, a, "10.1.0.1/24"), onVLAN(t, b, "10.1.0.2/24")
	x, untagged := listen(t, pa, etherCAT, nil), listen(t, a.Port, etherCAT, nil)
	inner, service := listen(t, pb, wire.TypeVLAN, nil), listen(t, b.Port, wire.TypeQinQ, nil)
	analyser := analyse(t, b.Device, &packet.Config{Raw: true})
	whole := frame(b.Link.MAC(), 42, etherCAT, "double")

	sendFrame(t, x, whole)
	b.Poll()
	from := receive(t, inner, "\x00\x2a\x88\xa4double")
	if want := (packet.Addr{MAC: stranger, EtherType: wire.TypeVLAN, VLAN: vlanID}); from != want {
		t.Errorf("from %v, want %v", &from, &want)
	}
	receive(t, analyser, string(whole[:12])+"\x81\x00\x00\x64"+string(whole[12:]))

	outer := append(append(append([]byte{}, whole[:12]...), 0x88, 0xa8, 0, 7), whole[12:]...)
	sendFrame(t, untagged, outer)
	b.Poll()
	receive(t, service, "\x00\x07\x81\x00\x00\x2a\x88\xa4double")
	receive(t, analyser, string(outer))
}

// TestMTU: to the byte, for payloads, frames, frames with a tag, and leases.
func TestMTU(t *testing.T) {
	a, b := pair(t, nil)
	pa := onVLAN(t, a, "10.1.0.1/24")
	plain, tagged := listen(t, a.Port, etherCAT, nil), listen(t, pa, etherCAT, nil)
	y, whole := analyse(t, b.Device, &packet.Config{Raw: true}), analyse(t, a.Device, &packet.Config{Raw: true})
	onTag := packet.Addr{VLAN: 5} // of an analyser, whose frames get a tag by their address
	long := strings.Repeat("z", 2000)
	for _, f := range []struct {
		name  string
		write func(size int) error
		most  int
	}{
		{"payload", func(n int) error { _, err := plain.WriteToAddr([]byte(long[:n]), to(b.Link.MAC())); return err }, 1500},
		{"payload on a VLAN", func(n int) error { _, err := tagged.WriteToAddr([]byte(long[:n]), to(b.Link.MAC())); return err }, 1500},
		{"frame", func(n int) error { _, err := plain.WriteFrame(frame(b.Link.MAC(), 0, etherCAT, long)[:n]); return err }, 1514},
		{"tagged frame", func(n int) error { _, err := plain.WriteFrame(frame(b.Link.MAC(), 5, etherCAT, long)[:n]); return err }, 1518},
		{"frame on a VLAN", func(n int) error { _, err := tagged.WriteFrame(frame(b.Link.MAC(), 0, etherCAT, long)[:n]); return err }, 1514},
		{"tagged frame on a VLAN", func(n int) error { _, err := tagged.WriteFrame(frame(b.Link.MAC(), 5, etherCAT, long)[:n]); return err }, 1514},
		{"batch", func(n int) error {
			_, err := plain.WriteBatch([]packet.Message{{Buf: []byte(long[:n]), Addr: to(b.Link.MAC())}})
			return err
		}, 1500},
		{"lease", func(n int) error {
			l, err := plain.Reserve(n)
			if err != nil {
				return err
			}
			return l.SendTo(to(b.Link.MAC()))
		}, 1500},
		{"an analyser's frame", func(n int) error { _, err := whole.WriteFrame(frame(b.Link.MAC(), 0, etherCAT, long)[:n]); return err }, 1514},
		{"an analyser's tagged frame", func(n int) error { _, err := whole.WriteFrame(frame(b.Link.MAC(), 5, etherCAT, long)[:n]); return err }, 1518},
		{"an analyser's frame that gets a tag", func(n int) error {
			_, err := whole.WriteToAddr(frame(b.Link.MAC(), 0, etherCAT, long)[:n], onTag)
			return err
		}, 1514},
		{"an analyser's tagged frame that gets another tag", func(n int) error {
			_, err := whole.WriteToAddr(frame(b.Link.MAC(), 5, etherCAT, long)[:n], onTag)
			return err
		}, 1514},
		{"the same in a batch", func(n int) error {
			_, err := whole.WriteBatch([]packet.Message{{Buf: frame(b.Link.MAC(), 5, etherCAT, long)[:n], Addr: onTag}})
			return err
		}, 1514},
		{"the same in a lease", func(n int) error {
			l, err := whole.Reserve(n)
			if err != nil {
				return err
			}
			copy(l.Payload(), frame(b.Link.MAC(), 5, etherCAT, long))
			return l.SendTo(onTag)
		}, 1514},
	} {
		wantError(t, f.write(f.most+1), "write", emsgsize)
		if err := f.write(f.most); err != nil {
			t.Errorf("%s of %d bytes: %v", f.name, f.most, err)
			continue
		}
		m := packet.Message{Buf: make([]byte, 2000)}
		if err := y.ReadMsg(&m); err != nil || m.N < f.most {
			t.Errorf("%s of %d bytes: %d came, %v", f.name, f.most, m.N, err)
		}
	}
	if n := a.Device.Stats().Queues[0].TXInvalid; n != 0 {
		t.Errorf("the link refused %d frames", n)
	}
}

// TestMTULease: whole frames in place, in the tightest buffer there is.
func TestMTULease(t *testing.T) {
	o := manual()
	o.Loopback.MTU = link.PageSize - stack.HeaderRoom
	a, b := pair(t, o)
	pa := onVLAN(t, a, "10.1.0.1/24")
	y := analyse(t, b.Device, &packet.Config{Raw: true})
	for _, c := range []*packet.Conn{listen(t, a.Port, packet.All, &packet.Config{Raw: true}), listen(t, pa, packet.All, &packet.Config{Raw: true})} {
		most := wire.EthernetHeaderLen + o.Loopback.MTU
		for _, size := range []int{most + 4, most} {
			l, err := c.Reserve(size)
			if err != nil {
				t.Fatal(err)
			}
			clear(l.Payload())
			copy(l.Payload(), frame(b.Link.MAC(), 0, etherCAT, "in place"))
			err = l.Send()
			if size > most {
				wantError(t, err, "write", emsgsize)
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			b.Poll()
			if n, from, err := y.ReadFromAddr(make([]byte, 5000)); err != nil || n < most || from.MAC != stranger {
				t.Error(n, &from, err)
			}
		}
	}
}
