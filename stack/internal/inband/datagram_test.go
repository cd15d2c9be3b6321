package inband

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net/netip"
	"syscall"
	"testing"
)

func outgoing(src, dst netip.AddrPort, payload []byte) Outgoing {
	return Outgoing{Protocol: protoUDP, Src: src.Addr(), Dst: dst.Addr(), Transport: udp(src, dst, payload)}
}

var (
	apA, apB = netip.AddrPortFrom(addrA, 1000), netip.AddrPortFrom(addrB, 2000)
)

func TestSendAsksByARPAndArrives(t *testing.T) {
	a, b := newPair(t, Config{})
	o := outgoing(apA, apB, []byte("hello"))
	o.TTL, o.TOS = 7, 0x48
	if err := a.Send(o); err != nil {
		t.Fatal(err)
	}
	d := next(t, "datagram", b.datagrams)
	if d.Port != 1 || d.Protocol != protoUDP || d.Src != addrA || d.Dst != addrB || d.TTL != 7 || d.TOS != 0x48 || d.ChecksumVerified {
		t.Errorf("got %+v", d)
	}
	if !bytes.Equal(d.Transport, o.Transport) {
		t.Errorf("transport % x, want % x", d.Transport, o.Transport)
	}
	if sent := a.frames(); len(sent) < 2 {
		t.Errorf("%d frames, want a request and the packet", len(sent))
	} else if q, ok := parseARP(sent[0][14:]); !ok || q.op != arpRequest || q.targetIP != addrB || q.senderIP != addrA {
		t.Errorf("first frame % x, want an ARP request for %v", sent[0], addrB)
	}
	// The answer resolves at a; the request taught b.
	a.waitState(t, addrB, Reachable)
	if mac, state, ok := b.Lookup(1, addrA); !ok || mac != macA || state != Stale {
		t.Errorf("b knows %v %x %v, want stale", ok, mac, state)
	}
	// b answers without asking first, and has it confirmed at once.
	if err := b.Send(outgoing(apB, apA, []byte("back"))); err != nil {
		t.Fatal(err)
	}
	next(t, "answer", a.datagrams)
	b.waitState(t, addrA, Reachable)
}

func TestFragmentsOfTheLargestDatagram(t *testing.T) {
	a, b := newPair(t, Config{})
	payload := make([]byte, 65507)
	r := rand.NewChaCha8([32]byte{1})
	r.Read(payload)
	for range 3 {
		if err := a.Send(outgoing(apA, apB, payload)); err != nil {
			t.Fatal(err)
		}
		if d := next(t, "datagram", b.datagrams); !bytes.Equal(d.Transport[udpHeaderSize:], payload) {
			t.Fatal("payload differs")
		}
	}
	ids := make(map[uint16]int)
	for _, f := range a.frames() {
		if isARP(f) {
			continue
		}
		ids[binary.BigEndian.Uint16(f[14+4:])]++
		if f[14+6]&0x40 != 0 {
			t.Error("DF on a fragment")
		}
		if len(f) > 14+1500 {
			t.Errorf("frame of %d bytes", len(f))
		}
	}
	if len(ids) != 3 {
		t.Errorf("identifications %v, want three", ids)
	}
	if st := b.Stats(); st.Reassembled != 3 || st.ReassemblyMemory != 0 || st.Fragments != 3*45 {
		t.Errorf("stats %+v", st)
	}
	if err := a.Send(outgoing(apA, apB, make([]byte, 65508))); !errors.Is(err, syscall.EMSGSIZE) {
		t.Errorf("65508 bytes: %v, want EMSGSIZE", err)
	}
}

