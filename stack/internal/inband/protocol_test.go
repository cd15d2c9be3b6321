package inband

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"syscall"
	"testing"
	"time"
)

func echo(typ byte, payload []byte) []byte {
	m := append([]byte{typ, 0, 0, 0, 0x12, 0x34, 0, 1}, payload...)
	binary.BigEndian.PutUint16(m[2:], ^sum(m, 0))
	return m
}

func TestPing(t *testing.T) {
	a, b := newPair(t, Config{})
	for _, size := range []int{0, 56, 4000} { // the last is fragmented both ways
		request := echo(8, bytes.Repeat([]byte{0xa5}, size))
		if err := a.Send(Outgoing{Protocol: protoICMP, Src: addrA, Dst: addrB, Transport: request}); err != nil {
			t.Fatal(err)
		}
		count := b.Stats().ICMPEchoReplies
		eventually(t, "reply", func() bool {
			return b.Stats().ICMPEchoReplies > count || b.Stats().ICMPEchoReplies == b.Stats().ICMPEchoRequests && count > 0
		})
	}
	eventually(t, "three replies", func() bool { return b.Stats().ICMPEchoReplies == 3 })
	var replies [][]byte
	for _, f := range b.frames() {
		if !isARP(f) && f[14+9] == protoICMP && binary.BigEndian.Uint16(f[14+6:])&0x3fff == 0 {
			replies = append(replies, f[14:])
		}
	}
	if len(replies) != 2 {
		t.Fatalf("%d unfragmented replies, want 2", len(replies))
	}
	for _, r := range replies {
		if r[20] != 0 || sum(r[20:], 0) != 0xffff || netip.AddrFrom4([4]byte(r[12:16])) != addrB || netip.AddrFrom4([4]byte(r[16:20])) != addrA {
			t.Errorf("reply % x", r)
		}
	}
	if !bytes.Equal(replies[1][28:], bytes.Repeat([]byte{0xa5}, 56)) {
		t.Error("payload differs")
	}
}

func TestEchoThatIsIgnored(t *testing.T) {
	b := newSide(t, "b", macB, Config{}, Port{Addrs: []netip.Prefix{netB}})
	if err := b.SetStatic(1, addrA, macA); err != nil {
		t.Fatal(err)
	}
	ping := func(dst [6]byte, from, to netip.Addr) {
		b.Input(1, frame(dst, macA, 0x0800, ipv4Packet(from, to, protoICMP, 1, 0, echo(8, nil))))
	}
	ping(broadcastMAC, addrA, broadcastAddr)
	ping(broadcastMAC, addrA, netip.MustParseAddr("10.1.0.255"))
	ping(broadcastMAC, addrA, allSystemsAddr)
	ping(macB, netip.MustParseAddr("192.0.2.1"), addrB) // no route back
	if st := b.Stats(); st.ICMPEchoIgnored != 4 || st.ICMPEchoReplies != 0 || len(icmpOf(b.frames())) != 0 {
		t.Errorf("stats %+v", st)
	}
	ping(macB, addrA, addrB)
	if st := b.Stats(); st.ICMPEchoIgnored != 4 || st.ICMPEchoReplies != 1 || len(icmpOf(b.frames())) != 1 {
		t.Errorf("stats %+v", st)
	}
	// Pings in the name of a neighbour that is not there.
	for range maxPending + 100 {
		ping(macB, netip.MustParseAddr("10.1.0.99"), addrB)
	}
	if n := b.Stats().ICMPEchoIgnored - 4; n < 90 || n > 100 {
		t.Errorf("%d of %d pings ignored", n, maxPending+100)
	}
}

func igmpOf(frames [][]byte) (reports [][]byte) {
	for _, f := range frames {
		if !isARP(f) && f[14+9] == 2 {
			reports = append(reports, f[14+int(f[14]&15)*4:])
		}
	}
	return reports
}

