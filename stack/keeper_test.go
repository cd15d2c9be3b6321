package stack

import (
	"errors"
	"net/netip"
	"syscall"
	"testing"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/stack/internal/inband"
)

// TestEventsLost: when an event found no room, all entries are checked against
// what the in-band stage knows, and those that it does not stand by go.
func TestEventsLost(t *testing.T) {
	leaktest.Check(t)
	s, d, _ := onLoopback(t, nil)
	p, err := d.EnablePort(&PortConfig{Addrs: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}})
	if err != nil {
		t.Fatal(err)
	}
	kept, gone := netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("10.0.0.6")
	if err := s.SetNeighbor(kept, link.MAC{2, 0, 0, 0, 0, 5}); err != nil {
		t.Fatal(err)
	}
	h, err := s.hopTo(gone)
	if err != nil {
		t.Fatal(err)
	}
	entry, err := s.learn(h.spec(gone, link.MAC{2, 0, 0, 0, 0, 6}))
	if err != nil {
		t.Fatal(err)
	}
	group, err := s.Miss(netip.MustParseAddr("239.0.0.1"))
	if err != nil || group == nil {
		t.Fatal(group, err)
	}
	// The keeper takes events faster than they come: hold it up.
	held, release := make(chan struct{}), make(chan struct{})
	if err := s.RegisterProtocol(IPv4Number(99), &holding{entered: held, release: release}); err != nil {
		t.Fatal(err)
	}
	if err := s.Demote(&Outgoing{Protocol: 99, Src: netip.MustParseAddr("10.0.0.1"), Dst: netip.MustParseAddr("9.9.9.9"), Transport: make([]byte, 8)}); err != nil {
		t.Fatal(err)
	}
	<-held
	for range eventSlots + 1 {
		(host{s}).Neighbor(inband.NeighborEvent{Port: p.id, Addr: netip.MustParseAddr("10.0.0.7"), State: inband.Removed})
	}
	if lost := s.Stats().NeighborEventsLost; lost != 1 {
		t.Errorf("%d events lost, want 1", lost)
	}
	close(release)
	eventually(t, "the entry that nobody stands by goes", func() bool { return !entry.Valid() })
	if e := s.Lookup(addr4(kept.As4())); e == nil || !e.Valid() || !group.Valid() {
		t.Error("entries went that need no neighbour's word")
	}
}

// TestDemotedSendsAreBounded: the queue is full of datagrams that the keeper,
// held up, does not take.
func TestDemotedSendsAreBounded(t *testing.T) {
	leaktest.Check(t)
	s, d, _ := onLoopback(t, nil)
	if _, err := d.EnablePort(&PortConfig{Addrs: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}}); err != nil {
		t.Fatal(err)
	}
	held, release := make(chan struct{}), make(chan struct{})
	p := &holding{entered: held, release: release}
	if err := s.RegisterProtocol(IPv4Number(99), p); err != nil {
		t.Fatal(err)
	}
	// The first has no route: the keeper tells the protocol, which holds it.
	out := func(dst string) *Outgoing {
		return &Outgoing{Protocol: 99, Src: netip.MustParseAddr("10.0.0.1"), Dst: netip.MustParseAddr(dst), Transport: make([]byte, 8)}
	}
	if err := s.Demote(out("9.9.9.9")); err != nil {
		t.Fatal(err)
	}
	<-held
	for i := range sendSlots {
		if err := s.Demote(out("10.0.0.9")); err != nil {
			t.Fatalf("datagram %d: %v", i, err)
		}
	}
	if err := s.Demote(out("10.0.0.9")); !errors.Is(err, syscall.ENOBUFS) {
		t.Errorf("one more: %v", err)
	}
	close(release)
	if st := s.Stats(); st.Demoted != sendSlots+1 || st.DemotedFull != 1 {
		t.Errorf("demoted %d, found it full %d", st.Demoted, st.DemotedFull)
	}
	eventually(t, "there is room again", func() bool { return s.Demote(out("10.0.0.9")) == nil })
}

// holding is a protocol whose first Error blocks until it is released.
type holding struct{ entered, release chan struct{} }

func (p *holding) Error(*TransportError) {
	select {
	case <-p.release:
	default:
		close(p.entered)
		<-p.release
	}
}

func (*holding) Receive(*Batch)               {}
func (*holding) ReceiveInBand(*Datagram) bool { return false }
func (*holding) Purge(*Device)                {}
func (*holding) Attached(*Device)             {}
func (*holding) Close()                       {}

// TestWantedIsBounded: destinations whose next hop is asked for are forgotten
// when there are too many, and when their neighbour is.
func TestWantedIsBounded(t *testing.T) {
	k := &keeper{wanted: make(map[neighborKey]map[netip.Addr]struct{})}
	p := new(Port)
	dst := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}) }
	for i := range 3 * maxWanted {
		for range 2 { // asking twice is asking once
			k.want(neighborKey{p, dst(i % 50)}, dst(i))
		}
		n := 0
		for _, dsts := range k.wanted {
			n += len(dsts)
		}
		if n != k.wants || n > maxWanted {
			t.Fatalf("%d destinations, counted as %d, of at most %d", n, k.wants, maxWanted)
		}
	}
	for i := range 50 {
		k.forget(neighborKey{p, dst(i)})
	}
	if k.wants != 0 || len(k.wanted) != 0 {
		t.Errorf("%d are left", k.wants)
	}
}
