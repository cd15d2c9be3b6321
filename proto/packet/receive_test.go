package packet_test

import (
	"fmt"
	"testing"

	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/proto/packet"
	"github.com/oobnet/oobnet/stack"
)

// TestEachGetsACopy: many sockets on one EtherType, on all, and an analyser get
// each frame once; others do not. The last one has the buffer, the rest copies.
func TestEachGetsACopy(t *testing.T) {
	a, b := pair(t, manual())
	x := listen(t, a.Port, etherCAT, nil)
	others := []*packet.Conn{listen(t, b.Port, otherType, nil), listen(t, onVLAN(t, b, "10.1.0.2/24"), etherCAT, nil)}
	members := []*packet.Conn{listen(t, b.Port, packet.All, nil), analyse(t, b.Device, nil)}
	for range 20 {
		members = append(members, listen(t, b.Port, etherCAT, nil))
	}
	const frames = 3
	for i := range frames {
		send(t, x, fmt.Sprint("to all ", i), to(b.Link.MAC()))
	}
	b.Poll()
	st := b.Device.Stats().RX
	if want := uint64(frames * len(members)); st.Delivered != want || st.Copied != want-frames || st.Dropped.Total() != 0 {
		t.Errorf("%d delivered, %d copied, want %d of %d frames for %d", st.Delivered, st.Copied, want, frames, len(members))
	}
	for _, m := range members {
		for i := range frames {
			receive(t, m, fmt.Sprint("to all ", i))
		}
		empty(t, m)
	}
	for _, c := range others {
		empty(t, c)
	}
	stacktest.AssertNothingHeld(t, b.Device)
	if p := b.Device.Stats().Pool; p.Free != p.Size {
		t.Errorf("%d of %d TX buffers at home", p.Free, p.Size)
	}
}

// TestBesideUDP: the IP stack gets its frames beside sockets for all, and ARP
// is answered.
func TestBesideUDP(t *testing.T) {
	a, b := pair(t, manual())
	all, ip := listen(t, b.Port, packet.All, nil), listen(t, b.Port, wire.TypeIPv4, nil)
	analyser := analyse(t, b.Device, nil)
	x, y := udpPair(t, a, b)
	exchange(t, x, y, func() { b.Poll() })
	for _, c := range []*packet.Conn{all, ip, analyser} {
		buf := make([]byte, 100)
		n, from, err := c.ReadFromAddr(buf)
		if err != nil || n != 46 || from.EtherType != wire.TypeIPv4 || string(buf[28:36]) != "datagram" {
			t.Errorf("%q from %v, %v", buf[:n], &from, err)
		}
		empty(t, c)
	}
	if st := b.Device.Stats().RX; st.Packets != 1 || st.Copied != 3 || st.Delivered != 4 {
		t.Errorf("%+v", st)
	}
}

// TestConsume: what one socket consumes, other raw sockets get, and the IP stack
// does not; not even if there is no room for it.
func TestConsume(t *testing.T) {
	a, b := pair(t, manual())
	greedy := listen(t, b.Port, wire.TypeIPv4, &packet.Config{Consume: true, Queue: 2})
	all := listen(t, b.Port, packet.All, nil)
	x, y := udpPair(t, a, b)
	for range 3 {
		if _, err := x.Write([]byte("consumed")); err != nil {
			t.Fatal(err)
		}
	}
	b.Poll()
	if n := y.Stats().Received; n != 0 {
		t.Errorf("the UDP socket got %d datagrams", n)
	}
	if g, o := greedy.Stats(), all.Stats(); g.Received != 2 || g.Full != 1 || o.Received != 3 || o.Full != 0 {
		t.Errorf("consumer %+v, other %+v", g, o)
	}
	// Alone, what it has no room for is dropped, and no other's.
	if err := all.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Write([]byte("consumed")); err != nil {
		t.Fatal(err)
	}
	b.Poll()
	if n := b.Device.Stats().RX.Dropped[stack.ReasonSocketFull]; n != 1 || y.Stats().Received != 0 {
		t.Errorf("%d dropped for a full socket, %d datagrams delivered", n, y.Stats().Received)
	}
	if err := greedy.Close(); err != nil {
		t.Fatal(err)
	}
	exchange(t, x, y, func() { b.Poll() })
}