func TestGroups(t *testing.T) {
	a := newSide(t, "a", macA, Config{}, Port{Addrs: []netip.Prefix{netA}})
	group := netip.MustParseAddr("239.1.2.3")
	packet := frame([6]byte{1, 0, 0x5e, 1, 2, 3}, macB, 0x0800, ipv4Packet(addrB, group, protoUDP, 1, 0, udp(apB, netip.AddrPortFrom(group, 9), []byte("x"))))
	a.Input(1, packet)
	if a.Stats().IPNotForUs != 1 || len(a.datagrams) != 0 {
		t.Error("took a packet for a group that was not joined")
	}
	for range 2 {
		if err := a.JoinGroup(1, group); err != nil {
			t.Fatal(err)
		}
	}
	mentions := func(n int) func() bool {
		return func() bool {
			count := 0
			for _, r := range igmpOf(a.frames()) {
				if bytes.Contains(r, group.AsSlice()) {
					count++
				}
			}
			return count >= n
		}
	}
	eventually(t, "membership report", mentions(1))
	a.Input(1, packet)
	if d := next(t, "datagram", a.datagrams); d.Dst != group {
		t.Errorf("got %v", d.Dst)
	}
	if err := a.LeaveGroup(1, group); err != nil {
		t.Fatal(err)
	}
	a.Input(1, packet)
	next(t, "datagram after one of two leaves", a.datagrams)
	before := len(igmpOf(a.frames()))
	if err := a.LeaveGroup(1, group); err != nil {
		t.Fatal(err)
	}
	eventually(t, "leave", func() bool { return len(igmpOf(a.frames())) > before })
	a.Input(1, packet)
	if len(a.datagrams) != 0 {
		t.Error("took a packet after leaving")
	}
	if err := a.LeaveGroup(1, group); !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Errorf("left once too often: %v", err)
	}
	if err := a.JoinGroup(1, addrB); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("joined a host: %v", err)
	}
}

// fragmentsOf cuts a transport for tests that want to arrange the pieces.
func fragmentsOf(id uint16, transport []byte, size int) (frames [][]byte) {
	for off := 0; off < len(transport); off += size {
		end, more := off+size, uint16(0x2000)
		if end >= len(transport) {
			end, more = len(transport), 0
		}
		frames = append(frames, frame(macB, macA, 0x0800, ipv4Packet(addrA, addrB, protoUDP, id, more|uint16(off/8), transport[off:end])))
	}
	return frames
}

func TestReassemblyOrders(t *testing.T) {
	b := newSide(t, "b", macB, Config{}, Port{Addrs: []netip.Prefix{netB}})
	u := udp(apA, apB, bytes.Repeat([]byte("0123456789"), 100))
	f := fragmentsOf(1, u, 256) // four of them
	for _, order := range [][]int{{0, 1, 2, 3}, {3, 2, 1, 0}, {1, 3, 0, 2}, {0, 0, 1, 1, 3, 2}} {
		for _, i := range order {
			b.Input(1, f[i])
		}
		if d := next(t, "datagram", b.datagrams); !bytes.Equal(d.Transport, u) {
			t.Errorf("order %v: datagram differs", order)
		}
	}
	if st := b.Stats(); st.Reassembled != 4 || st.ReassemblyMemory != 0 {
		t.Errorf("stats %+v", st)
	}
	// Overlaps and contradictions drop the datagram whole.
	overlap := frame(macB, macA, 0x0800, ipv4Packet(addrA, addrB, protoUDP, 1, 0x2000|16, u[:256]))
	beyond := frame(macB, macA, 0x0800, ipv4Packet(addrA, addrB, protoUDP, 1, 0x2000|500, u[:256]))
	shorter := frame(macB, macA, 0x0800, ipv4Packet(addrA, addrB, protoUDP, 1, 32, u[:8]))
	for i, in := range [][][]byte{{f[0], overlap}, {overlap, f[0]}, {f[3], beyond}, {beyond, f[3]}, {f[3], shorter}} {
		for _, x := range in {
			b.Input(1, x)
		}
		if st := b.Stats(); st.FragmentsOverlapping != uint64(i+1) || st.ReassemblyMemory != 0 {
			t.Errorf("case %d: %+v", i, st)
		}
	}
	// A piece that is not the last has to be a multiple of 8, none may be
	// empty, none may end after 65 535.
	for i, in := range [][]byte{
		ipv4Packet(addrA, addrB, protoUDP, 1, 0x2000, u[:9]),
		ipv4Packet(addrA, addrB, protoUDP, 1, 0x2000, nil),
		ipv4Packet(addrA, addrB, protoUDP, 1, 0x1fff, u[:16]),
	} {
		b.Input(1, frame(macB, macA, 0x0800, in))
		if st := b.Stats(); st.FragmentsMalformed != uint64(i+1) || st.ReassemblyMemory != 0 {
			t.Errorf("malformed %d: %+v", i, st)
		}
	}
}