// With identifications drawn at random, two of 1000 would be equal in 2000
// runs out of 2001.
func TestIdentificationsDiffer(t *testing.T) {
	const n = 1000
	a := newSide(t, "a", macA, Config{}, Port{Addrs: []netip.Prefix{netA}})
	if err := a.SetStatic(1, addrB, macB); err != nil {
		t.Fatal(err)
	}
	for range n {
		if err := a.Send(outgoing(apA, apB, make([]byte, 2000))); err != nil {
			t.Fatal(err)
		}
	}
	ids := make(map[uint16]int)
	for _, f := range a.frames() {
		if f[14+9] == protoUDP {
			ids[binary.BigEndian.Uint16(f[14+4:])]++
		}
	}
	if len(ids) != n || ids[0] != 0 {
		t.Errorf("%d identifications for %d datagrams", len(ids), n)
	}
	for id, fragments := range ids {
		if fragments != 2 {
			t.Errorf("%d fragments with identification %d", fragments, id)
		}
	}
}

func TestBroadcast(t *testing.T) {
	a, b := newPair(t, Config{})
	for _, dst := range []netip.Addr{broadcastAddr, netip.MustParseAddr("10.1.0.255")} {
		o := outgoing(apA, netip.AddrPortFrom(dst, 9), make([]byte, 3000))
		o.Port = 1
		if err := a.Send(o); err != nil {
			t.Fatal(err)
		}
		if d := next(t, "broadcast", b.datagrams); d.Dst != dst {
			t.Errorf("got %v", d.Dst)
		}
	}
	if len(a.datagrams) != 0 {
		t.Error("a broadcast came back to its sender")
	}
}

func TestDontFragment(t *testing.T) {
	a, b := newPair(t, Config{})
	o := outgoing(apA, apB, make([]byte, 1472))
	o.DontFragment = true
	if err := a.Send(o); err != nil {
		t.Fatal(err)
	}
	next(t, "datagram", b.datagrams)
	if f := a.frames(); f[len(f)-1][14+6]&0x40 == 0 && !isARP(f[len(f)-1]) {
		t.Error("DF is not set")
	}
	o = outgoing(apA, apB, make([]byte, 1473))
	o.DontFragment = true
	if err := a.Send(o); !errors.Is(err, syscall.EMSGSIZE) {
		t.Errorf("over the MTU: %v, want EMSGSIZE", err)
	}
	if err := a.SetMTU(1, 1501); err != nil {
		t.Fatal(err)
	}
	if err := a.Send(o); err != nil {
		t.Errorf("after SetMTU: %v", err)
	}
	next(t, "datagram", b.datagrams)
}

func TestLoopBackToOwnAddress(t *testing.T) {
	a := newSide(t, "a", macA, Config{}, Port{Addrs: []netip.Prefix{netA}})
	other := netip.MustParsePrefix("10.2.0.1/24")
	if err := a.AddPort(Port{ID: 2, Name: "a2", MAC: macB, MTU: 1500, Addrs: []netip.Prefix{other}}); err != nil {
		t.Fatal(err)
	}
	for port := range uint32(3) {
		for _, dst := range []netip.Addr{addrA, other.Addr()} {
			o := outgoing(apA, netip.AddrPortFrom(dst, 9), make([]byte, 3000))
			o.Port = port
			if err := a.Send(o); err != nil {
				t.Fatalf("by port %d to %v: %v", port, dst, err)
			}
			if d := next(t, "datagram", a.datagrams); d.Dst != dst || len(d.Transport) != 3008 {
				t.Errorf("got %v, %d bytes", d.Dst, len(d.Transport))
			}
		}
	}
	for _, f := range a.frames() {
		if !isARP(f) && f[14+9] == protoUDP {
			t.Errorf("went to the wire: % x", f[:42])
		}
	}
}

