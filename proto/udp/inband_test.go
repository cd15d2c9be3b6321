package udp_test

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

// TestSameWay: a datagram that came fast, one that was reassembled and one
// whose sender had to go in-band are the same to whoever reads them, by each
// of the calls.
func TestSameWay(t *testing.T) {
	a, b := strangers(t, nil)
	x := listen(t, a, 1000, nil)
	y := listenOn(t, b.Stack, netip.AddrPortFrom(netip.Addr{}, 2000), nil)
	send(t, x, "before anybody knows", b.At(2000))
	receive(t, y, "before anybody knows", a.At(1000))
	stacktest.Know(t, a, b)
	buf := make([]byte, udp.MaxPayload)
	for _, size := range []int{0, 1472, 1473, 2944, 2945, 8000, 40000, udp.MaxPayload} {
		want := []byte(pattern(size))
		check := func(how string, n int, from netip.AddrPort, got []byte) {
			t.Helper()
			if n != size || from != a.At(1000) || !bytes.Equal(got[:n], want) {
				t.Errorf("%s, %d bytes: got %d of %v", how, size, n, from)
			}
		}
		for _, how := range []string{"ReadFromUDPAddrPort", "ReadMsgUDPAddrPort", "ReadBatch", "Receive"} {
			if n, err := x.WriteToUDPAddrPort(want, b.At(2000)); n != size || err != nil {
				t.Fatal(n, err)
			}
			switch how {
			case "ReadFromUDPAddrPort":
				n, from, err := y.ReadFromUDPAddrPort(buf)
				if err != nil {
					t.Fatal(err)
				}
				check(how, n, from, buf)
			case "ReadMsgUDPAddrPort":
				n, _, flags, from, err := y.ReadMsgUDPAddrPort(buf, nil)
				if err != nil || flags != 0 {
					t.Fatal(flags, err)
				}
				check(how, n, from, buf)
			case "ReadBatch":
				ms := []udp.Message{{Buf: buf}}
				if k, err := y.ReadBatch(ms); k != 1 || err != nil {
					t.Fatal(k, err)
				}
				check(how, ms[0].N, ms[0].Addr, buf)
			case "Receive":
				d, err := y.Receive()
				if err != nil {
					t.Fatal(err)
				}
				check(how, len(d.Payload()), d.From(), d.Payload())
				if d.To() != b.Addr {
					t.Errorf("sent to %v", d.To())
				}
				d.Release()
			}
		}
	}
	st := y.Stats()
	if st.Received != 33 || st.InBand != 24 || st.Held != 0 || st.Full != 0 {
		t.Errorf("%+v: want 8 of 33 fast", st)
	}
	if st := x.Stats(); st.Demoted != 25 {
		t.Errorf("%+v: want all long ones and the first demoted", st)
	}
	if st := b.Device.Stats(); st.RX.Demoted[stack.ReasonFragment] == 0 {
		t.Errorf("demoted %v", st.RX.Demoted.Map())
	}
}

// TestInBandHasItsPlace: a socket with many fast datagrams waiting still takes
// a slow one; the quota is for all together.
func TestInBandHasItsPlace(t *testing.T) {
	a, b := pair(t, nil)
	x, y := listen(t, a, 1000, nil), listen(t, b, 2000, &udp.Config{Queue: 102})
	for range 100 {
		send(t, x, "fast", b.At(2000))
	}
	for range 3 {
		send(t, x, pattern(2000), b.At(2000))
	}
	stacktest.Eventually(t, "all have come", func() bool { st := y.Stats(); return st.Received+st.Full == 103 })
	if st := y.Stats(); st.Held != 102 || st.InBand != 2 || st.Full != 1 {
		t.Errorf("%+v", st)
	}
	for range 100 {
		receive(t, y, "fast", a.At(1000))
	}
	receive(t, y, pattern(2000), a.At(1000))
	receive(t, y, pattern(2000), a.At(1000))
}

// TestInBandIsBounded: what no one reads stays bounded in the in-band stage
// too, empty datagrams included.
func TestInBandIsBounded(t *testing.T) {
	a, _ := pair(t, nil)
	x, y := listen(t, a, 1000, nil), listen(t, a, 2000, &udp.Config{Queue: udp.MaxQueue})
	sent := uint64(0)
	for range 2000 {
		if _, err := x.WriteToUDPAddrPort(nil, a.At(2000)); err == nil {
			sent++
		}
	}
	stacktest.Eventually(t, "all have come", func() bool { st := y.Stats(); return st.Received+st.Full == sent })
	if st := y.Stats(); st.Held > 64 || st.Held == 0 {
		t.Errorf("%+v", st)
	}
}

// TestOwnAddress: what is sent to an address of the stack itself arrives, of
// any size, between any two of its sockets, and without a wire.
func TestOwnAddress(t *testing.T) {
	a, _ := pair(t, nil)
	second := netip.MustParsePrefix("10.0.0.7/24")
	if err := a.Port.AddAddr(second); err != nil {
		t.Fatal(err)
	}
	x := listen(t, a, 1000, nil)
	y := listenOn(t, a.Stack, netip.AddrPortFrom(second.Addr(), 2000), nil)
	z := listenOn(t, a.Stack, netip.AddrPortFrom(netip.Addr{}, 3000), nil)
	c := dial(t, a, a.At(1000), nil)
	for _, size := range []int{0, 10, 1473, udp.MaxPayload} {
		p := pattern(size)
		send(t, x, p, local(y))
		receive(t, y, p, local(x))
		send(t, y, p, local(x))
		receive(t, x, p, local(y))
		send(t, z, p, local(x))
		receive(t, x, p, a.At(3000))
		send(t, x, p, local(x))
		receive(t, x, p, local(x))
		if _, err := c.Write([]byte(p)); err != nil {
			t.Fatal(err)
		}
		receive(t, x, p, local(c))
		send(t, x, p, local(c))
		receive(t, c, p, local(x))
	}
	if st := a.Device.Stats(); st.RX.Packets != 0 {
		t.Errorf("%d frames came by the wire", st.RX.Packets)
	}
}

// TestLargeMTU: with the wire's frames what they are, 9000 bytes are fast.
func TestLargeMTU(t *testing.T) {
	o := &stacktest.Options{}
	o.Loopback.MTU = 9000
	a, b := pair(t, o)
	x, y := listen(t, a, 1000, nil), listen(t, b, 2000, nil)
	for _, size := range []int{1473, 8972} {
		send(t, x, pattern(size), b.At(2000))
		receive(t, y, pattern(size), a.At(1000))
	}
	if st := y.Stats(); st.InBand != 0 || b.Device.Config().BufferSize != 4*link.PageSize {
		t.Errorf("%+v, buffers of %d bytes", st, b.Device.Config().BufferSize)
	}
	send(t, x, pattern(8973), b.At(2000))
	receive(t, y, pattern(8973), a.At(1000))
	if st := y.Stats(); st.InBand != 1 {
		t.Errorf("%+v", st)
	}
}

// TestSmallPortMTU: the port's own MTU says what is sent fast.
func TestSmallPortMTU(t *testing.T) {
	a, b := pair(t, &stacktest.Options{Port: stack.PortConfig{MTU: 576}})
	x, y := listen(t, a, 1000, nil), listen(t, b, 2000, nil)
	send(t, x, pattern(548), b.At(2000))
	receive(t, y, pattern(548), a.At(1000))
	send(t, x, pattern(549), b.At(2000))
	receive(t, y, pattern(549), a.At(1000))
	if st := x.Stats(); st.Demoted != 1 {
		t.Errorf("%+v", st)
	}
}