func TestReassemblyTimeout(t *testing.T) {
	b := newSide(t, "b", macB, Config{ReassemblyTimeout: 30 * time.Millisecond}, Port{Addrs: []netip.Prefix{netB}})
	b.SetStatic(1, addrA, macA)
	u := udp(apA, apB, make([]byte, 1000))
	b.Input(1, fragmentsOf(1, u, 256)[0])
	b.Input(1, fragmentsOf(2, u, 256)[1]) // without fragment zero nobody is told
	eventually(t, "timeouts", func() bool { return b.Stats().ReassemblyTimeouts == 2 })
	eventually(t, "time exceeded", func() bool { return len(icmpOf(b.frames())) == 1 })
	m := icmpOf(b.frames())[0]
	if m[0] != 11 || m[1] != 1 || sum(m, 0) != 0xffff || !bytes.Equal(m[28:36], u[:8]) {
		t.Errorf("got % x", m)
	}
	// It is counted after it has left.
	eventually(t, "counts", func() bool { st := b.Stats(); return st.ReassemblyMemory == 0 && st.ICMPTimeExceededSent == 1 })
}

func TestReassemblyMemoryIsBounded(t *testing.T) {
	b := newSide(t, "b", macB, Config{ReassemblyMemory: minReassemblyMemory}, Port{Addrs: []netip.Prefix{netB}})
	u := udp(apA, apB, make([]byte, 4000))
	for id := range uint16(1000) {
		b.Input(1, fragmentsOf(id, u, 1024)[0])
		if m := b.Stats().ReassemblyMemory; m > minReassemblyMemory {
			t.Fatalf("%d bytes after %d datagrams", m, id)
		}
	}
	if st := b.Stats(); st.ReassemblyEvicted < 800 {
		t.Errorf("stats %+v", st)
	}
	if err := b.RemovePort(1); err != nil {
		t.Fatal(err)
	}
	if m := b.Stats().ReassemblyMemory; m != 0 {
		t.Errorf("%d bytes after the port has gone", m)
	}
}

// The smallest bound still holds the largest datagram in ordinary fragments.
func TestLargestDatagramFitsTheSmallestBound(t *testing.T) {
	b := newSide(t, "b", macB, Config{ReassemblyMemory: minReassemblyMemory}, Port{Addrs: []netip.Prefix{netB}})
	for _, f := range fragmentsOf(1, udp(apA, apB, make([]byte, 65507)), 512) {
		b.Input(1, f)
	}
	next(t, "datagram", b.datagrams)
}

func TestFramesAreAccounted(t *testing.T) {
	b := newSide(t, "b", macB, Config{}, Port{Addrs: []netip.Prefix{netB}})
	u := udp(apA, apB, []byte("x"))
	good := ipv4Packet(addrA, addrB, protoUDP, 1, 0, u)
	corrupt := bytes.Clone(good)
	corrupt[8]++ // the header checksum no longer holds
	lo := netip.MustParseAddr("127.0.0.1")
	for _, f := range [][]byte{
		frame(macB, macA, 0x0800, good),
		frame(macA, macA, 0x0800, good),         // foreign MAC
		frame(macB, macA, 0x0800, corrupt),      // malformed
		frame(macB, macA, 0x0800, good[:19]),    // malformed
		frame(broadcastMAC, macA, 0x0800, good), // martian
		frame(macB, macA, 0x0800, ipv4Packet(lo, addrB, protoUDP, 1, 0, u)),
		frame(macB, macA, 0x0800, ipv4Packet(addrA, addrA, protoUDP, 1, 0, u)), // not for us
		frame(macB, macA, 0x88b5, good),                                        // EtherType
		fragmentsOf(1, u, 8)[0],
		{1, 2, 3},
	} {
		b.Input(1, f)
	}
	b.Input(7, frame(macB, macA, 0x0800, good))
	st := b.Stats()
	want := Stats{Frames: 11, Delivered: 1, Fragments: 1, NoPort: 1, Short: 1, ForeignMAC: 1, UnknownEtherType: 1, IPMalformed: 2, IPNotForUs: 1, IPMartian: 2}
	got := Stats{Frames: st.Frames, Delivered: st.Delivered, Fragments: st.Fragments, NoPort: st.NoPort, Short: st.Short, ForeignMAC: st.ForeignMAC,
		UnknownEtherType: st.UnknownEtherType, IPMalformed: st.IPMalformed, IPNotForUs: st.IPNotForUs, IPMartian: st.IPMartian}
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if n := accounted(st); n != st.Frames {
		t.Errorf("%d of %d frames accounted for", n, st.Frames)
	}
}

func accounted(s Stats) uint64 {
	return s.Delivered + s.Fragments + s.NoPort + s.Short + s.ForeignMAC + s.UnknownEtherType +
		s.IPMalformed + s.IPNotForUs + s.IPMartian + s.ARPInvalid + s.ARPNotForUs + s.ARPConflicts + s.ARPProbes
}