// TestQuota: a slow reader loses its own frames; a frame that nobody else wants
// and nobody has room for is dropped by that reason.
func TestQuota(t *testing.T) {
	a, b := pair(t, manual())
	x := listen(t, a.Port, etherCAT, nil)
	slow, quick := listen(t, b.Port, etherCAT, &packet.Config{Queue: 1}), listen(t, b.Port, etherCAT, nil)
	read := func(want int) {
		t.Helper()
		for range 3 {
			send(t, x, "x", to(b.Link.MAC()))
		}
		b.Poll()
		for range want {
			receive(t, quick, "x")
		}
	}
	read(3)
	if err := slow.SetReadBuffer(2 * link.PageSize); err != nil || slow.ReadBuffer() != 2*link.PageSize {
		t.Error(slow.ReadBuffer(), err)
	}
	read(3)
	if st := slow.Stats(); st.Received != 2 || st.Held != 2 || st.Full != 4 {
		t.Errorf("%+v", st)
	}
	if err := quick.Close(); err != nil {
		t.Fatal(err)
	}
	read(0)
	if st := slow.Stats(); st.Full != 7 || b.Device.Stats().RX.Dropped[stack.ReasonSocketFull] != 3 {
		t.Errorf("%+v, dropped: %v", st, b.Device.Stats().RX.Dropped.Map())
	}
}

// TestNoBufferForACopy: listeners leave a quarter of the pool to senders, lose
// what they get no buffer for, and UDP loses nothing.
func TestNoBufferForACopy(t *testing.T) {
	o := manual()
	o.Device.PoolSize = 16
	a, b := pair(t, o)
	all, one := listen(t, b.Port, packet.All, nil), analyse(t, b.Device, nil)
	x, y := udpPair(t, a, b)
	const datagrams = 20
	for range datagrams {
		exchange(t, x, y, func() { b.Poll() })
	}
	s1, s2 := all.Stats(), one.Stats()
	if s1.Received+s2.Received != 12 || s1.Received+s1.NoBuffer != datagrams || s2.Received+s2.NoBuffer != datagrams || s1.Held != int(s1.Received) {
		t.Errorf("%+v and %+v, of a pool of %d", s1, s2, o.Device.PoolSize)
	}
	if _, err := y.WriteTo([]byte("from what is left"), x.LocalAddr()); err != nil {
		t.Error(err)
	}
	a.Poll()
}

// TestCast: groups and broadcasts are for all, other stations' frames for those
// who are promiscuous, and for analysers.
func TestCast(t *testing.T) {
	a, b := pair(t, manual())
	x := listen(t, a.Port, packet.All, nil)
	shy, nosy, all := listen(t, b.Port, etherCAT, nil), listen(t, b.Port, etherCAT, nil), listen(t, b.Port, packet.All, nil)
	analyser := analyse(t, b.Device, nil)
	if err := nosy.SetPromiscuous(true); err != nil {
		t.Fatal(err)
	}
	for _, dst := range []link.MAC{b.Link.MAC(), group, wire.BroadcastMAC, stranger} {
		for _, tci := range []uint16{0, 5} { // no port has VLAN 5
			sendFrame(t, x, frame(dst, tci, etherCAT, "cast"))
		}
	}
	b.Poll()
	for name, c := range map[string]struct {
		*packet.Conn
		want uint64
	}{"shy": {shy, 3}, "nosy": {nosy, 4}, "all": {all, 3}, "analyser": {analyser, 8}} {
		if got := c.Stats().Received; got != c.want {
			t.Errorf("%s got %d, want %d", name, got, c.want)
		}
	}
	if err := nosy.SetPromiscuous(false); err != nil {
		t.Fatal(err)
	}
	sendFrame(t, x, frame(stranger, 0, etherCAT, "cast"))
	b.Poll()
	if got := nosy.Stats().Received; got != 4 {
		t.Errorf("no longer promiscuous, got %d", got-4)
	}
}

// TestForeignAlone: a station's frame that is not ours stays nobody's with one
// socket that is not promiscuous.
func TestForeignAlone(t *testing.T) {
	a, b := pair(t, manual())
	x, y := listen(t, a.Port, packet.All, nil), listen(t, b.Port, etherCAT, nil)
	sendFrame(t, x, frame(stranger, 0, etherCAT, "foreign"))
	sendFrame(t, x, frame(b.Link.MAC(), 0, etherCAT, "ours"))
	b.Poll()
	receive(t, y, "ours")
	empty(t, y)
	if n := b.Device.Stats().RX.Dropped[stack.ReasonForeignMAC]; n != 1 {
		t.Errorf("%d dropped as foreign", n)
	}
}

