package inband

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"syscall"
	"testing"
	"time"
)

func TestPortUnreachableReachesTheSender(t *testing.T) {
	for _, bound := range []bool{false, true} {
		a, b := newPair(t, Config{})
		b.set(func() { b.take = func(Datagram) bool { return false } })
		if bound { // the same answer where b has its own errors of the port bound
			if err := b.BindErrors(protoUDP, apB.Port()); err != nil {
				t.Fatal(err)
			}
		}
		if err := a.BindErrors(protoUDP, apA.Port()); err != nil {
			t.Fatal(err)
		}
		if err := a.BindErrors(protoUDP, apA.Port()); err != nil { // bindings are counted
			t.Fatal(err)
		}
		if err := a.UnbindErrors(protoUDP, apA.Port()); err != nil {
			t.Fatal(err)
		}
		a.Send(outgoing(apA, apB, []byte("anyone?")))
		e := next(t, "error", a.errors)
		if e != (TransportError{Port: 1, Protocol: protoUDP, Local: apA, Remote: apB, Kind: PortUnreachable}) {
			t.Errorf("got %+v", e)
		}
		// b counts what it has sent after a has it.
		eventually(t, "b counts one unreachable", func() bool { st := b.Stats(); return st.Unclaimed == 1 && st.ICMPUnreachableSent == 1 })
		if err := a.UnbindErrors(protoUDP, apA.Port()); err != nil {
			t.Fatal(err)
		}
		if err := a.UnbindErrors(protoUDP, apA.Port()); !errors.Is(err, syscall.ENOENT) {
			t.Errorf("unbinding once too often: %v", err)
		}
		a.Send(outgoing(apA, apB, []byte("anyone?")))
		eventually(t, "second unreachable", func() bool { return a.Stats().ICMPUnreachableReceived == 2 })
		if len(a.errors) != 0 {
			t.Error("an error came after UnbindErrors")
		}
	}
}

func TestNoErrorToManyOrForCorruption(t *testing.T) {
	b := newSide(t, "b", macB, Config{}, Port{Addrs: []netip.Prefix{netB}})
	b.set(func() { b.take = func(Datagram) bool { return false } })
	group := netip.MustParseAddr("239.1.2.3")
	if err := b.JoinGroup(1, group); err != nil {
		t.Fatal(err)
	}
	b.SetStatic(1, addrA, macA)
	skip := len(b.frames())
	send := func(dst netip.Addr, spoil bool) {
		u := udp(apA, netip.AddrPortFrom(dst, 9), []byte("x"))
		if spoil {
			u[8] ^= 1
		}
		mac := macB
		if dst != addrB {
			mac = broadcastMAC
		}
		b.Input(1, frame(mac, macA, 0x0800, ipv4Packet(addrA, dst, protoUDP, 1, 0, u)))
	}
	send(group, false)
	send(broadcastAddr, false)
	send(netip.MustParseAddr("10.1.0.255"), false)
	send(addrB, true)
	if f := b.frames()[skip:]; len(icmpOf(f)) != 0 {
		t.Errorf("answered with % x", f)
	}
	if st := b.Stats(); st.Unclaimed != 3 || st.UDPChecksum != 1 {
		t.Errorf("stats %+v", st)
	}
	send(addrB, false)
	if f := icmpOf(b.frames()[skip:]); len(f) != 1 {
		t.Errorf("%d answers to a good datagram, want 1", len(f))
	}
}

// icmpOf keeps the ICMP packets among frames.
func icmpOf(frames [][]byte) (icmp [][]byte) {
	for _, f := range frames {
		if !isARP(f) && f[14+9] == protoICMP {
			icmp = append(icmp, f[14+20:])
		}
	}
	return icmp
}

func TestICMPErrorKinds(t *testing.T) {
	a := newSide(t, "a", macA, Config{}, Port{Addrs: []netip.Prefix{netA}})
	if err := a.BindErrors(protoUDP, apA.Port()); err != nil {
		t.Fatal(err)
	}
	router := netip.MustParseAddr("10.1.0.254")
	quoted := ipv4Packet(addrA, addrB, protoUDP, 1, 0, udp(apA, apB, []byte("x")))[:28]
	for code, want := range map[byte]ErrorKind{0: NetUnreachable, 1: HostUnreachable, 2: ProtocolUnreachable, 3: PortUnreachable, 4: PacketTooBig, 5: HostUnreachable} {
		msg := append([]byte{3, code, 0, 0, 0, 0, 0, 0}, quoted...)
		if code == 4 {
			binary.BigEndian.PutUint16(msg[6:], 1400)
		}
		binary.BigEndian.PutUint16(msg[2:], ^sum(msg, 0))
		in := frame(macA, macB, 0x0800, ipv4Packet(router, addrA, protoICMP, 1, 0, msg))
		a.Input(1, in)
		wantErr := TransportError{Port: 1, Protocol: protoUDP, Local: apA, Remote: apB, Kind: want}
		if code == 4 {
			wantErr.MTU = 1400
		}
		if e := next(t, want.String(), a.errors); e != wantErr {
			t.Errorf("code %d: got %+v, want %+v", code, e, wantErr)
		}
		in[len(in)-1] ^= 1 // the checksum no longer holds
		a.Input(1, in)
	}
	if len(a.errors) != 0 || a.Stats().ICMPInvalid != 6 {
		t.Errorf("corrupt ICMP errors were believed: %+v", a.Stats())
	}
}

func TestResolutionFailureIsReported(t *testing.T) {
	a := newSide(t, "a", macA, Config{}, Port{Addrs: []netip.Prefix{netA}})
	if err := a.BindErrors(protoUDP, apA.Port()); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := a.Send(outgoing(apA, apB, []byte("x"))); err != nil {
		t.Fatal(err)
	}
	e := next(t, "error", a.errors)
	if e != (TransportError{Port: 1, Protocol: protoUDP, Local: apA, Remote: apB, Kind: HostUnreachable}) {
		t.Errorf("got %+v", e)
	}
	if d := time.Since(start); d < 2*time.Second {
		t.Errorf("gave up after %v", d)
	}
	a.waitState(t, addrB, Failed)
}