func TestSendErrors(t *testing.T) {
	a := newSide(t, "a", macA, Config{}, Port{Addrs: []netip.Prefix{netA}})
	far := netip.MustParseAddrPort("192.0.2.1:5")
	noPort := outgoing(apA, apB, nil)
	noPort.Port = 7
	for _, c := range []struct {
		name string
		o    Outgoing
		want syscall.Errno
	}{
		{"no route", outgoing(apA, far, nil), syscall.ENETUNREACH},
		{"no port", noPort, syscall.ENETDOWN},
		{"foreign source", outgoing(apB, apA, nil), syscall.EADDRNOTAVAIL},
		{"no destination", Outgoing{Src: addrA}, syscall.EINVAL},
		{"IPv6", Outgoing{Src: addrA, Dst: netip.IPv6Loopback()}, syscall.EINVAL},
	} {
		if err := a.Send(c.o); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	// A neighbour that never answers may not take memory without bound.
	var last error
	for range maxPending + 2 {
		last = a.Send(outgoing(apA, apB, nil))
	}
	if !errors.Is(last, syscall.ENOBUFS) {
		t.Errorf("datagram %d to a silent neighbour: %v, want ENOBUFS", maxPending+2, last)
	}
	if st := a.Stats(); st.SendErrors == 0 || st.Sends == 0 {
		t.Errorf("stats %+v", st)
	}
}

func TestRouteByGateway(t *testing.T) {
	a, b := newPair(t, Config{})
	far := netip.MustParsePrefix("192.0.2.9/32")
	if err := b.AddAddr(1, far); err != nil {
		t.Fatal(err)
	}
	err := a.SetRoutes([]Route{
		{Dst: netip.MustParsePrefix("0.0.0.0/0"), Gateway: netip.MustParseAddr("10.1.0.77"), Port: 1},
		{Dst: netip.MustParsePrefix("192.0.2.0/24"), Gateway: addrB, Port: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Send(outgoing(apA, netip.AddrPortFrom(far.Addr(), 9), []byte("x"))); err != nil {
		t.Fatal(err)
	}
	if d := next(t, "datagram by the longer route", b.datagrams); d.Dst != far.Addr() {
		t.Errorf("got %v", d.Dst)
	}
	if err := a.SetRoutes([]Route{{Dst: far, Port: 9}}); !errors.Is(err, syscall.ENODEV) {
		t.Errorf("route by a port that is not there: %v, want ENODEV", err)
	}
}

func TestPartialChecksum(t *testing.T) {
	for _, partial := range []bool{false, true} {
		b := newSide(t, "b", macB, Config{}, Port{Addrs: []netip.Prefix{netB}, PartialChecksum: partial})
		b.SetStatic(1, addrA, macA)
		u := udp(apA, apB, []byte("partial"))
		binary.BigEndian.PutUint16(u[6:], pseudo(addrA, addrB, len(u)))
		in := frame(macB, macA, 0x0800, ipv4Packet(addrA, addrB, protoUDP, 1, 0, u))
		b.Input(1, in)
		if d := next(t, "datagram", b.datagrams); d.ChecksumVerified {
			t.Error("claims to have verified")
		}
		b.set(func() { b.take = func(Datagram) bool { return false } })
		b.Input(1, in)
		if st, want := b.Stats(), map[bool]uint64{true: 1}[partial]; st.Unclaimed != want || st.UDPChecksum != 1-want {
			t.Errorf("partial %v: stats %+v", partial, st)
		}
	}
}

func TestUDPLength(t *testing.T) {
	b := newSide(t, "b", macB, Config{}, Port{Addrs: []netip.Prefix{netB}})
	for length, want := range map[uint16]int{7: 0, 8: 8, 12: 12, 13: 0, 0: 0, 0xffff: 0} {
		u := udp(apA, apB, []byte("abcd"))
		binary.BigEndian.PutUint16(u[4:], length)
		b.Input(1, frame(macB, macA, 0x0800, ipv4Packet(addrA, addrB, protoUDP, 1, 0, u)))
		if want == 0 {
			if len(b.datagrams) != 0 {
				t.Errorf("length %d was delivered: %+v", length, <-b.datagrams)
			}
		} else if d := next(t, "datagram", b.datagrams); len(d.Transport) != want {
			t.Errorf("length %d: %d bytes", length, len(d.Transport))
		}
	}
	if st := b.Stats(); st.UDPMalformed != 4 {
		t.Errorf("stats %+v", st)
	}
}

func TestOtherProtocols(t *testing.T) {
	const mine, nobodys = 253, 254 // RFC 3692: for experiments
	b := newSide(t, "b", macB, Config{}, Port{Addrs: []netip.Prefix{netB}})
	b.set(func() { b.speaks = []uint8{mine} })
	b.SetStatic(1, addrA, macA)
	b.Input(1, frame(macB, macA, 0x0800, ipv4Packet(addrA, addrB, mine, 1, 0, []byte("abc"))))
	if d := next(t, "datagram", b.datagrams); d.Protocol != mine || string(d.Transport) != "abc" {
		t.Errorf("got %+v", d)
	}
	skip := len(b.frames())
	b.Input(1, frame(macB, macA, 0x0800, ipv4Packet(addrA, addrB, nobodys, 1, 0, []byte("abc"))))
	if f := icmpOf(b.frames()[skip:]); len(f) != 1 || f[0][0] != 3 || f[0][1] != 2 {
		t.Errorf("got % x, want protocol unreachable", f)
	}
	if st := b.Stats(); st.UnknownProtocol != 1 {
		t.Errorf("stats %+v", st)
	}
	// To many, nobody is told.
	skip = len(b.frames())
	b.Input(1, frame(broadcastMAC, macA, 0x0800, ipv4Packet(addrA, broadcastAddr, nobodys, 1, 0, []byte("abc"))))
	if f := icmpOf(b.frames()[skip:]); len(f) != 0 {
		t.Errorf("a broadcast was answered by % x", f)
	}
	for _, own := range []uint8{protoICMP, protoIGMP} {
		if err := b.BindErrors(own, 0); !errors.Is(err, syscall.EPROTONOSUPPORT) {
			t.Errorf("binding protocol %d: %v", own, err)
		}
	}
}

// TestProtocolOfManySizes: what the host speaks is put together from fragments,
// and cut into them, both ways.
func TestProtocolOfManySizes(t *testing.T) {
	const mine = 253
	a, b := newPair(t, Config{})
	for _, h := range []*side{a, b} {
		h.set(func() { h.speaks = []uint8{mine} })
	}
	for _, size := range []int{1, 7, 1480, 1481, 20_000, maxTransport} {
		payload := bytes.Repeat([]byte{byte(size)}, size)
		if err := a.Send(Outgoing{Protocol: mine, Src: addrA, Dst: addrB, Transport: payload}); err != nil {
			t.Fatal(err)
		}
		if d := next(t, "datagram", b.datagrams); d.Protocol != mine || !bytes.Equal(d.Transport, payload) {
			t.Errorf("size %d: protocol %d, %d bytes", size, d.Protocol, len(d.Transport))
		}
	}
}

// TestOverridden: a host that speaks ICMP gets its packets, and the stage
// answers none.
func TestOverridden(t *testing.T) {
	b := newSide(t, "b", macB, Config{}, Port{Addrs: []netip.Prefix{netB}})
	b.SetStatic(1, addrA, macA)
	b.set(func() { b.speaks = []uint8{protoICMP, protoIGMP} })
	b.Input(1, frame(macB, macA, 0x0800, ipv4Packet(addrA, addrB, protoICMP, 1, 0, echo(8, []byte("abc")))))
	if d := next(t, "datagram", b.datagrams); d.Protocol != protoICMP || !bytes.Equal(d.Transport, echo(8, []byte("abc"))) || d.Src != addrA {
		t.Errorf("got %+v", d)
	}
	if st := b.Stats(); st.ICMPEchoRequests != 0 || len(icmpOf(b.frames())) != 0 || st.Datagrams != 1 {
		t.Errorf("stats %+v", st)
	}
	b.set(func() { b.take = func(Datagram) bool { return false } })
	b.Input(1, frame(macB, macA, 0x0800, ipv4Packet(addrA, addrB, protoICMP, 1, 0, echo(8, nil))))
	if st := b.Stats(); st.Unclaimed != 1 || len(icmpOf(b.frames())) != 0 {
		t.Errorf("stats %+v", st)
	}
}