// TestPriorityTag: a tag with VLAN id 0 is the untagged port's.
func TestPriorityTag(t *testing.T) {
	a, b := pair(t, manual())
	x, y := listen(t, a.Port, packet.All, nil), listen(t, b.Port, etherCAT, nil)
	sendFrame(t, x, frame(b.Link.MAC(), 6<<13, etherCAT, "priority"))
	b.Poll()
	from := receive(t, y, "priority")
	if want := (packet.Addr{MAC: stranger, EtherType: etherCAT, PCP: 6}); from != want {
		t.Errorf("from %v", &from)
	}
}

// TestAnalyser: all of the wire, own sends included and marked, whatever the VLAN.
func TestAnalyser(t *testing.T) {
	a, b := pair(t, manual())
	x := listen(t, a.Port, packet.All, nil)
	here := analyse(t, b.Device, &packet.Config{Raw: true})
	vlan := listen(t, onVLAN(t, b, "10.1.0.2/24"), etherCAT, nil)
	send(t, vlan, "own", to(a.Link.MAC()))
	if _, err := here.WriteToAddr(frame(stranger, 7, etherCAT, "the analyser's"), packet.Addr{}); err != nil {
		t.Fatal(err)
	}
	sendFrame(t, x, frame(stranger, 9, etherCAT, "another's"))
	b.Poll()
	got := map[string]packet.Message{}
	for range 3 {
		m := packet.Message{Buf: make([]byte, 100)}
		if err := here.ReadMsg(&m); err != nil {
			t.Fatal(err)
		}
		got[string(m.Buf[18:21])] = m
	}
	for what, want := range map[string]packet.Message{
		"own": {Addr: packet.Addr{MAC: b.Link.MAC(), EtherType: etherCAT, VLAN: vlanID}, To: a.Link.MAC(), Outgoing: true},
		"the": {Addr: packet.Addr{MAC: stranger, EtherType: etherCAT, VLAN: 7}, To: stranger, Outgoing: true},
		"ano": {Addr: packet.Addr{MAC: stranger, EtherType: etherCAT, VLAN: 9}, To: stranger},
	} {
		if m := got[what]; m.Addr != want.Addr || m.To != want.To || m.Outgoing != want.Outgoing || m.N != wire.MinFrame || m.WireLen != m.N {
			t.Errorf("%q: %+v, want %+v", what, m, want)
		}
	}
	if st := here.Stats(); st.Received != 1 || st.Outgoing != 2 || st.OutgoingDropped != 0 {
		t.Errorf("%+v", st)
	}
}

// TestAnalyserIsSlow: it loses its own frames, and no sender waits.
func TestAnalyserIsSlow(t *testing.T) {
	a, b := pair(t, manual())
	here := analyse(t, a.Device, &packet.Config{Outgoing: 4})
	x, y := udpPair(t, a, b)
	for range 2 {
		for range 10 {
			exchange(t, x, y, func() { b.Poll() })
		}
		f, err := here.Receive()
		if err != nil || !f.Outgoing() || f.To() != b.Link.MAC() || f.WireLen() != wire.MinFrame || string(f.Payload()[28:36]) != "datagram" {
			t.Fatalf("%q, %v", f.Payload(), err)
		}
		f.Release()
		for range 3 {
			if _, _, err := here.ReadFromAddr(nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	if st := here.Stats(); st.Outgoing != 8 || st.OutgoingDropped != 12 || st.Truncated != 6 {
		t.Errorf("%+v", st)
	}
}

// TestMembership: groups and promiscuous mode are counted over the sockets, and
// undone by Close: what the link is told.
func TestMembership(t *testing.T) {
	a, _ := pair(t, manual())
	x, y := listen(t, a.Port, etherCAT, nil), listen(t, a.Port, etherCAT, nil)
	check := func(groups int, promiscuous bool) {
		t.Helper()
		w := packet.Watched(a.Device)
		if len(w.Groups) != groups || w.Promiscuous != promiscuous {
			t.Errorf("%+v, want %d groups, promiscuous %v", w, groups, promiscuous)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(0, false)
	must(x.JoinGroup(group))
	must(x.JoinGroup(group))
	must(y.JoinGroup(group))
	must(y.JoinGroup(link.MAC{0x33, 0x33, 0, 0, 0, 1}))
	must(y.SetPromiscuous(true))
	check(2, true)
	must(x.LeaveGroup(group))
	check(2, true)
	must(y.Close())
	check(1, false)
	must(x.LeaveGroup(group))
	check(0, false)
}
