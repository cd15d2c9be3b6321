package packet_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link/loopback"
	"github.com/oobnet/oobnet/proto/packet"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

// featured is two manual hosts on a VLAN, on a wire whose devices can do something.
func featured(t *testing.T, with loopback.Features) (a, b *stacktest.Host) {
	t.Helper()
	leaktest.Check(t)
	o := manual()
	o.Loopback.With = with
	o.Port.VLAN = vlanID
	a, b = stacktest.Pair(t, o)
	stacktest.Know(t, a, b)
	return a, b
}

// TestDeviceTags: frames and addresses are the same whoever puts tags in and takes
// them out: this host, or the devices.
func TestDeviceTags(t *testing.T) {
	for _, with := range []loopback.Features{0, loopback.VLANInsert, loopback.VLANStrip, loopback.VLANInsert | loopback.VLANStrip} {
		t.Run(fmt.Sprintf("with=%d", with), func(t *testing.T) {
			a, b := featured(t, with)
			x, whole := listen(t, a.Port, etherCAT, &packet.Config{Priority: 2}), listen(t, a.Port, etherCAT, &packet.Config{Raw: true, Priority: 2})
			y, yWhole := listen(t, b.Port, etherCAT, nil), listen(t, b.Port, etherCAT, &packet.Config{Raw: true})
			analyser := analyse(t, b.Device, &packet.Config{Raw: true})
			inner := listen(t, b.Port, wire.TypeVLAN, nil)
			text := string(bytes.Repeat([]byte("0123456789"), 150))
			want := packet.Addr{MAC: a.Link.MAC(), EtherType: etherCAT, VLAN: vlanID, PCP: 2}
			onWire := bytes.Clone(frame(b.Link.MAC(), 2<<wire.PCPShift|vlanID, etherCAT, text))
			mac := a.Link.MAC()
			copy(onWire[6:], mac[:])
			plain := append(bytes.Clone(onWire[:12]), onWire[16:]...)
			for name, send := range map[string]func() error{
				"WriteToAddr": func() error { _, err := x.WriteToAddr([]byte(text), to(b.Link.MAC())); return err },
				"WriteFrame":  func() error { _, err := whole.WriteFrame(plain); return err },
				"WriteBatch": func() error {
					_, err := x.WriteBatch([]packet.Message{{Buf: []byte(text), Addr: to(b.Link.MAC())}})
					return err
				},
				"Lease": func() error {
					l, err := x.Reserve(len(text))
					if err == nil {
						copy(l.Payload(), text)
						err = l.SendTo(to(b.Link.MAC()))
					}
					return err
				},
			} {
				if err := send(); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				b.Poll()
				m := packet.Message{Buf: make([]byte, 2000)}
				if err := y.ReadMsg(&m); err != nil {
					t.Fatal(err)
				}
				if string(m.Buf[:m.N]) != text || m.Addr != want || m.WireLen != len(onWire) {
					t.Errorf("%s: %.20q... from %v, %d bytes on the wire, want %d", name, m.Buf[:m.N], &m.Addr, m.WireLen, len(onWire))
				}
				for who, c := range map[string]*packet.Conn{"a socket for whole frames": yWhole, "an analyser": analyser} {
					if err := c.ReadMsg(&m); err != nil {
						t.Fatal(err)
					}
					if !bytes.Equal(m.Buf[:m.N], onWire) || m.Addr != want || m.WireLen != len(onWire) {
						t.Errorf("%s: %s read % x... from %v, %d bytes on the wire", name, who, m.Buf[:24], &m.Addr, m.WireLen)
					}
				}
			}
			// A tag of the frame's own becomes the inner one.
			sendFrame(t, whole, frame(b.Link.MAC(), 9, otherType, "two tags"))
			b.Poll()
			if from := receive(t, inner, "\x00\x09\x88\xb5two tags"); from.VLAN != vlanID || from.PCP != 2 {
				t.Errorf("from %v", &from)
			}
			for _, h := range []*stacktest.Host{a, b} {
				stacktest.AssertBooks(t, h.Device)
			}
		})
	}
}

// TestDeviceVerdict: what a device has found wrong is dropped by its name, and raw
// sockets see it; what it has found right is not summed again; and what it has not
// looked at is.
func TestDeviceVerdict(t *testing.T) {
	for _, with := range []loopback.Features{0, loopback.RXChecksum, loopback.RXChecksum | loopback.VLANStrip} {
		a, b := featured(t, with)
		x := listen(t, a.Port, packet.All, &packet.Config{Raw: true})
		y, err := udp.Listen(b.Stack, netip.AddrPortFrom(b.Addr, 7), nil)
		if err != nil {
			t.Fatal(err)
		}
		analyser := analyse(t, b.Device, nil)
		whole := make([]byte, 14+28+100)
		wire.PutEthernet(whole, b.Link.MAC(), a.Link.MAC(), 0, wire.TypeIPv4)
		src, dst := uint32(10<<24|1), uint32(10<<24|2)
		wire.PutIPv4(whole[14:], src, dst, wire.ProtocolUDP, 64, 0, 128)
		wire.PutUDP(whole[34:], src, dst, 9, 7)
		payload, header := bytes.Clone(whole), bytes.Clone(whole)
		payload[100] ^= 1
		header[14+8]++
		for i, c := range []struct {
			b    []byte
			want stack.Reason // of its drop
			held int
		}{{whole, 0, 1}, {payload, stack.ReasonChecksum, 1}, {header, stack.ReasonIPv4Checksum, 1}, {whole, 0, 2}} {
			before := b.Device.Stats().RX.Dropped
			sendFrame(t, x, c.b)
			b.Poll()
			st := b.Device.Stats().RX
			if c.want != 0 && st.Dropped[c.want] != before[c.want]+1 || c.want == 0 && st.Dropped != before {
				t.Errorf("with %d, frame %d: dropped %v, before %v", with, i, st.Dropped.Map(), before.Map())
			}
			if got := y.Stats().Held; got != c.held {
				t.Errorf("with %d, frame %d: the socket holds %d, want %d", with, i, got, c.held)
			}
			if got := analyser.Stats().Held; got != i+1 {
				t.Errorf("with %d, frame %d: the analyser holds %d", with, i, got)
			}
		}
		stacktest.AssertBooks(t, b.Device)
	}
}
