package inband

import (
	"encoding/binary"
	"net/netip"
	"testing"
)

// FuzzInput feeds frames of any kind, repaired so far that they get past the
// checksums, to a stage with listeners, groups and bindings.
func FuzzInput(f *testing.F) {
	u := udp(apA, apB, []byte("payload"))
	quoted := append([]byte{3, 3, 0, 0, 0, 0, 0, 0}, ipv4Packet(addrB, addrA, protoUDP, 1, 0, udp(apB, apA, nil))...)
	for _, seed := range [][]byte{
		frame(macB, macA, 0x0800, ipv4Packet(addrA, addrB, protoUDP, 1, 0, u)),
		frame(macB, macA, 0x0800, ipv4Packet(addrA, addrB, protoICMP, 1, 0, echo(8, u))),
		frame(macB, macA, 0x0800, ipv4Packet(addrA, addrB, protoICMP, 1, 0, quoted)),
		frame(broadcastMAC, macA, 0x0800, ipv4Packet(addrA, allSystemsAddr, 2, 1, 0, []byte{0x11, 10, 0, 0, 0, 0, 0, 0})),
		frame(broadcastMAC, macA, 0x0800, ipv4Packet(addrA, allSystemsAddr, 2, 1, 0, []byte{0x11, 10, 0, 0, 0, 0, 0, 0, 2, 125, 0, 0})),
		fragmentsOf(1, u, 8)[0],
		fragmentsOf(1, u, 8)[1],
		arpFrame(broadcastMAC, arpPacket{op: arpRequest, senderMAC: macA, senderIP: addrA, targetIP: addrB}),
		arpFrame(macB, arpPacket{op: arpReply, senderMAC: macA, senderIP: addrA, targetMAC: macB, targetIP: addrB}),
		// Options: record route, router alert, timestamp, end of list.
		append(frame(macB, macA, 0x0800, []byte{0x49, 0, 0, 44, 0, 1, 0, 0, 64, protoUDP, 0, 0, 10, 1, 0, 1, 10, 1, 0, 2,
			7, 7, 4, 0, 0, 0, 0, 148, 4, 0, 0, 68, 4, 5, 0, 0}), 0x3, 0xe8, 0x7, 0xd0, 0, 8, 0, 0),
	} {
		f.Add(seed)
	}
	b := newSide(f, "b", macB, Config{}, Port{Addrs: []netip.Prefix{netB}})
	b.set(func() {
		b.take = func(d Datagram) bool {
			if len(d.Transport) < udpHeaderSize {
				panic("short datagram")
			}
			return false
		}
	})
	if err := b.JoinGroup(1, netip.MustParseAddr("239.1.2.3")); err != nil {
		f.Fatal(err)
	}
	if err := b.BindErrors(protoUDP, apB.Port()); err != nil {
		f.Fatal(err)
	}
	drain := func() {
		for len(b.out)+len(b.errors)+len(b.neighbors) > 0 {
			select {
			case <-b.out:
			case <-b.errors:
			case <-b.neighbors:
			}
		}
		b.set(func() { b.sent = nil })
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		before := b.Stats()
		b.Input(1, in)
		repair(in)
		b.Input(1, in)
		drain()
		st := b.Stats()
		if n := st.Frames - before.Frames; n != 2 || accounted(st)-accounted(before) != n {
			t.Errorf("%d frames, %d accounted for", n, accounted(st)-accounted(before))
		}
		if st.ReassemblyMemory > defaultReassemblyMemory {
			t.Errorf("reassembly occupies %d bytes", st.ReassemblyMemory)
		}
	})
}

// repair makes a frame come to us, and sets version, lengths and checksums of
// IPv4, ICMP and IGMP, so that the fuzzer gets to the code behind the checks.
func repair(f []byte) {
	if len(f) < 14+20 {
		return
	}
	if f[0]&1 == 0 {
		copy(f, macB[:])
	}
	if binary.BigEndian.Uint16(f[12:]) != 0x0800 {
		return
	}
	p := f[14:]
	hl := min(max(int(p[0]&15), 5)*4, len(p)&^3, 60)
	p[0] = 0x40 | byte(hl/4)
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
	if f[0]&1 == 0 {
		copy(p[16:], addrB.AsSlice())
	}
	p[10], p[11] = 0, 0
	binary.BigEndian.PutUint16(p[10:], ^sum(p[:hl], 0))
	if body := p[hl:]; len(body) >= 8 && (p[9] == protoICMP || p[9] == 2) {
		body[2], body[3] = 0, 0
		binary.BigEndian.PutUint16(body[2:], ^sum(body, 0))
	}
}
